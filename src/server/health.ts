/** Whether the process lives, and whether it can be given work. */
import type { FastifyPluginCallback } from 'fastify';
import { Type } from 'typebox';
import { documented } from './schemas.ts';

export interface Readiness {
  readonly ready: boolean;
  /** Why not. */
  readonly reason?: string;
}

export interface HealthOptions {
  /** Asked at each request; must be cheap. */
  readonly ready: () => Readiness;
}

/**
 * `GET /health/live`: 200 while the event loop turns. `GET /health/ready`: 200 when the daemon can be given work, else 503
 * with the reason.
 */
export const healthRoutes: FastifyPluginCallback<HealthOptions> = (app, { ready }, done) => {
  documented(app);
  const answer = Type.Object({ status: Type.String(), reason: Type.Optional(Type.String()) });
  // Load balancers and orchestrators have no token.
  const open = { tags: ['daemon'], security: [] };
  const live = { ...open, summary: 'Whether the process lives', response: { 200: answer } };
  const readiness = {
    ...open,
    summary: 'Whether it can be given work',
    response: { 200: answer, 503: answer },
  };
  app.get('/health/live', { schema: live }, (_request, reply) =>
    reply.header('cache-control', 'no-store').send({ status: 'live' }),
  );
  app.get('/health/ready', { schema: readiness }, (_request, reply) => {
    const { ready: isReady, reason } = ready();
    reply.header('cache-control', 'no-store').code(isReady ? 200 : 503);
    return reply.send({ status: isReady ? 'ready' : 'not ready', ...(reason === undefined ? {} : { reason }) });
  });
  done();
};
