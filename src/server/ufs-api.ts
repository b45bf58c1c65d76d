/** Origins and their limits, on the coordinator's port: what holds, who has which share of it, and how it is changed. */
import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';
import type { FastifyPluginCallback } from 'fastify';
import { Type } from 'typebox';
import type { ShareRow } from '../cluster/limit-sharing.ts';
import type { LimitRow, OriginLimits } from '../cluster/origin-limits.ts';
import { PrimedError } from '../core/errors.ts';
import { limitedOrigin, rateOf } from '../core/origin-limits.ts';
import { answers, documented, strict, UfsRow } from './schemas.ts';

export interface UfsApiOptions {
  readonly limits: OriginLimits;
  /** What each worker, and this coordinator, may ask of the origins by now. */
  readonly shares: () => readonly ShareRow[];
}

const rate = Type.Optional(Type.Union([Type.String(), Type.Number()]));
const LimitBody = Type.Object(
  {
    path: Type.String({ minLength: 1, maxLength: 8192 }),
    bandwidth: rate,
    requests: rate,
    reset: Type.Optional(Type.Boolean()),
  },
  strict,
);

/** Errors leave by the server's error handler. */
export const ufsApi: FastifyPluginCallback<UfsApiOptions> = (scope, { limits, shares }, done) => {
  scope.setValidatorCompiler(TypeBoxValidatorCompiler);
  documented(scope);
  const app = scope.withTypeProvider<TypeBoxTypeProvider>();
  const withShares = (row: LimitRow) => ({
    ...row,
    shares: shares()
      .filter(({ origin }) => origin === row.origin)
      .map(({ origin: _, ...share }) => share),
  });

  app.route({
    method: 'GET',
    url: '/api/v1/ufs',
    exposeHeadRoute: false,
    schema: {
      tags: ['ufs'],
      summary: 'Limits of origins, and who has which share',
      querystring: Type.Object({}, strict),
      response: answers(Type.Array(UfsRow), [503]),
    },
    handler: async () => {
      if (!limits.known)
        throw new PrimedError('ETCD_UNAVAILABLE', 'Limits of origins lie in etcd, which has not told of them yet.');
      return limits.rows().map(withShares);
    },
  });
  app.route({
    method: ['PUT', 'POST'],
    url: '/api/v1/ufs/limit',
    schema: {
      ...{ tags: ['ufs'], summary: 'Set or lift the limits of an origin', body: LimitBody },
      response: answers(UfsRow, [503]),
    },
    handler: async ({ body: { path, bandwidth, requests, reset } }) => {
      const origin = limitedOrigin(path);
      if (reset === true) {
        if (bandwidth !== undefined || requests !== undefined)
          throw invalid('reset', 'is given together with a limit: give one of them');
        return withShares((await limits.reset(origin)) ?? { origin, source: 'configuration' });
      }
      if (bandwidth === undefined && requests === undefined)
        throw invalid('bandwidth', 'is missing: give bandwidth, requests, or reset');
      const change = {
        ...(bandwidth === undefined ? {} : { bytesPerSecond: rateOf('bandwidth', bandwidth) ?? null }),
        ...(requests === undefined ? {} : { requestsPerSecond: rateOf('requests', requests) ?? null }),
      };
      return withShares(await limits.set(origin, change));
    },
  });
  done();
};

function invalid(field: string, why: string): PrimedError {
  return new PrimedError('REQUEST_INVALID', `${field}: ${why}.`, { field });
}
