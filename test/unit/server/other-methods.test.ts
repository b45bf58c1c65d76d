/** What a route is not asked with. */
import Fastify from 'fastify';
import { expect, it, test } from 'vitest';
import { installErrorHandler } from '../../../src/server/errors.ts';
import { silent } from '../../support/silent.ts';

it.each(['GET', 'POST', 'PUT', 'DELETE'] as const)('a route of %s alone says so to all others', async (method) => {
  const app = Fastify({ exposeHeadRoutes: false });
  installErrorHandler(app, silent);
  app.route({ method, url: '/there', handler: async () => ({}) });
  const answer = await app.inject({ method: 'PATCH', url: '/there?a=b' });
  expect([answer.statusCode, answer.headers.allow]).toEqual([405, method]);
  expect((await app.inject({ method: 'PATCH', url: '/elsewhere' })).statusCode).toBe(404);
  await app.close();
});

test('only a daemon that has no workers to list sends those who ask for one elsewhere', async () => {
  const notFound = async (routes: readonly string[]): Promise<string> => {
    const app = Fastify();
    installErrorHandler(app, silent);
    for (const url of routes) app.get(url, async () => []);
    const answer = await app.inject('/api/v1/workers/w1');
    await app.close();
    return answer.json().message;
  };
  expect(await notFound([])).toMatch(
    /^There is no \/api\/v1\/workers\/w1 here: only the coordinator of a cluster tells/,
  );
  expect(await notFound(['/api/v1/workers'])).toBe('There is no /api/v1/workers/w1 here.');
});
