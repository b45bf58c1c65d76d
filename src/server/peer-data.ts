/**
 * What other workers copy from this one, on the worker's port: `GET /internal/v1/data/<path>`, where the path is a whole UFS
 * path, percent-encoded, with `If-Match` (the version), `Range: bytes=a-b` and `versionId` as a worker's lane asks an S3
 * origin (origin/lane-origin). Errors are XML, as those of S3, so that the lane can say what was wrong.
 *
 * Served is what is durable, be it visible or still loading. What is not here is known before the head is sent. As on any
 * read, each page is compared with its checksum before a byte of it leaves; a bad one that is met later cuts the answer off, and
 * who asks for the range again is told why.
 */
import type { FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify';
import { type Repairs, readRepaired } from '../cluster/reading/repair.ts';
import { putAttributes } from '../core/attributes.ts';
import { PrimedError } from '../core/errors.ts';
import type { ByteRange } from '../core/types.ts';
import type { OpenFile, Store } from '../store/types.ts';
import { BodyCut, openBody, sendBody } from './body.ts';
import { watchAnswers } from './in-flight.ts';
import { admitWorkers, OtherVersion, type PeerAccess, type WantedRange, wantedOf } from './peer-request.ts';
import { Suspects } from './suspects.ts';
import { Turns } from './turns.ts';

export interface PeerDataOptions extends PeerAccess {
  readonly store: Pick<Store, 'openVersion' | 'stat' | 'statLoading'>;
  /** Makes bad pages good before they are missed. */
  readonly repairs?: Pick<Repairs, 'repair'>;
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
  const { store, log, repairs, onServed = () => {} } = options;
  const limits = { ...defaults, ...options };
  const copies = new Turns({ limit: limits.maxBodies, waitLimitMs: limits.turnWaitMs });
  const reads = new Turns({ limit: limits.maxReads, waitLimitMs: limits.readWaitMs });
  const watch = watchAnswers(app, limits.closeGraceMs);
  const suspects = new Suspects();
  const admission = admitWorkers(app, options);

  const answer = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const wanted = wantedOf(request, prefix);
    // Copies and readers do not wait for each other.
    const giveBack = await (request.headers['x-primed-reader'] === undefined ? copies : reads).take();
    let file: OpenFile | undefined;
    try {
      file = opened(store, wanted);
      const { record } = file;
      const range = rangeOf(wanted, file);
      await suspects.check(file, range);
      const body = await openBody(readRepaired(file, range, repairs), range.length);
      const { offset, length } = range;
      // As its origin said it: so a copy knows of its object what the first one does.
      const attributes: Record<string, string> = {};
      putAttributes(attributes, record.attributes, wanted.range === undefined ? 'checksums' : undefined);
      reply.raw.writeHead(wanted.range === undefined ? 200 : 206, {
        ...attributes,
        'content-length': length,
        etag: `"${record.etag}"`,
        ...(wanted.range && { 'content-range': `bytes ${offset}-${offset + length - 1}/${record.sizeBytes}` }),
      });
      reply.hijack();
      await sendBody(body, reply.raw, limits.stallMs);
      onServed(length);
    } catch (error) {
      if (!(error instanceof BodyCut)) throw error;
      if (error.reason === 'data' && file !== undefined) suspects.add(file, rangeOf(wanted, file));
      const level = error.reason === 'data' ? 'error' : 'debug';
      log[level](
        { requestId: request.id, path: wanted.path, reason: error.reason, cause: error.message },
        'a copy was cut off',
      );
    } finally {
      file?.close();
      giveBack();
    }
  };

  app.route({
    method: 'GET',
    url: `${prefix}*`,
    exposeHeadRoute: false,
    ...admission,
    handler: async (request, reply) => {
      await watch(reply, answer(request, reply));
      return reply;
    },
  });
  done();
};

function rangeOf({ range }: WantedRange, { record }: OpenFile): ByteRange {
  return range ?? { offset: 0, length: record.sizeBytes };
}

/** Throws FILE_NOT_CACHED, OtherVersion, RANGE_INVALID. */
function opened(store: PeerDataOptions['store'], wanted: WantedRange): OpenFile {
  const file = store.openVersion(wanted, wanted.range);
  if (file !== undefined) return file;
  const { path, etag } = wanted;
  const others = [store.stat(path), store.statLoading(path)].filter((record) => record !== undefined);
  if (others.length > 0 && others.every((record) => record.etag !== etag))
    throw new OtherVersion(`${path} is here with another ETag: ${others.map((record) => record.etag).join(', ')}`);
  const what = wanted.range === undefined ? 'it' : `bytes ${wanted.range.offset}+${wanted.range.length} of it`;
  throw new PrimedError('FILE_NOT_CACHED', `${path}: not all of ${what} is durable on this worker`, { path });
}
