/** What a worker of a world has on its disk: the model that the real store is tested against, and who is at work on it. */
import type { ByteRange, DiscardReason, LoadId, ManifestEntry, RunId } from '../../src/core/types.ts';
import { sameVersion } from '../../src/core/types.ts';
import { alignUp, pageBytes } from '../../src/core/units.ts';
import type { CachedBytes } from '../../src/ingest/types.ts';
import type { CachedRange, Fetched, RunOfLoad } from '../../src/store/types.ts';
import {
  bytesOfPages,
  fetchedBy,
  isShown,
  type ModelFile,
  type ModelLoading,
  pageCountOf,
  StoreModel,
} from '../support/store-model.ts';

const noRun = '' as RunId;

export class SimStore {
  model = new StoreModel();
  /** Files with pages that do not stand verification. */
  readonly #bad = new WeakSet<ModelFile>();
  readonly capacityBytes: number;

  constructor(capacityBytes: number) {
    this.capacityBytes = capacityBytes;
  }

  /** As the next process finds it. */
  restart(): void {
    this.model = this.model.restarted();
  }

  pagesOf(entry: ManifestEntry, range: ByteRange | undefined): number[] {
    const { offset, length } = range ?? { offset: 0, length: entry.sizeBytes };
    const first = Math.floor(offset / pageBytes);
    const end = Math.min(pageCountOf(entry), Math.ceil((offset + length) / pageBytes));
    return Array.from({ length: end - first }, (_, at) => first + at);
  }

  cachedRange(whose: RunOfLoad, entry: ManifestEntry, range: ByteRange): CachedRange {
    return this.model.cached(whose, entry, this.pagesOf(entry, range));
  }

  cachedWhole({ run, load }: RunOfLoad, entry: ManifestEntry): CachedBytes {
    const visible = this.model.visible.get(entry.path);
    const loading = this.model.loading.get(entry.path);
    const candidates: (Fetched & { load: LoadId; complete: boolean; bytes: number; metadata: boolean })[] = [];
    if (visible !== undefined && sameVersion(visible.entry, entry)) {
      const bytes = bytesOfPages(entry, visible.pages.keys());
      const { state } = visible;
      candidates.push({
        ...{ load: visible.load, complete: state === 'complete', bytes, metadata: state === 'metadata' },
        ...fetchedBy(run, visible, visible.pages.keys()),
      });
    }
    if (loading !== undefined && !isShown(loading) && sameVersion(loading.entry, entry))
      candidates.push({
        load: loading.load,
        complete: false,
        bytes: bytesOfPages(entry, loading.pages.keys()),
        metadata: false,
        ...fetchedBy(run, loading, loading.pages.keys()),
      });
    const best = candidates.find((one) => one.load === load && !one.metadata) ?? candidates[0];
    if (best === undefined) return { complete: false, bytes: 0, ours: false, own: false, ownBytes: 0 };
    const { complete, bytes, own, ownBytes } = best;
    return { complete, bytes, ours: best.load === load, own, ownBytes };
  }

  /** Whether every page of a range is there, visible or not. */
  has(entry: ManifestEntry, range: ByteRange): boolean {
    const wanted = this.pagesOf(entry, range);
    const visible = this.model.visible.get(entry.path);
    const loading = this.model.loading.get(entry.path);
    if (visible !== undefined && visible.state !== 'metadata' && sameVersion(visible.entry, entry)) {
      if (visible.state === 'complete' || wanted.every((page) => visible.pages.has(page))) return true;
    }
    return (
      loading !== undefined && sameVersion(loading.entry, entry) && wanted.every((page) => loading.pages.has(page))
    );
  }

  /** Whether every page of a range is there, and by this load. */
  hasOf(load: LoadId, entry: ManifestEntry, range: ByteRange): boolean {
    const { bytes, ours } = this.cachedRange({ run: noRun, load }, entry, range);
    return ours && bytes === range.length;
  }

  /** Files at and below a path of which a byte is there. */
  below(folder: string): number {
    const paths = [...this.model.visible.keys()];
    for (const [path, { pages }] of this.model.loading) if (pages.size > 0) paths.push(path);
    return new Set(paths.filter((path) => path.startsWith(folder))).size;
  }

  /** Whether a reader finds every page of a range. */
  shows(entry: ManifestEntry, range: ByteRange): boolean {
    const visible = this.model.visible.get(entry.path);
    if (visible === undefined || visible.state === 'metadata' || !sameVersion(visible.entry, entry)) return false;
    return visible.state === 'complete' || this.pagesOf(entry, range).every((page) => visible.pages.has(page));
  }

  begin(entry: ManifestEntry, load: LoadId, reuse: 'any' | 'load'): ModelLoading | 'complete' {
    const begun = this.model.begin(entry, load, reuse);
    return begun === 'complete' ? begun : this.model.loading.get(entry.path)!;
  }

  /** Pages that have been fetched for a file that was begun. */
  land(run: RunId, file: ModelLoading, first: number, count: number): void {
    const { entry } = file;
    if (this.model.loading.get(entry.path) === file) {
      this.model.land(run, entry, first, count);
      return;
    }
    const pages = Array.from({ length: count }, (_, at) => first + at);
    this.model.ledger(run).discardedBytes.replaced += bytesOfPages(entry, pages);
  }

  abandon(path: string, reason: DiscardReason): void {
    if (this.model.loading.has(path)) this.model.abandon(path, reason);
  }

  /** All that is at and below a path, half loaded or not. */
  free(path: string, dryRun: boolean): { files: number; bytes: number } {
    const folder = path.endsWith('/') ? path : `${path}/`;
    const all = new Set([...this.model.visible.keys(), ...this.model.loading.keys()]);
    const freed = { files: 0, bytes: 0 };
    for (const one of all) {
      if (one !== path && !one.startsWith(folder)) continue;
      freed.files += 1;
      const visible = this.model.visible.get(one);
      const loading = this.model.loading.get(one);
      if (visible?.state === 'complete') freed.bytes += visible.entry.sizeBytes;
      else if (visible?.state === 'partial') freed.bytes += bytesOfPages(visible.entry, visible.pages.keys());
      else if (loading !== undefined) freed.bytes += bytesOfPages(loading.entry, loading.pages.keys());
      if (dryRun) continue;
      this.model.withdraw(one);
      if (this.model.loading.has(one)) this.model.drop(one, 'stopped');
    }
    return freed;
  }

  spoil(path: string): void {
    const file = this.model.visible.get(path);
    if (file !== undefined) this.#bad.add(file);
  }

  isBad(path: string): boolean {
    const file = this.model.visible.get(path);
    return file !== undefined && this.#bad.has(file);
  }

  get usedBytes(): number {
    return this.model.usedBytes();
  }
}

export function roomOf(bytes: number): number {
  return alignUp(bytes);
}
