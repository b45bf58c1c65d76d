/**
 * The wiring of a node that is coordinator and worker in one, and its life: open in the order in which things depend on
 * each other, say that it is ready, and close in the opposite order.
 */
import { cpus } from 'node:os';
import closeWithGrace from 'close-with-grace';
import type { FastifyInstance } from 'fastify';
import { openJobService, soloFleet } from './cluster/index.ts';
import type { JobService } from './cluster/types.ts';
import { type Config, urlOf } from './config/config.ts';
import type { Listen } from './config/forms.ts';
import { slotShare } from './config/rules.ts';
import { PrimedError, reportOf } from './core/errors.ts';
import { formatSize } from './core/sizes.ts';
import type { Log } from './core/types.ts';
import { type IngestWorker, openIngest } from './ingest/index.ts';
import { observedOrigins, observeJobs, observeS3, observeStore, observeWorker, showLevels } from './observers.ts';
import { openOrigins } from './origin/origins.ts';
import type { Origins } from './origin/types.ts';
import { makeFolder, probeDiskEngine, sdNotify, systemClock } from './platform/index.ts';
import { buildS3Server } from './server/s3/index.ts';
import { buildApiServer, buildWorkerServer } from './servers.ts';
import { openStore } from './store/index.ts';
import type { Store } from './store/types.ts';
import { laneLayout } from './telemetry/lane-columns.ts';
import { makeLog } from './telemetry/log.ts';
import { makeTelemetry, type Telemetry } from './telemetry/registry.ts';
import { makeSharedCounters } from './telemetry/shared-counters.ts';

const ledgerFlushMs = 500;
/** After a signal: running parts end or are dropped, state is saved. */
const closeLimitMs = 5_000;
/** Of that, what jobs have to let go of what is in flight: a worker promises 2 s. */
const jobsLimitMs = 2_500;
/** Of that, what answers under way have to end. */
const answerLimitMs = 2_000;

interface Parts {
  readonly telemetry: Telemetry;
  readonly store: Store;
  readonly origins: Origins;
  readonly worker: IngestWorker;
  readonly jobs: JobService;
  readonly servers: readonly FastifyInstance[];
}

/** What is open by now, and what is being closed. */
type Opened = Partial<{ -readonly [K in keyof Parts]: Parts[K] }> & { ready: boolean; closing?: string };

/** Runs until a signal; resolves with the exit code. Rejects with a PrimedError when it cannot start. */
export async function runStandalone(config: Config): Promise<number> {
  // The SDK announces when it will want a newer Node: news for us, not for an operator's log.
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true';
  const log = makeLog(config.log);
  let ended: (code: number) => void = () => {};
  const exit = new Promise<number>((resolve) => {
    ended = resolve;
  });
  const opened: Opened = { ready: false };
  const onTimeout = () =>
    log.error(
      { limitMs: closeLimitMs, waitsFor: opened.closing },
      'the stop did not end in time: the daemon ends as it stands, and what is durable stays',
    );
  const grace = closeWithGrace({ delay: closeLimitMs, logger: false, onTimeout }, async ({ signal, err }) => {
    if (err !== undefined) log.error({ error: err.stack ?? String(err) }, 'the daemon ends because of a defect');
    else log.info({ signal }, 'stopping');
    tellManager('STOPPING=1', log);
    opened.ready = false;
    await close(opened, log);
    log.info({}, 'stopped');
    ended(err === undefined ? 0 : 70);
  });
  try {
    await open(config, log, opened, (error) => {
      log.error(
        { error: error.stack ?? String(error) },
        'a lane has ended: what it held is unknown, so the daemon ends',
      );
      process.exit(70);
    });
  } catch (error) {
    grace.uninstall();
    await close(opened, log);
    throw error;
  }
  return exit;
}

async function open(config: Config, log: Log, opened: Opened, onFatal: (error: Error) => void): Promise<void> {
  const { worker: settings, ingest, job } = config;
  const startedMs = performance.now();
  const telemetry = makeTelemetry({ role: config.role, version: PRIMED_VERSION });
  opened.telemetry = telemetry;
  makeFolder(config.dataDir);
  const store = await openStore({
    indexDir: config.indexDir,
    stores: settings.stores,
    now: () => systemClock.wallMs(),
    log,
    ledgerFlushMs,
    ...observeStore(telemetry),
  });
  opened.store = store;
  const origins = observedOrigins(
    openOrigins({
      ufs: config.ufs,
      timeouts: ingest.timeouts,
      retry: { attempts: ingest.retry.maxAttempts, maxDelayMs: ingest.retry.maxMs },
      log,
    }),
    telemetry,
  );
  opened.origins = origins;
  const counters = makeSharedCounters(laneLayout, settings.lanes);
  telemetry.attachLanes(counters);
  const { worker, engine, slots } = await openIngest({
    store,
    origins,
    log,
    lanes: settings.lanes,
    socketsPerLane: settings.socketsPerLane,
    partBytes: settings.partBytes,
    smallBytes: settings.smallObjectMaxBytes,
    slotBudgetBytes: settings.memoryBudgetBytes * slotShare,
    timeouts: ingest.timeouts,
    retry: ingest.retry,
    maxRestarts: job.maxRestarts,
    diskEngine: settings.diskEngine,
    counters: counters.buffer,
    observe: observeWorker(telemetry),
    onFatal,
  });
  opened.worker = worker;
  if (settings.diskEngine === 'auto' && engine === 'threads') {
    const { reason } = await probeDiskEngine();
    log.warn({ reason }, 'io_uring is not to be had here: stores are written by threads, which cost more CPU');
  }
  const jobs = await openJobService({
    dir: config.jobsDir,
    fleet: soloFleet(worker, origins, log),
    origins,
    clock: systemClock,
    log,
    observe: observeJobs(telemetry),
    settings: {
      maxActive: job.maxActive,
      maxWaiting: job.maxWaiting,
      maxEnded: job.maxEnded,
      retentionMs: job.retentionMs,
      onChange: job.onChange,
    },
  });
  opened.jobs = jobs;
  telemetry.gauges.slots.set(slots);
  telemetry.gauges.memoryBudget.set(settings.memoryBudgetBytes);
  telemetry.gauges.originConcurrencyMax.set(settings.socketsPerLane * settings.lanes);
  const ready = (): { ready: boolean; reason?: string } =>
    opened.ready ? { ready: true } : { ready: false, reason: 'starting or stopping' };
  const api = buildApiServer({ config, jobs, store, telemetry, log, ready });
  const workerHttp = buildWorkerServer({ config, telemetry, log, ready });
  const s3 = buildS3Server({ store, log, ...observeS3(telemetry) });
  showLevels(telemetry, { store, worker, jobs });
  opened.servers = [api, workerHttp, s3];
  const urls = {
    api: await listen(api, config.api.listen, 'api.listen'),
    http: await listen(workerHttp, settings.httpListen, 'worker.http_listen'),
    s3: await listen(s3, settings.s3Listen, 'worker.s3_listen'),
  };
  opened.ready = true;
  const { capacityBytes, files, blocks } = store.usage();
  log.info(
    {
      ...urls,
      version: PRIMED_VERSION,
      diskEngine: engine,
      lanes: settings.lanes,
      cores: cpus().length,
      slots,
      capacity: formatSize(capacityBytes),
      files,
      blocks,
      startMs: Math.round(performance.now() - startedMs),
    },
    'ready',
  );
  tellManager('READY=1', log);
}

/** One that waits for READY=1 and does not hear it ends the daemon after a while: the log has to say why. */
function tellManager(state: string, log: Log): void {
  const { problem } = sdNotify(state);
  if (problem !== undefined) log.warn({ state, problem }, 'the service manager cannot be told how the daemon is');
}

async function listen(server: FastifyInstance, { host, port }: Listen, setting: string): Promise<string> {
  try {
    await server.listen({ host, port });
  } catch (error) {
    const message = `${urlOf({ host, port })} (${setting}) cannot be listened on: ${reportOf(error).message}; another process may use the port`;
    throw new PrimedError('CONFIG_INVALID', message, { setting }, { cause: error });
  }
  const address = server.server.address();
  return urlOf({ host, port: typeof address === 'object' && address !== null ? address.port : port });
}

/** Also of what was opened only in part. Each step is tried, whatever became of the one before. */
async function close(opened: Opened, log: Log): Promise<void> {
  const steps = {
    jobs: () => opened.jobs?.close(jobsLimitMs),
    worker: () => opened.worker?.close(),
    servers: () => Promise.all((opened.servers ?? []).map(closeServer)),
    origins: () => opened.origins?.close(),
    store: () => opened.store?.close(),
    telemetry: () => opened.telemetry?.close(),
  };
  for (const [name, step] of Object.entries(steps)) {
    opened.closing = name;
    try {
      await step();
    } catch (error) {
      log.error({ what: name, error }, 'closing went on after an error');
    }
  }
}

/** Without the limit, one client that never finishes its request would hold the daemon until it is killed. */
async function closeServer(server: FastifyInstance): Promise<void> {
  const limit = setTimeout(() => server.server.closeAllConnections(), answerLimitMs);
  await server.close();
  clearTimeout(limit);
}
