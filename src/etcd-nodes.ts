/** What a node is made of where etcd knows the workers: its client, and membership on it. */
import { type Etcd, openEtcd } from './cluster/etcd/index.ts';
import { openEtcdRegistrar } from './cluster/etcd-registrar.ts';
import { openEtcdRegistry } from './cluster/etcd-registry.ts';
import type { JobServiceOptions } from './cluster/job-service.ts';
import type { PinsStore } from './cluster/limits-store.ts';
import type { Registrar, RegistrarOptions } from './cluster/registrar.ts';
import { watchCoordinators } from './cluster/shared/coordinators.ts';
import { openSharedJobs } from './cluster/shared/shared-jobs.ts';
import { openSharedLimits, openSharedPins } from './cluster/shared/shared-limits.ts';
import type { OpenJobService } from './cluster/types.ts';
import { urlOf } from './config/config.ts';
import type { EtcdConfig } from './config/etcd.ts';
import type { KnownWorkers, NodeBase } from './node.ts';
import type { SharedByCoordinators } from './origin-limits.ts';
import { systemClock } from './platform/index.ts';

/** The one of this node, opened when it is first asked for. Nothing is asked of etcd yet. */
export function etcdOf({ config, live, log, opened }: NodeBase): Etcd {
  const settings = settingsOf(config.cluster);
  const { endpoints, username, password, timeoutMs } = settings;
  opened.etcd ??= openEtcd({
    endpoints,
    timeoutMs,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    tls: live.etcdTls,
    clock: systemClock,
    log,
  });
  return opened.etcd;
}

/** The coordinator's side: the workers are known as soon as etcd has been read. */
export function etcdRegistry(base: NodeBase): KnownWorkers {
  const { cluster } = base.config;
  const registry = openEtcdRegistry({ ...commonOf(base), timeoutMs: settingsOf(cluster).timeoutMs });
  base.opened.trouble = () => (registry.problem() === undefined ? undefined : 'etcd is not reached; the log says why');
  return { registry, settled: registry.loaded, order: () => registry.order() };
}

/** Jobs that are shared with the other coordinators. */
export async function etcdJobs(base: NodeBase, options: JobServiceOptions): Promise<OpenJobService> {
  const { config, opened } = base;
  const { coordinatorLeaseMs } = settingsOf(config.cluster);
  const jobs = await openSharedJobs({
    ...options,
    dir: config.sharedJobsDir,
    etcd: etcdOf(base),
    root: jobsRoot(config),
    url: ownUrl(base),
    release: PRIMED_VERSION,
    leaseMs: coordinatorLeaseMs,
  });
  const workers = opened.trouble;
  // Anybody may ask for the health: details are in the log, and in the answers to clients.
  opened.trouble = () =>
    workers?.() ??
    (jobs.trouble() === undefined ? undefined : 'no lease in etcd, so that jobs pause; the log says why');
  return jobs;
}

/** Limits of origins that are shared with the other coordinators, and how many those are. */
export function etcdLimits(base: NodeBase): SharedByCoordinators {
  const { config, log } = base;
  const etcd = etcdOf(base);
  const store = openSharedLimits({ etcd, key: `${settingsOf(config.cluster).prefix}limits`, log });
  const coordinators = watchCoordinators(etcd, jobsRoot(config), log);
  const own = ownUrl(base);
  // Of a coordinator that was killed and is back, etcd has two keys for as long as its lease.
  const count = (): number => new Set([own, ...coordinators.urls()]).size;
  return {
    store,
    fellows: {
      count: () => (coordinators.known ? count() : undefined),
      onChange: (listener) => coordinators.onChange(listener),
    },
  };
}

/** Pins that are shared with the other coordinators. */
export function etcdPins(base: NodeBase): PinsStore {
  const { config, log } = base;
  return openSharedPins({ etcd: etcdOf(base), key: `${settingsOf(config.cluster).prefix}pins`, log });
}

/** Where a worker finds a coordinator for its clients: all that live. */
export function etcdCoordinators(base: NodeBase): () => readonly string[] {
  const coordinators = watchCoordinators(etcdOf(base), jobsRoot(base.config), base.log);
  return () => coordinators.urls();
}

function jobsRoot({ cluster }: NodeBase['config']): string {
  return `${settingsOf(cluster).prefix}jobs/`;
}

/** Of this coordinator's API, for people and for workers. */
function ownUrl({ config, live }: NodeBase): string {
  return urlOf({ host: config.cluster.host, port: config.api.listen.port }, live.tls.server !== undefined);
}

/** The worker's side. */
export function etcdRegistrar(
  base: NodeBase,
  self: Pick<RegistrarOptions, 'id' | 'address' | 'figures' | 'holdBack' | 'observe'>,
): Registrar {
  const registrar = openEtcdRegistrar({ ...commonOf(base), ...self });
  base.opened.trouble = () => {
    if (registrar.problem() === undefined) return undefined;
    return registrar.epoch() === undefined
      ? 'not registered in etcd; the log says why'
      : 'etcd is not reached; the log says why';
  };
  return registrar;
}

function commonOf(base: NodeBase) {
  const { name, leaseMs } = base.config.cluster;
  const prefix = `${settingsOf(base.config.cluster).prefix}workers/`;
  return { etcd: etcdOf(base), prefix, cluster: name, leaseMs, clock: systemClock, log: base.log };
}

function settingsOf({ etcd }: NodeBase['config']['cluster']): EtcdConfig {
  if (etcd === undefined) throw new TypeError('the backend is not etcd');
  return etcd;
}
