/**
 * Where a worker's port takes requests about loads: to the jobs of this process, or to a coordinator, each of those that are
 * known in turn.
 */
import { PrimedClient } from '../client/client.ts';
import { PrimedError } from '../core/errors.ts';
import type { LoadOptions } from '../core/job.ts';
import type { LiveText } from '../core/live.ts';
import { parseLoadOptions } from '../core/load-options.ts';
import type { ClientTls } from '../core/node-tls.ts';
import { jsonReport, textReport } from '../core/report.ts';
import { traceHeaders } from '../telemetry/trace.ts';
import type { JobService } from './types.ts';

export interface ReportOrder {
  readonly format: 'TEXT' | 'JSON';
  readonly verbose: boolean;
}

/** Calls reject with PrimedError; COORDINATOR_UNREACHABLE within seconds, of a stop within half a minute. */
export interface LoadDesk {
  /** Options as in the REST API. */
  submit(path: string, options: Readonly<Record<string, unknown>>): Promise<{ jobId: string; message: string }>;
  /** Rejects with JOB_NOT_FOUND. */
  stop(path: string): Promise<void>;
  /** The report. Rejects with JOB_NOT_FOUND. */
  report(path: string, order: ReportOrder): Promise<string>;
  close(): Promise<void>;
}

/** `jobs`: of this process, once they are open. `defaults`: what a submission means that does not say otherwise. */
export function localDesk(jobs: () => JobService | undefined, defaults: LoadOptions): LoadDesk {
  const open = (): JobService => {
    const service = jobs();
    if (service === undefined) throw new PrimedError('STOPPING', 'The daemon is starting or shutting down; try again.');
    return service;
  };
  return {
    submit: async (path, options) => open().submit({ kind: 'path', path }, parseLoadOptions(options, defaults)),
    async stop(path) {
      if (!(await open().stop(path))) throw notFound(path);
    },
    async report(path, { format, verbose }) {
      const job = open().snapshot(path);
      if (job === undefined) throw notFound(path);
      return format === 'JSON' ? JSON.stringify(jsonReport(job, { verbose })) : textReport(job, { verbose });
    },
    close: async () => undefined,
  };
}

export interface CoordinatorDeskOptions {
  /** Addresses of coordinators, the likeliest first; asked at each request. */
  readonly coordinators: () => readonly string[];
  /** What their API ports ask for. */
  readonly token?: LiveText;
  readonly tls?: ClientTls;
  readonly connectTimeoutMs?: number;
  readonly answerTimeoutMs?: number;
  /** Of a stop, in place of that. */
  readonly stopTimeoutMs?: number;
}

/** A stop waits 20 s for the coordinator that runs the job, or takes it over; the others answer far sooner. */
const defaultTimeouts = { connectTimeoutMs: 2_000, answerTimeoutMs: 8_000, stopTimeoutMs: 25_000 };
/** After so long no other coordinator is asked. */
const askLimitMs = 30_000;
/** Another coordinator may answer what this one does not. */
const asksNext = new Set(['COORDINATOR_UNREACHABLE', 'STOPPING', 'ETCD_UNAVAILABLE']);
/** Each has connections of its own; beyond this many the one that was made first is closed. */
const mostClients = 16;

export function coordinatorDesk(options: CoordinatorDeskOptions): LoadDesk {
  const { coordinators, stopTimeoutMs, ...transport } = { ...defaultTimeouts, ...options };
  const clients = new Map<string, PrimedClient>();

  const clientOf = (coordinator: string): PrimedClient => {
    const known = clients.get(coordinator);
    if (known !== undefined) return known;
    const client = new PrimedClient({ coordinator, ...transport, headers: () => ({ ...traceHeaders() }) });
    clients.set(coordinator, client);
    const [oldest] = clients.keys();
    if (clients.size > mostClients) {
      void clients.get(oldest!)!.close();
      clients.delete(oldest!);
    }
    return client;
  };
  /** What one coordinator does not answer is asked of the next one: every call may be repeated. */
  const ask = async <T>(call: (client: PrimedClient) => Promise<T>): Promise<T> => {
    let unreachable: unknown = new PrimedError('COORDINATOR_UNREACHABLE', 'No coordinator is known to this worker.');
    const untilMs = performance.now() + askLimitMs;
    for (const coordinator of coordinators()) {
      if (performance.now() >= untilMs) break;
      try {
        return await call(clientOf(coordinator));
      } catch (error) {
        if (!(error instanceof PrimedError) || !asksNext.has(error.code)) throw error;
        unreachable = error;
      }
    }
    throw unreachable;
  };
  return {
    submit: (path, given) => ask((client) => client.submit({ path }, given)),
    stop: async (path) => void (await ask((client) => client.stop(path, { answerTimeoutMs: stopTimeoutMs }))),
    report: (path, { format, verbose }) =>
      ask(async (client) =>
        format === 'JSON'
          ? JSON.stringify(await client.progress(path, { verbose }))
          : client.progressText(path, { verbose }),
      ),
    async close() {
      await Promise.all([...clients.values()].map((client) => client.close()));
      clients.clear();
    },
  };
}

function notFound(path: string): PrimedError {
  return new PrimedError('JOB_NOT_FOUND', `Load for path '${path}' cannot be found.`, { path });
}
