/** Reads the keys and certificates of a node, and checks that they belong together. */
import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import type { Config } from './config/config.ts';
import type { EtcdConfig } from './config/etcd.ts';
import { PrimedError, reportOf } from './core/errors.ts';
import type { ClientTls, ServerTls } from './core/node-tls.ts';

export interface NodeTls {
  /** Undefined: its ports speak no TLS. */
  readonly server?: ServerTls;
  /** For connections to other nodes; undefined: nothing but the system's certificates. */
  readonly client?: ClientTls;
}

/** Throws CONFIG_INVALID, naming the setting. */
export function readNodeTls({ tls }: Config): NodeTls {
  const ca = tls.caFile === undefined ? undefined : read('tls.ca_file', tls.caFile);
  if (ca !== undefined) check({ ca }, `tls.ca_file: ${tls.caFile} has no certificates in PEM`);
  const shows = tls.own && {
    cert: read('tls.cert_file', tls.own.certFile),
    key: read('tls.key_file', tls.own.keyFile),
  };
  if (tls.own !== undefined && shows !== undefined) {
    check({ cert: shows.cert }, `tls.cert_file: ${tls.own.certFile} has no certificate in PEM`);
    check(shows, `tls.key_file: ${tls.own.keyFile} is not the key of ${tls.own.certFile}`);
  }
  const mtls = tls.nodes === 'mtls';
  return {
    ...(shows && { server: { ...shows, ...(mtls && ca !== undefined && { clientCa: ca }) } }),
    ...((ca !== undefined || mtls) && { client: { ...(ca !== undefined && { ca }), ...(mtls && shows) } }),
  };
}

/** For connections to etcd. Throws CONFIG_INVALID, naming the setting. */
export function readEtcdTls({ caFile, certFile, keyFile }: EtcdConfig): ClientTls {
  const ca = caFile === undefined ? {} : { ca: read('cluster.etcd.ca_file', caFile) };
  if (caFile !== undefined) check(ca, `cluster.etcd.ca_file: ${caFile} has no certificates in PEM`);
  if (certFile === undefined || keyFile === undefined) return ca;
  const shows = { cert: read('cluster.etcd.cert_file', certFile), key: read('cluster.etcd.key_file', keyFile) };
  check({ cert: shows.cert }, `cluster.etcd.cert_file: ${certFile} has no certificate in PEM`);
  check(shows, `cluster.etcd.key_file: ${keyFile} is not the key of ${certFile}`);
  return { ...ca, ...shows };
}

function read(setting: string, file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    throw new PrimedError('CONFIG_INVALID', `${setting}: ${reportOf(cause).message}`, { setting }, { cause });
  }
}

function check(pem: ClientTls, problem: string): void {
  try {
    createSecureContext(pem);
  } catch (cause) {
    throw new PrimedError('CONFIG_INVALID', `${problem} (${reportOf(cause).message})`, {}, { cause });
  }
}
