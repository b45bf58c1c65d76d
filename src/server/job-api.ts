/**
 * The job API that Alluxio's users know (generation 2): submit, progress, stop, list, on the coordinator's port.
 *
 * Every field is understood or refused by name. The fields of progress, stop and list come as a JSON body (also of a GET)
 * or as query parameters, because many HTTP clients cannot send a body with GET.
 */
import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';
import type { FastifyInstance, FastifyPluginCallback, FastifyRequest } from 'fastify';
import { type Static, Type } from 'typebox';
import type { JobService } from '../cluster/types.ts';
import { PrimedError } from '../core/errors.ts';
import { type JobSource, type JobState, jobStates, type LoadOptions } from '../core/job.ts';
import { booleanOf, defaultLoadOptions, parseLoadOptions } from '../core/load-options.ts';
import { jsonReport, listRow, textReport } from '../core/report.ts';
import { acceptAnyContentType, acceptGetBodies, apiBodyLimitBytes } from './json-body.ts';
import { forParent } from './plugin.ts';

export interface JobApiOptions {
  readonly jobs: JobService;
  /** What a submission means that does not say `batchSize`; the product's own default if absent. */
  readonly batchSize?: number;
  /** The same of `segmentSize`. */
  readonly segmentBytes?: number;
}

const strict = { additionalProperties: false };
const path = Type.Optional(Type.String({ minLength: 1, maxLength: 8192 }));
/** The documentation of the API writes the choice between the two like this; some clients copy it. */
const sourceFields = { path, indexFile: path, 'path or indexFile': path, 'path || indexFile': path };
const flag = Type.Optional(Type.Union([Type.String(), Type.Boolean()]));
const number = Type.Optional(Type.Union([Type.String(), Type.Number()]));

const SubmitBody = Type.Object(
  {
    ...sourceFields,
    options: Type.Optional(
      Type.Object(
        {
          replicas: number,
          batchSize: number,
          segmentSize: number,
          partialListing: flag,
          loadMetadataOnly: flag,
          skipIfExists: flag,
          verify: flag,
          bandwidth: number,
          priority: number,
          fileFilterRegx: Type.Optional(Type.String()),
          fileFilterRegex: Type.Optional(Type.String()),
        },
        // The parser of the options refuses others, and says which there are.
        { additionalProperties: true },
      ),
    ),
  },
  strict,
);
const ProgressBody = Type.Object({ ...sourceFields, format: Type.Optional(Type.String()), verbose: flag }, strict);
const StopBody = Type.Object(sourceFields, strict);
const ListBody = Type.Object(
  { 'job-type': Type.Optional(Type.String()), 'job-state': Type.Optional(Type.String()) },
  strict,
);
const Done = Type.Object({
  success: Type.Boolean(),
  jobId: Type.String(),
  path: Type.String(),
  message: Type.String(),
});

/** Also turns on bodies of GET for the server that it is registered on. Errors leave by the server's error handler. */
export const jobApi: FastifyPluginCallback<JobApiOptions> = forParent(
  (app, { jobs, batchSize, segmentBytes }, done) => {
    const defaults = {
      ...defaultLoadOptions,
      ...(batchSize === undefined ? {} : { batchSize }),
      ...(segmentBytes === undefined ? {} : { segmentBytes }),
    };
    acceptGetBodies(app);
    void app.register(async (scope) => {
      acceptAnyContentType(scope);
      scope.setValidatorCompiler(TypeBoxValidatorCompiler);
      routes(scope, jobs, defaults);
    });
    done();
  },
);

function routes(scope: FastifyInstance, jobs: JobService, defaults: LoadOptions): void {
  const app = scope.withTypeProvider<TypeBoxTypeProvider>();
  const shared = { bodyLimit: apiBodyLimitBytes, exposeHeadRoute: false } as const;

  app.route({
    ...shared,
    method: 'POST',
    url: '/api/v1/master/submit_job/load',
    schema: { tags: ['jobs'], summary: 'Submit a load', body: SubmitBody, response: { 200: Done } },
    preValidation: bodyFields,
    handler: async ({ body }) => {
      const source = sourceOf(body);
      const { jobId, message } = await jobs.submit(source, parseLoadOptions(body.options ?? {}, defaults));
      return { success: true, jobId, path: source.path, message };
    },
  });

  app.route({
    ...shared,
    method: ['GET', 'POST'],
    url: '/api/v1/master/progress_job/load',
    schema: { tags: ['jobs'], summary: 'Progress of the newest load of a path', body: ProgressBody },
    preValidation: bodyOrQueryFields,
    handler: async ({ body }, reply) => {
      const { path: asked } = sourceOf(body);
      const format = wordOf('format', body.format, ['TEXT', 'JSON']) ?? 'TEXT';
      const verbose = body.verbose === undefined ? false : booleanOf('verbose', body.verbose);
      const job = jobs.snapshot(asked);
      if (job === undefined)
        throw new PrimedError('JOB_NOT_FOUND', `Load for path '${asked}' cannot be found.`, { path: asked });
      if (format === 'JSON') return reply.type('application/json; charset=utf-8').send(jsonReport(job, { verbose }));
      return reply.type('text/plain; charset=utf-8').send(textReport(job, { verbose }));
    },
  });

  app.route({
    ...shared,
    method: 'POST',
    url: '/api/v1/master/stop_job/load',
    schema: { tags: ['jobs'], summary: 'Stop the load of a path', body: StopBody, response: { 200: Done } },
    preValidation: bodyOrQueryFields,
    handler: async ({ body }) => {
      const { path: asked } = sourceOf(body);
      const stopped = await jobs.stop(asked);
      const jobId = jobs.snapshot(asked)?.jobId;
      if (!stopped || jobId === undefined) {
        const message = `Cannot find load job for path ${asked}, it might have already been stopped or finished`;
        throw new PrimedError('JOB_NOT_FOUND', message, { path: asked });
      }
      return { success: true, jobId, path: asked, message: `Load '${asked}' is successfully stopped.` };
    },
  });

  app.route({
    ...shared,
    method: ['GET', 'POST'],
    url: '/api/v1/master/list_job',
    schema: { tags: ['jobs'], summary: 'Jobs, the newest first', body: ListBody },
    preValidation: bodyOrQueryFields,
    handler: async ({ body }) => {
      wordOf('job-type', body['job-type'], ['LOAD', 'ALL']);
      const state = wordOf('job-state', body['job-state'], [...jobStates, 'ALL']) ?? 'ALL';
      return jobs.list(state === 'ALL' ? {} : { states: [state as JobState] }).map(listRow);
    },
  });
}

/** A missing body is one without fields: what is missing is then said by name. */
async function bodyFields(request: FastifyRequest): Promise<void> {
  request.body ??= {};
}

async function bodyOrQueryFields(request: FastifyRequest): Promise<void> {
  const query = request.query as Record<string, unknown>;
  const body = request.body ?? {};
  if (typeof body !== 'object' || Array.isArray(body)) return;
  for (const name of Object.keys(query)) {
    if (name in body) throw invalid(name, 'is given twice, in the body and in the query');
  }
  request.body = { ...query, ...body };
}

/** What is loaded. Throws REQUEST_INVALID unless exactly one field names it. */
function sourceOf(body: Static<typeof StopBody>): JobSource {
  const given = (Object.keys(sourceFields) as (keyof typeof sourceFields)[]).filter((name) => body[name] !== undefined);
  const [name, another] = given;
  if (name === undefined) throw invalid('path', 'is missing: give either path or indexFile');
  if (another !== undefined) throw invalid(another, `is given together with ${name}: give one of them`);
  return { kind: name === 'indexFile' ? 'index' : 'path', path: body[name]! };
}

function wordOf<T extends string>(field: string, value: string | undefined, words: readonly T[]): T | undefined {
  if (value === undefined) return undefined;
  const word = words.find((known) => known === value.trim().toUpperCase());
  if (word === undefined) throw invalid(field, `must be one of ${words.join(', ')}, not '${value.slice(0, 60)}'`);
  return word;
}

function invalid(field: string, why: string): PrimedError {
  return new PrimedError('REQUEST_INVALID', `${field}: ${why}.`, { field });
}
