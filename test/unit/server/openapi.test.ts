/** /openapi.json of both ports: it is an OpenAPI 3 document, every public route of the server is in it, and docs/REST.md says the same. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { localDesk } from '../../../src/cluster/load-desk.ts';
import type { OriginLimits } from '../../../src/cluster/origin-limits.ts';
import type { ClusterPins } from '../../../src/cluster/pins.ts';
import { openRegistry } from '../../../src/cluster/registry.ts';
import { defaultLoadOptions } from '../../../src/core/load-options.ts';
import type { Landings } from '../../../src/ingest/landings.ts';
import { makeLive } from '../../../src/live.ts';
import { systemClock } from '../../../src/platform/clock.ts';
import { fsHere } from '../../../src/server/fs-here.ts';
import { roleOfRoute } from '../../../src/server/route-roles.ts';
import { buildApiServer, buildWorkerServer, type ReadThrough } from '../../../src/servers.ts';
import type { Store } from '../../../src/store/types.ts';
import type { FilePast } from '../../../src/telemetry/file-past.ts';
import { makeTelemetry, type Telemetry } from '../../../src/telemetry/registry.ts';
import type { Json } from '../../support/api.ts';
import { loadConfig } from '../../support/config.ts';
import { MemoryFiles } from '../../support/memory-files.ts';
import { memoryPages } from '../../support/memory-pages.ts';
import { restReference } from '../../support/rest-reference.ts';
import { ScriptedJobs } from '../../support/scripted-coordinator.ts';
import { silent } from '../cluster/fakes.ts';

let dir: string;
let telemetry: Telemetry;
let registry: ReturnType<typeof openRegistry>;
const servers: Record<string, FastifyInstance> = {};

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'primed-openapi-'));
  telemetry = makeTelemetry({ processMetrics: false });
  registry = openRegistry({ dir: join(dir, 'workers'), leaseMs: 10_000, clock: systemClock, log: silent });
  const env = { PRIMED_API_TOKEN: 'secret' };
  const config = loadConfig({ role: 'standalone', flags: { data: dir, storeSize: '16MB' }, env });
  const jobs = new ScriptedJobs();
  const files = new MemoryFiles();
  const source = fsHere(files, files.alone);
  const own = {
    store: files as unknown as Store,
    source,
    landings: {} as Landings,
    reading: {} as ReadThrough,
    past: {} as FilePast,
  };
  const desk = localDesk(() => jobs, defaultLoadOptions);
  const base = { config, telemetry, log: silent, live: makeLive(config), ready: () => ({ ready: true }) };
  const ufs = { limits: {} as OriginLimits, shares: () => [] };
  const pins = {} as ClusterPins;
  servers.api = buildApiServer({
    ...{ ...base, jobs, source, ufs, pins, registry, registrations: registry },
    past: async () => ({ told: [], unanswered: [] }),
    owners: () => [],
  });
  servers.worker = buildWorkerServer({ ...base, desk, own, pages: memoryPages(files) });
  for (const server of Object.values(servers)) await server.ready();
});
afterAll(async () => {
  for (const server of Object.values(servers)) await server.close();
  await registry.close();
  telemetry.close();
  rmSync(dir, { recursive: true });
});

const methods = ['get', 'post', 'put', 'delete', 'patch'];

async function documentOf(server: FastifyInstance): Promise<Json> {
  const answer = await server.inject({ url: '/openapi.json', headers: { authorization: 'Bearer secret' } });
  expect(answer.statusCode).toBe(200);
  expect(answer.headers['content-type']).toContain('application/json');
  return answer.json();
}

/** `GET /path` of every route, those for other nodes left out. */
function routesOf(server: FastifyInstance): string[] {
  const found: string[] = [];
  const open: string[] = [];
  for (const line of server.printRoutes().split('\n')) {
    const [, indent, part, verbs] = /^(.*?)[├└]── (\S*)(?: \(([A-Z, ]+)\))?$/u.exec(line) ?? [];
    if (part === undefined) continue;
    const depth = indent!.length / 4;
    open.length = depth;
    open[depth] = part;
    const path = open.join('').replace(/:(\w+)/g, '{$1}');
    for (const verb of verbs?.split(', ') ?? []) if (verb !== 'HEAD') found.push(`${verb} ${path}`);
  }
  return found.filter((route) => !route.includes(' /internal/'));
}

describe.each(['api', 'worker'])('the %s port', (port) => {
  it('has an OpenAPI 3 document', async () => {
    const document = await documentOf(servers[port]!);
    expect(document).toMatchObject({
      openapi: expect.stringMatching(/^3\.0\.\d$/),
      info: { title: expect.stringContaining('primed'), version: expect.any(String) },
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } },
      security: [{ token: [] }],
    });
    const tags = new Set<string>(document.tags.map(({ name }: { name: string }) => name));
    for (const [path, item] of Object.entries<Json>(document.paths)) {
      expect(path).toMatch(/^\//);
      expect(Object.keys(item).filter((key) => !methods.includes(key))).toEqual([]);
      for (const [method, operation] of Object.entries<Json>(item))
        checkOperation(`${method} ${path}`, path, operation, tags);
    }
    for (const reference of JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)) {
      const target = reference[1]!.split('/').reduce((at: Json, key) => at?.[key], document);
      expect([reference[0], target]).toEqual([reference[0], expect.anything()]);
    }
  });

  it('has every public route in it', async () => {
    const document = await documentOf(servers[port]!);
    const described = Object.entries<Json>(document.paths).flatMap(([path, item]) =>
      Object.keys(item).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const routes = routesOf(servers[port]!);
    expect(routes.length).toBeGreaterThan(5);
    expect(described.sort()).toEqual(routes.sort());
  });

  it('has no route without a role', () => {
    const routes = routesOf(servers[port]!).map((route) => route.replace(/\{(\w+)\}/g, ':$1').split(' '));
    expect(routes.filter(([method, url]) => roleOfRoute(method!, url!) === undefined)).toEqual([]);
  });
});

function checkOperation(name: string, path: string, operation: Json, tags: ReadonlySet<string>): void {
  const { parameters = [], requestBody, responses, summary } = operation;
  expect([name, summary]).toEqual([name, expect.any(String)]);
  expect([name, operation.tags.every((tag: string) => tags.has(tag))]).toEqual([name, true]);
  for (const parameter of parameters) {
    expect([name, parameter]).toMatchObject([
      name,
      { name: expect.any(String), in: expect.stringMatching(/^(query|path|header)$/), schema: expect.any(Object) },
    ]);
  }
  const inPath = parameters.filter((one: Json) => one.in === 'path').map((one: Json) => one.name);
  expect([name, inPath]).toEqual([name, [...path.matchAll(/\{(\w+)\}/g)].map(([, one]) => one)]);
  // A body of GET has no meaning in OpenAPI 3.0: its fields are told as parameters.
  if (name.startsWith('get ')) expect([name, requestBody]).toEqual([name, undefined]);
  else if (requestBody !== undefined)
    expect([name, requestBody.content?.['application/json']?.schema?.type]).toEqual([name, 'object']);
  // What answers and how it fails is said of every route of the API.
  const isApi = path.startsWith('/api/') || path.startsWith('/v1/');
  const refused = '405' in responses && !('200' in responses);
  const moved = '302' in responses;
  const said = moved ? ['302'] : refused ? ['401', '405', '500'] : isApi ? ['200', '400', '401', '500'] : ['200'];
  expect([name, Object.keys(responses)]).toEqual([name, expect.arrayContaining(said)]);
  for (const [status, response] of Object.entries<Json>(responses)) {
    expect([name, status]).toEqual([name, expect.stringMatching(/^[2-5]\d\d$/)]);
    expect([name, response.description]).toEqual([name, expect.any(String)]);
    for (const media of Object.values<Json>(response.content ?? {}))
      expect([name, media.schema]).toEqual([name, expect.any(Object)]);
  }
}

it('says of the three generations and of frees what they take and answer', async () => {
  const { paths } = await documentOf(servers.api!);
  const submit = paths['/api/v1/master/submit_job/load'].post;
  expect(Object.keys(submit.requestBody.content['application/json'].schema.properties.options.properties)).toEqual(
    expect.arrayContaining(['replicas', 'bandwidth', 'skipIfExists', 'fileFilterRegx']),
  );
  expect(Object.keys(submit.responses)).toEqual(['200', '400', '401', '403', '409', '413', '429', '500', '503']);
  expect(paths['/api/v1/master/progress_job/load'].get.parameters.map(({ name }: Json) => name)).toContain('verbose');
  expect(Object.keys(paths['/api/v1/load'])).toEqual(expect.arrayContaining(['post', 'get', 'delete']));
  expect(paths['/api/v1/master/submit_job/free']).toBeDefined();
  const { paths: worker } = await documentOf(servers.worker!);
  expect(worker['/v1/load'].get.parameters.map(({ name }: Json) => name)).toEqual(
    expect.arrayContaining(['path', 'opType', 'partialListing']),
  );
});

it('is what docs/REST.md says', async () => {
  const reference = restReference([
    { title: 'The coordinator (19999)', document: await documentOf(servers.api!) },
    { title: 'Workers (28080)', document: await documentOf(servers.worker!) },
  ]);
  await expect(reference).toMatchFileSnapshot('../../../docs/REST.md');
});
