/** The bearer token of the API and worker ports. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyPluginCallback, FastifyRequest } from 'fastify';
import { forParent } from './plugin.ts';

export interface AuthOptions {
  /** Undefined: nothing is asked for. */
  readonly token?: string;
}

/** What a load balancer or an orchestrator asks, which have no token. */
const openPaths = new Set(['/health/live', '/health/ready']);

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The route asks for a token of its own, in place of the server's. */
    readonly ownToken?: boolean;
  }
}

/** Answers 401 to every request of the server it is registered on, unknown paths included, that lacks the token. */
export const bearerAuth: FastifyPluginCallback<AuthOptions> = forParent((app, { token }, done) => {
  if (token !== undefined) {
    const problemWith = tokenCheck(token, 'api_token of the daemon');
    app.addHook('onRequest', async (request, reply) => {
      const { url, routeOptions } = request;
      if (openPaths.has(url.split('?', 1)[0]!) || routeOptions.config.ownToken === true) return;
      const message = problemWith(request);
      if (message === undefined) return;
      const body = { statusCode: 'UNAUTHENTICATED', message, code: 'UNAUTHENTICATED' };
      await reply.code(401).header('www-authenticate', 'Bearer').send(body);
    });
  }
  done();
});

/**
 * What is wrong with the token of a request, in a sentence; undefined: nothing.
 * @param whose what the sentence calls the token
 */
export function tokenCheck(token: string, whose: string): (request: FastifyRequest) => string | undefined {
  const wanted = digest(token);
  return ({ headers }) => {
    const given = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? '')?.[1];
    if (given !== undefined && timingSafeEqual(digest(given), wanted)) return undefined;
    return `The request carries ${given === undefined ? 'no' : 'a wrong'} token; send 'Authorization: Bearer <token>' with the ${whose}.`;
  };
}

/** Of equal length whatever the token, so that comparing says nothing about its length either. */
function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
