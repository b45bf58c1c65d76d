/**
 * How failures leave over HTTP: the proper status, and `{"statusCode": <gRPC name>, "message": …}`, with the `code` of the
 * catalogue where the failure has one. A route whose contract has another form for the same says it by `errorForm`.
 */
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type ErrorCode, httpStatusOf, PrimedError, type StatusCode } from '../core/errors.ts';
import { formatSize } from '../core/sizes.ts';
import type { Log } from '../core/types.ts';
import { withoutQuery } from '../telemetry/trace.ts';

/** Seconds after which a client may try a retryable request again. */
const retryAfterSeconds = 1;

/** Answers errors and unknown routes of this server, whichever plugin they come from. */
export function installErrorHandler(app: FastifyInstance, log: Log): void {
  app.setErrorHandler((error: unknown, request, reply) => answerError(error, request, reply, log));
  app.setNotFoundHandler((request, reply) => {
    const url = request.url.split('?', 1)[0]!;
    const allowed = methods.filter((method) => app.hasRoute({ method, url }));
    if (allowed.length === 0)
      return send(reply, {
        status: 404,
        statusCode: 'NOT_FOUND',
        message: `There is no ${url} here${whereElse(app, url)}`,
      });
    return send(reply.header('allow', allowed.join(', ')), {
      status: 405,
      statusCode: 'UNIMPLEMENTED',
      message: `${url} is not asked with ${request.method}, but with ${allowed.join(' or ')}.`,
    });
  });
}

/** The verbs about workers end here where a daemon is both. */
function whereElse(app: FastifyInstance, url: string): string {
  const workers = '/api/v1/workers';
  if (!url.startsWith(workers) || app.hasRoute({ method: 'GET', url: workers })) return '.';
  return ': only the coordinator of a cluster tells of workers; `primed top` shows a standalone daemon.';
}

/** Those that routes of ours have. */
const methods = ['GET', 'POST', 'PUT', 'DELETE'];

/** Another form of an answer. */
export type ErrorForm = (
  answer: ErrorAnswer,
  request: FastifyRequest,
) => { readonly status: number; readonly body: object };

declare module 'fastify' {
  interface FastifyContextConfig {
    readonly errorForm?: ErrorForm;
  }
}

export interface ErrorAnswer {
  readonly status: number;
  readonly statusCode: StatusCode;
  readonly message: string;
  readonly code?: ErrorCode;
}

function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply, log: Log): FastifyReply {
  const answer = answerFor(error, request);
  if (answer.status >= 500 && !(error instanceof PrimedError)) {
    const facts = { requestId: request.id, error, method: request.method, path: withoutQuery(request.url) };
    log.error(facts, 'a request failed because of a defect');
  }
  if (error instanceof PrimedError && error.retryable) void reply.header('retry-after', String(retryAfterSeconds));
  const form = request.routeOptions.config.errorForm;
  if (form !== undefined) {
    const { status, body } = form(answer, request);
    return reply.code(status).type('application/json; charset=utf-8').send(body);
  }
  return send(reply, answer);
}

function send(reply: FastifyReply, { status, ...body }: ErrorAnswer): FastifyReply {
  return reply.code(status).type('application/json; charset=utf-8').send(body);
}

function answerFor(error: unknown, { routeOptions }: FastifyRequest): ErrorAnswer {
  if (error instanceof PrimedError)
    return { status: error.httpStatus, statusCode: error.status, message: error.message, code: error.code };
  const { validation, validationContext, statusCode, message } = error as Partial<FastifyError>;
  if (validation !== undefined) return invalidArgument(validationMessage(validation, validationContext ?? 'request'));
  switch (statusCode) {
    case undefined:
      return unexpected;
    case 413:
      return {
        status: 413,
        statusCode: 'PAYLOAD_TOO_LARGE',
        message: `The body of the request is larger than ${formatSize(routeOptions.bodyLimit)}, the most that is read here.`,
        code: 'REQUEST_INVALID',
      };
    default: {
      if (statusCode < 400 || statusCode >= 600) return unexpected;
      const byStatus = (Object.keys(httpStatusOf) as StatusCode[]).find((name) => httpStatusOf[name] === statusCode);
      if (byStatus !== undefined) return { status: statusCode, statusCode: byStatus, message: message ?? byStatus };
      return statusCode < 500 ? invalidArgument(message ?? 'The request is not understood.') : unexpected;
    }
  }
}

const unexpected: ErrorAnswer = {
  status: 500,
  statusCode: 'INTERNAL',
  message: 'The daemon met an error that it does not know; its log has the details.',
  code: 'INTERNAL',
};

function invalidArgument(message: string): ErrorAnswer {
  return { status: 400, statusCode: 'INVALID_ARGUMENT', message, code: 'REQUEST_INVALID' };
}

type Validation = NonNullable<FastifyError['validation']>;

/** The field, and what is wrong with it: of several findings about one value, the last one is about the whole of it. */
function validationMessage(findings: Validation, context: string): string {
  const unknown = findings.find(({ keyword }) => keyword === 'additionalProperties');
  if (unknown !== undefined) {
    const names = [(unknown.params as { additionalProperties?: string | string[] }).additionalProperties ?? []].flat();
    const where = fieldOf(unknown.instancePath);
    return `${where === '' ? '' : `${where}: `}unknown field ${names.map((name) => `'${name}'`).join(', ')}.`;
  }
  const finding = findings.find(({ keyword }) => keyword === 'anyOf') ?? findings[0];
  if (finding === undefined) return `The ${context} is not valid.`;
  const field = fieldOf(finding.instancePath);
  if (finding.keyword === 'anyOf') {
    const wanted = findings.filter((other) => other.keyword === 'type' && other.instancePath === finding.instancePath);
    if (wanted.length > 0) return `${field}: must be ${wanted.map(typeOf).join(' or ')}.`;
  }
  if (finding.keyword === 'type') return `${field === '' ? `The ${context}` : `${field}:`} must be ${typeOf(finding)}.`;
  if (finding.keyword === 'minLength') return `${field}: must not be empty.`;
  if (finding.keyword === 'required') return `${field === '' ? context : field}: ${finding.message}.`;
  return `${field === '' ? `The ${context}` : `${field}:`} ${finding.message}.`;
}

const typeWords: Readonly<Record<string, string>> = {
  array: 'a list',
  boolean: 'a boolean',
  integer: 'a whole number',
  number: 'a number',
  object: 'an object',
  string: 'a string',
};

function typeOf({ params }: Validation[number]): string {
  const { type = '' } = params as { type?: string };
  return typeWords[type] ?? type;
}

function fieldOf(instancePath: string): string {
  return instancePath
    .split('/')
    .slice(1)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
    .join('.');
}
