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
  const last = block.extents.at(-1);
  const inOrder = last === undefined || last.blockGrain + last.grains <= blockGrain;
  let grain = blockGrain;
  for (const { store, offset, length } of extents) {
    const added = { blockGrain: grain, grains: length / alignBytes, store, fileGrain: offset / alignBytes };
    grain += added.grains;
    if (inOrder) appendExtent(block.extents, added);
    else block.extents.push(added);
  }
  if (inOrder) return;
  const merged: BlockExtent[] = [];
  for (const extent of block.extents.sort((a, b) => a.blockGrain - b.blockGrain)) appendExtent(merged, extent);
  block.extents = merged;
}

function appendExtent(extents: BlockExtent[], next: BlockExtent): void {
  const last = extents.at(-1);
  if (
    last &&
    last.store === next.store &&
    last.blockGrain + last.grains === next.blockGrain &&
    last.fileGrain + last.grains === next.fileGrain
  ) {
    extents[extents.length - 1] = { ...last, grains: last.grains + next.grains };
  } else extents.push(next);
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
 * What is missing of a range of a file, in order: runs of pages that are not durable, each within one part and one segment.
 * @param range begins at a page, and ends at one or at the end of the file.
 * @param durable bitmap of a segment's durable pages; undefined: none.
 */
export function missingRanges(
  range: ByteRange,
  partBytes: number,
  durable: (segment: number) => Uint32Array | 'all' | undefined,
): ByteRange[] {
  const missing: ByteRange[] = [];
  const rangeEnd = range.offset + range.length;
  for (let offset = range.offset; offset < rangeEnd; ) {
    const segment = Math.floor(offset / segmentBytes);
    const partEnd = (Math.floor(offset / partBytes) + 1) * partBytes;
    const end = Math.min(partEnd, (segment + 1) * segmentBytes, rangeEnd);
    const present = durable(segment);
    if (present === undefined) missing.push({ offset, length: end - offset });
    else if (present !== 'all') missingPages(offset, end, segment, present, missing);
    offset = end;
  }
  return missing;
}

/** What of a range the run of this number has fetched. @param range as of `missingRanges`. */
export function bytesBy(
  by: number,
  sizeBytes: number,
  range: ByteRange,
  blockOf: (segment: number) => Block | undefined,
): number {
  let bytes = 0;
  let at = Math.floor(range.offset / pageBytes);
  const end = pagesOf(Math.min(range.offset + range.length, sizeBytes));
  while (at < end) {
    const segment = Math.floor(at / pagesPerSegment);
    const block = blockOf(segment);
    for (const stop = Math.min(end, (segment + 1) * pagesPerSegment); at < stop; at++)
      if (block?.by[at - segment * pagesPerSegment] === by) bytes += pageLength(sizeBytes, at);
  }
  return bytes;
}

function missingPages(offset: number, end: number, segment: number, present: Uint32Array, missing: ByteRange[]): void {
  let from = -1;
  for (let at = offset; at < end; at += pageBytes) {
    if (hasPage(present, at / pageBytes - segment * pagesPerSegment)) {
      if (from >= 0) missing.push({ offset: from, length: at - from });
      from = -1;
    } else if (from < 0) from = at;
  }
  if (from >= 0) missing.push({ offset: from, length: end - from });
}
