/** The HTTP servers of a node, made of the plugins in server/. Which routes lie on which port is decided here. */
import type { FastifyInstance } from 'fastify';
import type { LoadDesk } from './cluster/load-desk.ts';
import type { ClusterPins } from './cluster/pins.ts';
import type { RatesStore } from './cluster/rates-store.ts';
import type { FsSource } from './cluster/reading/fs-source.ts';
import type { OriginReads } from './cluster/reading/origin/reads.ts';
import type { PastSource } from './cluster/reading/past.ts';
import type { Repairs } from './cluster/reading/repair.ts';
import type { Written } from './cluster/reading/written.ts';
import type { Registrations, Registry } from './cluster/registry.ts';
import type { JobService } from './cluster/types.ts';
import type { NodeAccess } from './cluster/wire/node-check.ts';
import type { Config } from './config/config.ts';
import type { WorkerFigures } from './core/membership.ts';
import type { OriginUse } from './core/origin-use.ts';
import { Pins, pinnedClass, Retention } from './core/retention.ts';
import type { Log, UfsPath } from './core/types.ts';
import { MiB } from './core/units.ts';
import type { Landings } from './ingest/landings.ts';
import type { Live } from './live.ts';
import { systemClock } from './platform/index.ts';
import { auditLog } from './server/audit.ts';
import { bearerAuth } from './server/auth.ts';
import { consoleRoutes } from './server/console/index.ts';
import { installErrorHandler } from './server/errors.ts';
import { fsApi } from './server/fs-api.ts';
import { healthRoutes } from './server/health.ts';
import { jobApi } from './server/job-api.ts';
import { metricsRoutes, requestMetrics } from './server/metrics.ts';
import { openApi } from './server/openapi.ts';
import { fastifyOver } from './server/over-tls.ts';
import { type PageApiOptions, pageApi } from './server/pages/index.ts';
import { peerData } from './server/peer-data.ts';
import { peerFiles } from './server/peer-files.ts';
import { peerFollow } from './server/peer-follow.ts';
import { peerRefusals } from './server/peer-request.ts';
import { peerThrough } from './server/peer-through.ts';
import { type PinsApiOptions, pinsApi } from './server/pins-api.ts';
import { requestTrace } from './server/request-trace.ts';
import { requestIds } from './server/s3/admission.ts';
import { type UfsApiOptions, ufsApi } from './server/ufs-api.ts';
import { type WhyApiOptions, whyApi } from './server/why-api.ts';
import { type WorkerApiOptions, workerApi } from './server/worker-api.ts';
import { workerLoadApi } from './server/worker-load-api.ts';
import type { Store } from './store/types.ts';
import type { FilePast } from './telemetry/file-past.ts';
import type { Telemetry } from './telemetry/registry.ts';

export interface ServerOptions {
  readonly config: Config;
  readonly telemetry: Telemetry;
  readonly log: Log;
  readonly live: Live;
  readonly ready: () => { ready: boolean; reason?: string };
}

/** What a worker gives to others beyond what it has. */
export interface ReadThrough {
  readonly reads: OriginReads;
  readonly repairs: Repairs;
  readonly written: Written;
}

/** A submission is a page of JSON; more is a mistake. */
const bodyLimitBytes = MiB;
const requestTimeoutMs = 30_000;

/** Port 19999: jobs, files, metrics, health; workers where they register here. */
export function buildApiServer(
  options: ServerOptions & {
    jobs: JobService;
    source: FsSource;
    ufs: UfsApiOptions;
    pins: PinsApiOptions['pins'] & Pick<ClusterPins, 'covers'>;
    past: PastSource;
    owners: WhyApiOptions['owners'];
    registry?: Registry;
    registrations?: Registrations;
    refusalOf?: WorkerApiOptions['refusalOf'];
    rateOf?: WorkerApiOptions['rateOf'];
    /** Of the worker in this process. */
    figures?: () => WorkerFigures;
    ownUses?: () => readonly OriginUse[];
    rates?: RatesStore;
  },
): FastifyInstance {
  const { config, jobs, live, source, ufs, pins, registry, registrations, refusalOf, figures, ownUses, rates, log } =
    options;
  const app = buildServer(options, 'api');
  app.register(jobApi, { jobs, defaults: live.loadDefaults });
  // The configuration is the same on every worker.
  const byRule = new Retention(new Map(config.store.rules.map((rule, at) => [at + 1, rule])), new Pins());
  const isPinned = (path: string): boolean => pins.covers(path) || byRule.classOf(path) === pinnedClass;
  app.register(fsApi, { source, log, isPinned });
  app.register(whyApi, { jobs, source, past: options.past, owners: options.owners, clock: systemClock });
  app.register(ufsApi, ufs);
  app.register(pinsApi, { pins });
  if (registry !== undefined)
    app.register(workerApi, {
      ...{ registry, log, ...nodeAccessOf(options) },
      ...(registrations && { registrations }),
      ...(refusalOf && { refusalOf }),
      ...(options.rateOf && { rateOf: options.rateOf }),
    });
  app.register(consoleRoutes, {
    ...{ jobs, ...ufs, version: PRIMED_VERSION },
    ...(registry && { registry }),
    ...(refusalOf && { refusalOf }),
    ...(figures && { figures }),
    ...(ownUses && { ownUses }),
    ...(rates && { rates }),
  });
  return app;
}

/**
 * Port 28080: metrics and health of the worker, loads, and pages of files; with a store of a cluster also its files as the
 * coordinator shows them, and what other workers copy.
 */
export function buildWorkerServer(
  options: ServerOptions & {
    desk: LoadDesk;
    pages: Omit<PageApiOptions, 'log'>;
    own?: { store: Store; source: FsSource; landings: Landings; reading: ReadThrough; past: FilePast };
  },
): FastifyInstance {
  const { desk, pages, own, log, telemetry } = options;
  const app = buildServer(options, 'worker');
  app.register(workerLoadApi, { desk });
  app.register(pageApi, {
    ...{ ...pages, log },
    onFirstByte: (read, afterMs) => telemetry.histograms.pageFirstByteSeconds.observe({ read }, afterMs / 1000),
  });
  const onServed = (bytes: number): void => telemetry.counters.peerServedBytes.inc(bytes);
  if (own !== undefined) {
    const { store, source, landings, reading, past } = own;
    const access = { ...nodeAccessOf(options), log, refusals: peerRefusals() };
    app.register(fsApi, { source, log, isPinned: (path) => store.isPinned(path as UfsPath) });
    app.register(peerData, { store, onServed, repairs: reading.repairs, ...access });
    app.register(peerThrough, { reads: reading.reads, onServed, ...access });
    app.register(peerFollow, { store, landings, ...access });
    app.register(peerFiles, { store, source, past, names: pages.names, written: reading.written, ...access });
  }
  return app;
}

/** What the ports of this node ask of other nodes. */
export function nodeAccessOf({
  config: { tls },
  live: { clusterToken, tls: live },
}: Pick<ServerOptions, 'config' | 'live'>): NodeAccess {
  if (tls.nodes === 'mtls') return { certificates: true, ...(live.server && { ownTls: live.server }) };
  return clusterToken === undefined ? {} : { clusterToken };
}

function buildServer({ live, log, telemetry, ready }: ServerOptions, port: 'api' | 'worker'): FastifyInstance {
  const app = fastifyOver(live.tls.server, {
    logger: false,
    bodyLimit: bodyLimitBytes,
    requestTimeout: requestTimeoutMs,
    forceCloseConnections: 'idle',
    genReqId: requestIds(),
  });
  app.register(requestTrace, { port, idOf: ({ id }) => id });
  app.addHook('onRequest', (request, reply, next) => {
    reply.header('x-request-id', request.id);
    next();
  });
  installErrorHandler(app, log);
  const title = port === 'api' ? 'primed: coordinator' : 'primed: worker';
  app.register(openApi, { title, token: live.apiToken !== undefined });
  app.register(requestMetrics, { telemetry, port });
  app.register(auditLog, { log });
  const { apiToken, tokens, certificates, tls } = live;
  const people = tls.server === undefined ? {} : { certificates, ownTls: tls.server };
  app.register(bearerAuth, apiToken === undefined ? {} : { token: apiToken, others: tokens, ...people });
  app.register(healthRoutes, { ready });
  app.register(metricsRoutes, { telemetry });
  return app;
}
