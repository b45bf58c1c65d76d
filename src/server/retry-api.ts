/** A load of exactly what another load did not get. */
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import type { JobService } from '../cluster/types.ts';
import { PrimedError } from '../core/errors.ts';
import { failedOf } from '../core/retry-failed.ts';
import { bodyFields } from './fields.ts';
import { findJob } from './job-answers.ts';
import { apiBodyLimitBytes } from './json-body.ts';
import { answers, Submitted, strict } from './schemas.ts';

const Body = Type.Object(
  {
    job: Type.String({
      ...{ minLength: 1, maxLength: 8192 },
      description: 'Id of a load that has ended, or a path, index file or alias, of which the newest load counts',
    }),
  },
  strict,
);

export function retryRoutes(scope: FastifyInstance, jobs: JobService): void {
  scope.withTypeProvider<TypeBoxTypeProvider>().route({
    method: 'POST',
    url: '/api/v1/master/retry_job/load',
    bodyLimit: apiBodyLimitBytes,
    schema: {
      ...{ tags: ['jobs'], summary: 'Submit a load of the files that another one did not get', body: Body },
      response: answers(Submitted, [404, 409, 429, 503]),
    },
    preValidation: bodyFields,
    handler: async ({ body: { job: asked } }) => {
      const job = await findJob(jobs, { type: 'LOAD', handle: asked });
      if (job === undefined)
        throw new PrimedError('JOB_NOT_FOUND', `No load is known as '${asked.slice(0, 1000)}'.`, { job: asked });
      const { source, alias } = failedOf(job);
      const { jobId, message } = await jobs.submit(source, job.options, alias);
      return { success: true, jobId, path: source.path, message };
    },
  });
}
