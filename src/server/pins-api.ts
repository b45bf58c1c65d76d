/** What is pinned, on the coordinator's port. */
import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';
import type { FastifyPluginCallback } from 'fastify';
import { Type } from 'typebox';
import type { ClusterPins } from '../cluster/pins.ts';
import { answers, documented, PinRow, strict } from './schemas.ts';

export interface PinsApiOptions {
  readonly pins: Pick<ClusterPins, 'rows' | 'pin' | 'unpin'>;
}

const path = Type.String({
  ...{ minLength: 1, maxLength: 8192 },
  description: 'A file, or with a slash at its end all that begins with it',
});
const Path = Type.Object({ path }, strict);

/** Errors leave by the server's error handler. */
export const pinsApi: FastifyPluginCallback<PinsApiOptions> = (scope, { pins }, done) => {
  scope.setValidatorCompiler(TypeBoxValidatorCompiler);
  documented(scope);
  const app = scope.withTypeProvider<TypeBoxTypeProvider>();
  app.route({
    method: 'GET',
    url: '/api/v1/pins',
    exposeHeadRoute: false,
    schema: {
      ...{ tags: ['fs'], summary: 'Paths that are pinned', querystring: Type.Object({}, strict) },
      response: answers(Type.Array(PinRow), [503]),
    },
    handler: async () => pins.rows(),
  });
  app.route({
    method: ['PUT', 'POST'],
    url: '/api/v1/pins',
    schema: {
      ...{ tags: ['fs'], summary: 'Never evict a file, or what is below a folder', body: Path },
      response: answers(PinRow, [503]),
    },
    handler: async ({ body }) => pins.pin(body.path),
  });
  app.route({
    method: 'DELETE',
    url: '/api/v1/pins',
    schema: {
      ...{ tags: ['fs'], summary: 'Take a pin back', querystring: Path },
      response: answers(PinRow, [503]),
    },
    handler: async ({ query }) => pins.unpin(query.path),
  });
  done();
};
