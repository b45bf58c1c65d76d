/** The origin of a world: objects that change, vanish, fail for a while or for good, and say nothing; all of it counted. */
import { PrimedError } from '../../src/core/errors.ts';
import type { ManifestEntry, ObjectVersion, UfsPath } from '../../src/core/types.ts';
import type { FailureCause, ListingPage, ObjectDetails, Origins } from '../../src/origin/types.ts';
import { here, type World } from './world.ts';

export type Trouble =
  /** For good. */
  | { readonly kind: 'poison'; readonly cause: FailureCause; readonly code: 'ORIGIN_SERVER_ERROR' | 'ORIGIN_DENIED' }
  /** So many requests yet. */
  | { readonly kind: 'passing'; left: number }
  | { readonly kind: 'silent'; readonly untilMs: number };

export interface SimObject {
  readonly path: UfsPath;
  /** The last one is there, unless it is gone. */
  readonly versions: ManifestEntry[];
  gone: boolean;
  trouble: Trouble | undefined;
}

export type Fetched =
  | { readonly result: 'bytes' }
  | { readonly result: 'failed'; readonly cause: FailureCause; readonly code: 'ORIGIN_SERVER_ERROR' | 'ORIGIN_DENIED' };

export class Bucket {
  readonly world: World;
  readonly objects = new Map<string, SimObject>();
  /** Bytes that left it, all in all and by `path etag offset`. */
  sentBytes = 0;
  readonly sent = new Map<string, number>();
  readonly sentByRun = new Map<string, number>();
  /** Listing pages that fail, yet. */
  listingTroubles = 0;
  /** How often it was made to fail. */
  listingFaults = 0;
  /** Requests may take so much longer. */
  slowMs = 0;

  constructor(world: World) {
    this.world = world;
  }

  put(path: string, sizeBytes: number): void {
    const known = this.objects.get(path);
    const number = (known?.versions.length ?? 0) + 1;
    const entry: ManifestEntry = {
      path: path as UfsPath,
      etag: `v${number}`,
      sizeBytes,
      lastModifiedMs: Math.floor(this.world.wallMs),
    };
    if (known === undefined)
      this.objects.set(path, { path: entry.path, versions: [entry], gone: false, trouble: undefined });
    else known.versions.push(entry);
  }

  latencyMs(): number {
    return this.world.between(1, 20) + this.world.random() ** 3 * this.slowMs;
  }

  /** One ranged GET by a run, of the pinned version, when the answer is there. */
  get(run: string, entry: ManifestEntry, offset: number, length: number): Fetched {
    const object = this.objects.get(entry.path);
    if (object === undefined || object.gone) return failed('missing');
    const { trouble } = object;
    if (trouble?.kind === 'poison') return { result: 'failed', cause: trouble.cause, code: trouble.code };
    if (trouble?.kind === 'silent' && this.world.nowMs < trouble.untilMs) return failed('first-byte-timeout');
    if (trouble?.kind === 'passing' && trouble.left > 0) {
      trouble.left -= 1;
      return failed('server');
    }
    if (object.versions.at(-1)!.etag !== entry.etag) return failed('changed');
    this.sentBytes += length;
    add(this.sent, `${entry.path} ${entry.etag} ${offset}`, 1);
    add(this.sentByRun, run, length);
    return { result: 'bytes' };
  }
}

function failed(cause: FailureCause): Fetched {
  return { result: 'failed', cause, code: 'ORIGIN_SERVER_ERROR' };
}

function add(map: Map<string, number>, key: string, more: number): void {
  map.set(key, (map.get(key) ?? 0) + more);
}

/** The control plane of one process. */
export class SimOrigins implements Origins {
  readonly #bucket: Bucket;

  constructor(bucket: Bucket) {
    this.#bucket = bucket;
  }

  resolve(path: string): { path: UfsPath; originIndex: number; key: string } {
    const match = /^s3:\/\/([a-z0-9-]+)(?:\/(.*))?$/s.exec(path);
    if (match === null) throw new PrimedError('PATH_INVALID', `'${path}' is not a UFS path`);
    return { path: `s3://${match[1]}/${match[2] ?? ''}` as UfsPath, originIndex: 0, key: match[2] ?? '' };
  }

  async list(
    prefix: UfsPath,
    { after, signal, maxKeys = 1000 }: { after?: string; signal?: AbortSignal; maxKeys?: number },
  ): Promise<ListingPage> {
    await this.#answer(signal);
    if (this.#bucket.listingTroubles > 0) {
      this.#bucket.listingTroubles -= 1;
      throw new PrimedError('ORIGIN_SERVER_ERROR', `${prefix}: 500 InternalError`);
    }
    const found = [...this.#bucket.objects.values()].filter(({ path, gone }) => !gone && path.startsWith(prefix));
    const rest = found.filter(({ path }) => after === undefined || path > after);
    rest.sort((a, b) => (a.path < b.path ? -1 : 1));
    const page = rest.slice(0, maxKeys);
    const entries = page.map(({ versions }) => versions.at(-1)!);
    return { entries, scanned: page.length, ...(page.length < rest.length ? { next: page.at(-1)!.path } : {}) };
  }

  async head(path: UfsPath, signal?: AbortSignal): Promise<ObjectDetails> {
    await this.#answer(signal);
    const object = this.#bucket.objects.get(path);
    if (object === undefined || object.gone) throw new PrimedError('ORIGIN_NOT_FOUND', `${path}: 404 NoSuchKey`);
    return { ...object.versions.at(-1)!, checksums: {} };
  }

  // biome-ignore lint/correctness/useYield: there are no index files here.
  async *read(path: UfsPath): AsyncIterable<Uint8Array> {
    throw new PrimedError('ORIGIN_NOT_FOUND', `${path}: 404 NoSuchKey`);
  }

  laneOrigin(): never {
    throw new Error('no lanes are simulated');
  }

  credentials(): never {
    throw new Error('no lanes are simulated');
  }

  async close(): Promise<void> {}

  async #answer(signal: AbortSignal | undefined): Promise<void> {
    const world = here();
    await new Promise<void>((resolve) => world.after(this.#bucket.latencyMs(), world.current, resolve));
    signal?.throwIfAborted();
  }
}

export function versionOf({ etag, sizeBytes, lastModifiedMs }: ObjectVersion): ObjectVersion {
  return { etag, sizeBytes, lastModifiedMs };
}
