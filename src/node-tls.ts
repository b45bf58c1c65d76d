/** The keys and certificates of a node. */
import type { Config } from './config/config.ts';
import type { EtcdConfig } from './config/etcd.ts';
import { readTlsFiles, type TlsFiles } from './config/tls-files.ts';
import { PrimedError } from './core/errors.ts';
import type { ClientTls, ServerTls } from './core/node-tls.ts';

export interface NodeTls {
  /** Undefined: its ports speak no TLS. */
  readonly server?: ServerTls;
  /** For connections to other nodes; undefined: nothing but the system's certificates. */
  readonly client?: ClientTls;
}

/** Throws CONFIG_INVALID, naming the settings. */
export function readNodeTls({ tls }: Config): NodeTls {
  const { ca, cert, key } = read('tls', { caFile: tls.caFile, ...tls.own });
  const shows = cert === undefined || key === undefined ? undefined : { cert, key };
  const mtls = tls.nodes === 'mtls';
  return {
    ...(shows && { server: { ...shows, ...(mtls && ca !== undefined && { clientCa: ca }) } }),
    ...((ca !== undefined || mtls) && { client: { ...(ca !== undefined && { ca }), ...(mtls && shows) } }),
  };
}

/** For connections to etcd. Throws CONFIG_INVALID, naming the settings. */
export function readEtcdTls(files: EtcdConfig): ClientTls {
  return read('cluster.etcd', files);
}

function read(table: string, { caFile, certFile, keyFile }: TlsFiles): ClientTls {
  const { pem, problems } = readTlsFiles({ caFile, certFile, keyFile });
  if (problems.length === 0) return pem;
  const message = problems.map(({ setting, problem }) => `${table}.${setting}: ${problem}`).join('\n');
  throw new PrimedError('CONFIG_INVALID', message);
}
