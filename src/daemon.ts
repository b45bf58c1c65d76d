/**
 * The life of a node, whatever its role: open in the order in which things depend on each other, say that it is ready, and
 * close in the opposite order. What a role is made of is in worker-side.ts and coordinator-side.ts.
 */
import { availableParallelism } from 'node:os';
import { Server as TlsServer } from 'node:tls';
import closeWithGrace from 'close-with-grace';
import type { FastifyInstance } from 'fastify';
import { showCertificates } from './certificate-ends.ts';
import { type Config, urlOf } from './config/config.ts';
import type { Listen } from './config/forms.ts';
import { type ConfigInput, describeSources } from './config/load.ts';
import { reasonNotToListen } from './config/ports.ts';
import { openCoordinatorSide } from './coordinator-side.ts';
import { PrimedError } from './core/errors.ts';
import { formatSize } from './core/sizes.ts';
import type { Log } from './core/types.ts';
import { makeLive } from './live.ts';
import type { NodeBase, Opened } from './node.ts';
import { observedOrigins, showHealth, showOrigins } from './observers.ts';
import { OriginCounts } from './origin/origin-counts.ts';
import { openOrigins } from './origin/origins.ts';
import { openNodeLimits } from './origin-limits.ts';
import { makeFolder, sdNotify } from './platform/index.ts';
import { Reload } from './reload.ts';
import { type WatchedThreads, watchThreads } from './service-manager.ts';
import { hearSignals, notOfClosing } from './signals.ts';
import { statusLine } from './status-line.ts';
import { laneColumns } from './telemetry/lane-columns.ts';
import { type LevelLog, makeLog } from './telemetry/log.ts';
import { makeTelemetry } from './telemetry/registry.ts';
import { servingColumns } from './telemetry/serving-columns.ts';
import { valuesOf } from './telemetry/shared-counters.ts';
import { openTraces } from './traces.ts';
import { joinCluster, openWorkerSide } from './worker-side.ts';

/** After a signal: running parts end or are dropped, state is saved. */
const closeLimitMs = 5_000;
/** Of that, what jobs have to let go of what is in flight: a worker promises 2 s. */
const jobsLimitMs = 2_500;
/** Of that, what answers under way have to end. */
const answerLimitMs = 2_000;

/**
 * Runs until a signal; resolves with the exit code. Rejects with a PrimedError when it cannot start.
 * @param input what the configuration was read from, and is read from again at SIGHUP
 */
export async function runDaemon(config: Config, input: ConfigInput): Promise<number> {
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
  const grace = closeWithGrace(
    { delay: closeLimitMs, logger: false, onTimeout, skip: [...notOfClosing] },
    async ({ signal, err }) => {
      if (err !== undefined) log.error({ error: err.stack ?? String(err) }, 'the daemon ends because of a defect');
      else log.info({ signal }, 'stopping');
      tellManager('STOPPING=1', log);
      opened.ready = false;
      await close(opened, log);
      log.tellLeftOut();
      log.info({}, 'stopped');
      ended(err === undefined ? 0 : 70);
    },
  );
  const unhear = hearSignals(opened, { log, stop: () => grace.close() });
  try {
    await open({ config, input, log, opened }, (error) => {
      log.error(
        { error: error.stack ?? String(error) },
        'a lane has ended: what it held is unknown, so the daemon ends',
      );
      process.exit(70);
    });
  } catch (error) {
    grace.uninstall();
    unhear();
    await close(opened, log);
    throw error;
  }
  return exit;
}

interface Opening {
  readonly config: Config;
  readonly input: ConfigInput;
  readonly log: LevelLog;
  readonly opened: Opened;
}

/** A start that has something to do says so every few seconds, and has so long until the next time (sd_notify). */
const startStepUs = 60_000_000;

async function open({ config, input, log, opened }: Opening, onFatal: (error: Error) => void): Promise<void> {
  const { role, worker: settings } = config;
  const traces = await openTraces(config, log);
  if (traces !== undefined) opened.traces = traces;
  const startedMs = performance.now();
  const telemetry = makeTelemetry({ role, version: PRIMED_VERSION });
  opened.telemetry = telemetry;
  log.info({ version: PRIMED_VERSION, role, ...chosenHere(config), set: describeSources(config) }, 'starting');
  const live = makeLive(config);
  makeFolder(config.dataDir);
  const limits = openNodeLimits(config, telemetry);
  const originCounts = new OriginCounts();
  showOrigins(telemetry, originCounts);
  const openedOrigins = openOrigins({
    ufs: config.ufs,
    timeouts: config.ingest.timeouts,
    retry: {
      get attempts() {
        return live.retry.maxAttempts;
      },
    },
    log,
    gate: limits.limiter,
    counts: originCounts,
  });
  const origins = observedOrigins(openedOrigins, telemetry);
  opened.reconfigureOrigins = (change) => openedOrigins.reconfigure(change);
  opened.origins = origins;
  const ready = (): { ready: boolean; reason?: string } => {
    const reason = opened.ready ? (opened.hungDisk?.() ?? opened.trouble?.()) : 'starting or stopping';
    return reason === undefined ? { ready: true } : { ready: false, reason };
  };
  showHealth(telemetry, {
    ready,
    refusedConfig: () => opened.refusedConfig !== undefined,
    hungDisk: () => opened.hungDisk?.() !== undefined,
  });
  showCertificates(telemetry, live);
  const tellStart = (status: string): void => tellManager(`STATUS=${status}\nEXTEND_TIMEOUT_USEC=${startStepUs}`, log);
  const base: NodeBase = { config, live, log, telemetry, origins, originCounts, limits, ready, tellStart, opened };
  const facts: Record<string, unknown> = { version: PRIMED_VERSION, role, cores: availableParallelism() };

  if (role !== 'coordinator') Object.assign(facts, await openWorkerSide(base, onFatal));
  if (role !== 'worker') await openCoordinatorSide(base);
  const { api, http } = opened;
  if (api !== undefined) facts.api = await listen(api, config.api.listen, 'api.listen');
  if (http !== undefined) facts.http = await listen(http, settings.httpListen, 'worker.http_listen');
  if (opened.openServing !== undefined) {
    const tls = config.tls.s3 && live.tls.server !== undefined;
    facts.s3 = await listening({ ...settings.s3Listen, tls, setting: 'worker.s3_listen' }, opened.openServing);
  }
  if (role === 'worker') joinCluster(base);
  opened.reload = new Reload({ input, config, live, opened, log, tell: (state) => tellManager(state, log) });
  opened.ready = true;
  log.info({ ...facts, startMs: Math.round(performance.now() - startedMs) }, 'ready');
  tellManager('READY=1', log);
  opened.unwatch = watchThreads({ log, status: statusLine(opened), threads: watched(opened) });
}

/** The threads whose loops have to turn. */
function watched({ lanes, servingCounters }: Opened): WatchedThreads[] {
  return [
    {
      name: 'lane',
      fact: 'lane',
      beats: () => (lanes === undefined ? [] : valuesOf(lanes, lanes.rows, laneColumns.heartbeats)),
    },
    {
      name: 'serving thread',
      fact: 'serving',
      // The last row is that of this thread.
      beats: () =>
        servingCounters === undefined
          ? []
          : valuesOf(servingCounters, servingCounters.rows - 1, servingColumns.heartbeats),
    },
  ];
}

/** What this machine has made of the settings that say nothing, or a share. */
function chosenHere({ role, worker }: Config): object {
  if (role === 'coordinator') return {};
  const stores = worker.stores.map(({ dir, sizeBytes }) => `${dir} ${formatSize(sizeBytes)}`);
  return { lanes: worker.lanes, memoryBudget: formatSize(worker.memoryBudgetBytes), stores };
}

/** One that waits for READY=1 and does not hear it ends the daemon after a while: the log has to say why. */
function tellManager(state: string, log: Log): void {
  const { problem } = sdNotify(state);
  if (problem !== undefined) log.warn({ state, problem }, 'the service manager cannot be told how the daemon is');
}

async function listen(server: FastifyInstance, at: Listen, setting: string): Promise<string> {
  const tls = server.server instanceof TlsServer;
  return listening({ ...at, tls, setting }, async () => {
    // A copy: the server adds to it.
    await server.listen({ ...at });
    const address = server.server.address();
    return typeof address === 'object' && address !== null ? address.port : at.port;
  });
}

/** @param open resolves with the port */
async function listening(
  { host, port, tls, setting }: Listen & { tls: boolean; setting: string },
  open: () => Promise<number>,
): Promise<string> {
  try {
    return urlOf({ host, port: await open() }, tls);
  } catch (error) {
    if (error instanceof PrimedError) throw error;
    const message = `${setting}: ${urlOf({ host, port }, tls)} cannot be listened on: ${reasonNotToListen(error, port)}`;
    throw new PrimedError('CONFIG_INVALID', message, { setting }, { cause: error });
  }
}

/** Also of what was opened only in part. Each step is tried, whatever became of the one before. */
async function close(opened: Opened, log: Log): Promise<void> {
  const steps = {
    reload: () => opened.reload?.close(),
    watch: () => opened.unwatch?.(),
    guard: () => opened.unguard?.(),
    registrar: () => opened.registrar?.close(),
    desk: () => opened.desk?.close(),
    control: () => opened.control?.close(),
    jobs: () => opened.jobs?.close(jobsLimitMs),
    limits: () => opened.limits?.close(),
    pins: () => opened.pins?.close(),
    members: () => opened.members?.close(),
    reading: () => opened.reading?.close(),
    worker: () => opened.worker?.close(),
    serving: () => opened.serving?.close(),
    servers: () => Promise.all([opened.api, opened.http, opened.s3].map(closeServer)),
    rates: () => opened.rates?.close(),
    peers: () => opened.peerClient?.close(),
    origins: () => opened.origins?.close(),
    store: () => opened.store?.close(),
    ids: () => opened.pathIds?.close(),
    past: () => opened.past?.close(),
    registry: () => opened.registry?.close(),
    etcd: () => opened.etcd?.close(),
    lock: () => opened.unlock?.(),
    traces: () => opened.traces?.close(),
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
async function closeServer(server: FastifyInstance | undefined): Promise<void> {
  if (server === undefined) return;
  const limit = setTimeout(() => server.server.closeAllConnections(), answerLimitMs);
  await server.close();
  clearTimeout(limit);
}
