/** The HTTP servers of a node, made of the plugins in server/. Which routes lie on which port is decided here. */
import Fastify, { type FastifyInstance } from 'fastify';
import type { JobService } from './cluster/types.ts';
import type { Config } from './config/config.ts';
import type { Log } from './core/types.ts';
import { MiB } from './core/units.ts';
import { bearerAuth } from './server/auth.ts';
import { installErrorHandler } from './server/errors.ts';
import { fsApi } from './server/fs-api.ts';
import { healthRoutes } from './server/health.ts';
import { jobApi } from './server/job-api.ts';
import { metricsRoutes, requestMetrics } from './server/metrics.ts';
import { peerData } from './server/peer-data.ts';
import type { Store } from './store/types.ts';
import type { Telemetry } from './telemetry/registry.ts';

export interface ServerOptions {
  readonly config: Config;
  readonly telemetry: Telemetry;
  readonly log: Log;
  readonly ready: () => { ready: boolean; reason?: string };
}

/** A submission is a page of JSON; more is a mistake. */
const bodyLimitBytes = MiB;
const requestTimeoutMs = 30_000;

/** Port 19999: jobs, files, metrics, health. */
export function buildApiServer(options: ServerOptions & { jobs: JobService; store: Store }): FastifyInstance {
  const { config, jobs, store, log } = options;
  const app = buildServer(options, 'api');
  app.register(jobApi, { jobs, batchSize: config.job.batchSize });
  app.register(fsApi, { store, log });
  return app;
}

/** Port 28080: metrics and health of the worker, and, given a store, what other workers copy from it. */
export function buildWorkerServer(options: ServerOptions & { store?: Store }): FastifyInstance {
  const { config, store, log, telemetry } = options;
  const app = buildServer(options, 'worker');
  const token = config.cluster.token === undefined ? {} : { clusterToken: config.cluster.token };
  const onServed = (bytes: number): void => telemetry.counters.peerServedBytes.inc(bytes);
  if (store !== undefined) app.register(peerData, { store, log, onServed, ...token });
  return app;
}

function buildServer({ config, telemetry, ready }: ServerOptions, port: 'api' | 'worker'): FastifyInstance {
  const app = Fastify({
    logger: false,
    bodyLimit: bodyLimitBytes,
    requestTimeout: requestTimeoutMs,
    forceCloseConnections: 'idle',
  });
  installErrorHandler(app);
  app.register(requestMetrics, { telemetry, port });
  app.register(bearerAuth, config.apiToken === undefined ? {} : { token: config.apiToken });
  app.register(healthRoutes, { ready });
  app.register(metricsRoutes, { telemetry });
  return app;
}
