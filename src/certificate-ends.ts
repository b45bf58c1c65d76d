/** When the certificates that are in use end, for the metrics. */
import { X509Certificate } from 'node:crypto';
import { revocationsOf } from './certificates.ts';
import type { Live } from './live.ts';
import type { certificateUses } from './telemetry/daemon-metrics.ts';
import type { Telemetry } from './telemetry/registry.ts';

const msPerSecond = 1000;

/** Those that hold at each scrape: they may be replaced while the node runs. */
export function showCertificates({ gauges, onScrape }: Telemetry, live: Pick<Live, 'tls' | 'etcdTls'>): void {
  const ends = new Map<string, number | undefined>();
  onScrape(() => {
    gauges.certificateExpiry.reset();
    const listEnds = revocationsOf(live)?.ends.map(({ endsMs = Infinity }) => endsMs) ?? [];
    const firstMs = Math.min(...listEnds);
    if (firstMs < Infinity) gauges.certificateExpiry.set({ use: 'crl' }, firstMs / msPerSecond);
    const inUse = Object.entries(certificatesOf(live)).filter(([, pem]) => pem !== undefined) as [string, string][];
    for (const [use, pem] of inUse) {
      // Certificates are parsed once, not at each scrape.
      if (!ends.has(pem)) ends.set(pem, firstEndMs(pem));
      const endMs = ends.get(pem);
      if (endMs !== undefined) gauges.certificateExpiry.set({ use }, endMs / msPerSecond);
    }
    for (const pem of ends.keys()) if (!inUse.some(([, used]) => used === pem)) ends.delete(pem);
  });
}

function certificatesOf({
  tls: { server, client },
  etcdTls,
}: Pick<Live, 'tls' | 'etcdTls'>): Record<Exclude<(typeof certificateUses)[number], 'crl'>, string | undefined> {
  return {
    node: server?.cert ?? client?.cert,
    ca: client?.ca ?? server?.nodeCa,
    'client-ca': server?.peopleCa,
    etcd: etcdTls.cert,
    'etcd-ca': etcdTls.ca,
  };
}

/**
 * When the first of several certificates in PEM ends, in milliseconds since the epoch; undefined: none of them can be read. The first, because a
 * chain with one that has ended is refused by those who see it.
 */
export function firstEndMs(pem: string): number | undefined {
  const ends = [...pem.matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)].flatMap(([one]) => {
    try {
      return [Date.parse(new X509Certificate(one).validTo)];
    } catch {
      return [];
    }
  });
  return ends.length === 0 ? undefined : Math.min(...ends);
}
