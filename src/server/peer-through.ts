/**
 * What other workers read through this one, on the worker's port: segments that belong here, and are fetched from the origin
 * when they are not here yet.
 *
 *   GET /internal/v1/through/<path>      a range of a version, as of `peer-data`, with `x-primed-size` and `x-primed-modified`
 *   GET /internal/v1/version/<path>?age= what the origin has at the path, in JSON, no older than so many milliseconds
 *
 * Until the first byte is there the answer says each second that it is coming (102).
 */
import type { ServerResponse } from 'node:http';
import type { FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify';
import type { OriginReads } from '../cluster/reading/origin/reads.ts';
import { PrimedError } from '../core/errors.ts';
import type { ByteRange, ManifestEntry } from '../core/types.ts';
import { BodyCut, openBody, sendBody } from './body.ts';
import { watchAnswers } from './in-flight.ts';
import { admitWorkers, type PeerAccess, pathOfTarget, wantedOf } from './peer-request.ts';
import { Turns } from './turns.ts';

export interface PeerThroughOptions extends PeerAccess {
  readonly reads: Pick<OriginReads, 'readHere' | 'versionFor'>;
  /** Told the body bytes of each answer that was sent whole. */
  readonly onServed?: (bytes: number) => void;
}

const throughPrefix = '/internal/v1/through/';
const versionPrefix = '/internal/v1/version/';
/** As of peer-data: a body holds about 3 MiB. Who has no turn in time is told that it is busy here, and comes again. */
const limits = { maxBodies: 32, turnWaitMs: 3_000, stallMs: 30_000, closeGraceMs: 1_000, signOfLifeMs: 1_000 };

export const peerThrough: FastifyPluginCallback<PeerThroughOptions> = (app, options, done) => {
  const { reads, log, onServed = () => {} } = options;
  const turns = new Turns({ limit: limits.maxBodies, waitLimitMs: limits.turnWaitMs });
  const watch = watchAnswers(app, limits.closeGraceMs);
  const admission = admitWorkers(app, options);

  const answer = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const { entry, range } = orderOf(request);
    const giveBack = await turns.take();
    try {
      const body = await whileWaiting(reply.raw, openBody(reads.readHere(entry, range), range.length));
      const { offset, length } = range;
      reply.raw.writeHead(206, {
        ...{ 'content-type': 'application/octet-stream', 'content-length': length, etag: `"${entry.etag}"` },
        'content-range': `bytes ${offset}-${offset + length - 1}/${entry.sizeBytes}`,
      });
      reply.hijack();
      await sendBody(body, reply.raw, limits.stallMs);
      onServed(length);
    } catch (error) {
      if (!(error instanceof BodyCut)) throw error;
      const level = error.reason === 'data' ? 'warn' : 'debug';
      log[level](
        { requestId: request.id, path: entry.path, reason: error.reason, cause: error.message },
        'what is read through was cut off',
      );
    } finally {
      giveBack();
    }
  };

  app.route({
    method: 'GET',
    url: `${throughPrefix}*`,
    exposeHeadRoute: false,
    ...admission,
    handler: async (request, reply) => {
      await watch(reply, answer(request, reply));
      return reply;
    },
  });
  app.route({
    method: 'GET',
    url: `${versionPrefix}*`,
    exposeHeadRoute: false,
    ...admission,
    handler: async (request, reply) => {
      const [target = '', query = ''] = (request.raw.url ?? '').split('?', 2);
      const ageMs = Number(new URLSearchParams(query).get('age') ?? Number.NaN);
      if (!(ageMs >= 0)) throw new PrimedError('REQUEST_INVALID', `age: '${query}' is no number`);
      return whileWaiting(reply.raw, reads.versionFor(pathOfTarget(target, versionPrefix), ageMs));
    },
  });
  done();
};

/** Throws REQUEST_INVALID, FILE_NOT_CACHED. */
function orderOf(request: FastifyRequest): { entry: ManifestEntry; range: ByteRange } {
  const { range, path, etag, versionId } = wantedOf(request, throughPrefix);
  const [sizeBytes, lastModifiedMs] = ['x-primed-size', 'x-primed-modified'].map((name) =>
    Number(request.headers[name] ?? Number.NaN),
  ) as [number, number];
  if (range === undefined || etag === '' || !Number.isSafeInteger(sizeBytes) || !Number.isSafeInteger(lastModifiedMs))
    throw new PrimedError(
      'REQUEST_INVALID',
      'a worker says the range, the version and the size of what it reads through',
    );
  if (range.offset + range.length > sizeBytes)
    throw new PrimedError('RANGE_INVALID', `${path} has ${sizeBytes} bytes`, { path, sizeBytes });
  return { entry: { path, etag, sizeBytes, lastModifiedMs, ...(versionId && { versionId }) }, range };
}

async function whileWaiting<T>(response: ServerResponse, wait: Promise<T>): Promise<T> {
  const timer = setInterval(() => response.writeProcessing(), limits.signOfLifeMs);
  try {
    return await wait;
  } finally {
    clearInterval(timer);
  }
}
