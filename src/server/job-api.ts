/**
 * The job API on the coordinator's port: generation 2 of loads (submit, progress, stop, list) here, of frees in free-api,
 * generation 3 in load-api.
 *
 * Every field is understood or refused by name. The fields of progress, stop and list come as a JSON body (also of a GET)
 * or as query parameters, because many HTTP clients cannot send a body with GET.
 */
import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';
import type { FastifyInstance, FastifyPluginCallback } from 'fastify';
import { Type } from 'typebox';
import type { JobService } from '../cluster/types.ts';
import { PrimedError } from '../core/errors.ts';
import { type JobState, type JobType, jobStates, jobTypes, type LoadOptions } from '../core/job.ts';
import { isEnded } from '../core/job-machine.ts';
import { bandwidthText, defaultLoadOptions, parseLoadOptions } from '../core/load-options.ts';
import { rateOf } from '../core/origin-limits.ts';
import { listRow } from '../core/report.ts';
import { bodyFields, bodyOrQueryFields, wordOf } from './fields.ts';
import { freeRoutes } from './free-api.ts';
import { answerProgress, answerStop } from './job-answers.ts';
import { acceptAnyContentType, acceptGetBodies, apiBodyLimitBytes } from './json-body.ts';
import { loadRoutes } from './load-api.ts';
import { planRoutes } from './plan-api.ts';
import { forParent } from './plugin.ts';
import { retryRoutes } from './retry-api.ts';
import {
  answers,
  answersOf,
  documented,
  flagField,
  JobRow,
  LoadOptionFields,
  LoadReport,
  reported,
  Submitted,
  strict,
} from './schemas.ts';
import { sourceFields, sourceOf } from './source-fields.ts';

export interface JobApiOptions {
  readonly jobs: JobService;
  /** What a submission means that does not say otherwise; the product's own defaults if absent. Read at each one. */
  readonly defaults?: LoadOptions;
}

const SubmitBody = Type.Object({ ...sourceFields, options: Type.Optional(LoadOptionFields) }, strict);
const ProgressBody = Type.Object({ ...sourceFields, format: Type.Optional(Type.String()), verbose: flagField }, strict);
const LimitBody = Type.Object({ ...sourceFields, bandwidth: Type.Union([Type.String(), Type.Number()]) }, strict);
const StopBody = Type.Object(sourceFields, strict);
const activeStates = jobStates.filter((state) => !isEnded(state));
const ListBody = Type.Object(
  { 'job-type': Type.Optional(Type.String()), 'job-state': Type.Optional(Type.String()) },
  strict,
);

/** Also turns on bodies of GET for the server that it is registered on. Errors leave by the server's error handler. */
export const jobApi: FastifyPluginCallback<JobApiOptions> = forParent((app, options, done) => {
  const { jobs, defaults = defaultLoadOptions } = options;
  acceptGetBodies(app);
  void app.register(async (scope) => {
    acceptAnyContentType(scope);
    scope.setValidatorCompiler(TypeBoxValidatorCompiler);
    documented(scope);
    routes(scope, jobs, defaults);
    freeRoutes(scope, jobs);
    loadRoutes(scope, jobs, defaults);
    retryRoutes(scope, jobs);
    planRoutes(scope, jobs, defaults);
  });
  done();
});

function routes(scope: FastifyInstance, jobs: JobService, defaults: LoadOptions): void {
  const app = scope.withTypeProvider<TypeBoxTypeProvider>();
  const shared = { bodyLimit: apiBodyLimitBytes, exposeHeadRoute: false } as const;
  const tags = ['jobs'];

  app.route({
    ...shared,
    method: 'POST',
    url: '/api/v1/master/submit_job/load',
    schema: { tags, summary: 'Submit a load', body: SubmitBody, response: answers(Submitted, [409, 413, 429, 503]) },
    preValidation: bodyFields,
    handler: async ({ body }) => {
      const source = sourceOf(body);
      const { jobId, message } = await jobs.submit(source, parseLoadOptions(body.options ?? {}, defaults));
      return { success: true, jobId, path: source.path, message };
    },
  });

  for (const method of ['GET', 'POST'] as const) {
    app.route({
      ...shared,
      method,
      url: '/api/v1/master/progress_job/load',
      schema: {
        ...{ tags, summary: 'Progress of the newest load of a path', body: ProgressBody },
        response: answersOf(reported(LoadReport), [404]),
      },
      preValidation: bodyOrQueryFields,
      handler: async ({ body }, reply) =>
        answerProgress(jobs, { type: 'LOAD', handle: sourceOf(body).path }, body, reply),
    });
  }

  app.route({
    ...shared,
    method: 'POST',
    url: '/api/v1/master/stop_job/load',
    schema: { tags, summary: 'Stop the load of a path', body: StopBody, response: answers(Submitted, [404]) },
    preValidation: bodyOrQueryFields,
    handler: async ({ body }) => answerStop(jobs, { type: 'LOAD', handle: sourceOf(body).path }),
  });

  app.route({
    ...shared,
    method: 'POST',
    url: '/api/v1/master/limit_job/load',
    schema: { tags, summary: 'Limit an active load', body: LimitBody, response: answers(Submitted, [404]) },
    preValidation: bodyFields,
    handler: async ({ body: { bandwidth, ...source } }) => {
      const { path: asked } = sourceOf(source);
      const bytesPerSecond = rateOf('bandwidth', bandwidth);
      const limited = await jobs.limit(asked, bytesPerSecond);
      const job = jobs.snapshot(asked);
      if (!limited || job === undefined)
        throw new PrimedError('JOB_NOT_FOUND', `No load of '${asked}' is active.`, { path: asked });
      const message = `Load '${asked}' has the bandwidth limit ${bandwidthText(job.options)}.`;
      return { success: true, jobId: job.jobId, path: asked, message };
    },
  });

  for (const method of ['GET', 'POST'] as const) {
    app.route({
      ...shared,
      method,
      url: '/api/v1/master/list_job',
      schema: { tags, summary: 'Jobs, the newest first', body: ListBody, response: answers(Type.Array(JobRow)) },
      preValidation: bodyOrQueryFields,
      handler: async ({ body }) => {
        const type = wordOf('job-type', body['job-type'], [...jobTypes, 'ALL']) ?? 'ALL';
        const state = wordOf('job-state', body['job-state'], [...jobStates, 'ACTIVE', 'ALL']) ?? 'ALL';
        const types = type === 'ALL' ? {} : { types: [type as JobType] };
        const states = state === 'ACTIVE' ? activeStates : [state as JobState];
        return jobs.list({ ...types, ...(state === 'ALL' ? {} : { states }) }).map(listRow);
      },
    });
  }
}
