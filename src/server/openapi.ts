/** `GET /openapi.json`: what this port answers, made from the schemas of its routes. Has to be registered before them. */
import swagger from '@fastify/swagger';
import type { FastifyPluginCallback, FastifySchema } from 'fastify';
import { Type } from 'typebox';
import { forParent } from './plugin.ts';
import { documented } from './schemas.ts';

export interface OpenApiOptions {
  readonly title: string;
  /** Requests carry a bearer token. */
  readonly token: boolean;
}

const tags = [
  { name: 'jobs', description: 'Loads and frees: submit, progress, stop, list' },
  { name: 'loads', description: 'Loads by the other two generations of the API' },
  { name: 'fs', description: 'What is cached' },
  { name: 'pages', description: "Pages, files and listings, for clients of Alluxio's workers" },
  { name: 'workers', description: 'Workers of the cluster' },
  { name: 'ufs', description: 'Limits of origins' },
  { name: 'console', description: 'The page for people, and what it is told live' },
  { name: 'daemon', description: 'Health, metrics, this document' },
];

export const openApi: FastifyPluginCallback<OpenApiOptions> = forParent((app, { title, token }, done) => {
  void app.register(swagger, {
    openapi: {
      openapi: '3.0.3',
      info: { title, version: PRIMED_VERSION, license: { name: 'Apache-2.0' } },
      tags,
      ...(token
        ? {
            components: { securitySchemes: { token: { type: 'http' as const, scheme: 'bearer' } } },
            security: [{ token: [] }],
          }
        : {}),
    },
    hideUntagged: true,
    transform: ({ schema, url, route }) => ({ schema: queryOf(schema, route.method), url }),
  });
  void app.register(async (scope) => {
    documented(scope);
    scope.get(
      '/openapi.json',
      {
        exposeHeadRoute: false,
        schema: {
          tags: ['daemon'],
          summary: 'This document',
          response: { 200: Type.Object({}, { additionalProperties: true, description: 'An OpenAPI 3 document' }) },
        },
      },
      () => app.swagger(),
    );
  });
  done();
});

/** The fields of a GET are told as query parameters, in which every client can send them. */
function queryOf(schema: FastifySchema | undefined, method: string | string[]): FastifySchema {
  const { body, ...others } = schema ?? {};
  return body === undefined || method !== 'GET' ? (schema ?? {}) : { ...others, querystring: body };
}
