/**
 * The fastest origin that a load can meet on one machine: nginx with sendfile. It answers ranges, ETag and If-Match by
 * itself; ListObjectsV2 is answered from pages written beforehand. Path style, whole buckets only (an empty prefix),
 * no authentication. Plain, and TLS with a certificate made on the spot. On loopback, or on a machine of a network (netns.ts).
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Dataset } from '../support/dataset.ts';
import type { Machine } from '../support/ground.ts';
import { childrenOf, freePort, startChild, waitUntilReady } from '../support/process.ts';
import type { Workspace } from '../support/workspace.ts';

export interface NginxOrigin {
  readonly endpoint: string;
  readonly port: number;
  /** Of the master and its workers. */
  pids(): readonly number[];
  /** Present with `tls`. */
  readonly tls?: { readonly endpoint: string; readonly port: number; readonly certificatePath: string };
  stop(): Promise<void>;
}

const keysPerPage = 1000;

/** Serves datasets that lie below one root. The origin ends with the workspace at the latest. */
export async function startNginx(
  workspace: Workspace,
  order: { root: string; datasets: readonly Dataset[]; tls?: boolean; machine?: Machine },
): Promise<NginxOrigin> {
  const { address, by } = order.machine ?? { address: '127.0.0.1', by: [] };
  const dir = workspace.folder('nginx');
  const port = await freePort();
  const tls = order.tls ? { port: await freePort(), ...makeCertificate(dir) } : undefined;
  const tokens = order.datasets.map((dataset) => writeListing(join(dir, 'lists'), dataset));
  writeFileSync(
    join(dir, 'nginx.conf'),
    configuration({ dir, root: order.root, address, port, tls, datasets: order.datasets, tokens }),
  );

  const child = startChild([...by, 'nginx', '-e', 'stderr', '-c', join(dir, 'nginx.conf')], {
    logPath: join(dir, 'nginx.log'),
  });
  workspace.defer(() => child.stop());
  // It writes its id when it listens.
  await waitUntilReady(child, async () => existsSync(join(dir, 'nginx.pid')), 10_000);
  return {
    endpoint: `http://${address}:${port}`,
    port,
    pids: () => [child.pid, ...childrenOf(child.pid)],
    ...(tls && {
      tls: { endpoint: `https://${address}:${tls.port}`, port: tls.port, certificatePath: tls.certificatePath },
    }),
    stop: () => child.stop(),
  };
}

/** Writes the pages of one bucket; gives the last key of each page but the last, which is how a listing goes on. */
function writeListing(listsDir: string, dataset: Dataset): readonly string[] {
  mkdirSync(listsDir, { recursive: true });
  const pageCount = Math.max(1, Math.ceil(dataset.objects.length / keysPerPage));
  const lastKeys: string[] = [];
  for (let page = 0; page < pageCount; page += 1) {
    const objects = dataset.objects.slice(page * keysPerPage, (page + 1) * keysPerPage);
    const isLast = page === pageCount - 1;
    const lines = [
      '<?xml version="1.0" encoding="UTF-8"?>',
      '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">',
      `<Name>${dataset.bucket}</Name><Prefix></Prefix><MaxKeys>${keysPerPage}</MaxKeys>`,
      `<KeyCount>${objects.length}</KeyCount><IsTruncated>${!isLast}</IsTruncated>`,
      ...(isLast ? [] : [`<NextContinuationToken>page${page + 1}</NextContinuationToken>`]),
      ...objects.map(({ key }) => contentsXml(key, join(dataset.root, dataset.bucket, key))),
      '</ListBucketResult>',
    ];
    writeFileSync(join(listsDir, `${dataset.bucket}.${page}.xml`), `${lines.join('\n')}\n`);
    if (!isLast) lastKeys.push(objects.at(-1)!.key);
  }
  return lastKeys;
}

/** The keys of bench datasets hold nothing that XML or a URL would escape, apart from the slash. */
function contentsXml(key: string, path: string): string {
  const { mtimeMs, size } = statSync(path);
  const seconds = Math.floor(mtimeMs / 1000);
  // nginx makes its ETag of modification time and size, both in hexadecimal.
  const etag = `${seconds.toString(16)}-${size.toString(16)}`;
  return (
    `<Contents><Key>${key}</Key><LastModified>${new Date(seconds * 1000).toISOString()}</LastModified>` +
    `<ETag>&quot;${etag}&quot;</ETag><Size>${size}</Size><StorageClass>STANDARD</StorageClass></Contents>`
  );
}

function makeCertificate(dir: string): { certificatePath: string; keyPath: string } {
  const certificatePath = join(dir, 'cert.pem');
  const keyPath = join(dir, 'key.pem');
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
  const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
  execFileSync('openssl', ['req', '-x509', ...curve, ...subject, '-keyout', keyPath, '-out', certificatePath], {
    stdio: 'ignore',
  });
  return { certificatePath, keyPath };
}

function configuration(order: {
  dir: string;
  root: string;
  address: string;
  port: number;
  tls: { port: number; certificatePath: string; keyPath: string } | undefined;
  datasets: readonly Dataset[];
  tokens: readonly (readonly string[])[];
}): string {
  const { dir, root, address, port, tls, datasets, tokens } = order;
  // A listing is continued by token, or by `start-after` with the last key of a page; both lead to the same file.
  const pagesOf = (keys: readonly string[]) =>
    keys.map(
      (key, i) => `    "~[?&]?start-after=${key.replaceAll('.', '[.]').replaceAll('/', '(?:/|%2F)')}(&|$)" ${i + 1};`,
    );
  return `
daemon off; master_process on; worker_processes 1; pid ${dir}/nginx.pid;
${process.getuid?.() === 0 ? 'user root;' : ''}
events { worker_connections 4096; }
http {
  sendfile on; sendfile_max_chunk 1m;
  # Held-back segments make 64 KiB answers wait 40 ms for the acknowledgement of the one before.
  tcp_nopush off; tcp_nodelay on;
  keepalive_requests 10000000; keepalive_timeout 300s;
  client_body_temp_path ${dir}/body; proxy_temp_path ${dir}/proxy; fastcgi_temp_path ${dir}/fastcgi;
  uwsgi_temp_path ${dir}/uwsgi; scgi_temp_path ${dir}/scgi;
  access_log off;
  types { application/xml xml; } default_type application/octet-stream;
  variables_hash_max_size 4096; map_hash_max_size 65536; map_hash_bucket_size 256;
  map $args $token_page { default 0; "~continuation-token=page(?<page>[0-9]+)" $page; }
${datasets.map((_, i) => `  map $args $page_of_${i} { default $token_page;\n${pagesOf(tokens[i] ?? []).join('\n')}\n  }`).join('\n')}
  server {
    listen ${address}:${port} backlog=4096;
    ${tls ? `listen ${address}:${tls.port} ssl; ssl_certificate ${tls.certificatePath}; ssl_certificate_key ${tls.keyPath};` : ''}
    root ${root};
    location /lists/ { internal; root ${dir}; }
${datasets.map((dataset, i) => `    location ~ ^/${dataset.bucket}/?$ { rewrite ^ /lists/${dataset.bucket}.$page_of_${i}.xml last; }`).join('\n')}
  }
}
`;
}
