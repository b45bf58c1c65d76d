/** What a route is not asked with. */
import Fastify from 'fastify';
import { expect, it } from 'vitest';
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
