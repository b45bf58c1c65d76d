/** The span of each request of a server: child of what the caller's `traceparent` names, and parent of all that the request begins. */
import type { FastifyPluginCallback, FastifyRequest } from 'fastify';
import { isTracing, type Span, startSpan, withoutQuery } from '../telemetry/trace.ts';
import { forParent } from './plugin.ts';

declare module 'fastify' {
  interface FastifyRequest {
    span?: Span;
  }
}

export interface RequestTraceOptions {
  readonly port: 'api' | 'worker' | 's3';
  /** By what its log and its answer call a request. */
  readonly idOf: (request: FastifyRequest) => string;
  /** By default its route: a path may be any of millions. */
  readonly nameOf?: (request: FastifyRequest) => string;
}

export const requestTrace: FastifyPluginCallback<RequestTraceOptions> = forParent((app, options, done) => {
  const { port, idOf, nameOf = (request) => `${request.method} ${request.routeOptions.url ?? '(no route)'}` } = options;
  app.addHook('onRequest', (request, reply, next) => {
    const { traceparent, tracestate } = request.headers;
    const parent = typeof traceparent === 'string' ? traceparent : undefined;
    if (!isTracing() || !isTold(request, parent)) {
      next();
      return;
    }
    const span = startSpan(nameOf(request), {
      kind: 'server',
      parent: parent ?? 'none',
      // Several lines of it are one, joined.
      tracestate: parent === undefined ? undefined : tracestate?.toString(),
      attributes: {
        'http.request.method': request.method,
        'url.path': withoutQuery(request.originalUrl),
        'client.address': request.ip,
        'primed.port': port,
      },
    });
    request.span = span;
    reply.raw.once('close', () => {
      const { statusCode: status, writableFinished } = reply.raw;
      span.set({ 'http.response.status_code': status, 'primed.request_id': idOf(request) });
      span.end(status >= 500 ? `answered ${status}` : writableFinished ? undefined : 'the answer was cut off');
    });
    span.within(next);
  });
  // What reads a body calls back from its socket, which is older than the span.
  app.addHook('preValidation', (request, _reply, next) => {
    if (request.span === undefined) next();
    else request.span.within(next);
  });
  done();
});

/** Calls between nodes are told of as part of what they belong to; health and metrics are asked for all the time. */
function isTold({ routeOptions, originalUrl }: FastifyRequest, parent: string | undefined): boolean {
  const url = routeOptions.url ?? originalUrl;
  if (url.startsWith('/health') || url.startsWith('/metrics')) return false;
  return parent !== undefined || !url.startsWith('/internal/');
}
