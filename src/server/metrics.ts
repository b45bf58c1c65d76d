/** What Prometheus reads, and the counting of what a port answers. */
import type { FastifyPluginCallback } from 'fastify';
import { Type } from 'typebox';
import type { Telemetry } from '../telemetry/registry.ts';
import { forParent } from './plugin.ts';
import { answersOf, documented } from './schemas.ts';

export interface MetricsOptions {
  readonly telemetry: Telemetry;
}

/** `GET /metrics`: everything in the text format of Prometheus. */
export const metricsRoutes: FastifyPluginCallback<MetricsOptions> = (app, { telemetry }, done) => {
  documented(app);
  const text = { description: 'docs/METRICS.md has the list', content: { 'text/plain': { schema: Type.String() } } };
  const schema = { tags: ['daemon'], summary: 'Metrics, for Prometheus', response: answersOf(text) };
  app.get('/metrics', { schema }, async (_request, reply) => {
    const body = await telemetry.text();
    return reply.type(telemetry.contentType).send(body);
  });
  done();
};

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The answer lasts for as long as somebody listens: its time says nothing of the server. */
    readonly lasts?: boolean;
  }
}

export interface RequestMetricsOptions extends MetricsOptions {
  readonly port: 'api' | 'worker';
}

/** Counts and times every answer of the server it is registered on. */
export const requestMetrics: FastifyPluginCallback<RequestMetricsOptions> = forParent(
  (app, { telemetry, port }, done) => {
    app.addHook('onResponse', ({ routeOptions }, reply, next) => {
      telemetry.counters.httpRequests.inc({ port, code: statusClass(reply.statusCode) });
      if (routeOptions.config?.lasts !== true)
        telemetry.histograms.httpSeconds.observe({ port }, reply.elapsedTime / 1000);
      next();
    });
    done();
  },
);

export function statusClass(status: number): '1xx' | '2xx' | '3xx' | '4xx' | '5xx' {
  if (status < 200) return '1xx';
  if (status < 300) return '2xx';
  if (status < 400) return '3xx';
  return status < 500 ? '4xx' : '5xx';
}
