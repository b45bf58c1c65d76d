/** Keys and certificates of a node, as PEM texts. They may change while the node runs (core/live). */
import type { Revocations } from './revocations.ts';

/** What a node trusts, and what it shows to those that ask. */
export interface ClientTls {
  /** Trusted in place of the system's. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** Of those that `ca` has signed. */
  readonly revocations?: Revocations;
}

export interface ServerTls {
  readonly cert: string;
  readonly key: string;
  /** Clients are asked for a certificate that one of these has signed; who has none is let in, for the routes to judge. */
  readonly clientCa?: string;
  /** Of them, those that sign nodes, and those that sign people and programs. */
  readonly nodeCa?: string;
  readonly peopleCa?: string;
  /** Of those that one of `clientCa` has signed. */
  readonly revocations?: Revocations;
}
