/**
 * Workers, on the coordinator's port.
 *
 * `/internal/v1/workers/{id}` is for workers, with the cluster's token: PUT registers, and with an epoch renews; DELETE says
 * goodbye. `/api/v1/workers` is for people, with the token of the port: list, drain, undrain, remove.
 */
import { type TypeBoxTypeProvider, TypeBoxValidatorCompiler } from '@fastify/type-provider-typebox';
import type { FastifyInstance, FastifyPluginCallback, FastifyRequest } from 'fastify';
import { type Static, Type } from 'typebox';
import type { Registrations, Registry } from '../cluster/registry.ts';
import { type NodeAccess, nodeCheck } from '../cluster/wire/node-check.ts';
import { Refusals } from '../cluster/wire/refusals.ts';
import { PrimedError } from '../core/errors.ts';
import {
  hostPattern,
  isMember,
  type WorkerRow as KnownWorker,
  type WorkerFigures,
  type WorkerReport,
  workerIdPattern,
} from '../core/membership.ts';
import { originsHeader, parseOrigins } from '../core/origin-use.ts';
import {
  clusterProtocol,
  commonProtocol,
  type ProtocolRange,
  parseRange,
  protocolsApart,
  protocolsHeader,
} from '../core/protocol.ts';
import type { Log, WorkerId } from '../core/types.ts';
import { parseUse, useHeader } from '../core/worker-use.ts';
import { plainText } from './fields.ts';
import { answers, documented, strict, WorkerRow } from './schemas.ts';

export interface WorkerApiOptions extends NodeAccess {
  readonly registry: Registry;
  /** Undefined: workers register somewhere else, and calls of those that do not know are refused. */
  readonly registrations?: Registrations;
  /** Why a live worker takes no orders of this coordinator; undefined: it does. */
  readonly refusalOf?: (id: WorkerId) => PrimedError | undefined;
  /** Bytes a second that a worker reads from origins for loads of this coordinator; undefined: not known. */
  readonly rateOf?: (id: WorkerId) => number | undefined;
  readonly log: Log;
}

/** A registration has a dozen short fields. */
const bodyLimitBytes = 8 * 1024;

const figure = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const port = Type.Integer({ minimum: 1, maximum: 65_535 });
const instance = Type.String({ pattern: '^[0-9a-f-]{36}$' });
const epoch = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
const Id = Type.Object({ id: Type.String({ pattern: workerIdPattern }) }, strict);
const WorkerBody = Type.Object(
  {
    instance,
    epoch: Type.Optional(epoch),
    protocol: Type.Integer(),
    version: Type.String({ pattern: '^[!-~]{1,64}$' }),
    host: Type.String({ pattern: hostPattern }),
    httpPort: port,
    s3Port: port,
    tls: Type.Optional(Type.Boolean()),
    zone: Type.Optional(Type.String({ pattern: workerIdPattern })),
    capacityBytes: figure,
    freeBytes: figure,
    files: figure,
  },
  // Of a newer worker: what is not known here is ignored, as core/protocol says.
  { additionalProperties: true },
);
type WorkerBody = Static<typeof WorkerBody>;
const Goodbye = Type.Object({ instance, epoch }, { additionalProperties: true });
const Registered = Type.Object({ epoch: Type.Integer(), leaseMs: Type.Number() });

/** Errors leave by the server's error handler. A worker that is refused is logged once, until it is accepted. */
export const workerApi: FastifyPluginCallback<WorkerApiOptions> = (scope, options, done) => {
  scope.setValidatorCompiler(TypeBoxValidatorCompiler);
  scope.register(async (inner) => internalRoutes(inner, options));
  publicRoutes(scope, options);
  done();
};

function internalRoutes(scope: FastifyInstance, { registry, registrations, log, ...access }: WorkerApiOptions): void {
  const app = scope.withTypeProvider<TypeBoxTypeProvider>();
  const refusals = new Refusals();
  const problemWith = nodeCheck(access, 'cluster.token of the coordinator');
  app.addHook('onRequest', async (request, reply) => {
    const message = problemWith?.(request.raw);
    if (message === undefined) return;
    void reply.header('www-authenticate', 'Bearer');
    // Whoever comes back shows the certificate that it has then.
    if (access.certificates === true) void reply.header('connection', 'close');
    throw new PrimedError('UNAUTHENTICATED', message);
  });
  app.addHook('onError', async (request, _reply, error) => noteRefusal(refusals, log, request, error));

  app.route({
    method: 'PUT',
    url: '/internal/v1/workers/:id',
    bodyLimit: bodyLimitBytes,
    config: { ownToken: true },
    schema: { hide: true, params: Id, body: WorkerBody, response: { 200: Registered } },
    preValidation: understoodProtocol,
    handler: async (request) => {
      const id = request.params.id as WorkerId;
      const { instance, epoch } = request.body;
      const report = reportOf(request);
      const row =
        epoch === undefined
          ? await here(registrations).register({ id, instance, report })
          : here(registrations).renew({ id, instance, epoch }, figuresOf(report));
      refusals.accepted(keyOf(request));
      return { epoch: row.epoch, leaseMs: registry.leaseMs };
    },
  });

  app.route({
    method: 'DELETE',
    url: '/internal/v1/workers/:id',
    config: { ownToken: true },
    schema: { hide: true, params: Id, querystring: Goodbye },
    handler: async ({ params, query }, reply) => {
      await here(registrations).goodbye({ id: params.id as WorkerId, ...query });
      return reply.code(204).send();
    },
  });
}

function publicRoutes(
  scope: FastifyInstance,
  { registry, refusalOf = () => undefined, rateOf = () => undefined }: WorkerApiOptions,
): void {
  const app = scope.withTypeProvider<TypeBoxTypeProvider>();
  const shown = (row: KnownWorker) => (isMember(row) ? rowOf(row, refusalOf(row.id), rateOf(row.id)) : rowOf(row));
  documented(scope);
  const schema = { tags: ['workers'], params: Id, response: answers(WorkerRow, [404, 503]) };

  app.route({
    method: 'GET',
    url: '/api/v1/workers',
    exposeHeadRoute: false,
    schema: {
      ...{ tags: ['workers'], summary: 'Workers that are known', querystring: Type.Object({}, strict) },
      response: answers(Type.Array(WorkerRow)),
    },
    handler: async () => registry.workers().map(shown),
  });
  app.route({
    method: 'POST',
    url: '/api/v1/workers/:id/drain',
    schema: { ...schema, summary: 'Give a worker no new segments' },
    handler: async ({ params }) => shown(await registry.drain(params.id as WorkerId)),
  });
  app.route({
    method: 'POST',
    url: '/api/v1/workers/:id/undrain',
    schema: { ...schema, summary: 'Give a worker new segments again' },
    handler: async ({ params }) => shown(await registry.undrain(params.id as WorkerId)),
  });
  app.route({
    method: 'DELETE',
    url: '/api/v1/workers/:id',
    schema: {
      ...{ tags: ['workers'], params: Id, summary: 'Forget a worker until it registers again' },
      response: answers(Type.Object({ id: Type.String(), state: Type.String() }), [404]),
    },
    handler: async ({ params }) => {
      await registry.remove(params.id as WorkerId);
      return { id: params.id, state: 'REMOVED' };
    },
  });
}

function here(registrations: Registrations | undefined): Registrations {
  if (registrations !== undefined) return registrations;
  throw new PrimedError(
    'WORKER_REFUSED',
    'Workers of this cluster register in etcd, not with a coordinator; set cluster.backend = "etcd" and cluster.etcd.endpoints for the worker too.',
  );
}

/** Before the fields are looked at: those of another protocol may be others. */
async function understoodProtocol(request: FastifyRequest): Promise<void> {
  const { protocol, version } = (request.body ?? {}) as { protocol?: unknown; version?: unknown };
  if (!Number.isInteger(protocol)) return;
  const range = rangeOf(request, protocol as number);
  if (commonProtocol(range, clusterProtocol) !== undefined) return;
  const { id } = request.params as { id: string };
  throw new PrimedError(
    'WORKER_REFUSED',
    protocolsApart(
      { name: `worker '${id}'`, release: plainText(version).slice(0, 64), range },
      { name: 'this coordinator', release: PRIMED_VERSION, range: clusterProtocol },
    ),
    { id, protocol: Number(protocol), wanted: clusterProtocol.newest },
  );
}

/** A worker of version 3 has no header, and understands what its body says. */
function rangeOf({ headers }: FastifyRequest, protocol: number): ProtocolRange {
  const said = headers[protocolsHeader];
  return (typeof said === 'string' ? parseRange(said) : undefined) ?? { oldest: protocol, newest: protocol };
}

/** What a registration says that is known here. */
function reportOf(request: FastifyRequest<{ Body: WorkerBody }>): WorkerReport {
  const { instance: _, epoch: __, ...known } = WorkerBody.properties;
  const { body } = request;
  const report = Object.fromEntries(
    Object.keys(known).flatMap((name) => (name in body ? [[name, body[name as keyof WorkerBody]]] : [])),
  );
  const said = request.headers[useHeader];
  const use = typeof said === 'string' ? parseUse(said) : undefined;
  const newestProtocol = rangeOf(request, body.protocol).newest;
  const asked = request.headers[originsHeader];
  // One that says its rates and names no origin has asked none.
  const origins = use && (typeof asked === 'string' ? parseOrigins(asked) : []);
  return { ...(report as unknown as WorkerReport), newestProtocol, ...(use && { use }), ...(origins && { origins }) };
}

function figuresOf({ capacityBytes, freeBytes, files, use, origins }: WorkerFigures): WorkerFigures {
  return { capacityBytes, freeBytes, files, ...(use && { use }), ...(origins && { origins }) };
}

function rowOf(known: KnownWorker, refusal?: PrimedError, rate?: number) {
  const { instance: _, protocol: __, newestProtocol: ___, leaseEndsMs, registeredAtMs, lastSeenMs, ...row } = known;
  const iso = (ms: number): string => new Date(ms).toISOString();
  return {
    ...row,
    ...(refusal && { state: 'REFUSED', reason: refusal.message }),
    ...(rate === undefined ? {} : { bytesPerSecond: Math.round(rate) }),
    ...{ registeredAt: iso(registeredAtMs), lastSeenAt: iso(lastSeenMs), leaseEndsAt: iso(leaseEndsMs) },
  };
}

/** Of a worker, or of an address that has shown nothing. */
function noteRefusal(refusals: Refusals, log: Log, request: FastifyRequest, error: Error & { code?: string }): void {
  if (error.code === 'STOPPING') return;
  const code = error.code ?? error.name;
  // Who has no token cannot fill the log by making up ids.
  const who = code === 'UNAUTHENTICATED' ? request.ip : keyOf(request);
  if (!refusals.isNews(who, code)) return;
  const { id } = request.params as { id: string };
  // A worker mends these by itself, by registering anew.
  const level = code === 'WORKER_STALE' || code === 'WORKER_UNKNOWN' ? 'info' : 'warn';
  log[level]({ worker: id.slice(0, 100), from: request.ip, code, reason: error.message }, 'a worker is refused');
}

/** Two workers of one id are told apart by their addresses, where the request came so far that they are known. */
function keyOf({ params, ip, body }: FastifyRequest): string {
  const { host, httpPort } = (body ?? {}) as { host?: unknown; httpPort?: unknown };
  return `${(params as { id: string }).id} ${ip} ${plainText(host)}:${plainText(httpPort)}`.slice(0, 600);
}
