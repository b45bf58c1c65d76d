/** What a load would do, which is not begun. */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { Type } from 'typebox';
import type { JobService } from '../cluster/types.ts';
import type { LoadOptions } from '../core/job.ts';
import { parseLoadOptions } from '../core/load-options.ts';
import { bodyFields } from './fields.ts';
import { apiBodyLimitBytes } from './json-body.ts';
import { answers, LoadOptionFields, strict } from './schemas.ts';
import { sourceFields, sourceOf } from './source-fields.ts';

const count = Type.Integer({ minimum: 0 });
const amount = Type.Number({ minimum: 0 });
const text = Type.String();
const optional = Type.Optional;
const open = { additionalProperties: true };
const fileSum = { files: count, bytes: count };

const Body = Type.Object({ ...sourceFields, options: optional(LoadOptionFields) }, strict);
const Plan = Type.Object(
  {
    path: optional(text),
    indexFile: optional(text),
    runningJobId: optional(Type.String({ description: 'A load of this path is under way: a submission begins none' })),
    resumed: Type.Boolean({ description: 'It goes on with what a stopped load has left' }),
    listing: Type.Object({ scannedFiles: count, ...fileSum, elapsedMs: count }),
    refused: Type.Object({
      files: count,
      named: Type.Array(Type.Object({ path: text, code: text, message: text }), { maxItems: 100 }),
    }),
    cached: Type.Object(fileSum, { description: 'What the load leaves as it is' }),
    load: Type.Object(fileSum, { description: 'What it fetches; each byte counts once' }),
    requests: Type.Object(
      { list: count, head: count, rangedGet: count, wholeGet: count, total: count, copies: count },
      { description: 'To the origin; `copies` go between workers, and are not in `total`' },
    ),
    originBytes: count,
    copiedBytes: count,
    price: optional(
      Type.Object({ currency: text, list: amount, head: amount, get: amount, transfer: amount, total: amount }),
    ),
    workers: Type.Array(
      Type.Object({
        ...{ id: text, bytes: count, originBytes: count, roomBytes: count, freeBytes: count, capacityBytes: count },
        fits: Type.Boolean(),
        evicted: Type.Object({
          ...fileSum,
          paths: Type.Array(text, { maxItems: 100, description: 'Those that go first' }),
          counted: Type.Boolean({ description: 'False: the number of files is worked out from their average size' }),
        }),
      }),
    ),
    fits: Type.Boolean(),
    time: optional(
      Type.Object(
        { leastMs: count, mostMs: count, measuredLoads: count },
        { description: 'From loads that succeeded here of late; absent: there are none of the kind' },
      ),
    ),
    notes: Type.Array(text),
  },
  open,
);

export function planRoutes(scope: FastifyInstance, jobs: JobService, defaults: LoadOptions): void {
  scope.withTypeProvider<TypeBoxTypeProvider>().route({
    method: 'POST',
    url: '/api/v1/master/plan_job/load',
    bodyLimit: apiBodyLimitBytes,
    schema: {
      ...{ tags: ['jobs'], summary: 'What a load would do: nothing is loaded, written or evicted', body: Body },
      response: answers(Plan, [404, 409, 503]),
    },
    preValidation: bodyFields,
    handler: async ({ body }, reply) =>
      jobs.plan(sourceOf(body), parseLoadOptions(body.options ?? {}, defaults), goneSignal(reply)),
  });
}

/** Fires when the client has gone before it was answered. */
function goneSignal(reply: FastifyReply): AbortSignal {
  const abort = new AbortController();
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) abort.abort();
  });
  return abort.signal;
}
