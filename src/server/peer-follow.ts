/**
 * Word of what lands, for workers that copy a segment from this one as it arrives: `GET /internal/v1/landed/<path>`, asked like
 * the data itself (peer-request), with the range of the segment. The answer goes on until all of the segment is durable:
 *
 *   [[offset, length], …]\n   newly durable, in order
 *   []\n                      nothing new: a sign of life
 *   "all"\n                   every byte is durable; the last line
 *   "…"\n                     why not every byte will be; the last line
 *
 * A follower holds a socket here, and no slot nor anything else of the way of a byte: whoever it waits for never waits for it.
 */
import type { ServerResponse } from 'node:http';
import type { FastifyPluginCallback } from 'fastify';
import { PrimedError } from '../core/errors.ts';
import { bytesOf, rangesWithout } from '../core/ranges.ts';
import type { ByteRange } from '../core/types.ts';
import type { Landings } from '../ingest/landings.ts';
import type { Store, WantedVersion } from '../store/types.ts';
import { watchAnswers } from './in-flight.ts';
import { admitWorkers, type PeerAccess, wantedOf } from './peer-request.ts';

export interface PeerFollowOptions extends PeerAccess {
  readonly store: Pick<Store, 'durableRanges'>;
  readonly landings: Pick<Landings, 'isUnderWay' | 'watch'>;
  /** Followers at once; one costs a socket and some hundred bytes. */
  readonly maxFollowers?: number;
  readonly signOfLifeMs?: number;
  /** So long a follower may be here before the load that it follows. */
  readonly beginLimitMs?: number;
}

const prefix = '/internal/v1/landed/';
const defaults = { maxFollowers: 2048, signOfLifeMs: 1000, beginLimitMs: 5000 };
/** Lines that a follower has not taken; then it is cut off. */
const maxUnsentBytes = 256 * 1024;

export const peerFollow: FastifyPluginCallback<PeerFollowOptions> = (app, options, done) => {
  const { maxFollowers } = { ...defaults, ...options };
  const admission = admitWorkers(app, options);
  // What it would tell next is of no use to anyone once the server closes.
  const watch = watchAnswers(app, 0);
  let followers = 0;
  app.route({
    method: 'GET',
    url: `${prefix}*`,
    exposeHeadRoute: false,
    ...admission,
    handler: async (request, reply) => {
      const { range, ...version } = wantedOf(request, prefix);
      if (range === undefined) throw new PrimedError('REQUEST_INVALID', 'Range: a follower says what it follows');
      if (followers >= maxFollowers)
        throw new PrimedError('TOO_BUSY', `${maxFollowers} followers are here already`, { limit: maxFollowers });
      followers += 1;
      reply.raw.writeHead(200, { 'content-type': 'application/x-ndjson' });
      reply.hijack();
      await watch(reply, told(reply.raw, version, range, options)).finally(() => {
        followers -= 1;
      });
      return reply;
    },
  });
  done();
};

/** Resolves when the answer has ended, or its reader has left. */
function told(
  response: ServerResponse,
  version: WantedVersion,
  range: ByteRange,
  options: PeerFollowOptions,
): Promise<void> {
  const { store, landings } = options;
  const { signOfLifeMs, beginLimitMs } = { ...defaults, ...options };
  const { path } = version;
  const { offset } = range;
  const sinceMs = performance.now();
  let toldOf: readonly ByteRange[] = [];
  let begun = false;
  return new Promise((resolve) => {
    /** Undefined: there may be more. */
    const lastWord = (): string | undefined => {
      if (bytesOf(toldOf) === range.length) return 'all';
      if (landings.isUnderWay(path, offset)) begun = true;
      else if (begun)
        return `${path}: its load on this worker has ended, and bytes of the segment at ${offset} are missing`;
      else if (performance.now() - sinceMs > beginLimitMs) return `${path}: nobody loads the segment at ${offset} here`;
      return undefined;
    };
    const tell = (alive: boolean): void => {
      const durable = store.durableRanges(version, range);
      const news = rangesWithout(durable, toldOf);
      toldOf = durable;
      const last = lastWord();
      if (news.length > 0 || alive) response.write(lineOf(news.map((one) => [one.offset, one.length])));
      if (last !== undefined) {
        stop();
        response.end(lineOf(last));
      } else if (response.writableLength > maxUnsentBytes) response.destroy();
    };
    const timer = setInterval(() => tell(true), signOfLifeMs);
    const unwatch = landings.watch(path, offset, () => tell(false));
    const stop = (): void => {
      clearInterval(timer);
      unwatch();
    };
    response.once('close', () => {
      stop();
      resolve();
    });
    tell(true);
  });
}

function lineOf(value: unknown): string {
  return `${JSON.stringify(value)}\n`;
}
