/** Frees, in the manner of generation 2 of loads: what is cached at and below a path is removed from every worker. */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import type { JobService } from '../cluster/types.ts';
import { booleanOf } from '../core/load-options.ts';
import { bodyFields, bodyOrQueryFields } from './fields.ts';
import { answerProgress, answerStop } from './job-answers.ts';
import { apiBodyLimitBytes } from './json-body.ts';
import { answers, answersOf, FreeReport, flagField, reported, Submitted, strict } from './schemas.ts';

const path = Type.String({
  minLength: 1,
  maxLength: 8192,
  description: 's3://bucket/dir/: what lies below it; s3://bucket/dir: the file of that name too',
});
const SubmitBody = Type.Object({ path, options: Type.Optional(Type.Object({ dryRun: flagField }, strict)) }, strict);
const ProgressBody = Type.Object({ path, format: Type.Optional(Type.String()), verbose: flagField }, strict);
const StopBody = Type.Object({ path }, strict);

export function freeRoutes(scope: FastifyInstance, jobs: JobService): void {
  const app = scope.withTypeProvider<TypeBoxTypeProvider>();
  const shared = { bodyLimit: apiBodyLimitBytes, exposeHeadRoute: false } as const;
  const tags = ['jobs'];

  app.route({
    ...shared,
    method: 'POST',
    url: '/api/v1/master/submit_job/free',
    schema: {
      ...{ tags, summary: 'Remove a path from every worker, or say what that would remove', body: SubmitBody },
      response: answers(Submitted, [409, 413, 429, 503]),
    },
    preValidation: bodyFields,
    handler: async ({ body: { path: asked, options = {} } }) => {
      const dryRun = options.dryRun === undefined ? false : booleanOf('dryRun', options.dryRun);
      const { jobId, message } = await jobs.free(asked, { dryRun });
      return { success: true, jobId, path: asked, message };
    },
  });

  for (const method of ['GET', 'POST'] as const) {
    app.route({
      ...shared,
      method,
      url: '/api/v1/master/progress_job/free',
      schema: {
        ...{ tags, summary: 'Progress of the newest free of a path', body: ProgressBody },
        response: answersOf(reported(FreeReport), [404]),
      },
      preValidation: bodyOrQueryFields,
      handler: async ({ body }, reply) => answerProgress(jobs, { type: 'FREE', handle: body.path }, body, reply),
    });
  }

  app.route({
    ...shared,
    method: 'POST',
    url: '/api/v1/master/stop_job/free',
    schema: { tags, summary: 'Stop the free of a path', body: StopBody, response: answers(Submitted, [404]) },
    preValidation: bodyOrQueryFields,
    handler: async ({ body: { path: handle } }) => answerStop(jobs, { type: 'FREE', handle }),
  });
}
