/**
 * Keeps how fast the cluster and its jobs were, whether somebody looks or not: once a second, of what jobs and workers have
 * said by then, and once a minute where the next process finds it. `GET /api/v1/console/rates` gives that of the cluster to a page that is opened, `?job=` all of a job, and
 * `?sketch=` the last ten minutes of up to
 * 50 of them; `?cluster=sketch` those of the cluster.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { PrimedError } from '../../core/errors.ts';
import type { JobSnapshot } from '../../core/job.ts';
import { type JobNow, RateBook } from '../../core/rate-book.ts';
import { coarseStepMs, type RateHistory, type RateRecord } from '../../core/rate-history.ts';
import { rowsOf, tellRows } from '../../core/rate-rows.ts';
import { answersOf } from '../schemas.ts';
import { takesGzip } from './assets.ts';
import { doneBytesOf } from './rows.ts';
import type { ConsoleParts } from './source.ts';

const sampleMs = 1_000;
const keepMs = 60_000;
/** Of a stop. */
const keepLimitMs = 2_000;
/** A page of the table. */
const mostSketches = 50;

interface RateQuery {
  readonly job?: string;
  readonly sketch?: readonly string[];
  readonly cluster?: 'sketch';
}

export type RateParts = Pick<ConsoleParts, 'jobs' | 'registry' | 'figures' | 'rates'>;

export interface RateClocks {
  /** Only goes forward; counts from long before, so that there is room for what was before this process. */
  readonly now: () => number;
  readonly wall: () => number;
}

const usualClocks: RateClocks = {
  now: () => performance.timeOrigin + performance.now(),
  wall: () => Date.now(),
};

export class RateKeeper {
  readonly book = new RateBook();
  readonly #parts: RateParts;
  readonly #clocks: RateClocks;
  #keptMs: number;
  /** From when on what was to be kept is not. */
  #missedMs = Number.POSITIVE_INFINITY;
  #keeping: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: RateParts, clocks: RateClocks = usualClocks) {
    this.#parts = parts;
    this.#clocks = clocks;
    this.#keptMs = clocks.now();
    if (parts.rates !== undefined)
      tellRows(this.book, parts.rates.all(), { nowMs: clocks.now(), wallMs: clocks.wall() });
  }

  start(): void {
    this.#timer ??= setInterval(() => this.sample(), sampleMs).unref();
  }

  /** Resolves when what is known is kept, or the disk does not answer. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#keep();
    const limit = new AbortController();
    await Promise.race([this.#keeping, sleep(keepLimitMs, undefined, { signal: limit.signal }).catch(() => undefined)]);
    limit.abort();
  }

  sample(): void {
    const nowMs = this.#clocks.now();
    const running = this.#running();
    if (running !== undefined) this.book.sample(nowMs, running.map(jobNow), this.#served());
    if (nowMs - this.#keptMs >= keepMs) this.#keep();
  }

  /** Of the cluster, where no job is asked about. Jobs that are not known are left out. */
  answer({ job, sketch = [], cluster }: RateQuery): object {
    const nowMs = this.#clocks.now();
    if (job === undefined && sketch.length === 0 && cluster === undefined)
      return { loading: this.book.loading.record(nowMs), serving: this.book.serving.record(nowMs), jobs: {} };
    const known = new Map<string, RateRecord>();
    const tell = (id: string, form: (history: RateHistory) => RateRecord): void => {
      const history = this.book.job(id);
      if (history !== undefined) known.set(id, form(history));
    };
    for (const id of sketch) tell(id, (history) => history.sketch(nowMs));
    if (job !== undefined) tell(job, (history) => history.record(nowMs));
    const { loading, serving } = this.book;
    return {
      ...(cluster && { loading: loading.sketch(nowMs), serving: serving.sketch(nowMs) }),
      jobs: Object.fromEntries(known),
    };
  }

  /** Undefined: nothing was heard of the jobs yet. */
  #running(): readonly JobSnapshot[] | undefined {
    try {
      return this.#parts.jobs.list({ states: ['RUNNING', 'VERIFYING'] });
    } catch (error) {
      if (error instanceof PrimedError && error.code === 'ETCD_UNAVAILABLE') return undefined;
      throw error;
    }
  }

  /** Undefined: there are workers, and none is heard. */
  #served(): number | undefined {
    const { registry, figures } = this.#parts;
    if (registry === undefined) return figures?.().use?.servedBytesPerSecond ?? 0;
    const workers = registry.workers();
    const heard = workers.filter(({ state }) => state !== 'LOST');
    if (heard.length === 0 && workers.length > 0) return undefined;
    return heard.reduce((sum, { use }) => sum + (use?.servedBytesPerSecond ?? 0), 0);
  }

  /** What came since it was kept last, and a little of before: a row of ten seconds that went on then is whole now. */
  #keep(): void {
    const { rates } = this.#parts;
    if (rates === undefined) return;
    const nowMs = this.#clocks.now();
    const sinceMs = Math.min(this.#keptMs, this.#missedMs);
    this.#keptMs = nowMs;
    const points = Math.ceil((nowMs - sinceMs) / coarseStepMs) + 2;
    this.#missedMs = Number.POSITIVE_INFINITY;
    const rows = rowsOf(this.book, points, { nowMs, wallMs: this.#clocks.wall() });
    this.#keeping = this.#keeping.then(async () => {
      // Those that were not written are written with the next ones.
      if (!(await rates.put(rows))) this.#missedMs = Math.min(this.#missedMs, sinceMs);
    });
  }
}

function jobNow(job: JobSnapshot): JobNow {
  const { jobId: id, type, state, bytesPerSecond } = job;
  return { id, state, bytesPerSecond, doneBytes: doneBytesOf(job), loads: type === 'LOAD' && state === 'RUNNING' };
}

export function ratesRoute(scope: FastifyInstance, keeper: RateKeeper): void {
  const known = Type.Object(
    {},
    { additionalProperties: true, description: 'Points of one second and of ten, oldest first' },
  );
  const id = Type.String({ minLength: 1, maxLength: 100 });
  scope.route<{ Querystring: RateQuery }>({
    method: 'GET',
    url: '/api/v1/console/rates',
    exposeHeadRoute: false,
    schema: {
      ...{ tags: ['console'], summary: 'How fast the cluster and its jobs were' },
      querystring: Type.Object(
        {
          job: Type.Optional(id),
          sketch: Type.Optional(Type.Array(id, { maxItems: mostSketches })),
          cluster: Type.Optional(Type.Literal('sketch')),
        },
        { additionalProperties: false },
      ),
      response: answersOf({ description: 'Histories of rates', content: { 'application/json': { schema: known } } }),
    },
    handler: async (request, reply) => {
      const text = JSON.stringify(keeper.answer(request.query));
      void reply.type('application/json; charset=utf-8').header('cache-control', 'no-store');
      if (!takesGzip(request.headers['accept-encoding'])) return reply.send(text);
      return reply.headers({ 'content-encoding': 'gzip', vary: 'accept-encoding' }).send(gzipSync(text, { level: 1 }));
    },
  });
}
