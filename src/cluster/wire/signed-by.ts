/** Whose certificate it is that a client has shown: which of several CAs that a port trusts has signed it. */
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { certificatesIn, chainTo, sentOn } from '../../core/certificate-chain.ts';

export type Chain = readonly X509Certificate[];

export class SignedBy {
  #ca = '';
  #roots: readonly X509Certificate[] = [];
  /** By what was sent: every signature is checked once. */
  #known = new WeakMap<readonly X509Certificate[], Chain>();

  /**
   * The certificate that the client of this connection has shown, with those above it; undefined: none of `ca` (PEM) has signed it,
   * itself or by those that were sent with it. Of several CAs that are trusted OpenSSL does not say which one it was. Of a
   * connection that it has accepted (`authorized`).
   */
  chainOf(socket: TLSSocket, ca: string): Chain | undefined {
    if (!socket.authorized) return undefined;
    const sent = sentOn(socket);
    if (sent.length === 0) return undefined;
    if (ca !== this.#ca) {
      this.#ca = ca;
      this.#known = new WeakMap();
      this.#roots = certificatesIn(ca);
    }
    const known = this.#known.get(sent);
    if (known !== undefined) return known;
    const chain = chainTo(this.#roots, sent);
    if (chain === undefined) return undefined;
    this.#known.set(sent, chain);
    return chain;
  }
}
