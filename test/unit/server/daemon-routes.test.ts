import Fastify, { type FastifyInstance } from 'fastify';
import { afterEach, expect, test } from 'vitest';
import { bearerAuth } from '../../../src/server/auth.ts';
import { installErrorHandler } from '../../../src/server/errors.ts';
import { healthRoutes, type Readiness } from '../../../src/server/health.ts';
import { metricsRoutes, requestMetrics } from '../../../src/server/metrics.ts';
import { makeTelemetry } from '../../../src/telemetry/registry.ts';
import { silent } from '../../support/silent.ts';

const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0)) await close();
});

async function server(given: { apiToken?: string; ready?: () => Readiness } = {}): Promise<FastifyInstance> {
  const telemetry = makeTelemetry({ processMetrics: false });
  const app = Fastify();
  installErrorHandler(app, silent);
  open.push(
    () => app.close(),
    () => telemetry.close(),
  );
  await app.register(bearerAuth, given.apiToken === undefined ? {} : { token: given.apiToken });
  await app.register(requestMetrics, { telemetry, port: 'api' });
  await app.register(metricsRoutes, { telemetry });
  await app.register(healthRoutes, { ready: given.ready ?? (() => ({ ready: true })) });
  app.get('/api/v1/thing', () => ({ ok: true }));
  return app;
}

test('GET /metrics answers the text format, and counts what was answered before', async () => {
  const app = await server();
  await app.inject('/api/v1/thing');
  await app.inject('/nowhere');
  const answer = await app.inject('/metrics');
  expect(answer.statusCode).toBe(200);
  expect(answer.headers['content-type']).toContain('text/plain; version=0.0.4');
  expect(answer.body).toContain('primed_http_requests_total{port="api",code="2xx"} 1');
  expect(answer.body).toContain('primed_http_requests_total{port="api",code="4xx"} 1');
  expect(answer.body).toContain('primed_http_request_seconds_count{port="api"} 2');
});

test('live is always 200, ready follows the daemon and says why not', async () => {
  let state: Readiness = { ready: false, reason: 'the index is being opened' };
  const app = await server({ ready: () => state });
  expect((await app.inject('/health/live')).statusCode).toBe(200);
  const before = await app.inject('/health/ready');
  expect([before.statusCode, before.json()]).toEqual([
    503,
    { status: 'not ready', reason: 'the index is being opened' },
  ]);
  state = { ready: true };
  const after = await app.inject('/health/ready');
  expect([after.statusCode, after.json()]).toEqual([200, { status: 'ready' }]);
  expect(after.headers['cache-control']).toBe('no-store');
});

test('with a token configured everything but health asks for it', async () => {
  const app = await server({ apiToken: 'open sesame'.replace(' ', '-') });
  const get = (url: string, authorization?: string) =>
    app.inject({ url, headers: authorization === undefined ? {} : { authorization } });
  for (const url of ['/api/v1/thing', '/metrics', '/nowhere', '/health/live/../../metrics', '/health']) {
    const refused = await get(url);
    expect([url, refused.statusCode]).toEqual([url, 401]);
    expect(refused.headers['www-authenticate']).toBe('Bearer');
    expect(refused.json()).toEqual({
      statusCode: 'UNAUTHENTICATED',
      message: expect.stringContaining('no token'),
      code: 'UNAUTHENTICATED',
    });
  }
  expect((await get('/api/v1/thing', 'Bearer open-sesam')).json().message).toContain('a wrong token');
  expect((await get('/api/v1/thing', 'Basic open-sesame')).statusCode).toBe(401);
  expect((await get('/api/v1/thing', 'Bearer open-sesame')).statusCode).toBe(200);
  expect((await get('/api/v1/thing', 'bearer open-sesame')).statusCode).toBe(200);
  expect((await get('/health/live')).statusCode).toBe(200);
  expect((await get('/health/ready?verbose')).statusCode).toBe(200);
});

test('without a token configured nothing is asked for', async () => {
  const app = await server();
  expect((await app.inject('/api/v1/thing')).statusCode).toBe(200);
});
