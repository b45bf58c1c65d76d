/** Whose certificate it is that a client has shown: which of several CAs that a port trusts has signed it. */
import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';

/** A chain that is longer is none. */
const mostLinks = 8;
/** Certificates of which is remembered who has signed them. */
const mostKnown = 1000;

/**
 * Whether one of the certificates in `ca` (PEM) has signed the one that the client of this connection has shown, itself or by
 * those that were sent with it. Every signature is checked: what a client sends is linked by names alone, and of several CAs that
 * are trusted OpenSSL does not say which one it was. Of a connection that it has accepted (`authorized`).
 */
export class SignedBy {
  #ca = '';
  #roots: readonly X509Certificate[] = [];
  /** Fingerprints: a resumed session has the certificate, and not those that were sent with it. */
  readonly #known = new Set<string>();

  test(socket: TLSSocket, ca: string): boolean {
    if (!socket.authorized) return false;
    const shown = socket.getPeerX509Certificate();
    if (shown === undefined) return false;
    if (ca !== this.#ca) {
      this.#ca = ca;
      this.#known.clear();
      this.#roots = [...ca.matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)].map(
        ([one]) => new X509Certificate(one),
      );
    }
    const { fingerprint256 } = shown;
    if (this.#known.has(fingerprint256)) return true;
    if (!this.#leadsToRoot(shown)) return false;
    if (this.#known.size >= mostKnown) this.#known.clear();
    this.#known.add(fingerprint256);
    return true;
  }

  #leadsToRoot(shown: X509Certificate): boolean {
    let at: X509Certificate | undefined = shown;
    for (let link = 0; at !== undefined && link < mostLinks; link += 1) {
      const signed: X509Certificate = at;
      if (this.#roots.some((root) => hasSigned(root, signed))) return true;
      const next: X509Certificate | undefined = signed.issuerCertificate;
      at =
        next !== undefined && next.fingerprint256 !== signed.fingerprint256 && hasSigned(next, signed)
          ? next
          : undefined;
    }
    return false;
  }
}

function hasSigned(issuer: X509Certificate, signed: X509Certificate): boolean {
  return issuer.ca && signed.checkIssued(issuer) && signed.verify(issuer.publicKey);
}
