/** The typed client of the coordinator's REST API. Every rejection is a PrimedError with the server's message. */

import type { BadPage, CheckProgress, CheckSummary } from '../core/check.ts';
import { PrimedError } from '../core/errors.ts';
import type { JobState } from '../core/job.ts';
import type { LoadPlan } from '../core/load-plan.ts';
import type { Story } from '../core/story.ts';
import { type Ask, Transport, type TransportOptions } from './transport.ts';
import type {
  FreeReport,
  JobProgress,
  JobRow,
  Listing,
  PathStat,
  PinInfo,
  RatesAnswer,
  Stopped,
  Submitted,
  UfsInfo,
  WorkerInfo,
} from './types.ts';

/** How long one answer is waited for: until the signal, or the longest silence. */
export type AskLimits = Pick<Ask, 'signal' | 'answerTimeoutMs'>;

export type LoadTarget = { readonly path: string } | { readonly indexFile: string };

/** A check waits for its turn (30 s) before it answers, and speaks at least when a page has been read. */
const checkTimeoutMs = 120_000;
/** A coordinator sums up what all workers say of every file below a directory before it answers. */
const statTimeoutMs = 600_000;
/** A coordinator gives a plan up after an hour. */
const planTimeoutMs = 3_660_000;

export class PrimedClient {
  readonly #transport: Transport;

  /** Throws REQUEST_INVALID when the address of the coordinator is not one. Connects with the first call. */
  constructor(options: TransportOptions) {
    this.#transport = new Transport(options);
  }

  get url(): string {
    return this.#transport.url;
  }

  /** Options as in the REST API: `replicas`, `batchSize`, `bandwidth`, … as strings or native values. */
  submit(target: LoadTarget, options: Readonly<Record<string, unknown>> = {}): Promise<Submitted> {
    return this.#job({ method: 'POST', path: '/api/v1/master/submit_job/load', body: { ...target, options } });
  }

  /** What the same submission would do. Takes as long as the origin's listing. */
  plan(
    target: LoadTarget,
    options: Readonly<Record<string, unknown>> = {},
    { signal }: Pick<AskLimits, 'signal'> = {},
  ): Promise<LoadPlan> {
    return this.#job({
      ...{ method: 'POST', path: '/api/v1/master/plan_job/load', body: { ...target, options } },
      answerTimeoutMs: planTimeoutMs,
      ...(signal === undefined ? {} : { signal }),
    });
  }

  /** The TEXT report. */
  progressText(path: string, { verbose = false }: { verbose?: boolean } = {}): Promise<string> {
    const query = { path, format: 'TEXT', verbose };
    return this.#transport.text({
      method: 'GET',
      path: progressPath,
      query,
      accept: 'text/plain',
      notFound: 'JOB_NOT_FOUND',
    });
  }

  progress(
    path: string,
    { verbose = false, signal }: { verbose?: boolean; signal?: AbortSignal } = {},
  ): Promise<JobProgress> {
    return this.#job({
      method: 'GET',
      path: progressPath,
      query: { path, format: 'JSON', verbose },
      ...(signal === undefined ? {} : { signal }),
    });
  }

  /** Rejects with JOB_NOT_FOUND when no load of the path is active. */
  async stop(path: string, { answerTimeoutMs }: { answerTimeoutMs?: number } = {}): Promise<Stopped> {
    const stopped = await this.#job<Stopped>({
      ...{ method: 'POST', path: '/api/v1/master/stop_job/load', body: { path } },
      ...(answerTimeoutMs === undefined ? {} : { answerTimeoutMs }),
    });
    if (!stopped.success) throw new PrimedError('JOB_NOT_FOUND', stopped.message, { path });
    return stopped;
  }

  /** Removes a path from every worker; with `dryRun` says what that would be. */
  free(path: string, { dryRun = false }: { dryRun?: boolean } = {}): Promise<Submitted> {
    const body = { path, options: { dryRun } };
    return this.#job({ method: 'POST', path: '/api/v1/master/submit_job/free', body });
  }

  /** The TEXT report of a free. */
  freeProgressText(path: string): Promise<string> {
    const query = { path, format: 'TEXT' };
    return this.#transport.text({
      ...{ method: 'GET', path: freeProgressPath, query, accept: 'text/plain', notFound: 'JOB_NOT_FOUND' },
    });
  }

  freeProgress(path: string, { signal }: { signal?: AbortSignal } = {}): Promise<FreeReport> {
    const query = { path, format: 'JSON' };
    return this.#job({ method: 'GET', path: freeProgressPath, query, ...(signal === undefined ? {} : { signal }) });
  }

  /** Rejects with JOB_NOT_FOUND when no free of the path is active. */
  stopFree(path: string): Promise<Stopped> {
    return this.#job({ method: 'POST', path: '/api/v1/master/stop_job/free', body: { path } });
  }

  /** `bandwidth`: a size a second for each worker, or `none`. Rejects with JOB_NOT_FOUND when no load of the path is active. */
  limitJob(path: string, bandwidth: string): Promise<Submitted> {
    return this.#job({ method: 'POST', path: '/api/v1/master/limit_job/load', body: { path, bandwidth } });
  }

  /**
   * Submits a load of exactly the files that an ended load did not get. `job`: its id, path, index file or alias. Rejects
   * with JOB_NOT_FOUND, JOB_CONFLICT while it runs, REQUEST_INVALID where nothing failed or not every name is kept.
   */
  retryFailed(job: string): Promise<Submitted> {
    return this.#job({ method: 'POST', path: '/api/v1/master/retry_job/load', body: { job } });
  }

  /** The newest first. `ACTIVE`: those that have not ended. */
  list({
    type = 'LOAD',
    state,
    ...limits
  }: { type?: string; state?: JobState | 'ACTIVE' | 'ALL' } & AskLimits = {}): Promise<readonly JobRow[]> {
    const query = { 'job-type': type.toUpperCase(), 'job-state': state };
    return this.#job({ method: 'GET', path: '/api/v1/master/list_job', query, ...limits });
  }

  /** One page of what is cached at or below a path. */
  ls(path: string, options: { recursive?: boolean; limit?: number; after?: string } = {}): Promise<Listing> {
    return this.#fs({ method: 'GET', path: '/api/v1/fs/ls', query: { path, ...options } });
  }

  stat(path: string): Promise<PathStat> {
    const answerTimeoutMs = statTimeoutMs;
    return this.#fs({ method: 'GET', path: '/api/v1/fs/stat', query: { path }, answerTimeoutMs });
  }

  /** The story of a file: what jobs say of it, what each worker has kept, and why it is cached or not. */
  why(path: string): Promise<Story> {
    const answerTimeoutMs = statTimeoutMs;
    return this.#fs({ method: 'GET', path: '/api/v1/fs/why', query: { path }, answerTimeoutMs });
  }

  /** Bytes of a cached file, in pieces. Rejects with ANSWER_INCOMPLETE when a page turns out bad on the way. */
  async *cat(
    path: string,
    range: { offset?: number; length?: number } = {},
    signal?: AbortSignal,
  ): AsyncGenerator<Buffer> {
    const answer = await this.#transport.open({
      method: 'GET',
      path: '/api/v1/fs/cat',
      query: { path, ...range },
      accept: 'application/octet-stream',
      notFound: 'FILE_NOT_CACHED',
      ...(signal === undefined ? {} : { signal }),
    });
    yield* this.#transport.bytesOf(answer);
  }

  /** Has every page of the cached files at or below a path read again and checked. */
  async check(
    path: string,
    options: {
      onProgress?: (progress: CheckProgress) => void;
      onBadPage?: (page: BadPage) => void;
      signal?: AbortSignal;
    } = {},
  ): Promise<CheckSummary> {
    const answer = await this.#transport.open({
      method: 'POST',
      path: '/api/v1/fs/check',
      query: { path },
      accept: 'application/x-ndjson',
      answerTimeoutMs: checkTimeoutMs,
      notFound: 'FILE_NOT_CACHED',
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    let summary: CheckSummary | undefined;
    for await (const line of linesOf(this.#transport.bytesOf(answer))) {
      const event = JSON.parse(line) as { type: string };
      if (event.type === 'progress') options.onProgress?.(event as unknown as CheckProgress);
      else if (event.type === 'bad-page') options.onBadPage?.(event as unknown as BadPage);
      else if (event.type === 'summary') summary = event as unknown as CheckSummary;
    }
    if (summary !== undefined) return summary;
    throw new PrimedError(
      'ANSWER_INCOMPLETE',
      `The check of ${path} ended without a result; the log of the daemon says why.`,
      { path },
    );
  }

  /** All workers that the coordinator knows, by id. */
  workers(limits: AskLimits = {}): Promise<readonly WorkerInfo[]> {
    return this.#worker({ method: 'GET', path: '/api/v1/workers', ...limits });
  }

  /** How fast the cluster and up to 50 of its jobs were in the last ten minutes, in points of ten seconds. */
  rates(jobIds: readonly string[], limits: AskLimits = {}): Promise<RatesAnswer> {
    const query = { cluster: 'sketch', sketch: jobIds };
    return this.#transport.json({
      ...{ method: 'GET', path: '/api/v1/console/rates', query, notFound: 'REQUEST_INVALID' },
      ...limits,
    });
  }

  /** The worker keeps and serves what it has, and gets no new segments. Rejects with WORKER_UNKNOWN, as those below. */
  drainWorker(id: string): Promise<WorkerInfo> {
    return this.#worker({ method: 'POST', path: `${workerPath(id)}/drain` });
  }

  undrainWorker(id: string): Promise<WorkerInfo> {
    return this.#worker({ method: 'POST', path: `${workerPath(id)}/undrain` });
  }

  /** Forgets the worker until it registers again. */
  async removeWorker(id: string): Promise<void> {
    await this.#worker({ method: 'DELETE', path: workerPath(id) });
  }

  /** Limits of origins, and who has which share of them. */
  ufs(): Promise<readonly UfsInfo[]> {
    return this.#transport.json({ method: 'GET', path: '/api/v1/ufs', notFound: 'REQUEST_INVALID' });
  }

  /** `bandwidth`, `requests`: a rate, or `none`; absent: as it is. */
  limitUfs(
    path: string,
    change: {
      readonly bandwidth?: string | undefined;
      readonly requests?: string | undefined;
      readonly reset?: boolean | undefined;
    },
  ): Promise<UfsInfo> {
    const body = { path, ...change };
    return this.#transport.json({ method: 'PUT', path: '/api/v1/ufs/limit', body, notFound: 'REQUEST_INVALID' });
  }

  /** What is pinned. */
  pins(): Promise<readonly PinInfo[]> {
    return this.#transport.json({ method: 'GET', path: '/api/v1/pins', notFound: 'REQUEST_INVALID' });
  }

  pin(path: string): Promise<PinInfo> {
    return this.#transport.json({ method: 'PUT', path: '/api/v1/pins', body: { path }, notFound: 'REQUEST_INVALID' });
  }

  unpin(path: string): Promise<PinInfo> {
    const query = { path };
    return this.#transport.json({ method: 'DELETE', path: '/api/v1/pins', query, notFound: 'REQUEST_INVALID' });
  }

  /** Drops what is in flight and closes the connections. */
  close(): Promise<void> {
    return this.#transport.close();
  }

  #job<T>(ask: Omit<Ask, 'notFound'>): Promise<T> {
    return this.#transport.json<T>({ ...ask, notFound: 'JOB_NOT_FOUND' });
  }

  #worker<T>(ask: Omit<Ask, 'notFound'>): Promise<T> {
    return this.#transport.json<T>({ ...ask, notFound: 'WORKER_UNKNOWN' });
  }

  #fs<T>(ask: Omit<Ask, 'notFound'>): Promise<T> {
    return this.#transport.json<T>({ ...ask, notFound: 'FILE_NOT_CACHED' });
  }
}

const workerPath = (id: string): string => `/api/v1/workers/${encodeURIComponent(id)}`;
const progressPath = '/api/v1/master/progress_job/load';
const freeProgressPath = '/api/v1/master/progress_job/free';

async function* linesOf(pieces: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const piece of pieces) {
    const lines = (rest + decoder.decode(piece, { stream: true })).split('\n');
    rest = lines.pop()!;
    yield* lines.filter((line) => line !== '');
  }
  if (rest !== '') yield rest;
}
