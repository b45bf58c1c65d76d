/** What both sides of a node are made of, and know of each other. */
import type { FastifyInstance } from 'fastify';
import type { Etcd } from './cluster/etcd/index.ts';
import type { LoadDesk } from './cluster/load-desk.ts';
import type { ClusterPins } from './cluster/pins.ts';
import type { RatesStore } from './cluster/rates-store.ts';
import type { FsSource } from './cluster/reading/fs-source.ts';
import type { KnownPeers } from './cluster/reading/known-peers.ts';
import type { PastSource } from './cluster/reading/past.ts';
import type { PeerClient } from './cluster/reading/peer-client.ts';
import type { Registrar } from './cluster/registrar.ts';
import type { Registrations, Registry } from './cluster/registry.ts';
import type { RegistryMembers } from './cluster/registry-members.ts';
import type { OpenJobService } from './cluster/types.ts';
import type { Control } from './cluster/wire/control-server.ts';
import type { Config } from './config/config.ts';
import type { LiveText } from './core/live.ts';
import type { WorkerFigures } from './core/membership.ts';
import type { ClientTls } from './core/node-tls.ts';
import type { WritableOrigins } from './core/passed-write.ts';
import type { PeerOrder } from './core/peers.ts';
import type { Log } from './core/types.ts';
import type { IngestWorker } from './ingest/index.ts';
import type { Live } from './live.ts';
import type { OriginCounts } from './origin/origin-counts.ts';
import type { OriginsChange } from './origin/origins.ts';
import type { ReadableOrigins } from './origin/types.ts';
import type { CoordinatorLimits, NodeLimits } from './origin-limits.ts';
import { systemClock } from './platform/index.ts';
import type { Reading } from './reading.ts';
import type { Reload } from './reload.ts';
import type { Serving } from './serving/pool.ts';
import type { PathIds } from './store/index.ts';
import type { Store } from './store/types.ts';
import type { FilePast } from './telemetry/file-past.ts';
import type { LaneCounters } from './telemetry/lane-columns.ts';
import type { Telemetry } from './telemetry/registry.ts';
import type { ServingCounters } from './telemetry/serving-columns.ts';
import type { Tracer } from './telemetry/trace.ts';
import { originUses, workerFigures } from './worker-figures.ts';

/** What is open by now, and what is being closed. */
export interface Opened {
  ready: boolean;
  closing?: string;
  telemetry?: Telemetry;
  traces?: Pick<Tracer, 'close'>;
  origins?: ReadableOrigins & WritableOrigins;
  /** See OpenedOrigins. */
  reconfigureOrigins?: (change: OriginsChange) => number[];
  store?: Store;
  /** Closes after the store, which tells it what has become visible. */
  pathIds?: PathIds;
  /** What happened to files. Closes after the store, which tells it what went. */
  past?: FilePast;
  /** Where coordinators ask for it. */
  askPast?: PastSource;
  lanes?: LaneCounters;
  worker?: IngestWorker;
  control?: Control;
  registrar?: Registrar;
  source?: FsSource;
  /** What a worker knows of others. */
  peers?: KnownPeers;
  peerClient?: PeerClient;
  reading?: Reading;
  desk?: LoadDesk;
  registry?: Registry;
  /** Where workers register over HTTP. */
  registrations?: Registrations;
  etcd?: Etcd;
  /** What stands in the way of being ready, in a few words; asked at each look at the health. */
  trouble?: () => string | undefined;
  /** Why the disk of the store is taken for hung. */
  hungDisk?: () => string | undefined;
  members?: RegistryMembers;
  limits?: CoordinatorLimits;
  pins?: ClusterPins;
  rates?: RatesStore;
  jobs?: OpenJobService;
  /** Ends that no other process may have what the coordinator keeps. */
  unlock?: () => void;
  /** That the configuration was read again and refused, in a few words. */
  refusedConfig?: string;
  /** Settings that were read again, and hold from the next start on. */
  needsRestart?: readonly string[];
  reload?: Reload;
  /** Ends what the service manager is told. */
  unwatch?: () => void;
  api?: FastifyInstance;
  http?: FastifyInstance;
  /** For what the serving threads leave to this one. */
  s3?: FastifyInstance;
  /** Opens the S3 port; resolves with its number, and rejects as `listen` does. */
  openServing?: () => Promise<number>;
  serving?: Serving;
  servingCounters?: ServingCounters;
  /** Ends that loads give way to readers. */
  unguard?: () => void;
}

export interface NodeBase {
  readonly config: Config;
  readonly log: Log;
  readonly telemetry: Telemetry;
  readonly origins: ReadableOrigins & WritableOrigins;
  readonly limits: NodeLimits;
  /** What this process asks of them, and how they answer. */
  readonly originCounts: OriginCounts;
  readonly live: Live;
  readonly ready: () => { ready: boolean; reason?: string };
  /** What the start is busy with, for the service manager, where it takes longer. */
  readonly tellStart: (status: string) => void;
  readonly opened: Opened;
}

/** A registry, and when the workers that are there are known after a start. */
export interface KnownWorkers {
  readonly registry: Registry;
  readonly settled: Promise<void>;
  /** Of lists of its workers, where coordinators share one. */
  readonly order?: () => PeerOrder;
}

/** Of the worker in this process, as soon as it is open. @param anewAfterMs as of `originUses` */
export function figuresOf(
  { originCounts, opened: { store, lanes, servingCounters: serving, worker } }: NodeBase,
  anewAfterMs?: number,
): (() => WorkerFigures) | undefined {
  if (store === undefined || lanes === undefined || serving === undefined || worker === undefined) return undefined;
  const now = (): number => systemClock.monotonicMs();
  const origins = originUses(originCounts, now, anewAfterMs);
  return workerFigures({ store, lanes, serving, origins, now, ...(anewAfterMs !== undefined && { anewAfterMs }) });
}

/** By what this node is let in by others, and whom it trusts. */
export function nodeProof({ config: { tls }, live }: NodeBase): { token?: LiveText; tls?: ClientTls } {
  return {
    ...(live.clusterToken === undefined || tls.nodes === 'mtls' ? {} : { token: live.clusterToken }),
    ...(live.tls.client === undefined ? {} : { tls: live.tls.client }),
  };
}
