/** Frees, in the manner of generation 2 of loads: what is cached at and below a path is removed from every worker. */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import type { JobService } from '../cluster/types.ts';
import { PrimedError } from '../core/errors.ts';
import { booleanOf } from '../core/load-options.ts';
import { bodyFields, bodyOrQueryFields } from './fields.ts';
import { findJob } from './find-job.ts';
import { apiBodyLimitBytes } from './json-body.ts';
import { answerReport } from './report-answer.ts';
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
      handler: async ({ body }, reply) => {
        const { path: asked } = body;
        return answerReport(reply, body, async () => {
          const job = await findJob(jobs, asked, 'FREE');
          if (job !== undefined) return job;
          throw new PrimedError('JOB_NOT_FOUND', `Free for path '${asked}' cannot be found.`, { path: asked });
        });
      },
    });
  }

  app.route({
    ...shared,
    method: 'POST',
    url: '/api/v1/master/stop_job/free',
    schema: { tags, summary: 'Stop the free of a path', body: StopBody, response: answers(Submitted, [404]) },
    preValidation: bodyOrQueryFields,
    handler: async ({ body: { path: asked } }) => {
      const stopped = await jobs.stop(asked, 'FREE');
      const jobId = jobs.snapshot(asked, 'FREE')?.jobId;
      if (!stopped || jobId === undefined) {
        const message = `Cannot find free job for path ${asked}, it might have already been stopped or finished`;
        throw new PrimedError('JOB_NOT_FOUND', message, { path: asked });
      }
      return { success: true, jobId, path: asked, message: `Free '${asked}' is successfully stopped.` };
    },
  });
}
