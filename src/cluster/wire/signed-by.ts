/** Whose certificate it is that a client has shown: which of several CAs that a port trusts has signed it. */
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { certificatesIn, chainTo, sentOn } from '../../core/certificate-chain.ts';

/** Certificates of which is remembered who has signed them. */
const mostKnown = 1000;

type Chain = readonly X509Certificate[];

export class SignedBy {
  #ca = '';
  #roots: readonly X509Certificate[] = [];
  /** By fingerprint: a resumed session has the certificate, and not those that were sent with it. */
  readonly #known = new Map<string, Chain>();

  /**
   * The certificate that the client of this connection has shown, with those above it; undefined: none of `ca` (PEM) has signed it,
   * itself or by those that were sent with it. Of several CAs that are trusted OpenSSL does not say which one it was. Of a
   * connection that it has accepted (`authorized`).
   */
  chainOf(socket: TLSSocket, ca: string): Chain | undefined {
    if (!socket.authorized) return undefined;
    const sent = sentOn(socket);
    const [shown] = sent;
    if (shown === undefined) return undefined;
    if (ca !== this.#ca) {
      this.#ca = ca;
      this.#known.clear();
      this.#roots = certificatesIn(ca);
    }
    const { fingerprint256 } = shown;
    const known = this.#known.get(fingerprint256);
    if (known !== undefined) return known;
    const chain = chainTo(this.#roots, sent);
    if (chain === undefined) return undefined;
    if (this.#known.size >= mostKnown) this.#known.clear();
    this.#known.set(fingerprint256, chain);
    return chain;
  }
}
