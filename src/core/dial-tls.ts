/** What a connection to another node is made with, and how it ends when the certificate behind it is revoked. */
import { X509Certificate } from 'node:crypto';
import { type ConnectionOptions, checkServerIdentity, type DetailedPeerCertificate, type TLSSocket } from 'node:tls';
import { certificatesIn, chainTo, sentOn } from './certificate-chain.ts';
import type { ClientTls } from './node-tls.ts';
import type { Revocations } from './revocations.ts';

export interface DialOptions extends ConnectionOptions {
  /** Of undici, which keeps sessions of TLS. */
  readonly maxCachedSessions?: 0;
}

/** How long a connection may outlive the certificate that it was made with. */
export const lookEveryMs = 2_000;

/**
 * For `tls.connect` and whoever calls it. With lists of revoked certificates the handshake fails for one that is on them (code
 * CERT_REVOKED); without, OpenSSL alone decides.
 */
export function dialOptions({ ca, cert, key, revocations }: ClientTls = {}): DialOptions {
  const shown = {
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
  };
  return ca === undefined || revocations === undefined ? shown : { ...shown, ...checkRevoked(ca, revocations) };
}

/** The part of it that looks at the lists. */
export function checkRevoked(ca: string, revocations: Revocations): DialOptions {
  const roots = certificatesIn(ca);
  return {
    // A session that is taken up again is not looked at.
    maxCachedSessions: 0,
    checkServerIdentity(host, certificate) {
      const wrong = checkServerIdentity(host, certificate);
      if (wrong !== undefined) return wrong;
      const chain = chainTo(roots, sentBy(certificate as DetailedPeerCertificate));
      const problem = chain === undefined ? 'nobody knows who has signed it' : revocations.problemOf(chain, Date.now());
      if (problem === undefined) return undefined;
      return Object.assign(new Error(`the certificate is not accepted: ${problem}`), { code: 'CERT_REVOKED' });
    },
  };
}

/** Ends a connection to a node whose certificate is revoked while it lasts. @param tls may change */
export function endWhenRevoked(socket: unknown, tls: ClientTls): void {
  if (!isTls(socket) || tls.ca === undefined) return;
  let chain: readonly X509Certificate[] | undefined;
  watchCertificate(socket, () => {
    if (tls.ca === undefined || tls.revocations === undefined) return undefined;
    chain ??= chainTo(certificatesIn(tls.ca), sentOn(socket));
    return chain && tls.revocations.problemOf(chain, Date.now());
  });
}

/** Ends a connection within seconds after `problem` has begun to say something. */
export function watchCertificate(socket: TLSSocket, problem: () => string | undefined): void {
  const timer = setInterval(() => {
    if (problem() !== undefined) socket.destroy();
  }, lookEveryMs);
  timer.unref();
  socket.once('close', () => clearInterval(timer));
}

function sentBy(certificate: DetailedPeerCertificate): X509Certificate[] {
  const sent: X509Certificate[] = [];
  for (let at: DetailedPeerCertificate | undefined = certificate; at?.raw !== undefined; at = at.issuerCertificate) {
    sent.push(new X509Certificate(at.raw));
    if (at.issuerCertificate === at) break;
  }
  return sent;
}

function isTls(socket: unknown): socket is TLSSocket {
  return typeof socket === 'object' && socket !== null && 'getPeerX509Certificate' in socket;
}
