/** What a worker of a world has on its disk: the model that the real store is tested against, and who is at work on it. */
import type { ByteRange, DiscardReason, LoadId, ManifestEntry, RunId } from '../../src/core/types.ts';
import { sameVersion } from '../../src/core/types.ts';
import { alignUp, pageBytes } from '../../src/core/units.ts';
import {
  bytesOfPages,
  isShown,
  type ModelFile,
  type ModelLoading,
  pageCountOf,
  StoreModel,
} from '../support/store-model.ts';

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

  cachedRange(
    load: LoadId,
    entry: ManifestEntry,
    range: ByteRange,
  ): { bytes: number; ours: boolean; visible: boolean } {
    const wanted = this.pagesOf(entry, range);
    const visible = this.model.visible.get(entry.path);
    const loading = this.model.loading.get(entry.path);
    const found: { bytes: number; ours: boolean; visible: boolean }[] = [];
    if (visible !== undefined && visible.state !== 'metadata' && sameVersion(visible.entry, entry)) {
      const pages = loading?.reopened === true ? loading.pages : visible.pages;
      const here = wanted.filter((page) => visible.state === 'complete' || pages.has(page));
      found.push({ bytes: bytesOfPages(entry, here), ours: visible.load === load, visible: true });
    }
    if (loading !== undefined && !isShown(loading) && sameVersion(loading.entry, entry)) {
      const here = wanted.filter((page) => loading.pages.has(page));
      found.push({ bytes: bytesOfPages(entry, here), ours: loading.load === load, visible: false });
    }
    return found.find(({ ours }) => ours) ?? found[0] ?? { bytes: 0, ours: false, visible: false };
  }

  cachedWhole(load: LoadId, entry: ManifestEntry): { complete: boolean; bytes: number; ours: boolean } {
    const visible = this.model.visible.get(entry.path);
    const loading = this.model.loading.get(entry.path);
    const candidates: { load: LoadId; complete: boolean; bytes: number; metadata: boolean }[] = [];
    if (visible !== undefined && sameVersion(visible.entry, entry)) {
      const bytes = visible.state === 'complete' ? entry.sizeBytes : bytesOfPages(entry, visible.pages);
      const { state } = visible;
      candidates.push({ load: visible.load, complete: state === 'complete', bytes, metadata: state === 'metadata' });
    }
    if (loading !== undefined && !isShown(loading) && sameVersion(loading.entry, entry))
      candidates.push({
        load: loading.load,
        complete: false,
        bytes: bytesOfPages(entry, loading.pages.keys()),
        metadata: false,
      });
    const best = candidates.find((one) => one.load === load && !one.metadata) ?? candidates[0];
    if (best === undefined) return { complete: false, bytes: 0, ours: false };
    return { complete: best.complete, bytes: best.bytes, ours: best.load === load };
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
    const { bytes, ours } = this.cachedRange(load, entry, range);
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
      else if (visible?.state === 'partial') freed.bytes += bytesOfPages(visible.entry, visible.pages);
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
