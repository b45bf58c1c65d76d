/** One line of the log for every call that changes something, or was refused: event `audit`, who, from where, what, result. */
import type { FastifyPluginCallback, FastifyRequest } from 'fastify';
import type { Log } from '../core/types.ts';
import { plainText } from './fields.ts';
import { forParent } from './plugin.ts';
import { roleOfRoute } from './route-roles.ts';

declare module 'fastify' {
  interface FastifyRequest {
    /** What the call does, where that depends on its fields. */
    auditedAs?: string;
  }
}

/** A path may be 8 KiB, and a list has a thousand: the log tells what it was about, not all of it. */
const mostWhat = 1000;
const about = [
  'path',
  'indexFile',
  'path or indexFile',
  'path || indexFile',
  'paths',
  'index',
  'alias',
  'target',
  'id',
  'job',
];

export const auditLog: FastifyPluginCallback<{ readonly log: Log }> = forParent((app, { log }, done) => {
  app.addHook('onResponse', (request, reply, next) => {
    const { method, routeOptions, caller, ip } = request;
    const action = request.auditedAs ?? roleOfRoute(method, routeOptions.url ?? '')?.action;
    if (action !== undefined && routeOptions.config?.ownToken !== true) {
      const status = reply.statusCode;
      const result = status < 400 ? 'done' : status === 401 || status === 403 ? 'refused' : 'failed';
      log.info(
        {
          event: 'audit',
          action,
          who: caller?.name ?? '-',
          from: ip,
          what: whatOf(request),
          result,
          status,
          requestId: request.id,
        },
        'audit',
      );
    }
    next();
  });
  done();
});

/** Only fields that name something, never a whole body. */
function whatOf({ params, query, body }: FastifyRequest): string {
  const fields = { ...fieldsOf(query), ...fieldsOf(body), ...fieldsOf(params) };
  return about
    .flatMap((name) => [fields[name]].flat())
    .map(plainText)
    .filter((text) => text !== '')
    .join(' ')
    .slice(0, mostWhat);
}

function fieldsOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
