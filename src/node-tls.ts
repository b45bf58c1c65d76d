/** The keys and certificates of a node. */
import type { Config } from './config/config.ts';
import type { EtcdConfig } from './config/etcd.ts';
import {
  problemsWithOwn,
  readClientCa,
  readRevocations,
  readTlsFiles,
  type TlsFiles,
  type TlsProblem,
} from './config/tls-files.ts';
import { PrimedError } from './core/errors.ts';
import type { ClientTls, ServerTls } from './core/node-tls.ts';

export interface NodeTls {
  /** Undefined: its ports speak no TLS. */
  readonly server?: ServerTls;
  /** For connections to other nodes; undefined: nothing but the system's certificates. */
  readonly client?: ClientTls;
}

/** Throws CONFIG_INVALID, naming the settings. */
export function readNodeTls({ tls, role, cluster }: Config): NodeTls {
  const { ca, cert, key } = read('tls', { caFile: tls.caFile, ...tls.own });
  const { backend, host } = cluster;
  refuse(
    'tls',
    problemsWithOwn({ ...(ca && { ca }), ...(cert && { cert }) }, { role, backend, host, nodes: tls.nodes }),
  );
  const shows = cert === undefined || key === undefined ? undefined : { cert, key };
  const mtls = tls.nodes === 'mtls';
  const nodeCa = mtls ? ca : undefined;
  const { pem: peopleCa, problem } = readClientCa(tls.clientCaFile, nodeCa);
  if (problem !== undefined) throw new PrimedError('CONFIG_INVALID', `tls.client_ca_file: ${problem}`);
  const asked = [nodeCa, peopleCa].filter((one) => one !== undefined);
  const { revocations, problem: badList } = readRevocations(tls.crlFile, [ca, peopleCa]);
  if (badList !== undefined) throw new PrimedError('CONFIG_INVALID', `tls.crl_file: ${badList}`);
  return {
    ...(shows && {
      server: {
        ...shows,
        ...(asked.length > 0 && { clientCa: asked.join('\n') }),
        ...(nodeCa !== undefined && { nodeCa }),
        ...(peopleCa !== undefined && { peopleCa }),
        ...(asked.length > 0 && revocations !== undefined && { revocations }),
      },
    }),
    ...((ca !== undefined || mtls) && {
      client: {
        ...(ca !== undefined && { ca, ...(revocations !== undefined && { revocations }) }),
        ...(mtls && shows),
      },
    }),
  };
}

/** Of the S3 port, which has keys of its own: people are asked for no certificate there. */
export function s3Tls({ cert, key, nodeCa }: ServerTls): ServerTls {
  return { cert, key, ...(nodeCa !== undefined && { clientCa: nodeCa }) };
}

/** For connections to etcd. Throws CONFIG_INVALID, naming the settings. */
export function readEtcdTls(files: EtcdConfig): ClientTls {
  return read('cluster.etcd', files);
}

function read(table: string, { caFile, certFile, keyFile }: TlsFiles): ClientTls {
  const { pem, problems } = readTlsFiles({ caFile, certFile, keyFile });
  refuse(table, problems);
  return pem;
}

function refuse(table: string, problems: readonly TlsProblem[]): void {
  if (problems.length === 0) return;
  const message = problems.map(({ setting, problem }) => `${table}.${setting}: ${problem}`).join('\n');
  throw new PrimedError('CONFIG_INVALID', message);
}
