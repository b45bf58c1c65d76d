/** The configuration as the program uses it: parsed, complete, checked, and with units in the names. */

import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { NamedCertificate } from '../core/certificates.ts';
import { limitedOrigin, makeLimit, type OriginLimit } from '../core/origin-limits.ts';
import type { PriceTable } from '../core/price.ts';
import type { GuardSettings } from '../core/reader-guard.ts';
import type { RetrySettings } from '../core/retry.ts';
import type { NamedToken } from '../core/roles.ts';
import type { ScrubPace } from '../core/scrub.ts';
import { certificatesOf } from './client-certificates.ts';
import { lanesOf, memoryBudgetOf, readCacheOf, type StorePlace, servingThreadsOf, storesOf } from './defaults.ts';
import type { Draft, Source } from './draft.ts';
import { type EtcdConfig, etcdOf, portOthersCall } from './etcd.ts';
import { type Listen, parseListen } from './forms.ts';
import { pricesOf } from './price.ts';
import { type ReadingConfig, readingOf } from './reading.ts';
import { type RetentionConfig, retentionOf } from './retention.ts';
import { type S3Config, s3Of } from './s3.ts';
import { scrubOf } from './scrub.ts';
import { tokensOf } from './tokens.ts';
import { type TracesConfig, tracesOf } from './traces.ts';

export type Role = 'standalone' | 'coordinator' | 'worker';

export interface UfsConfig {
  readonly prefix: string;
  readonly endpoint?: string;
  readonly region?: string;
  /** Undefined: in the path unless the endpoint, wherever it comes from, is Amazon's. */
  readonly pathStyle?: boolean;
  readonly anonymous: boolean;
  readonly accessKeyId?: string;
  readonly secretAccessKey?: string;
  readonly profile?: string;
  readonly caFile?: string;
}

export interface Config {
  readonly role: Role;
  readonly dataDir: string;
  /** Below `dataDir`: the coordinator's jobs and manifests. */
  readonly jobsDir: string;
  /** The same of jobs that are shared with other coordinators. */
  readonly sharedJobsDir: string;
  /** Below `dataDir`: the coordinator's list of workers. */
  readonly workersDir: string;
  /** Below `dataDir`: the worker's index. */
  readonly indexDir: string;
  /** Below `dataDir`: what the worker keeps of what happened to files. */
  readonly historyDir: string;
  readonly insecure: boolean;
  readonly apiToken?: string;
  /** Beside it. */
  readonly tokens: readonly NamedToken[];
  /** Of people and programs. */
  readonly certificates: readonly NamedCertificate[];
  readonly api: { readonly listen: Listen };
  readonly worker: {
    readonly httpListen: Listen;
    readonly s3Listen: Listen;
    readonly memoryBudgetBytes: number;
    readonly lanes: number;
    readonly partBytes: number;
    readonly socketsPerLane: number;
    readonly smallObjectMaxBytes: number;
    readonly servingThreads: number;
    readonly readCacheBytes: number;
    readonly guard: GuardSettings;
    readonly diskEngine: 'auto' | 'io_uring' | 'threads';
    readonly diskTimeoutMs: number;
    readonly stores: readonly StorePlace[];
  };
  readonly cluster: {
    readonly backend: 'embedded' | 'etcd';
    readonly name: string;
    /** There if it is the backend. */
    readonly etcd?: EtcdConfig;
    /** What coordinator and workers send each other; undefined: nothing is asked for. */
    readonly token?: string;
    /** The coordinator's. */
    readonly leaseMs: number;
    /** The worker's, as all that follow. As it was written: the client of the API reads it. */
    readonly coordinator: string;
    readonly id: string;
    readonly host: string;
    readonly zone?: string;
  };
  readonly store: RetentionConfig;
  readonly s3: S3Config;
  readonly reading: ReadingConfig;
  readonly scrub: ScrubPace;
  readonly tls: {
    /** What the ports of this node show; undefined: they speak no TLS. */
    readonly own?: { readonly certFile: string; readonly keyFile: string };
    /** Trusted in place of the system's certificates. */
    readonly caFile?: string;
    /** Who has signed certificates of people and programs. */
    readonly clientCaFile?: string;
    /** Lists of revoked certificates, of both. */
    readonly crlFile?: string;
    /** By what nodes of the cluster know each other. */
    readonly nodes: 'token' | 'mtls';
    /** Whether the S3 port speaks TLS too, where the others do. */
    readonly s3: boolean;
  };
  readonly ingest: {
    readonly retry: RetrySettings;
    readonly timeouts: { readonly connectMs: number; readonly firstByteMs: number; readonly stallMs: number };
  };
  readonly ufs: readonly UfsConfig[];
  /** Of each entry that is a whole origin; those without a limit are exceptions from a shorter one. */
  readonly originLimits: readonly OriginLimit[];
  readonly job: {
    readonly batchSize: number;
    readonly segmentBytes: number;
    readonly retentionMs: number;
    readonly maxActive: number;
    readonly maxWaiting: number;
    readonly maxEnded: number;
    readonly onChange: 'restart' | 'fail';
    readonly maxRestarts: number;
  };
  /** Of requests to origins; undefined: there are none. */
  readonly prices: PriceTable | undefined;
  readonly log: { readonly level: 'debug' | 'info' | 'warn' | 'error'; readonly pretty: boolean };
  /** Undefined: nobody collects traces. */
  readonly traces?: TracesConfig;
  /** Every value that is set or has a default, by its path in the file; secrets too. */
  readonly values: Draft['values'];
  /** Where each value came from, by its path in the file (`worker.lanes`, `ufs[0].endpoint`). */
  readonly sources: ReadonlyMap<string, Source>;
}

/** Turns a draft without errors into the configuration. */
export function configOf(role: Role, draft: Draft): Config {
  const get = <T>(key: string): T => draft.values.get(key) as T;
  const listenAt = (key: string): Listen => parseListen(get<string>(key))!;
  const dataDir = get<string>('data_dir');
  const apiToken = get<string | undefined>('api_token');
  const traces = tracesOf(draft);
  return {
    role,
    dataDir,
    jobsDir: join(dataDir, 'jobs'),
    sharedJobsDir: join(dataDir, 'shared-jobs'),
    workersDir: join(dataDir, 'workers'),
    indexDir: join(dataDir, 'index'),
    historyDir: join(dataDir, 'history'),
    insecure: get('insecure'),
    ...(apiToken === undefined ? {} : { apiToken }),
    tokens: tokensOf(draft),
    certificates: certificatesOf(draft),
    api: { listen: listenAt('api.listen') },
    worker: {
      httpListen: listenAt('worker.http_listen'),
      s3Listen: listenAt('worker.s3_listen'),
      memoryBudgetBytes: memoryBudgetOf(draft),
      lanes: lanesOf(draft),
      partBytes: get('worker.part_size'),
      socketsPerLane: get('worker.sockets_per_lane'),
      smallObjectMaxBytes: get('worker.small_object_max'),
      servingThreads: servingThreadsOf(draft),
      readCacheBytes: readCacheOf(draft),
      guard: { enabled: get('worker.yield_to_readers'), floor: get('worker.load_floor') },
      diskEngine: get('worker.disk_engine'),
      diskTimeoutMs: get('worker.disk_timeout'),
      // In a file that all roles share they may lie on disks that this machine does not have.
      stores: role === 'coordinator' ? [] : storesOf(draft),
    },
    cluster: clusterOf(draft, role),
    store: retentionOf(draft),
    s3: s3Of(draft),
    reading: readingOf(draft),
    scrub: scrubOf(draft),
    tls: tlsOf(draft),
    ingest: {
      retry: {
        maxAttempts: get('ingest.max_attempts'),
        maxThrottledAttempts: get('ingest.max_throttled_attempts'),
        baseMs: get('ingest.retry_base'),
        maxMs: get('ingest.retry_max'),
        budgetRatio: get('ingest.retry_budget'),
        budgetFloor: get('ingest.retry_budget_floor'),
      },
      timeouts: {
        connectMs: get('ingest.connect_timeout'),
        firstByteMs: get('ingest.first_byte_timeout'),
        stallMs: get('ingest.stall_timeout'),
      },
    },
    ufs: Array.from({ length: draft.counts.get('ufs') ?? 0 }, (_, index) => ufsOf(draft, index)),
    originLimits: limitsOf(draft),
    job: {
      batchSize: get('job.batch_size'),
      segmentBytes: get('job.segment_size'),
      retentionMs: get('job.retention'),
      maxActive: get('job.max_active'),
      maxWaiting: get('job.max_waiting'),
      maxEnded: get('job.max_ended'),
      onChange: get('job.changed_object'),
      maxRestarts: get('job.max_restarts'),
    },
    prices: pricesOf(draft),
    log: { level: get('log.level'), pretty: get('log.pretty') },
    ...(traces === undefined ? {} : { traces }),
    values: draft.values,
    sources: draft.sources,
  };
}

/** `host` is where others find this node: a coordinator by its API, a worker by its HTTP port. */
export function clusterOf(draft: Draft, role: Role): Config['cluster'] {
  const { values } = draft;
  const optional = (key: string): string | undefined => values.get(key) as string | undefined;
  const token = optional('cluster.token') ?? optional('api_token');
  const zone = optional('cluster.zone');
  const listen = values.get(portOthersCall(role)) as string;
  const host = optional('cluster.host') ?? reachableHost(parseListen(listen)!);
  const etcd = etcdOf(draft);
  return {
    backend: values.get('cluster.backend') as 'embedded' | 'etcd',
    name: values.get('cluster.name') as string,
    ...(etcd === undefined ? {} : { etcd }),
    ...(token === undefined ? {} : { token }),
    leaseMs: values.get('cluster.lease') as number,
    coordinator: values.get('cluster.coordinator') as string,
    id: optional('cluster.id') ?? host,
    host,
    ...(zone === undefined ? {} : { zone }),
  };
}

function tlsOf({ values }: Draft): Config['tls'] {
  const [certFile, keyFile, caFile, clientCaFile, crlFile] = [
    ...['cert_file', 'key_file', 'ca_file', 'client_ca_file', 'crl_file'],
  ].map((name) => values.get(`tls.${name}`) as string | undefined);
  return {
    ...(certFile === undefined || keyFile === undefined ? {} : { own: { certFile, keyFile } }),
    ...(caFile === undefined ? {} : { caFile }),
    ...(clientCaFile === undefined ? {} : { clientCaFile }),
    ...(crlFile === undefined ? {} : { crlFile }),
    nodes: values.get('tls.nodes') as 'token' | 'mtls',
    s3: values.get('tls.s3') as boolean,
  };
}

/** All addresses of a machine are none that others could connect to. */
function reachableHost({ host }: Listen): string {
  return host === '0.0.0.0' || /^[0:]+$/.test(host) ? hostname() : host;
}

function ufsOf(draft: Draft, index: number): UfsConfig {
  const get = <T>(name: string): T | undefined => draft.values.get(`ufs[${index}].${name}`) as T | undefined;
  const optional = <K extends string>(key: K, name: string): { [P in K]?: string } => {
    const value = get<string>(name);
    return (value === undefined ? {} : { [key]: value }) as { [P in K]?: string };
  };
  const pathStyle = get<boolean>('path_style');
  return {
    prefix: get<string>('prefix')!,
    ...optional('endpoint', 'endpoint'),
    ...optional('region', 'region'),
    ...(pathStyle === undefined ? {} : { pathStyle }),
    anonymous: get<boolean>('anonymous') ?? false,
    ...optional('accessKeyId', 'access_key_id'),
    ...optional('secretAccessKey', 'secret_access_key'),
    ...optional('profile', 'profile'),
    ...optional('caFile', 'ca_file'),
  };
}

function limitsOf(draft: Draft): OriginLimit[] {
  const limits: OriginLimit[] = [];
  for (let index = 0; index < (draft.counts.get('ufs') ?? 0); index++) {
    const get = <T>(name: string): T | undefined => draft.values.get(`ufs[${index}].${name}`) as T | undefined;
    const prefix = get<string>('prefix')!;
    if (/^s3:\/\/[^/]+\/./.test(prefix)) continue;
    const rates = {
      bytesPerSecond: get<number>('max_bandwidth'),
      requestsPerSecond: get<number>('max_requests_per_second'),
    };
    limits.push(makeLimit(limitedOrigin(prefix), rates));
  }
  // Nothing is limited: there is nothing to make an exception from either.
  const some = limits.some((limit) => limit.bytesPerSecond !== undefined || limit.requestsPerSecond !== undefined);
  return some || limits.some(({ origin }) => origin.startsWith('file://')) ? limits : [];
}

/** A listening address as a URL: what a client would connect to. */
export function urlOf({ host, port }: Listen, tls = false): string {
  return `${tls ? 'https' : 'http'}://${isIP(host) === 6 ? `[${host}]` : host}:${port}`;
}
