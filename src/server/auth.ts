/** The bearer token of the API and worker ports. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { FastifyPluginCallback } from 'fastify';
import { forParent } from './plugin.ts';

export interface AuthOptions {
  /** Undefined: nothing is asked for. */
  readonly token?: string;
}

/** What a load balancer or an orchestrator asks, which have no token. */
const openPaths = new Set(['/health/live', '/health/ready']);

/** Answers 401 to every request of the server it is registered on, unknown paths included, that lacks the token. */
export const bearerAuth: FastifyPluginCallback<AuthOptions> = forParent((app, { token }, done) => {
  if (token !== undefined) {
    const wanted = digest(token);
    app.addHook('onRequest', async (request, reply) => {
      if (openPaths.has(request.url.split('?', 1)[0]!)) return;
      const given = /^Bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1];
      if (given !== undefined && timingSafeEqual(digest(given), wanted)) return;
      await reply
        .code(401)
        .header('www-authenticate', 'Bearer')
        .send({
          statusCode: 'UNAUTHENTICATED',
          message: `The request carries ${given === undefined ? 'no' : 'a wrong'} token; send 'Authorization: Bearer <token>' with the api_token of the daemon.`,
        });
    });
  }
  done();
});

/** Of equal length whatever the token, so that comparing says nothing about its length either. */
function digest(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
