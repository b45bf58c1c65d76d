/**
 * What of a version is durable here, and who has fetched it: of what is visible, and of what is being loaded beside it. Only reads
 * the index and the tables in memory; what a commit that runs will remove is not there any more.
 */
import { bytesOf, joined, missingOf, rangesWithout } from '../core/ranges.ts';
import type { ByteRange, ManifestEntry, RunId } from '../core/types.ts';
import { sameVersion } from '../core/types.ts';
import { alignDown, pageBytes } from '../core/units.ts';
import { visibleRecord } from './catalog.ts';
import { mayReuse } from './entries.ts';
import type { IndexDb } from './index-db.ts';
import { bytesBy, missingRanges, segmentBytes } from './layout.ts';
import { LoadingFile } from './loading-file.ts';
import type { LoadingFiles } from './loading-files.ts';
import type { Readers } from './readers.ts';
import type { BeginOrder, CachedRange, Fetched, FileRecord, RunOfLoad, WantedVersion } from './types.ts';

export const nothingFetched: Fetched = { own: false, ownBytes: 0 };

export class Durable {
  readonly #index: IndexDb;
  readonly #loading: LoadingFiles;
  readonly #readers: Readers;

  constructor({ index, loading, readers }: { index: IndexDb; loading: LoadingFiles; readers: Readers }) {
    this.#index = index;
    this.#loading = loading;
    this.#readers = readers;
  }

  /** What of it a load would fetch. */
  missing(order: Omit<BeginOrder, 'run' | 'segmentBytes'>): readonly ByteRange[] {
    const { entry, partBytes, range = { offset: 0, length: entry.sizeBytes } } = order;
    const visible = visibleRecord(this.#index, entry.path);
    const stays = visible !== undefined && !this.#readers.isRetired(visible.fileId);
    const reusable = stays && mayReuse(visible, visible.loadId, order);
    if (reusable && visible.state === 'complete') return [];
    const stored = ({ fileId }: FileRecord): ByteRange[] =>
      missingRanges(range, partBytes, (segment) => this.#readers.block(fileId, segment)?.present);
    const current = this.#loading.peek(entry.path);
    if (current instanceof LoadingFile) {
      if (mayReuse(current.entry, current.load, order)) return current.missing(range, partBytes);
    } else if (current !== undefined && mayReuse(current, current.loadId, order)) return stored(current);
    if (reusable && visible.state === 'partial' && !this.#loading.inMemory(visible.fileId)) return stored(visible);
    return missingRanges(range, partBytes, () => undefined);
  }

  cachedRange({ run, load }: RunOfLoad, entry: ManifestEntry, range: ByteRange): CachedRange {
    const found = [visibleRecord(this.#index, entry.path), this.#loading.recordAt(entry.path)]
      .filter((record) => record !== undefined && record.state !== 'metadata' && sameVersion(record, entry))
      .map((record) => ({
        bytes: this.bytes(record!, range),
        ours: record!.loadId === load,
        visible: record!.state !== 'loading',
        record: record!,
        ...this.fetched(run, record!, range),
      }));
    // What this load has fetched so far counts, even while an earlier version of equal bytes is the visible one.
    return found.find(({ ours }) => ours) ?? found[0] ?? { bytes: 0, ours: false, visible: false, ...nothingFetched };
  }

  /** What this run has fetched of a range. */
  fetched(run: RunId, record: FileRecord, range: ByteRange): Fetched {
    const { path, fileId, sizeBytes, state, loadId } = record;
    // What is being added to a version that is visible has more runs, and is in the same blocks.
    const added = state === 'partial' ? this.#loading.recordAt(path) : undefined;
    const { runs = new Map([[loadId as string as RunId, 0]]) } = added?.fileId === fileId ? added : record;
    if (state === 'metadata' || !runs.has(run)) return nothingFetched;
    if (sizeBytes === 0) return { own: true, ownBytes: 0 };
    if (runs.size === 1) {
      const ownBytes = this.bytes(record, range);
      return { own: ownBytes > 0, ownBytes };
    }
    const by = [...runs.keys()].indexOf(run) + 1;
    const ownBytes = bytesBy(by, sizeBytes, range, (segment) => this.#readers.block(fileId, segment));
    return { own: ownBytes > 0, ownBytes };
  }

  /** What of a range the index has. */
  bytes(record: FileRecord, { offset, length }: ByteRange): number {
    if (record.state === 'complete') return length;
    const wanted = { offset, length: Math.min(length, record.sizeBytes - offset) };
    return wanted.length - bytesOf(this.#lacking(record, wanted));
  }

  /** What of a range, from the page on in which it begins, the index does not have. */
  #lacking({ fileId, state }: FileRecord, { offset, length }: ByteRange): ByteRange[] {
    if (state === 'complete') return [];
    const first = alignDown(offset, pageBytes);
    const wanted = { offset: first, length: offset + length - first };
    return missingRanges(wanted, segmentBytes, (segment) => this.#readers.block(fileId, segment)?.present);
  }

  /** All of it that is there, from page to page. */
  ranges({ fileId, sizeBytes, state }: FileRecord): readonly ByteRange[] {
    const whole = { offset: 0, length: sizeBytes };
    if (state === 'metadata' || sizeBytes === 0) return [];
    if (state === 'complete') return [whole];
    const missing = missingRanges(whole, segmentBytes, (segment) => this.#readers.block(fileId, segment)?.present);
    return missingOf(whole, joined(missing));
  }

  /** Of a version, by whichever record has more of it. */
  rangesWithin(version: WantedVersion, wanted: ByteRange): readonly ByteRange[] {
    let durable: readonly ByteRange[] = [];
    for (const record of this.recordsOf(version, visibleRecord(this.#index, version.path))) {
      const { offset } = wanted;
      const range = { offset, length: Math.min(wanted.length, record.sizeBytes - offset) };
      if (range.length <= 0) continue;
      const found = rangesWithout([range], this.#lacking(record, range));
      if (bytesOf(found) > bytesOf(durable)) durable = found;
    }
    return durable;
  }

  /** What has bytes of a version, the visible one first. */
  recordsOf({ path, etag, versionId }: WantedVersion, visible: FileRecord | undefined): FileRecord[] {
    return [visible, this.#loading.recordAt(path)].filter((record): record is FileRecord => {
      if (record === undefined || record.state === 'metadata') return false;
      const { sizeBytes, lastModifiedMs } = record;
      return sameVersion(record, {
        etag,
        sizeBytes,
        lastModifiedMs,
        ...(versionId === undefined ? {} : { versionId }),
      });
    });
  }
}
