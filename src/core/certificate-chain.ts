/** Who has signed a certificate, up to a CA that is trusted. Every signature is checked. */
import { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';

/** A chain that is longer is none. */
const mostLinks = 8;

/** All that are in a PEM text. Throws for one that cannot be read. */
export function certificatesIn(pem: string): X509Certificate[] {
  return [...pem.matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)].map(
    ([one]) => new X509Certificate(one),
  );
}

/** Node gives the chain of a connection away with the first certificate that is asked for: the next ones have nobody behind them. */
const sentOnce = new WeakMap<TLSSocket, readonly X509Certificate[]>();

/** Certificates of which is remembered what was sent with them; those that have shown nothing more need no place. */
const mostRemembered = 4_000;
/** By fingerprint, the oldest first: a resumed session has the certificate, and not those that were sent with it. */
const sentBefore = new Map<string, readonly X509Certificate[]>();

/**
 * What the other side of a connection has shown: its certificate, and those that were sent with it, each behind the one that it has
 * signed. Empty: none. Whoever wants that certificate asks here. Of a session that is resumed it is what this process was sent when
 * it began, if that is still known: so a port asks as soon as a connection is there.
 */
export function sentOn(socket: TLSSocket): readonly X509Certificate[] {
  const before = sentOnce.get(socket);
  if (before !== undefined) return before;
  const sent: X509Certificate[] = [];
  for (
    let next = socket.getPeerX509Certificate();
    next !== undefined && sent.length < mostLinks;
    next = next.issuerCertificate
  ) {
    if (next.fingerprint256 === sent.at(-1)?.fingerprint256) break;
    sent.push(next);
  }
  // Before the handshake there is none yet.
  const [shown] = sent;
  if (shown === undefined) return sent;
  const all = socket.isSessionReused() ? (sentBefore.get(shown.fingerprint256) ?? sent) : sent;
  // Of strangers nothing is: they would crowd out the others.
  if (all === sent && socket.authorized) remember(shown.fingerprint256, sent);
  sentOnce.set(socket, all);
  return all;
}

function remember(fingerprint: string, sent: readonly X509Certificate[]): void {
  sentBefore.delete(fingerprint);
  if (sent.length < 2) return;
  const [oldest] = sentBefore.keys();
  if (sentBefore.size >= mostRemembered) sentBefore.delete(oldest!);
  sentBefore.set(fingerprint, sent);
}

/**
 * The certificate, and those above it as far as they are known; undefined: no root has signed it, itself or by those that were sent with it.
 * What is sent is linked by names alone, so it proves nothing by itself.
 */
export function chainTo(
  roots: readonly X509Certificate[],
  sent: readonly X509Certificate[],
): readonly X509Certificate[] | undefined {
  const chain = sent.slice(0, 1);
  let reached = false;
  for (let link = 0; link < mostLinks; link += 1) {
    const at = chain.at(-1);
    if (at === undefined) return undefined;
    const root = roots.find((one) => hasSigned(one, at));
    if (root !== undefined) reached = true;
    else if (reached) break;
    const next = root ?? sent[link + 1];
    // Whoever has signed himself has nobody above.
    if (next === undefined || next.fingerprint256 === at.fingerprint256 || !hasSigned(next, at)) break;
    chain.push(next);
  }
  return reached ? chain : undefined;
}

function hasSigned(issuer: X509Certificate, signed: X509Certificate): boolean {
  return issuer.ca && signed.checkIssued(issuer) && signed.verify(issuer.publicKey);
}
