/** Segments: the cuts of a file that are placed, loaded and verified by themselves. Pure. */
import type { ManifestEntry } from './types.ts';

/** One segment of one version of a file. A file of at most the segment size has one, which is the whole of it. */
export interface Segment {
  readonly file: ManifestEntry;
  /** Counts from 0; the ring places by path and index. */
  readonly index: number;
  readonly offset: number;
  readonly length: number;
}

export function segmentCount(sizeBytes: number, segmentBytes: number): number {
  return Math.max(1, Math.ceil(sizeBytes / segmentBytes));
}

export function segmentOf(file: ManifestEntry, index: number, segmentBytes: number): Segment {
  const offset = index * segmentBytes;
  return { file, index, offset, length: Math.min(segmentBytes, file.sizeBytes - offset) };
}

/** In order; an empty file has one segment of no bytes. */
export function* segmentsOf(file: ManifestEntry, segmentBytes: number): Generator<Segment> {
  const count = segmentCount(file.sizeBytes, segmentBytes);
  for (let index = 0; index < count; index += 1) yield segmentOf(file, index, segmentBytes);
}

export function isWhole({ file, length }: Segment): boolean {
  return length === file.sizeBytes;
}
