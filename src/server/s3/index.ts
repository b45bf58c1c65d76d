/**
 * The S3 port: what is cached, read-only, as any S3 client expects it.
 *
 * Who is in it: `admission` says who may ask for what, with `address`, which reads the raw request target; `object` answers
 * GET and HEAD of a key, `bucket` everything about a bucket; `conditions` and `listing` decide and know no HTTP; `body` moves
 * the bytes. Serving threads (serving/) stand before it, with the same `admission` and `head`, and leave to it what they pass on.
 *
 * Who waits for whom: a body waits for its turn (so many pages of memory at most), then piece by piece for the SSD and
 * for its client. Listing and metadata wait for nobody.
 *
 * Without keys requests are answered unsigned: an Authorization header and presigned query parameters are accepted and not
 * looked at. So the port then belongs on loopback, or behind something that authenticates. `access` says who may read what.
 */
import type { FastifyInstance, FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify';
import type { ReadableFiles } from '../../cluster/reading/files.ts';
import type { ServerTls } from '../../core/node-tls.ts';
import type { Log } from '../../core/types.ts';
import { withoutQuery } from '../../telemetry/trace.ts';
import { BodyCut } from '../body.ts';
import { watchAnswers } from '../in-flight.ts';
import { fastifyOver } from '../over-tls.ts';
import { requestTrace } from '../request-trace.ts';
import { Turns } from '../turns.ts';
import { S3Access, type S3AccessOptions, type Sight } from './access.ts';
import type { S3Address } from './address.ts';
import { admit, commonHeaders, operationOf, requestIds, type S3Operation } from './admission.ts';
import { bucketsXml, listingXml, locationXml, versioningXml } from './bucket.ts';
import { answerClientError, maxS3Connections, requestTimeoutMs, timeouts, turnOnConnection } from './connections.ts';
import { errorXml, s3ErrorOf } from './errors.ts';
import { answerObject, noSuchBucket } from './object.ts';
import { answerWrite, readOnly, type WriteOptions } from './write.ts';
import { asksForUploads } from './write-operation.ts';

/** For the metrics: what was asked, the HTTP status, and the time to the end of the answer. */
export interface S3Answered {
  readonly operation: S3Operation;
  readonly status: number;
  readonly seconds: number;
}

export interface S3GatewayOptions {
  readonly files: ReadableFiles;
  readonly log: Log;
  /** Undefined: plain HTTP. */
  readonly tls?: ServerTls;
  /** Who may ask for what; by default everybody for everything. */
  readonly access?: S3AccessOptions;
  /** By which threads of this process are known, that have judged who asks. */
  readonly inside?: string;
  /** Host names below which buckets stand. */
  readonly domains?: readonly string[];
  /** Who can follow is sent to the worker that has what is asked for: whether its port speaks TLS. */
  readonly redirect?: { readonly tls: boolean };
  /** Bodies under way at once; each holds the page that is being sent and what the store reads ahead: about 3 MiB. */
  readonly maxBodies?: number;
  /** Where writes go; undefined: nowhere. */
  readonly writes?: WriteOptions;
  /** Longest wait for a turn; after it 503 SlowDown. */
  readonly turnWaitMs?: number;
  /** Longest time that a client may take over 1 MiB before it is cut off. */
  readonly stallMs?: number;
  /** Longest time that a request may take to come. */
  readonly requestMs?: number;
  /** How long bodies may go on after the server was told to close. */
  readonly closeGraceMs?: number;
  /** Told of each request when its answer is over, sent or cut. */
  readonly onAnswered?: (answered: S3Answered) => void;
  /** Told the seconds from a request to the head of its answer, where that has a body. */
  readonly onFirstByte?: (seconds: number) => void;
  /** Told the body bytes of each answered GET, for the metrics. */
  readonly onServed?: (bytes: number) => void;
}

/** 32 bodies of 3 MiB: less than a fifth of the worker's default memory budget. */
const defaults = { maxBodies: 32, turnWaitMs: 30_000, stallMs: 60_000, closeGraceMs: 1_000 };

/** At once; each holds what is on its way of its body, some hundred KiB; one of up to 1 MiB whose checksum comes behind it, all. */
const mostWrites = 64;

/** The whole S3 server, not yet listening. Its router never sees the target: keys are not paths. */
export function buildS3Server(options: S3GatewayOptions): FastifyInstance {
  const app = fastifyOver(options.tls, {
    logger: false,
    genReqId: requestIds(),
    ...timeouts(options.requestMs ?? requestTimeoutMs),
    clientErrorHandler: answerClientError,
    forceCloseConnections: 'idle',
    rewriteUrl: () => '/',
  });
  app.server.maxConnections = maxS3Connections;
  // Whether its body is wanted is said when that is known.
  app.server.on('checkContinue', (request, response) => app.server.emit('request', request, response));
  app.register(s3Gateway, options);
  return app;
}

/**
 * As a plugin of a server that has nothing else on it. A target that is not even percent-encoded properly reaches it only
 * where the server rewrites targets, as `buildS3Server` does.
 */
export const s3Gateway: FastifyPluginCallback<S3GatewayOptions> = (app, options, done) => {
  const { files, log, onAnswered, onServed = () => {} } = options;
  const limits = { ...defaults, ...definedOf(options) };
  const turns = new Turns({ limit: limits.maxBodies, waitLimitMs: limits.turnWaitMs });
  const watch = watchAnswers(app, limits.closeGraceMs);
  const { redirect } = options;
  /** By performance.now(). */
  const begunMs = new WeakMap<FastifyRequest, number>();
  const onFirstByte = (request: FastifyRequest): void =>
    options.onFirstByte?.((performance.now() - begunMs.get(request)!) / 1000);
  const context = { files, turns, stallMs: limits.stallMs, onServed, onFirstByte, ...(redirect && { redirect }) };
  const access = new S3Access(options.access ?? { keys: [], anonymous: true }, options.inside);
  const domains = options.domains ?? [];
  const writeContext = options.writes && {
    ...{ ...options.writes, access, domains, stallMs: limits.stallMs },
    turns: new Turns({ limit: mostWrites, waitLimitMs: limits.turnWaitMs }),
  };
  const startedAtMs = Date.now();

  app.register(requestTrace, {
    port: 's3',
    idOf: ({ id }) => id,
    nameOf: ({ method, originalUrl: target, headers }) => `S3 ${operationOf({ method, target, headers }, domains)}`,
  });
  app.addHook('onRequest', async (request, reply) => {
    const startedAtMs = performance.now();
    begunMs.set(request, startedAtMs);
    const turn = turnOnConnection(request.raw.socket, reply.raw);
    if (turn !== undefined && !(await turn)) {
      reply.hijack();
      return;
    }
    reply.raw.once('close', () => {
      const seconds = (performance.now() - startedAtMs) / 1000;
      const { originalUrl: target, method, headers } = request;
      const operation = operationOf({ method, target, headers }, domains);
      onAnswered?.({ operation, status: reply.raw.statusCode, seconds });
    });
    reply.headers(commonHeaders(request.id));
    if (writeContext !== undefined && isWrite(request)) {
      await watch(reply, answerWrite(writeContext, request, reply));
      return reply;
    }
    if (!isRead(request)) throw readOnly(request.method);
    return undefined;
  });

  const answer = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const { headers, originalUrl: target } = request;
    const { address, sight } = admit({ method: request.raw.method!, target, headers }, access, domains);
    if (address.key === '') {
      const body = await bucketAnswer(files, sight, address, startedAtMs, reply);
      reply.type('application/xml').code(200).send(body);
      return;
    }
    try {
      await watch(reply, answerObject(context, address, request, reply));
    } catch (error) {
      if (!(error instanceof BodyCut)) throw error;
      const path = `s3://${address.bucket}/${address.key}`;
      const facts = { requestId: request.id, path, reason: error.reason, cause: error.message };
      if (error.reason === 'data') log.error(facts, 'an answer on the S3 port was cut off');
      else log.debug(facts, 'an answer on the S3 port was cut off');
    }
  };

  app.setErrorHandler((thrown, request, reply) => {
    const error = s3ErrorOf(thrown);
    if (error.httpStatus === 500)
      log.error(
        { requestId: request.id, error: error.cause ?? error, path: withoutQuery(request.originalUrl) },
        'a request on the S3 port failed because of a defect',
      );
    // The rest of a body that is not wanted may still be on its way.
    if (!request.raw.complete) reply.header('connection', 'close');
    if (error.code === 'MethodNotAllowed') reply.header('allow', 'GET, HEAD');
    for (const name of ['content-length', 'content-range', 'content-type']) reply.removeHeader(name);
    const id = String(reply.getHeader('x-amz-request-id') ?? '');
    const resource = request.originalUrl.split('?', 1)[0]!;
    reply.code(error.httpStatus).headers(error.headers).type('application/xml').send(errorXml(error, { id, resource }));
  });
  app.route({
    method: ['GET', 'HEAD'],
    url: '/*',
    handler: async (request, reply) => await handled(answer, request, reply),
  });
  app.setNotFoundHandler(async (request, reply) => await handled(answer, request, reply));

  done();
};

function isRead({ method }: FastifyRequest): boolean {
  return method === 'GET' || method === 'HEAD';
}

function isWrite(request: FastifyRequest): boolean {
  return !isRead(request) || (request.method === 'GET' && asksForUploads(request.originalUrl));
}

/** Fastify takes a resolved `undefined` for "nothing sent yet" unless it is given the reply. */
async function handled(
  answer: (request: FastifyRequest, reply: FastifyReply) => Promise<void>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  await answer(request, reply);
  return reply;
}

async function bucketAnswer(
  files: ReadableFiles,
  sight: Sight,
  address: S3Address,
  startedAtMs: number,
  reply: FastifyReply,
): Promise<string> {
  if (address.bucket === '') return bucketsXml(files, sight, startedAtMs);
  if (!(await files.knows(`s3://${address.bucket}/`))) throw noSuchBucket(address.bucket);
  reply.header('x-amz-bucket-region', 'us-east-1');
  if (reply.request.method === 'HEAD') return '';
  if (address.query.has('location')) return locationXml();
  if (address.query.has('versioning')) return versioningXml();
  return listingXml(files, address);
}

function definedOf(options: S3GatewayOptions): Partial<typeof defaults> {
  return Object.fromEntries(
    Object.keys(defaults)
      .map((name) => [name, options[name as keyof typeof defaults]] as const)
      .filter(([, value]) => value !== undefined),
  );
}
