/** Bodies of API requests: JSON, whatever the client calls it (`curl -d` calls it a form), or nothing at all. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { PrimedError } from '../core/errors.ts';

/** Far above any request of the job API, far below what could hurt. */
export const apiBodyLimitBytes = 64 * 1024;

/**
 * Lets GET carry a JSON body on this server (Fastify drops it otherwise). From then on Fastify parses whatever claims to
 * be JSON on any GET, so that an empty body with a content type has to be fine everywhere.
 */
export function acceptGetBodies(app: FastifyInstance): void {
  app.addHttpMethod('GET', { hasBody: true, overrideExisting: true });
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser('application/json', { parseAs: 'string' }, parseJson);
}

/** Reads any body as JSON, in the scope of one plugin. */
export function acceptAnyContentType(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(['application/json', '*'], { parseAs: 'string', bodyLimit: apiBodyLimitBytes }, parseJson);
}

async function parseJson(_request: FastifyRequest, body: string | Buffer): Promise<unknown> {
  const text = String(body);
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text, (key, value) => {
      if (key === '__proto__') throw new SyntaxError('the key __proto__ is not accepted');
      return value;
    });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new PrimedError('REQUEST_INVALID', `The body is not JSON: ${why}.`, { field: 'body' }, { cause });
  }
}
