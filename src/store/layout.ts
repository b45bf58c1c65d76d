/** Arithmetic of files, segments, pages and extents. Pure. */
import type { ByteRange, Extent } from '../core/types.ts';
import { alignBytes, alignUp, defaultSegmentBytes, pageBytes } from '../core/units.ts';
import type { Block, BlockExtent } from './records.ts';
import { hasPage } from './records.ts';

export const segmentBytes = defaultSegmentBytes;
export const pagesPerSegment = segmentBytes / pageBytes;

export function pagesOf(bytes: number): number {
  return Math.ceil(bytes / pageBytes);
}

/** Pages of segment `segment` of a file of this size. */
export function pagesInSegment(sizeBytes: number, segment: number): number {
  return Math.min(pagesPerSegment, pagesOf(sizeBytes) - segment * pagesPerSegment);
}

/** Bytes of page `page` of a file of this size. */
export function pageLength(sizeBytes: number, page: number): number {
  return Math.min(pageBytes, sizeBytes - page * pageBytes);
}

export function totalLength(extents: readonly Extent[]): number {
  let sum = 0;
  for (const extent of extents) sum += extent.length;
  return sum;
}

/** Adds a chain of extents that begins at `blockGrain`, keeping the block's list sorted and neighbours merged. */
export function insertExtents(block: Block, blockGrain: number, extents: readonly Extent[]): void {
  let grain = blockGrain;
  const added: BlockExtent[] = [];
  for (const extent of extents) {
    const grains = extent.length / alignBytes;
    added.push({ blockGrain: grain, grains, store: extent.store, fileGrain: extent.offset / alignBytes });
    grain += grains;
  }
  const all = [...block.extents, ...added].sort((a, b) => a.blockGrain - b.blockGrain);
  const merged: BlockExtent[] = [];
  for (const extent of all) {
    const last = merged.at(-1);
    if (
      last &&
      last.store === extent.store &&
      last.blockGrain + last.grains === extent.blockGrain &&
      last.fileGrain + last.grains === extent.fileGrain
    ) {
      merged[merged.length - 1] = { ...last, grains: last.grains + extent.grains };
    } else merged.push(extent);
  }
  block.extents = merged;
}

/** All extents of a block, as the allocator knows them. */
export function extentsOf(block: Block): Extent[] {
  return block.extents.map(({ store, fileGrain, grains }) => ({
    store,
    offset: fileGrain * alignBytes,
    length: grains * alignBytes,
  }));
}

/** Where page `page` of the block, of `lengthBytes`, lies. Fewer bytes than that when the record is damaged. */
export function pageExtents(block: Block, page: number, lengthBytes: number): Extent[] {
  const from = (page * pageBytes) / alignBytes;
  const end = from + alignUp(lengthBytes) / alignBytes;
  const found: Extent[] = [];
  for (const extent of block.extents) {
    const start = Math.max(from, extent.blockGrain);
    const stop = Math.min(end, extent.blockGrain + extent.grains);
    if (start >= stop) continue;
    const fileGrain = extent.fileGrain + (start - extent.blockGrain);
    found.push({ store: extent.store, offset: fileGrain * alignBytes, length: (stop - start) * alignBytes });
  }
  return found;
}

/**
 * What is missing of a file, in order: runs of pages that are not durable, cut at segments unless parts end there anyway.
 * @param durable bitmap of a segment's durable pages; undefined: none.
 */
export function missingRanges(
  sizeBytes: number,
  partBytes: number,
  durable: (segment: number) => Uint32Array | 'all' | undefined,
): ByteRange[] {
  const missing: ByteRange[] = [];
  const mayJoin = segmentBytes % partBytes === 0;
  const add = (offset: number, end: number): void => {
    const last = missing.at(-1);
    if (mayJoin && last && last.offset + last.length === offset) {
      missing[missing.length - 1] = { offset: last.offset, length: end - last.offset };
    } else missing.push({ offset, length: end - offset });
  };
  for (let offset = 0, segment = 0; offset < sizeBytes; offset += segmentBytes, segment++) {
    const end = Math.min(offset + segmentBytes, sizeBytes);
    const present = durable(segment);
    if (present === undefined) add(offset, end);
    else if (present !== 'all') missingPages(offset, end, present, add);
  }
  return missing;
}

function missingPages(
  offset: number,
  end: number,
  present: Uint32Array,
  add: (from: number, to: number) => void,
): void {
  let from = -1;
  for (let at = offset; at < end; at += pageBytes) {
    const there = hasPage(present, (at - offset) / pageBytes);
    if (there && from >= 0) add(from, at);
    if (there) from = -1;
    else if (from < 0) from = at;
  }
  if (from >= 0) add(from, end);
}
