/**
 * Generation 3 of the job API: one resource, `/api/v1/load`, whose jobs are found by alias, path, index or id. Its errors
 * have a `status` beside what all errors have.
 */
import { randomUUID } from 'node:crypto';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import type { JobService } from '../cluster/types.ts';
import { PrimedError } from '../core/errors.ts';
import type { JobSnapshot, JobSource, LoadOptions } from '../core/job.ts';
import { loadJobObject } from '../core/load-job.ts';
import { booleanOf, parseLoadOptions } from '../core/load-options.ts';
import { MiB } from '../core/units.ts';
import type { ErrorForm } from './errors.ts';
import { bodyFields, invalidField, onlyOne, wordOf } from './fields.ts';
import { answers, LoadJob, LoadOptionAndPolicyFields, StatusErrorBody, strict } from './schemas.ts';

/** They are written with the job every second; more of them belong into an index file. */
const mostPaths = 1000;
/** So many keys of the greatest length, and some. */
const bodyLimitBytes = 2 * MiB;

const path = Type.String({ minLength: 1, maxLength: 8192 });
const paths = Type.Array(path, { minItems: 1, maxItems: mostPaths });
const optional = Type.Optional;
const SubmitBody = Type.Object(
  {
    paths: optional(paths),
    index: optional(path),
    alias: optional(
      Type.String({
        minLength: 1,
        maxLength: 256,
        description: 'A handle of the job; a random one is made and returned without it',
      }),
    ),
    options: optional(LoadOptionAndPolicyFields),
  },
  strict,
);
/** `target` is any of the others. */
const handles = { target: optional(path), alias: optional(path), index: optional(path), id: optional(path) };
const handleNames = ['target', 'alias', 'index', 'id'] as const;
const FindQuery = Type.Object(handles, strict);
const StopBody = Type.Object({ ...handles, path: optional(path), paths: optional(paths) }, strict);
const Answered = Type.Object({ status: Type.String(), id: Type.String(), alias: optional(Type.String()) });

const errorForm: ErrorForm = ({ status, ...body }) => ({
  status,
  body: { status: body.code === 'JOB_NOT_FOUND' ? 'No job found...' : body.message, ...body },
});

export function loadRoutes(scope: FastifyInstance, jobs: JobService, defaults: LoadOptions): void {
  const app = scope.withTypeProvider<TypeBoxTypeProvider>();
  const shared = { url: '/api/v1/load', bodyLimit: bodyLimitBytes, exposeHeadRoute: false, config: { errorForm } };
  const tags = ['loads'];

  app.route({
    ...shared,
    method: 'POST',
    schema: {
      ...{ tags, summary: 'Submit a load of paths, or of what an index file names', body: SubmitBody },
      response: answers(Answered, [409, 413, 429, 503], StatusErrorBody),
    },
    preValidation: bodyFields,
    handler: async ({ body }) => {
      const { source, alias } = sourceOf(body);
      const { jobId, started, message } = await jobs.submit(source, optionsOf(body.options ?? {}, defaults), alias);
      if (!started) throw new PrimedError('JOB_CONFLICT', `${message} (job ${jobId}).`, { jobId });
      return { status: message, id: jobId, alias };
    },
  });

  app.route({
    ...shared,
    method: 'GET',
    schema: {
      tags,
      summary: 'One load by alias, path, index or id; without any of them all loads, the newest first',
      querystring: FindQuery,
      response: answers(Type.Union([LoadJob, Type.Object({ results: Type.Array(LoadJob) })]), [404], StatusErrorBody),
    },
    handler: async ({ query }) => {
      if (handleNames.every((name) => query[name] === undefined))
        return { results: jobs.list({ types: ['LOAD'] }).map(loadJobObject) };
      return loadJobObject(await found(jobs, query[onlyOne(query, handleNames)]!));
    },
  });

  app.route({
    ...shared,
    method: 'DELETE',
    schema: {
      ...{ tags, summary: 'Stop a load', body: StopBody },
      response: answers(Answered, [404], StatusErrorBody),
    },
    preValidation: bodyFields,
    handler: async ({ body }) => {
      const name = onlyOne(body, ['target', 'path', 'paths', 'alias', 'index', 'id']);
      const job = await found(jobs, body[name]!);
      if (!(await jobs.stop(job.jobId))) throw notFound(job.jobId);
      const alias = job.alias === undefined ? {} : { alias: job.alias };
      return { status: `Load '${job.source.path}' is successfully stopped.`, id: job.jobId, ...alias };
    },
  });
}

/** One path is a load of that path, which the other generations find by it; more are a list, called by its alias. */
function sourceOf(body: Static<typeof SubmitBody>): { source: JobSource; alias: string } {
  const alias = body.alias ?? randomUUID();
  if (/^\/|:\/\/|\p{Cc}/u.test(alias))
    throw invalidField('alias', 'must not look like a path, nor hold control characters');
  const name = onlyOne(body, ['paths', 'index']);
  if (name === 'index') return { source: { kind: 'index', path: body.index! }, alias };
  const [first, ...others] = body.paths!;
  if (others.length === 0) return { source: { kind: 'path', path: first! }, alias };
  return { source: { kind: 'paths', path: alias, paths: body.paths! }, alias };
}

/**
 * `loadPolicy` IF_CHANGED loads what is missing or has changed: what is cached is compared with the version that the origin
 * has now, as skipIfExists always does here.
 */
function optionsOf(raw: Readonly<Record<string, unknown>>, defaults: LoadOptions): LoadOptions {
  const { loadPolicy, ...others } = raw;
  if (loadPolicy === undefined || loadPolicy === null) return parseLoadOptions(others, defaults);
  wordOf('loadPolicy', String(loadPolicy), ['IF_CHANGED']);
  if (others.skipIfExists !== undefined && !booleanOf('skipIfExists', others.skipIfExists))
    throw invalidField('skipIfExists', 'must not be false together with loadPolicy IF_CHANGED');
  return parseLoadOptions({ ...others, skipIfExists: true }, defaults);
}

/** Also one that another coordinator has taken a moment ago. Rejects with JOB_NOT_FOUND. */
async function found(jobs: JobService, target: string | readonly string[]): Promise<JobSnapshot> {
  const known = foundHere(jobs, target);
  if (known !== undefined) return known;
  await jobs.caughtUp();
  const heard = foundHere(jobs, target);
  if (heard === undefined) throw notFound([target].flat().join(', '));
  return heard;
}

/** By what finds it, or as the newest one that was given this path, or these paths. */
function foundHere(jobs: JobService, target: string | readonly string[]): JobSnapshot | undefined {
  const [only, ...others] = typeof target === 'string' ? [target] : target;
  const job = others.length === 0 ? jobs.snapshot(only!) : undefined;
  if (job !== undefined) return job;
  const wanted = new Set([only!, ...others]);
  const listed = jobs.list({ types: ['LOAD'] }).find(({ source }) => {
    if (source.kind !== 'paths') return false;
    const named = new Set(source.paths);
    return [...wanted].every((one) => named.has(one)) && (typeof target === 'string' || named.size === wanted.size);
  });
  return listed === undefined ? undefined : (jobs.snapshot(listed.jobId) ?? listed);
}

function notFound(target: string): PrimedError {
  return new PrimedError('JOB_NOT_FOUND', `No load is known as '${target.slice(0, 1000)}', or it has ended.`, {
    target,
  });
}
