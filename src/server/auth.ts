/** The bearer token of the API and worker ports. */
import type { FastifyPluginCallback } from 'fastify';
import { tokenCheck } from '../cluster/wire/node-check.ts';
import { PrimedError } from '../core/errors.ts';
import type { LiveText } from '../core/live.ts';
import { forParent } from './plugin.ts';

export interface AuthOptions {
  /** Undefined: nothing is asked for. */
  readonly token?: LiveText;
}

/** What a load balancer or an orchestrator asks, which have no token. */
const openPaths = new Set(['/health/live', '/health/ready']);

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route asks for a token of its own, in place of the server's. */
    readonly ownToken?: boolean;
  }
}

/** Refuses every request of the server it is registered on, unknown paths included, that lacks the token (UNAUTHENTICATED). */
export const bearerAuth: FastifyPluginCallback<AuthOptions> = forParent((app, { token }, done) => {
  if (token !== undefined) {
    const problemWith = tokenCheck(token, 'api_token of the daemon');
    app.addHook('onRequest', async (request, reply) => {
      const { url, routeOptions } = request;
      if (openPaths.has(url.split('?', 1)[0]!) || routeOptions.config.ownToken === true) return;
      const message = problemWith(request.raw);
      if (message === undefined) return;
      void reply.header('www-authenticate', 'Bearer');
      throw new PrimedError('UNAUTHENTICATED', message);
    });
  }
  done();
});
