/**
 * Keeps how fast the cluster and its jobs were, whether somebody looks or not: once a second, of what jobs and workers have
 * said by then. `GET /api/v1/console/rates` gives that of the cluster to a page that is opened, `?job=` all of a job, and
 * `?sketch=` the last ten minutes of up to 50 of them.
 */
import { gzipSync } from 'node:zlib';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import type { JobSnapshot } from '../../core/job.ts';
import { type JobNow, RateBook } from '../../core/rate-book.ts';
import type { RateHistory, RateRecord } from '../../core/rate-history.ts';
import { answersOf } from '../schemas.ts';
import { takesGzip } from './assets.ts';
import { doneBytesOf } from './rows.ts';
import { type ConsoleParts, heardOf } from './source.ts';

const sampleMs = 1_000;
/** A page of the table. */
const mostSketches = 50;

interface RateQuery {
  readonly job?: string;
  readonly sketch?: readonly string[];
}

export type RateParts = Pick<ConsoleParts, 'jobs' | 'registry' | 'figures'>;

export class RateKeeper {
  readonly book = new RateBook();
  readonly #parts: RateParts;
  readonly #now: () => number;
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: RateParts, now: () => number = () => performance.now()) {
    this.#parts = parts;
    this.#now = now;
  }

  start(): void {
    this.#timer ??= setInterval(() => this.sample(), sampleMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  sample(): void {
    const running = heardOf(this.#parts.jobs, { states: ['RUNNING', 'VERIFYING'] });
    this.book.sample(this.#now(), running.map(jobNow), this.#served());
  }

  /** Of the cluster, where no job is asked about. Jobs that are not known are left out. */
  answer({ job, sketch = [] }: RateQuery): object {
    const nowMs = this.#now();
    if (job === undefined && sketch.length === 0)
      return { loading: this.book.loading.record(nowMs), serving: this.book.serving.record(nowMs), jobs: {} };
    const known = new Map<string, RateRecord>();
    const tell = (id: string, form: (history: RateHistory) => RateRecord): void => {
      const history = this.book.job(id);
      if (history !== undefined) known.set(id, form(history));
    };
    for (const id of sketch) tell(id, (history) => history.sketch(nowMs));
    if (job !== undefined) tell(job, (history) => history.record(nowMs));
    return { jobs: Object.fromEntries(known) };
  }

  #served(): number {
    const { registry, figures } = this.#parts;
    if (registry === undefined) return figures?.().use?.servedBytesPerSecond ?? 0;
    return registry
      .workers()
      .reduce((sum, { state, use }) => sum + (state === 'LOST' ? 0 : (use?.servedBytesPerSecond ?? 0)), 0);
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
        { job: Type.Optional(id), sketch: Type.Optional(Type.Array(id, { maxItems: mostSketches })) },
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
