/**
 * Generation 1 of the job API, on every worker's port: `/v1/load?path=&opType=submit|progress|stop`, by GET or POST. What
 * becomes of a load is always HTTP 200; that the worker cannot learn it is 503 for progress, because every state that a
 * client would take for an answer is one.
 */
import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';
import type { FastifyPluginCallback, FastifyRequest } from 'fastify';
import { type Static, Type } from 'typebox';
import type { LoadDesk } from '../cluster/load-desk.ts';
import { PrimedError } from '../core/errors.ts';
import { booleanOf } from '../core/load-options.ts';
import { needRole, refuseOtherSites } from './auth.ts';
import type { ErrorForm } from './errors.ts';
import { bodyOrQueryFields, invalidField, plainText, wordOf } from './fields.ts';
import { acceptAnyContentType, apiBodyLimitBytes } from './json-body.ts';
import { ReportCache } from './report-cache.ts';
import { answers, documented, ErrorBody, LoadOptionFields } from './schemas.ts';

export interface WorkerLoadApiOptions {
  readonly desk: LoadDesk;
  /** Milliseconds of a clock that only goes forward. */
  readonly now?: () => number;
}

const Fields = Type.Object(
  {
    path: Type.String({ minLength: 1, maxLength: 8192 }),
    opType: Type.String({ description: 'submit, progress or stop' }),
    progressFormat: Type.Optional(Type.String({ description: 'TEXT or JSON' })),
    verbose: Type.Optional(Type.Union([Type.String(), Type.Boolean()])),
    ...LoadOptionFields.properties,
  },
  { additionalProperties: true },
);
const Outcome = Type.Object(
  {
    success: Type.Optional(Type.Boolean()),
    jobId: Type.Optional(Type.String()),
    path: Type.String(),
    message: Type.String(),
    jobState: Type.Optional(Type.String({ description: 'RUNNING, VERIFYING, STOPPED, SUCCEEDED or FAILED' })),
    respProperties: Type.Optional(Type.Record(Type.String(), Type.String())),
  },
  { description: 'Of submit: success, jobId, path, message; of stop: success, path, message; of progress: the others' },
);

/** A submission or a stop that failed has an outcome, which says so; a question that could not be answered has none. */
const errorForm: ErrorForm = ({ status, ...body }, request) => {
  const { opType, path } = (request.body ?? request.query ?? {}) as { opType?: unknown; path?: unknown };
  const success = { success: false, path: plainText(path) };
  if (typeof path !== 'string' || path === '' || status === 401 || status === 403)
    return { status, body: { success: false, ...body } };
  const operation = plainText(opType).toLowerCase();
  if (operation === 'submit') return { status: 200, body: { ...success, jobId: 'NONE', ...body } };
  if (operation === 'stop') return { status: 200, body: { ...success, ...body } };
  return { status, body: { ...success, ...body } };
};

export const workerLoadApi: FastifyPluginCallback<WorkerLoadApiOptions> = (scope, { desk, now }, done) => {
  acceptAnyContentType(scope);
  scope.setValidatorCompiler(TypeBoxValidatorCompiler);
  documented(scope);
  const app = scope.withTypeProvider<TypeBoxTypeProvider>();
  const reports = new ReportCache(desk, now ?? (() => performance.now()));

  const shared = { url: '/v1/load', bodyLimit: apiBodyLimitBytes, exposeHeadRoute: false, config: { errorForm } };
  const schema = {
    ...{ tags: ['loads'], summary: 'Submit, show or stop a load; forwarded to the coordinator' },
    response: answers(Outcome, [503], ErrorBody),
  };

  const outcome = async (request: FastifyRequest, asked: Static<typeof Fields>): Promise<object> => {
    const { path, opType, ...fields } = asked;
    const changes = (action: string): void => {
      request.auditedAs = action;
      // Also by GET, which elsewhere changes nothing, and which a browser sends for any page.
      refuseOtherSites(request.headers);
      needRole(request, 'submit');
    };
    switch (wordOf('opType', opType, ['SUBMIT', 'PROGRESS', 'STOP'])) {
      case 'SUBMIT': {
        changes('submit load');
        const { jobId, message } = await desk.submit(path, fields);
        reports.forget(path);
        return { success: true, jobId, path, message };
      }
      case 'STOP':
        changes('stop load');
        nothingElse(fields, []);
        await stopped(desk, path);
        reports.forget(path);
        return { success: true, path, message: `Load '${path}' is successfully stopped.` };
      default:
        nothingElse(fields, ['progressFormat', 'verbose']);
        return progress(reports, path, fields);
    }
  };
  app.route({
    ...shared,
    method: 'GET',
    schema: { ...schema, querystring: Fields },
    handler: (request) => outcome(request, request.query),
  });
  app.route({
    ...shared,
    method: 'POST',
    schema: { ...schema, body: Fields },
    preValidation: bodyOrQueryFields,
    handler: (request) => outcome(request, request.body),
  });
  done();
};

function nothingElse(fields: object, but: readonly string[]): void {
  const other = Object.keys(fields).find((name) => !but.includes(name));
  if (other !== undefined) throw invalidField(other, 'means nothing for this opType');
}

async function stopped(desk: LoadDesk, path: string): Promise<void> {
  try {
    await desk.stop(path);
  } catch (error) {
    if (!isNotFound(error)) throw error;
    const message = `Cannot find load job for path ${path}, it might have already been stopped or finished`;
    throw new PrimedError('JOB_NOT_FOUND', message, { path });
  }
}

async function progress(reports: ReportCache, path: string, fields: Partial<Static<typeof Fields>>): Promise<object> {
  const format = wordOf('progressFormat', fields.progressFormat, ['TEXT', 'JSON']) ?? 'TEXT';
  const verbose = fields.verbose === undefined ? false : booleanOf('verbose', fields.verbose);
  try {
    return { path, ...(await reports.get(path, { format, verbose })) };
  } catch (error) {
    if (!isNotFound(error)) throw error;
    const message = `Load for path '${path}' cannot be found.`;
    return { jobState: 'FAILED', path, message, respProperties: { 'Job State': 'FAILED' } };
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof PrimedError && error.code === 'JOB_NOT_FOUND';
}
