/**
 * The control plane over all configured UFSes, on the main thread.
 *
 * A path is located by its prefix; a bucket is opened (region, endpoint, SDK client) when it is first used, and stays
 * open. Every bucket and every file root that was used has an origin index, by which lanes know it.
 */
import { PrimedError } from '../core/errors.ts';
import type { WritableOrigins } from '../core/passed-write.ts';
import type { Log, UfsPath } from '../core/types.ts';
import { type Bucket, type CredentialProvider, credentialProviderOf, type OriginRetry, openBucket } from './aws.ts';
import { type FileControl, makeFileControl } from './file-control.ts';
import { type LeanHead, makeLeanHead } from './lean-head.ts';
import { type LeanList, makeLeanList } from './lean-list.ts';
import type { LeanOptions } from './lean-request.ts';
import { type ListedPage, type ListQuery, listKeysMax, listPage } from './listed.ts';
import type { OriginCounts } from './origin-counts.ts';
import type { RequestWatch } from './request-watch.ts';
import { headBySdk, listBySdk, originError, readBySdk, whyAbsent } from './s3-control.ts';
import { partBySdk } from './s3-parts.ts';
import { levelBySdk, rangeBySdk } from './s3-reading.ts';
import { takesTrailers } from './trailer-probe.ts';
import type { LaneCredentials, ObjectDetails, OriginTimeouts, ReadableOrigins, RequestGate } from './types.ts';
import { type Located, locate, type UfsEntry } from './ufs.ts';
import { type BucketWriter, makeBucketWriter } from './writer.ts';

export type { OriginRetry } from './aws.ts';
export type { UfsEntry } from './ufs.ts';

export interface OriginsOptions {
  /** An s3:// path below none of them is reached by AWS's usual environment; a file:// path below none is refused. */
  readonly ufs: readonly UfsEntry[];
  readonly timeouts: OriginTimeouts;
  readonly retry: OriginRetry;
  readonly log: Log;
  /** Undefined: requests are not limited. */
  readonly gate?: RequestGate;
  /** Told of each request of the control plane, by the name that the gate knows too. */
  readonly counts?: Pick<OriginCounts, 'asked' | 'retried'>;
}

/** Buckets and roots that may be in use by one daemon: each holds an SDK client. */
const originsMax = 1024;
/** A refused signature asks for fresh credentials; more often than this they are not looked up anew. */
const forcedRefreshMinMs = 10_000;
/** An origin may learn to take trailers, or forget it, while the daemon runs. */
const keepsKnownMs = 3_600_000;
/** One that did not answer is asked again. */
const keepsUnknownMs = 60_000;
/** Of the requests by which that is found out, together: a write waits for them. */
const keepsLimitMs = 10_000;

interface S3Slot {
  readonly kind: 's3';
  readonly index: number;
  readonly bucketName: string;
  readonly watch: RequestWatch | undefined;
  entry: UfsEntry;
  bucket: Promise<Bucket> | undefined;
  lean: LeanList | undefined;
  heads: LeanHead | undefined;
  writer: BucketWriter | undefined;
  /** Whether it keeps checksums behind bodies, and until when that counts. */
  keeps: { untilMs: number; readonly answer: Promise<boolean> } | undefined;
}
interface FileSlot {
  readonly kind: 'file';
  readonly control: FileControl;
}

/** What may change while origins are open. */
export interface OriginsChange {
  /** Of the same prefixes, in the same order; undefined: as they are. */
  readonly ufs?: readonly UfsEntry[];
  readonly timeouts?: OriginTimeouts;
}

export interface OpenedOrigins extends ReadableOrigins, WritableOrigins {
  /**
   * Buckets that are reached in another way from now on are opened anew at their next use; what is under way ends as it began.
   * Returns the origin indexes of those that were met before.
   */
  reconfigure(change: OriginsChange): number[];
}

/** Opens nothing yet: each bucket is opened when it is first used. */
export function openOrigins(options: OriginsOptions): OpenedOrigins {
  const { retry, log, gate, counts } = options;
  let { ufs, timeouts } = options;
  const slots: (S3Slot | FileSlot)[] = [];
  const indexOf = new Map<string, number>();
  const providers = new Map<UfsEntry | undefined, CredentialProvider>();
  const refreshes = new Map<
    CredentialProvider,
    { atMs: number; running?: Promise<Awaited<ReturnType<CredentialProvider>>> }
  >();

  const slotOf = (located: Located): number => {
    const name = located.kind === 's3' ? `s3://${located.bucket}` : `file://${located.root}`;
    const known = indexOf.get(name);
    if (known !== undefined) return known;
    if (slots.length >= originsMax) {
      throw new PrimedError(
        'PATH_INVALID',
        `${located.path}: more than ${originsMax} buckets and roots are in use; restart the daemon`,
      );
    }
    const index = slots.length;
    slots.push(
      located.kind === 's3'
        ? {
            kind: 's3',
            index,
            bucketName: located.bucket,
            watch: watchOf(counts, `${name}/`),
            entry: located.entry,
            bucket: undefined,
            lean: undefined,
            heads: undefined,
            writer: undefined,
            keeps: undefined,
          }
        : { kind: 'file', control: makeFileControl({ root: located.root, log }) },
    );
    indexOf.set(name, index);
    gate?.know(index, name.endsWith('/') ? name : `${name}/`);
    return index;
  };

  const providerOf = (entry: UfsEntry): CredentialProvider => {
    // All buckets of the default environment share one chain, and with it one refresh.
    const key = ufs.includes(entry) ? entry : undefined;
    let provider = providers.get(key);
    if (provider === undefined) {
      provider = credentialProviderOf(entry);
      providers.set(key, provider);
    }
    return provider;
  };

  const bucketOf = (slot: S3Slot): Promise<Bucket> => {
    const { bucketName: bucket, entry } = slot;
    if (slot.bucket !== undefined) return slot.bucket;
    const opening: Promise<Bucket> = openBucket({
      ...{ bucket, entry, provider: providerOf(entry), timeouts, retry },
      ...(gate === undefined ? {} : { admit: () => gate.admit(slot.index) }),
      ...(slot.watch === undefined ? {} : { watch: slot.watch }),
    }).then(
      (opened) => {
        log.info(
          { bucket, endpoint: opened.endpoint.hostHeader, region: opened.endpoint.region, signed: opened.signed },
          'opened a bucket',
        );
        return opened;
      },
      (error: unknown) => {
        if (slot.bucket === opening) slot.bucket = undefined; // tried again on next use
        throw error;
      },
    );
    slot.bucket = opening;
    return opening;
  };

  const find = (path: string): { located: Located; slot: S3Slot | FileSlot; index: number } => {
    const located = locate(path, ufs);
    const index = slotOf(located);
    return { located, slot: slots[index]!, index };
  };

  /** Runs something on a bucket; what it throws comes out as an error of the catalogue about `path`. */
  const onBucket = async <T>(slot: S3Slot, path: string, act: (bucket: Bucket) => Promise<T>): Promise<T> => {
    try {
      return await act(await bucketOf(slot));
    } catch (error) {
      throw originError(error, path);
    }
  };

  const identity = async (provider: CredentialProvider): ReturnType<CredentialProvider> => {
    const known = refreshes.get(provider);
    const now = Date.now();
    if (known?.running !== undefined) return known.running;
    // Whoever asks a second time was refused, or told to ask by now: what the SDK remembers does not help.
    const forceRefresh = known !== undefined && now - known.atMs >= forcedRefreshMinMs;
    const running = provider(forceRefresh ? { forceRefresh } : undefined);
    refreshes.set(provider, { atMs: forceRefresh || known === undefined ? now : known.atMs, running });
    try {
      return await running;
    } finally {
      const current = refreshes.get(provider);
      if (current?.running === running) refreshes.set(provider, { atMs: current.atMs });
    }
  };

  const leanOf = (slot: S3Slot, { endpoint, signed }: Bucket): LeanOptions => ({
    ...{ endpoint, signed, provider: providerOf(slot.entry), timeouts },
    ...(gate === undefined ? {} : { admit: (signal) => gate.admit(slot.index, signal) }),
    ...(slot.watch === undefined ? {} : { watch: slot.watch }),
  });

  /** By our own request and scanner; the SDK does what these do not know: refusals, redirects, retries, odd answers. */
  const listOnePage = async (slot: S3Slot, bucket: Bucket, query: ListQuery): Promise<ListedPage> => {
    slot.lean ??= makeLeanList(leanOf(slot, bucket));
    const page = await slot.lean.page(query);
    if (page !== undefined) return page;
    slot.watch?.retried('LIST');
    return listBySdk(bucket, slot.bucketName, query);
  };

  /** The same of a HEAD. */
  const headOne = async (slot: S3Slot, bucket: Bucket, of: Located, signal?: AbortSignal): Promise<ObjectDetails> => {
    slot.heads ??= makeLeanHead(leanOf(slot, bucket));
    const object = await slot.heads.head(of.key, of.path, signal);
    if (object === 'absent') await whyAbsent(bucket, slot.bucketName, of.key, signal);
    else if (object !== undefined) return object;
    slot.watch?.retried('HEAD');
    return headBySdk(bucket, slot.bucketName, of.key, of.path, signal);
  };

  const origins: OpenedOrigins = {
    resolve(path) {
      const { located, index } = find(path);
      return { path: located.path, originIndex: index, key: located.key };
    },

    async laneOrigin(path) {
      const { located, slot, index } = find(path);
      if (slot.kind === 'file') return { kind: 'file', originIndex: index, root: await slot.control.realRoot() };
      const { endpoint, signed } = await onBucket(slot, located.path, (bucket) => Promise.resolve(bucket));
      return { kind: 's3', originIndex: index, bucket: slot.bucketName, signed, ...endpoint };
    },

    async credentials(originIndex) {
      const slot = slots[originIndex];
      if (slot === undefined || slot.kind === 'file') return undefined;
      const path = `s3://${slot.bucketName}/`;
      const { signed } = await onBucket(slot, path, (bucket) => Promise.resolve(bucket));
      if (!signed) return undefined;
      try {
        const { accessKeyId, secretAccessKey, sessionToken, expiration } = await identity(providerOf(slot.entry));
        const credentials: LaneCredentials = {
          accessKeyId,
          secretAccessKey,
          ...(sessionToken !== undefined && { sessionToken }),
        };
        return { credentials, ...(expiration !== undefined && { expiresAtMs: expiration.getTime() }) };
      } catch (error) {
        throw new PrimedError('ORIGIN_CREDENTIALS', `${path}: ${(error as Error).message}`, { path }, { cause: error });
      }
    },

    async head(path, signal) {
      const { located, slot, index } = find(path);
      if (slot.kind === 'file') {
        await gate?.admit(index, signal);
        return slot.control.head(located.key);
      }
      return onBucket(slot, located.path, (bucket) => headOne(slot, bucket, located, signal));
    },

    async list(prefix, { after, signal, maxKeys = listKeysMax }) {
      const { located, slot, index } = find(prefix);
      const keyPrefix = located.key === '' || located.key.endsWith('/') ? located.key : `${located.key}/`;
      const keys = Math.max(1, Math.min(maxKeys, listKeysMax));
      const rest = { maxKeys: keys, ...(after !== undefined && { after }), ...(signal !== undefined && { signal }) };
      if (slot.kind === 'file') {
        await gate?.admit(index, signal);
        return slot.control.list(keyPrefix, rest);
      }
      return onBucket(slot, located.path, (bucket) =>
        listPage((query) => listOnePage(slot, bucket, query), {
          bucketPath: `s3://${slot.bucketName}/`,
          prefix: keyPrefix,
          ...rest,
        }),
      );
    },

    async *read(path, signal) {
      const { located, slot, index } = find(path);
      if (slot.kind === 'file') {
        await gate?.admit(index, signal);
        yield* slot.control.read(located.key, signal);
        return;
      }
      try {
        yield* readBySdk(await bucketOf(slot), slot.bucketName, located.key, signal);
      } catch (error) {
        throw originError(error, located.path as UfsPath);
      }
    },

    async *readRange(version, range, signal) {
      const { located, slot, index } = find(version.path);
      if (slot.kind === 'file') {
        await gate?.admit(index, signal);
        yield* slot.control.readRange(located.key, version.etag, range, signal);
        return;
      }
      try {
        const object = { bucket: slot.bucketName, key: located.key, version, range };
        yield* rangeBySdk(await bucketOf(slot), object, signal);
      } catch (error) {
        throw originError(error, located.path);
      }
    },

    async part(version, number, signal) {
      const { located, slot } = find(version.path);
      if (slot.kind === 'file') return undefined;
      const of = { bucket: slot.bucketName, key: located.key, version, number };
      return onBucket(slot, located.path, (bucket) => partBySdk(bucket, of, signal));
    },

    async level(bucketPath, order) {
      const { located, slot } = find(bucketPath);
      if (slot.kind === 'file') return undefined;
      return onBucket(slot, located.path, (bucket) => levelBySdk(bucket, slot.bucketName, order));
    },

    async write(path, write) {
      const { located, slot, index } = find(path);
      if (slot.kind === 'file')
        throw new PrimedError('PATH_INVALID', `${path}: only what is of s3:// is written through`, { path });
      const bucket = await onBucket(slot, path, (opened) => Promise.resolve(opened));
      slot.writer ??= makeBucketWriter(bucket, { timeouts, watch: slot.watch });
      if (gate === undefined) return slot.writer.send(located.path, located.key, write);
      await gate.admit(index, write.signal);
      gate.enter(index);
      // The origin may have answered before it has all, and then nothing is to be sent any more.
      const over = new AbortController();
      const signal = AbortSignal.any([write.signal, over.signal]);
      try {
        const body = paced(write.body, (bytes) => gate.spend(index, bytes, signal));
        return await slot.writer.send(located.path, located.key, { ...write, body });
      } finally {
        over.abort();
        gate.leave(index);
      }
    },

    async keepsChecksums(path, signal) {
      const { slot } = find(path);
      if (slot.kind === 'file') return false;
      if (slot.keeps === undefined || performance.now() > slot.keeps.untilMs) {
        const limit = AbortSignal.timeout(keepsLimitMs);
        const answer = takesTrailers((write) => origins.write(path, write), limit).catch((error: unknown) => {
          log.debug({ path, error: String(error) }, 'whether an origin keeps checksums behind bodies is not known yet');
          asked.untilMs = performance.now() + keepsUnknownMs;
          return false;
        });
        const asked = { untilMs: performance.now() + keepsKnownMs, answer };
        slot.keeps = asked;
      }
      const keeps = await slot.keeps.answer;
      signal.throwIfAborted();
      return keeps;
    },

    isSameOrigin(one, other) {
      const [a, b] = [locate(one, ufs).entry, locate(other, ufs).entry];
      // What is below no entry lies where the environment says.
      return a === b || (!ufs.includes(a) && !ufs.includes(b));
    },

    reconfigure(change) {
      const renewed = change.ufs ?? ufs;
      const isOther = (entry: UfsEntry, at: number): boolean => !isReachedAlike(entry, renewed[at]!);
      const others = new Set(ufs.filter(isOther));
      const nextOf = new Map(ufs.map((entry, at) => [entry, others.has(entry) ? renewed[at]! : entry]));
      ufs = ufs.map((entry) => nextOf.get(entry)!);
      timeouts = change.timeouts ?? timeouts;
      const reopened: number[] = [];
      for (const slot of slots) {
        if (slot.kind !== 's3' || (change.timeouts === undefined && !others.has(slot.entry))) continue;
        if (others.has(slot.entry)) reopened.push(slot.index);
        slot.entry = nextOf.get(slot.entry) ?? slot.entry;
        closeLater(slot);
      }
      return reopened;
    },

    async close() {
      for (const slot of slots) {
        if (slot.kind !== 's3' || slot.bucket === undefined) continue;
        // Not waited for: one that is opening may wait for credentials that never come.
        slot.bucket.then((bucket) => bucket.client.destroy()).catch(() => undefined);
        await Promise.all([slot.lean?.close(), slot.heads?.close(), slot.writer?.close()]);
        slot.bucket = undefined;
        slot.lean = undefined;
        slot.heads = undefined;
        slot.writer = undefined;
      }
    },
  };
  return origins;
}

function watchOf(counts: OriginsOptions['counts'], origin: string): RequestWatch | undefined {
  return (
    counts && {
      asked: (operation, outcome) => counts.asked(origin, operation, outcome),
      retried: (operation) => counts.retried(origin, operation),
    }
  );
}

/** What is asked of the old connections by now is answered within this time, or not at all. */
const closesAfterMs = 10 * 60_000;

/** The next use opens it anew. */
function closeLater(slot: S3Slot): void {
  const { bucket, lean, heads, writer } = slot;
  Object.assign(slot, { bucket: undefined, lean: undefined, heads: undefined, writer: undefined });
  setTimeout(() => {
    bucket?.then(({ client }) => client.destroy()).catch(() => undefined);
    for (const one of [lean, heads, writer]) void one?.close();
  }, closesAfterMs).unref();
}

function isReachedAlike(one: UfsEntry, other: UfsEntry): boolean {
  return waysToReach.every((field) => one[field] === other[field]);
}

const waysToReach = [
  ...(['endpoint', 'region', 'pathStyle', 'anonymous', 'accessKeyId', 'secretAccessKey', 'profile', 'caFile'] as const),
] satisfies readonly (keyof UfsEntry)[];

/** So much is counted at once: what is given up in the middle has cost no more. */
const pacedBytes = 64 * 1024;

/** Nothing is sent before it may be. */
async function* paced(
  body: AsyncIterable<Uint8Array>,
  spend: (bytes: number) => Promise<void>,
): AsyncGenerator<Uint8Array> {
  for await (const piece of body) {
    for (let at = 0; at < piece.length; at += pacedBytes) {
      const part = piece.subarray(at, at + pacedBytes);
      await spend(part.length);
      yield part;
    }
  }
}
