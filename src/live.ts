/**
 * What of a node changes while it runs, when its configuration has been read again: objects and boxes that are changed in
 * place, and that who uses them reads at each use (core/live). Which settings these are is in config/changes.
 */
import type { Config } from './config/config.ts';
import type { LoadOptions } from './core/job.ts';
import { defaultLoadOptions } from './core/load-options.ts';
import type { ClientTls } from './core/node-tls.ts';
import { ReadPolicies } from './core/read-policy.ts';
import type { GuardSettings } from './core/reader-guard.ts';
import type { RetrySettings } from './core/retry.ts';
import { type NodeTls, readEtcdTls, readNodeTls } from './node-tls.ts';
import type { S3AccessOptions } from './server/s3/access.ts';

type Changing<T> = { -readonly [K in keyof T]: T[K] };

export interface Live {
  /** Undefined: nothing is asked for, until a restart. */
  readonly apiToken: { now: string } | undefined;
  /** Beside it. */
  readonly tokens: { now: Config['tokens'] };
  /** Of people and programs. */
  readonly certificates: { now: Config['certificates'] };
  readonly clusterToken: { now: string } | undefined;
  readonly retry: Changing<RetrySettings>;
  readonly loadDefaults: Changing<LoadOptions>;
  readonly s3: Changing<S3AccessOptions>;
  readonly policies: ReadPolicies;
  readonly ufs: { now: Config['ufs'] };
  readonly guard: Changing<GuardSettings>;
  readonly tls: NodeTls;
  /** For connections to etcd; empty where there is none. */
  readonly etcdTls: ClientTls;
}

/** Throws CONFIG_INVALID for certificates that cannot be used. */
export function makeLive(config: Config): Live {
  const { apiToken, cluster, ingest, s3 } = config;
  return {
    apiToken: apiToken === undefined ? undefined : { now: apiToken },
    tokens: { now: config.tokens },
    certificates: { now: config.certificates },
    clusterToken: cluster.token === undefined ? undefined : { now: cluster.token },
    retry: { ...ingest.retry },
    loadDefaults: loadDefaultsOf(config),
    s3: { keys: s3.keys, anonymous: s3.anonymous },
    policies: new ReadPolicies(config.reading),
    ufs: { now: config.ufs },
    guard: { ...config.worker.guard },
    tls: readNodeTls(config),
    etcdTls: cluster.etcd === undefined ? {} : readEtcdTls(cluster.etcd),
  };
}

/** Those settings of `config` for which `changed` is true, by their paths. */
export function changeLive(live: Live, config: Config, changed: (path: string) => boolean): void {
  const { apiToken, cluster, ingest, s3 } = config;
  if (live.apiToken !== undefined && apiToken !== undefined && changed('api_token')) live.apiToken.now = apiToken;
  if (
    live.clusterToken !== undefined &&
    cluster.token !== undefined &&
    (changed('cluster.token') || changed('api_token'))
  )
    live.clusterToken.now = cluster.token;
  if (changed('token[')) live.tokens.now = config.tokens;
  if (changed('certificate[')) live.certificates.now = config.certificates;
  if (changed('ingest.')) Object.assign(live.retry, ingest.retry);
  if (changed('job.batch_size')) live.loadDefaults.batchSize = config.job.batchSize;
  if (changed('reading.') || changed('ufs[')) live.policies.configure(config.reading);
  if (changed('ufs[')) live.ufs.now = config.ufs;
  if (changed('worker.')) Object.assign(live.guard, config.worker.guard);
  if (changed('s3.')) Object.assign(live.s3, { keys: s3.keys, anonymous: s3.anonymous });
}

/** Other certificates in the place of those that were there, and none where there was none. */
export function changeTls(live: Live, next: { readonly tls: NodeTls; readonly etcdTls: ClientTls }): void {
  replace(live.tls.server, next.tls.server);
  replace(live.tls.client, next.tls.client);
  replace(live.etcdTls, next.etcdTls);
}

function replace<T extends object>(target: T | undefined, source: T | undefined): void {
  if (target === undefined || source === undefined) return;
  // What may be taken away while the node runs.
  if ('revocations' in target && !('revocations' in source)) delete (target as { revocations?: unknown }).revocations;
  Object.assign(target, source);
}

function loadDefaultsOf({ job: { batchSize, segmentBytes } }: Config): LoadOptions {
  return { ...defaultLoadOptions, batchSize, segmentBytes };
}
