/**
 * What other workers copy from this one, on the worker's port: `GET /internal/v1/data/<path>`, where the path is a whole UFS
 * path, percent-encoded, with `If-Match` (the version), `Range: bytes=a-b` and `versionId` as a worker's lane asks an S3
 * origin (origin/lane-origin). Errors are XML, as those of S3, so that the lane can say what was wrong.
 *
 * Served is what is durable, be it visible or still loading. What is not here is known before the head is sent. As on any
 * read, each page is compared with its checksum before a byte of it leaves; a bad one that is met later cuts the answer off.
 */
import type { FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify';
import { type NodeAccess, nodeCheck } from '../cluster/wire/node-check.ts';
import { PrimedError } from '../core/errors.ts';
import type { ByteRange, Log, UfsPath } from '../core/types.ts';
import type { OpenFile, Store, WantedVersion } from '../store/types.ts';
import { BodyCut, openBody, sendBody } from './body.ts';
import { watchAnswers } from './in-flight.ts';
import { document, element } from './s3/xml.ts';
import { Turns } from './turns.ts';

export interface PeerDataOptions extends NodeAccess {
  readonly store: Pick<Store, 'openVersion' | 'stat' | 'statLoading'>;
  readonly log: Log;
  /** Bodies under way at once; each holds the page that is being sent and what the store reads ahead: about 3 MiB. */
  readonly maxBodies?: number;
  /** Longest wait for a turn; after it 503. Shorter than a lane is patient with another worker. */
  readonly turnWaitMs?: number;
  /** The same two for those who read through another worker; what it waits is less than that one does for a head. */
  readonly maxReads?: number;
  readonly readWaitMs?: number;
  /** Longest time that a worker may take over 1 MiB before it is cut off. */
  readonly stallMs?: number;
  /** How long bodies may go on after the server was told to close. */
  readonly closeGraceMs?: number;
  /** Told the body bytes of each answer that was sent whole. */
  readonly onServed?: (bytes: number) => void;
}

const prefix = '/internal/v1/data/';
const defaults = {
  ...{ maxBodies: 16, turnWaitMs: 800, stallMs: 30_000, closeGraceMs: 1_000 },
  ...{ maxReads: 24, readWaitMs: 3_000 },
};

export const peerData: FastifyPluginCallback<PeerDataOptions> = (app, options, done) => {
  const { store, log, onServed = () => {} } = options;
  const limits = { ...defaults, ...options };
  const copies = new Turns({ limit: limits.maxBodies, waitLimitMs: limits.turnWaitMs });
  const reads = new Turns({ limit: limits.maxReads, waitLimitMs: limits.readWaitMs });
  const watch = watchAnswers(app, limits.closeGraceMs);
  const problemWith = nodeCheck(options, 'cluster.token');

  const answer = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const wanted = wantedOf(request);
    // Copies and readers do not wait for each other.
    const giveBack = await (request.headers['x-primed-reader'] === undefined ? copies : reads).take();
    let file: OpenFile | undefined;
    try {
      file = opened(store, wanted);
      const { record } = file;
      const range = wanted.range ?? { offset: 0, length: record.sizeBytes };
      const body = await openBody(file.read(range), range.length);
      const { offset, length } = range;
      reply.raw.writeHead(wanted.range === undefined ? 200 : 206, {
        'content-type': 'application/octet-stream',
        'content-length': length,
        etag: `"${record.etag}"`,
        ...(wanted.range && { 'content-range': `bytes ${offset}-${offset + length - 1}/${record.sizeBytes}` }),
      });
      reply.hijack();
      await sendBody(body, reply.raw, limits.stallMs);
      onServed(length);
    } catch (error) {
      if (!(error instanceof BodyCut)) throw error;
      const level = error.reason === 'data' ? 'error' : 'debug';
      log[level]({ path: wanted.path, reason: error.reason, cause: error.message }, 'a copy was cut off');
    } finally {
      file?.close();
      giveBack();
    }
  };

  app.setErrorHandler((error, request, reply) => {
    const failure = failureOf(error);
    if (failure.status >= 500 && failure.status !== 503)
      log.error({ target: request.originalUrl, error: failure.message }, 'another worker could not be given its copy');
    reply
      .code(failure.status)
      .type('application/xml')
      .send(document(`<Error>${element('Code', failure.code)}${element('Message', failure.message)}</Error>`));
  });
  app.route({
    method: 'GET',
    url: `${prefix}*`,
    exposeHeadRoute: false,
    config: { ownToken: true },
    onRequest: async (request) => {
      const problem = problemWith?.(request.raw);
      if (problem !== undefined) throw new PrimedError('UNAUTHENTICATED', problem);
    },
    handler: async (request, reply) => {
      await watch(reply, answer(request, reply));
      return reply;
    },
  });
  done();
};

interface Wanted extends WantedVersion {
  /** Undefined: all of it. */
  readonly range?: ByteRange;
}

/** From the raw target: a key is bytes, not a path, and is decoded once. Throws REQUEST_INVALID, FILE_NOT_CACHED. */
function wantedOf(request: FastifyRequest): Wanted {
  const target = request.raw.url ?? '';
  const cut = target.indexOf('?');
  const path = pathOfTarget(cut < 0 ? target : target.slice(0, cut), prefix);
  const versionId = new URLSearchParams(cut < 0 ? '' : target.slice(cut)).get('versionId');
  const etag = /^"(.*)"$/.exec(request.headers['if-match'] ?? '""')?.[1];
  if (etag === undefined) throw invalid('If-Match', request.headers['if-match']);
  const range = rangeOf(request.headers.range);
  return { path, etag, ...(versionId === null ? {} : { versionId }), ...(range === undefined ? {} : { range }) };
}

/** The UFS path behind a prefix of a raw target. Throws FILE_NOT_CACHED for one that no name can be. */
export function pathOfTarget(target: string, prefix: string): UfsPath {
  // A byte that is not ASCII was not encoded: which characters it stands for is not known.
  if (target.startsWith(prefix) && /^[\x21-\x7e]+$/.test(target)) {
    try {
      return decodeURIComponent(target.slice(prefix.length)) as UfsPath;
    } catch {
      // Not UTF-8 once decoded: nothing of that name is cached.
    }
  }
  throw new PrimedError('FILE_NOT_CACHED', `${target} names no file`);
}

function rangeOf(header: string | undefined): ByteRange | undefined {
  if (header === undefined) return undefined;
  const [, from, to] = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(header) ?? [];
  const offset = Number(from);
  const length = Number(to) - offset + 1;
  if (!(length > 0)) throw invalid('Range', header);
  return { offset, length };
}

function invalid(name: string, value: string | undefined): PrimedError {
  return new PrimedError('REQUEST_INVALID', `${name}: '${value}' is not what a worker asks for`, { name });
}

/** Of the version that was asked for, or of another: the one that asks can tell by it whether to ask here again. */
class OtherVersion extends Error {}

/** Throws FILE_NOT_CACHED, OtherVersion, RANGE_INVALID. */
function opened(store: PeerDataOptions['store'], wanted: Wanted): OpenFile {
  const file = store.openVersion(wanted, wanted.range);
  if (file !== undefined) return file;
  const { path, etag } = wanted;
  const others = [store.stat(path), store.statLoading(path)].filter((record) => record !== undefined);
  if (others.length > 0 && others.every((record) => record.etag !== etag))
    throw new OtherVersion(`${path} is here with another ETag: ${others.map((record) => record.etag).join(', ')}`);
  const what = wanted.range === undefined ? 'it' : `bytes ${wanted.range.offset}+${wanted.range.length} of it`;
  throw new PrimedError('FILE_NOT_CACHED', `${path}: not all of ${what} is durable on this worker`, { path });
}

function failureOf(error: unknown): { status: number; code: string; message: string } {
  if (error instanceof PrimedError) return { status: error.httpStatus, code: error.code, message: error.message };
  if (error instanceof OtherVersion) return { status: 412, code: 'PreconditionFailed', message: error.message };
  return { status: 500, code: 'InternalError', message: error instanceof Error ? error.message : String(error) };
}
