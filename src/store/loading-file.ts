/**
 * A file that is being loaded: which of its pages have landed, and which of those are durable.
 *
 * Blocks are kept in memory while they are incomplete; a complete one is only in the index.
 */
import { strict as assert } from 'node:assert';
import { sliceExtents } from '../core/part-plan.ts';
import type { ByteRange, DiscardReason, Extent, FileId, LoadId, ManifestEntry, RunId } from '../core/types.ts';
import { alignBytes, alignUp, pageBytes } from '../core/units.ts';
import {
  insertExtents,
  missingRanges,
  pageLength,
  pagesInSegment,
  pagesOf,
  pagesPerSegment,
  segmentBytes,
  totalLength,
} from './layout.ts';
import { type Block, emptyBlock, hasPage, isFull, setPage } from './records.ts';
import type { FileRecord, FileState, LandedPart } from './types.ts';

/** `landed`: every byte is there, and the commit that makes it a complete file runs. */
export type LoadingPhase = 'loading' | 'landed' | 'dropped';

/** A block has a byte for the run of each page. */
const mostSlots = 255;

const noRuns: Map<RunId, number> = new Map();
const noSegments: Set<number> = new Set();
const noBitmaps: Map<number, Uint32Array> = new Map();

export class LoadingFile {
  readonly fileId: FileId;
  readonly entry: ManifestEntry;
  readonly load: LoadId;
  /** The run that began it last: its reservation gets what comes back. */
  run: RunId;
  /** Runs that have begun it and have not ended. */
  readonly users = new Set<RunId>();
  phase: LoadingPhase = 'loading';
  /** Of the load that began it last. */
  segmentBytes: number;
  /** Why it was dropped. */
  reason: DiscardReason | undefined;
  /** Whether the index has a loading record of it. */
  indexed = false;
  /** A version that is visible in part, or gets so by the commit that runs: what is landed on it belongs to that. */
  reopened: boolean;
  /** The same, durably. */
  visible: boolean;
  /** What of it is visible, or gets so by the commit that runs. */
  shownBytes: number;
  /** Landed bytes by the run that fetched them; of a small file only what is not by the run of the load's name. */
  runs: Map<RunId, number>;
  readonly blocks = new Map<number, Block>();
  /** Segments of which the index has a block, or gets one by the commit that runs. */
  readonly stored: Set<number>;
  /** Segments that are complete and durable; their blocks are in the index. */
  readonly settled: Set<number>;
  readonly #durable: Map<number, Uint32Array>;
  landedBytes = 0;
  durableBytes = 0;
  attributes: string;

  constructor(spec: {
    fileId: FileId;
    entry: ManifestEntry;
    load: LoadId;
    run: RunId;
    segmentBytes: number;
    runs?: Map<RunId, number>;
    /** Of the version that is visible in part, where it goes on with one. */
    shownBytes?: number;
    attributes?: string;
  }) {
    this.fileId = spec.fileId;
    this.entry = spec.entry;
    this.load = spec.load;
    this.run = spec.run;
    this.segmentBytes = spec.segmentBytes;
    this.attributes = spec.attributes ?? '';
    this.shownBytes = spec.shownBytes ?? 0;
    this.reopened = this.shownBytes > 0;
    this.visible = this.reopened;
    // A small file is complete when its only part has landed: what is kept of larger ones never has an entry.
    this.runs = spec.runs ?? (this.small ? noRuns : new Map());
    this.stored = this.small ? noSegments : new Set();
    this.settled = this.small ? noSegments : new Set();
    this.#durable = this.small ? noBitmaps : new Map();
  }

  /** A file of at most a page has its block in its file record, and lands in one piece. */
  get small(): boolean {
    return this.entry.sizeBytes <= pageBytes;
  }

  get whole(): boolean {
    return this.landedBytes === this.entry.sizeBytes;
  }

  /** All that has landed is visible: to others it is no loading file. */
  get isShown(): boolean {
    return this.visible && !this.indexed;
  }

  /** Takes a durable block from the index, when a file is resumed. */
  restore(segment: number, block: Block): void {
    let bytes = 0;
    for (let page = 0; page < block.pages; page++) {
      if (hasPage(block.present, page)) bytes += pageLength(this.entry.sizeBytes, segment * pagesPerSegment + page);
    }
    this.landedBytes += bytes;
    this.durableBytes += bytes;
    this.stored.add(segment);
    if (isFull(block)) this.settled.add(segment);
    else {
      this.blocks.set(segment, block);
      this.#durable.set(segment, block.present.slice());
    }
  }

  missing(range: ByteRange, partBytes: number): ByteRange[] {
    return missingRanges(range, partBytes, (segment) =>
      this.settled.has(segment) ? 'all' : this.#durable.get(segment),
    );
  }

  /**
   * Books a part into its block.
   * @returns what it added, and the extents of pages that had landed before, which nobody needs.
   */
  add(run: RunId, part: LandedPart): { segment: number; addedBytes: number; unused: readonly Extent[] } {
    if (this.attributes === '') this.attributes = part.attributes ?? '';
    const segment = Math.floor(part.range.offset / segmentBytes);
    if (this.settled.has(segment)) return { segment, addedBytes: 0, unused: part.extents };
    let block = this.blocks.get(segment);
    if (!block) {
      block = emptyBlock(pagesInSegment(this.entry.sizeBytes, segment));
      this.blocks.set(segment, block);
    }
    const first = part.range.offset / pageBytes - segment * pagesPerSegment;
    const count = part.pageChecksums.length;
    let known = 0;
    for (let page = first; page < first + count; page++) if (hasPage(block.present, page)) known++;
    if (known === count) return { segment, addedBytes: 0, unused: part.extents };
    const by = this.#slotOf(run);
    const result =
      known === 0 ? { addedBytes: part.range.length, unused: [] } : this.#addMissing(block, first, part, by);
    this.#credit(run, result.addedBytes);
    if (known === 0) {
      insertExtents(block, (first * pageBytes) / alignBytes, part.extents);
      for (let i = 0; i < count; i++) {
        setPage(block.present, first + i);
        block.checksums[first + i] = part.pageChecksums[i]!;
        block.by[first + i] = by;
      }
    }
    this.landedBytes += result.addedBytes;
    return { segment, ...result };
  }

  /** A file without bytes was made by this run. */
  madeBy(run: RunId): void {
    this.#credit(run, 0);
  }

  /** What was landed up to here in this segment is durable now. */
  settle(segment: number, present: Uint32Array): void {
    const block = this.blocks.get(segment);
    if (!block) return;
    if (isFull({ pages: block.pages, present })) {
      this.settled.add(segment);
      this.blocks.delete(segment);
      this.#durable.delete(segment);
    } else this.#durable.set(segment, present);
  }

  /**
   * As it is now, or as the commit that is being made leaves it. Spelt out: this runs for every object that is loaded, and with a
   * spread in it, it takes four times as long, as does whoever reads what it makes.
   */
  record(state: FileState = 'loading', cachedBytes = this.durableBytes, cachedAtMs = 0): FileRecord {
    const { versionId } = this.entry;
    const record: FileRecord = {
      path: this.entry.path,
      etag: this.entry.etag,
      sizeBytes: this.entry.sizeBytes,
      lastModifiedMs: this.entry.lastModifiedMs,
      fileId: this.fileId,
      state,
      loadId: this.load,
      cachedBytes,
      cachedAtMs,
      attributes: this.attributes,
      segmentBytes: this.segmentBytes,
    };
    if (versionId === undefined && this.runs.size === 0) return record;
    const version = versionId === undefined ? {} : { versionId };
    return { ...record, ...version, ...(this.runs.size === 0 ? {} : { runs: this.runs }) };
  }

  /** By what number blocks name the run, which is one of the file's from now on; 0: there are too many. */
  #slotOf(run: RunId): number {
    if (this.small) return 1;
    if (!this.runs.has(run)) this.runs.set(run, 0);
    const slot = [...this.runs.keys()].indexOf(run) + 1;
    return slot <= mostSlots ? slot : 0;
  }

  #credit(run: RunId, bytes: number): void {
    if (!this.small) this.runs.set(run, (this.runs.get(run) ?? 0) + bytes);
    else if (!isNamesake(run, this.load)) this.runs = new Map([[run, bytes]]);
  }

  #addMissing(block: Block, first: number, part: LandedPart, by: number): { addedBytes: number; unused: Extent[] } {
    let addedBytes = 0;
    const unused: Extent[] = [];
    for (let i = 0; i < part.pageChecksums.length; i++) {
      const length = Math.min(pageBytes, part.range.length - i * pageBytes);
      const extents = sliceExtents(part.extents, i * pageBytes, alignUp(length));
      if (hasPage(block.present, first + i)) {
        unused.push(...extents);
        continue;
      }
      insertExtents(block, ((first + i) * pageBytes) / alignBytes, extents);
      setPage(block.present, first + i);
      block.checksums[first + i] = part.pageChecksums[i]!;
      block.by[first + i] = by;
      addedBytes += length;
    }
    return { addedBytes, unused };
  }
}

/** The run by the name of the load goes without saying. */
function isNamesake(run: string, load: string): boolean {
  return run === load;
}

/** A part that breaks the rules of LandedPart is a defect of the caller. */
export function checkPart(part: LandedPart, sizeBytes: number): void {
  const { offset, length } = part.range;
  const end = offset + length;
  assert(offset % pageBytes === 0, 'a part begins at a page');
  assert(length > 0 && end <= sizeBytes, 'a part lies in its file');
  assert(length % pageBytes === 0 || end === sizeBytes, 'a part ends at a page, or at the end of the file');
  assert(Math.floor(offset / segmentBytes) === Math.floor((end - 1) / segmentBytes), 'a part lies in one segment');
  assert(totalLength(part.extents) === alignUp(length), 'the extents of a part have its length');
  assert(part.pageChecksums.length === pagesOf(length), 'a part has a checksum for each page');
}
