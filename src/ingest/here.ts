/** What this worker has of files, and what it would have to fetch: what a coordinator asks before it loads, or plans to. */
import { partsOf } from '../core/part-plan.ts';
import { covers } from '../core/path-scope.ts';
import { type ByteRange, type LoadId, type ManifestEntry, type RunId, sameVersion } from '../core/types.ts';
import { alignUp } from '../core/units.ts';
import type { FileRecord, RunOfLoad, Store } from '../store/types.ts';
import type { Run } from './run.ts';
import type { CachedBytes, MissingParts, PlannedLoad, RoomOrder, WorkerRoom } from './types.ts';
import { headsToVerify } from './verify-heads.ts';

const nothingHere: CachedBytes = { complete: false, bytes: 0, ours: false, own: false, ownBytes: 0 };

export interface HereOptions {
  readonly store: Store;
  readonly partBytes: number;
  /** Of a lane. */
  readonly slotBytes: number;
  readonly runs: ReadonlyMap<RunId, Run>;
}

export class Here {
  readonly #options: HereOptions;

  constructor(options: HereOptions) {
    this.#options = options;
  }

  cached(whose: RunOfLoad, entry: ManifestEntry, range?: ByteRange): CachedBytes {
    const { store } = this.#options;
    if (range !== undefined) {
      const { visible, record, ...cached } = store.cachedRange(whose, entry, range);
      if (record !== undefined && !this.#hold(whose.load, record)) return nothingHere;
      // What is durable and not published is not there for anyone: its load has to be gone on with.
      return { complete: visible && cached.bytes === range.length, ...cached };
    }
    const { run, load } = whose;
    const same = (record: FileRecord | undefined): record is FileRecord =>
      record !== undefined && sameVersion(record, entry);
    const visible = store.stat(entry.path);
    const loading = store.statLoading(entry.path);
    const candidates = [visible, loading].filter(same);
    // what this load has fetched so far counts, even while an earlier version of equal bytes is still the visible one
    const best = candidates.find((record) => record.loadId === load && record.state !== 'metadata') ?? candidates[0];
    if (best === undefined || !this.#hold(load, best)) return nothingHere;
    const { state, cachedBytes: bytes, loadId } = best;
    return { complete: state === 'complete', bytes, ours: loadId === load, ...store.fetched(run, best) };
  }

  missing({ load, reuse }: PlannedLoad, entry: ManifestEntry, range?: ByteRange): MissingParts {
    const { store, partBytes, slotBytes } = this.#options;
    const part = range === undefined ? {} : { range };
    const missing = store.missing({ load, reuse, entry, partBytes, ...part });
    let [bytes, parts] = [0, 0];
    for (const { length } of partsOf(missing, partBytes)) {
      bytes += length;
      parts += 1;
    }
    const visible = store.stat(entry.path);
    const known = visible !== undefined && sameVersion(visible, entry) && bytes === 0 ? visible.attributes : '';
    return { bytes, parts, heads: headsToVerify(entry, known, slotBytes) };
  }

  async room({ bytes, keeps, named }: RoomOrder): Promise<WorkerRoom> {
    const { capacityBytes, freeBytes, evictableBytes } = this.#options.store.usage();
    const counts = (path: string): boolean => keeps.some((scope) => covers(scope, path));
    const evicted = await this.#options.store.previewEviction({ bytes, keeps: counts, named });
    const shortBytes = alignUp(bytes) - freeBytes;
    const fits = shortBytes <= (evicted.counted ? evicted.bytes : evictableBytes);
    return { partBytes: this.#options.partBytes, capacityBytes, freeBytes, fits: shortBytes <= 0 || fits, evicted };
  }

  /** For those runs of the load that would use it. False: it is being removed. */
  #hold(load: LoadId, record: FileRecord): boolean {
    for (const [run, { spec }] of this.#options.runs) {
      const isOfUse = spec.load === load && (spec.reuse === 'any' || record.loadId === load);
      if (isOfUse && !this.#options.store.hold(run, record)) return false;
    }
    return true;
  }
}
