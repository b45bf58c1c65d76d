/**
 * What is not cached, read from the origin all the same.
 *
 * ```
 *  reader ── here ──┬─ the owner of the segment is another worker ── GET /internal/v1/through ──▶ its `readHere`
 *                   └─ it is this one: `readHere` ── fillings ── run ── lanes ── SSD ── reader
 *                              no room, or not to be kept: `pass`, straight from the origin
 * ```
 *
 * Each byte is fetched by the owner of its segment, once, whoever asks which worker. An owner that fails is replaced by the
 * next of the ring, and then by the worker that was asked; what the origin itself refuses is not asked for again.
 */
import { PrimedError } from '../../../core/errors.ts';
import type { ListingOrder } from '../../../core/listing.ts';
import type { ReadPolicies, ReadPolicy } from '../../../core/read-policy.ts';
import {
  type ByteRange,
  type Log,
  type ManifestEntry,
  type ObjectPart,
  sameVersion,
  type UfsPath,
} from '../../../core/types.ts';
import type { OriginLimiter } from '../../../ingest/origin-limiter.ts';
import type { ObjectDetails, ReadableOrigins } from '../../../origin/types.ts';
import type { ListedPage } from '../found.ts';
import type { Peers } from '../known-peers.ts';
import type { PeerClient } from '../peer-client.ts';
import { type Fillings, NoRoom } from './filling.ts';
import { Parts } from './parts.ts';
import { type Seen, Versions } from './versions.ts';

/** Told about what only the metrics want to know. */
export interface ReadObserver {
  /** Bytes that readers were given, by where they came from. */
  read(source: 'origin' | 'pass', bytes: number): void;
  /** The origin was asked what it has at a path. */
  asked(result: 'found' | 'absent' | 'failed'): void;
  /** What is cached was given although nobody knows whether it is still right. */
  stale(): void;
  /** There was no room to keep what was read. */
  notKept(): void;
}

export interface OriginReadsOptions {
  readonly policies: ReadPolicies;
  readonly origins: Pick<ReadableOrigins, 'head' | 'resolve' | 'readRange' | 'level' | 'part'>;
  readonly limiter: Pick<OriginLimiter, 'enter' | 'leave' | 'spend'>;
  readonly fillings: Pick<Fillings, 'read'>;
  readonly peers: Peers;
  readonly client: Pick<PeerClient, 'through' | 'versionAt' | 'avoids'>;
  readonly segmentBytes: number;
  /** Whether what is cached is given while the origin cannot be asked whether it is still right. */
  readonly serveStale: boolean;
  readonly observe: ReadObserver;
  readonly log: Log;
  readonly now: () => number;
}

/** Owners of a segment that are asked before this worker does it itself. */
const ownersAsked = 2;
const mostDoubted = 4096;
/** A reader waits for it. */
const headLimitMs = 10_000;
/** One line in the log for so long. */
const staleLogMs = 60_000;

export class OriginReads {
  readonly #options: OriginReadsOptions;
  readonly #versions: Versions;
  readonly #parts: Parts;
  /** Paths of which no answer counts that was given before, each with the doubt that it is. */
  readonly #doubted = new Map<UfsPath, object>();
  #staleLoggedMs = Number.NEGATIVE_INFINITY;

  constructor(options: OriginReadsOptions) {
    this.#options = options;
    this.#versions = new Versions({ ask: (path, maxAgeMs) => this.#ask(path, maxAgeMs), now: options.now });
    this.#parts = new Parts((version, number) =>
      options.origins.part(version, number, AbortSignal.timeout(headLimitMs)),
    );
  }

  policyOf(path: string): ReadPolicy {
    return this.#options.policies.of(path);
  }

  /** Whether what is not cached is read from the origin. */
  reads(path: string): boolean {
    return this.policyOf(path).readThrough !== 'never';
  }

  /** Whether a cached version may be given without asking. */
  isFresh(cached: ManifestEntry): boolean {
    const { maxAgeMs } = this.policyOf(cached.path);
    if (maxAgeMs === undefined) return true;
    if (this.#doubted.has(cached.path)) return false;
    const object = this.#versions.known(cached.path, maxAgeMs)?.object;
    return object !== undefined && sameVersion(object, cached);
  }

  /** What the origin has, as young as the policy wants it. Undefined: there is no such object. Rejects with ORIGIN_*. */
  async version(path: UfsPath): Promise<ObjectDetails | undefined> {
    const doubt = this.#doubted.get(path);
    const maxAgeMs = doubt === undefined ? this.policyOf(path).maxAgeMs : 0;
    const { object } = await this.#versions.at(path, maxAgeMs);
    // What was doubted meanwhile may be this answer.
    if (this.#doubted.get(path) === doubt) this.#doubted.delete(path);
    return object;
  }

  /**
   * Where a part of a version lies, numbered from 1. Undefined where the origin does not say, has another version, or is not
   * to be asked by readers. Rejects with ORIGIN_*.
   */
  async part(version: ManifestEntry, number: number): Promise<ObjectPart | undefined> {
    return this.reads(version.path) ? this.#parts.of(version, number) : undefined;
  }

  /** Buckets that are known by configuration, whether or not anything of them is cached. */
  get namedBuckets(): readonly string[] {
    return this.#options.policies.namedBuckets;
  }

  /** Whether a listing of keys that begin so is the origin's. */
  lists(prefix: string): boolean {
    return prefix.startsWith('s3://') && this.#options.policies.mayReadBelow(prefix) && bucketOf(prefix) !== undefined;
  }

  /**
   * What the origin lists. Undefined: it cannot be asked, and what is cached is to be listed in its place. Rejects with ORIGIN_*.
   */
  async list({ root, prefix, delimiter, after, maxKeys }: ListingOrder): Promise<ListedPage | undefined> {
    const bucket = bucketOf(root)!;
    try {
      const page = await this.#options.origins.level(bucket, { prefix, delimiter, after, maxKeys });
      if (page === undefined) return undefined;
      const files = page.entries.map((entry) => ({
        key: entry.path.slice(bucket.length),
        record: { ...entry, attributes: '', state: 'complete', cachedBytes: 0 } as const,
      }));
      const last = [files.at(-1)?.key, page.prefixes.at(-1)]
        .filter((one) => one !== undefined)
        .sort(byBytes)
        .at(-1);
      const next = page.truncated && last !== undefined ? { next: last } : {};
      return { files, commonPrefixes: page.prefixes, ...next };
    } catch (error) {
      if (this.mayBeStale(root as UfsPath, error)) return undefined;
      throw error;
    }
  }

  /** Rejects with ORIGIN_*. */
  async hasBucket(root: string): Promise<boolean> {
    try {
      await this.list({ root, prefix: '', delimiter: '', after: '', maxKeys: 1 });
      return true;
    } catch (error) {
      if (isAbsent(error)) return false;
      throw error;
    }
  }

  /** For another worker: the object, and how long ago that was so. */
  async versionFor(path: UfsPath, maxAgeMs: number): Promise<{ object?: ObjectDetails; ageMs: number }> {
    const { object, askedAtMs } = await this.#versions.at(path, maxAgeMs);
    return { ...(object && { object }), ageMs: this.#options.now() - askedAtMs };
  }

  /** The origin has another version than this one was taken for, whoever else took it for that. */
  forget(path: UfsPath): void {
    this.#versions.forget(path);
    this.#doubted.set(path, {});
    if (this.#doubted.size > mostDoubted) this.#doubted.delete(this.#doubted.keys().next().value!);
  }

  /** Whether what is cached is given although the origin could not be asked. */
  mayBeStale(path: UfsPath, error: unknown): boolean {
    // What is written through may have been written: what is cached of it is not known to have been right a moment ago.
    if (!this.#options.serveStale || this.policyOf(path).writes === true || !isAway(error)) return false;
    const { observe, log, now } = this.#options;
    observe.stale();
    if (now() - this.#staleLoggedMs > staleLogMs) {
      this.#staleLoggedMs = now();
      const facts = { path, error: String(error) };
      log.warn(facts, 'the origin cannot be asked whether what is cached is still right: it is given as it is');
    }
    return true;
  }

  /** Where placement cuts files: a range given to `read` lies between two cuts. */
  get segmentBytes(): number {
    return this.#options.segmentBytes;
  }

  /** Exactly the bytes of a range within a segment, of this version. Rejects with ORIGIN_*, PEER_FAILED, TOO_BUSY, STORE_*. */
  async *read(entry: ManifestEntry, range: ByteRange): AsyncGenerator<Uint8Array> {
    if (this.policyOf(entry.path).readThrough !== 'always') {
      yield* this.pass(entry, range);
      return;
    }
    const { peers, client, log, segmentBytes } = this.#options;
    const end = range.offset + range.length;
    let at = range.offset;
    for (const owner of peers.owners(entry.path, Math.floor(at / segmentBytes), ownersAsked)) {
      if (owner === 'here') break;
      if (client.avoids(owner)) continue;
      try {
        for await (const bytes of await client.through(owner, entry, { offset: at, length: end - at })) {
          at += bytes.length;
          yield bytes;
        }
        if (at === end) return;
      } catch (error) {
        if (!(error instanceof PrimedError) || !isOfPeer(error)) throw error;
        const facts = { path: entry.path, worker: owner.id, offset: at, error: error.message };
        log.warn(facts, 'the owner of a segment did not give what the origin has: it is asked for elsewhere');
      }
    }
    yield* this.readHere(entry, { offset: at, length: end - at });
  }

  /** The same, fetched and kept by this worker. */
  async *readHere(entry: ManifestEntry, range: ByteRange): AsyncGenerator<Uint8Array> {
    const { fillings, observe, peers, segmentBytes } = this.#options;
    const end = range.offset + range.length;
    // A worker that knows the others asks this one, which may not know them yet.
    await peers.heard();
    // Alone it has all segments.
    const cut = (Math.floor(range.offset / segmentBytes) + 1) * segmentBytes;
    const belongs = peers.others().length === 0 ? entry.sizeBytes : Math.min(entry.sizeBytes, cut);
    let at = range.offset;
    try {
      for await (const bytes of fillings.read(entry, range, Math.max(end, belongs))) {
        at += bytes.length;
        observe.read('origin', bytes.length);
        yield bytes;
      }
    } catch (error) {
      if (!(error instanceof NoRoom)) throw error;
      observe.notKept();
      yield* this.pass(entry, { offset: at, length: end - at });
    }
  }

  /** The same, and nothing is kept. The limits of the origin hold. */
  async *pass(entry: ManifestEntry, range: ByteRange): AsyncGenerator<Uint8Array> {
    const { origins, limiter, observe } = this.#options;
    const { originIndex } = origins.resolve(entry.path);
    const abort = new AbortController();
    limiter.enter(originIndex);
    try {
      for await (const bytes of origins.readRange(entry, range, abort.signal)) {
        observe.read('pass', bytes.length);
        await limiter.spend(originIndex, bytes.length);
        yield bytes;
      }
    } finally {
      abort.abort();
      limiter.leave(originIndex);
    }
  }

  /** One HEAD for the whole cluster: by the worker that owns the beginning of the file. */
  async #ask(path: UfsPath, maxAgeMs: number): Promise<Seen> {
    const { peers, client, now, observe, origins } = this.#options;
    const [owner] = peers.owners(path, 0, 1);
    if (owner !== undefined && owner !== 'here' && !client.avoids(owner)) {
      const askedAtMs = now();
      try {
        const { object, ageMs } = await client.versionAt(owner, path, maxAgeMs);
        return { object, askedAtMs: askedAtMs - ageMs };
      } catch (error) {
        if (!(error instanceof PrimedError) || !isOfPeer(error)) throw error;
      }
    }
    const askedAtMs = now();
    try {
      const object = await withinLimit(origins.head(path, AbortSignal.timeout(headLimitMs)), path);
      observe.asked('found');
      return { object, askedAtMs };
    } catch (error) {
      if (isAbsent(error)) {
        observe.asked('absent');
        return { object: undefined, askedAtMs };
      }
      observe.asked('failed');
      throw error;
    }
  }
}

/** `s3://bucket/` of what begins with it and a name. */
function bucketOf(path: string): string | undefined {
  return /^s3:\/\/[^/]+\//.exec(path)?.[0];
}

function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

/** Whatever the client of the origin does about an abort, nobody waits any longer. */
async function withinLimit<T>(answer: Promise<T>, path: UfsPath): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const message = `${path}: the origin did not say what it has within ${headLimitMs / 1000} s`;
      reject(new PrimedError('ORIGIN_TIMEOUT', message, { path }));
    }, headLimitMs - 50);
  });
  try {
    return await Promise.race([answer, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** There is none, or there can be none of that name. */
function isAbsent(error: unknown): boolean {
  return error instanceof PrimedError && (error.code === 'ORIGIN_NOT_FOUND' || error.code === 'PATH_INVALID');
}

/** It says nothing about the object. */
function isOfPeer({ code }: PrimedError): boolean {
  return code === 'PEER_FAILED' || code === 'STOPPING' || code === 'STORE_IO' || code === 'STORE_CORRUPT';
}

/** The origin was not reached, or is in no state to answer; who is refused has an answer. */
function isAway(error: unknown): boolean {
  return error instanceof PrimedError && awayCodes.has(error.code);
}
const awayCodes: ReadonlySet<string> = new Set([
  ...['ORIGIN_UNREACHABLE', 'ORIGIN_TIMEOUT', 'ORIGIN_RESET', 'ORIGIN_LOST', 'ORIGIN_THROTTLED'],
  ...['ORIGIN_SERVER_ERROR', 'ORIGIN_PROTOCOL', 'ORIGIN_CREDENTIALS'],
]);

export { isAway };
