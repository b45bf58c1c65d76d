/** By what nodes of a cluster know each other: a token that all of them have, or certificates of a CA of their own. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { type LiveText, textOf } from '../../core/live.ts';
import type { ServerTls } from '../../core/node-tls.ts';
import { type Chain, SignedBy } from './signed-by.ts';

/** What a port asks of the nodes that speak to it; nothing where both are absent. */
export interface NodeAccess {
  /** The cluster's, as a bearer token. */
  readonly clusterToken?: LiveText;
  /** A certificate that the CA of the cluster has signed, in place of the token. The port has to ask for one. */
  readonly certificates?: boolean;
  /** Of the port, where it takes certificates of people too: then those of nodes are told by who has signed them. */
  readonly ownTls?: ServerTls;
}

/** What a request lacks, in a sentence; undefined: nothing. */
export type RequestCheck = (request: Pick<IncomingMessage, 'headers' | 'socket'>) => string | undefined;

/**
 * Undefined: nothing is asked for.
 * @param whose what the sentence calls the token
 */
export function nodeCheck({ clusterToken, certificates, ownTls }: NodeAccess, whose: string): RequestCheck | undefined {
  if (certificates === true) {
    const known = { signedBy: new SignedBy(), before: new WeakMap() };
    return ({ socket }) => problemWithCertificate(socket as TLSSocket, ownTls, known);
  }
  return clusterToken === undefined ? undefined : tokenCheck(clusterToken, whose);
}

/** @param whose what the sentence calls the token */
export function tokenCheck(token: LiveText, whose: string): RequestCheck {
  return ({ headers }) => {
    const wanted = digest(textOf(token));
    const given = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
    if (given !== undefined && timingSafeEqual(digest(given), wanted)) return undefined;
    return `The request carries ${given === undefined ? 'no' : 'a wrong'} token; send 'Authorization: Bearer <token>' with the ${whose}.`;
  };
}

interface Known {
  readonly signedBy: SignedBy;
  /** Of connections that are open: they outlive a change of the CA. */
  readonly before: WeakMap<TLSSocket, Chain>;
}

/**
 * A resumed session of TLS 1.3 counts as authorized whether or not there ever was a certificate, so the certificate itself
 * is looked for as well.
 */
function problemWithCertificate(
  socket: TLSSocket,
  ownTls: ServerTls | undefined,
  { signedBy, before }: Known,
): string | undefined {
  if (socket.encrypted !== true) return 'The connection is not TLS, and nodes of this cluster show certificates.';
  const shown = Object.keys(socket.getPeerCertificate()).length > 0;
  const { peopleCa, nodeCa = '', revocations } = ownTls ?? {};
  const asksWho = (peopleCa ?? revocations) !== undefined;
  const now = shown && asksWho ? signedBy.chainOf(socket, nodeCa) : undefined;
  const chain = now ?? (peopleCa === undefined ? before.get(socket) : undefined);
  // Of whom nobody knows who has signed him nobody knows either that he is not revoked.
  const isNodes = !asksWho || chain !== undefined;
  if (now !== undefined) before.set(socket, now);
  const revoked = chain && revocations?.problemOf(chain, Date.now());
  if (shown && socket.authorized && isNodes && revoked === undefined) return undefined;
  const unknown = peopleCa === undefined ? 'nobody knows who has signed it' : 'it is none of a node';
  const reason = socket.authorized ? (revoked ?? unknown) : String(socket.authorizationError);
  const why = shown ? `is not accepted (${reason})` : 'is missing';
  return `The client certificate ${why}; nodes of this cluster show one that the CA of tls.ca_file has signed.`;
}

/** Of equal length whatever the token, so that comparing says nothing about its length either. */
function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
