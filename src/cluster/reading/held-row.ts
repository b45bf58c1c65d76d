/** What a worker says of one version of a file, as it crosses the wire: an array, in the order drawn here. */
import type { HeldFile } from '../../core/holdings.ts';
import { flat, unflat } from '../../core/ranges.ts';
import type { LoadId, UfsPath } from '../../core/types.ts';
import type { FileRecord, Store } from '../../store/types.ts';

/** `ranges` is null where every byte is there. */
export type HeldRow = [
  path: string,
  state: HeldFile['state'],
  sizeBytes: number,
  etag: string,
  lastModifiedMs: number,
  versionId: string | null,
  cachedAtMs: number,
  loadId: string,
  segmentBytes: number,
  ranges: number[] | null,
];

/** From what a store says. */
export function heldIn(store: Pick<Store, 'ranges'>, record: FileRecord): HeldFile {
  const { path, state, sizeBytes, etag, lastModifiedMs, versionId, cachedAtMs, loadId, segmentBytes } = record;
  const held = { path, state, sizeBytes, etag, lastModifiedMs, cachedAtMs, loadId, segmentBytes };
  return { ...held, ranges: store.ranges(record), ...(versionId === undefined ? {} : { versionId }) };
}

export function heldRow(file: HeldFile): HeldRow {
  const { path, state, sizeBytes, etag, lastModifiedMs, versionId = null, cachedAtMs, loadId, segmentBytes } = file;
  const ranges = state === 'complete' ? null : flat(file.ranges);
  return [path, state, sizeBytes, etag, lastModifiedMs, versionId, cachedAtMs, loadId, segmentBytes, ranges];
}

/** Throws TypeError for what is no row. */
export function heldFile(row: HeldRow): HeldFile {
  const [path, state, sizeBytes, etag, lastModifiedMs, versionId, cachedAtMs, loadId, segmentBytes, ranges] = row;
  const numbers = [sizeBytes, lastModifiedMs, cachedAtMs, segmentBytes];
  if (typeof path !== 'string' || typeof etag !== 'string' || !numbers.every(Number.isFinite))
    throw new TypeError('a row does not say path, ETag and sizes');
  const whole = sizeBytes === 0 ? [] : [{ offset: 0, length: sizeBytes }];
  return {
    ...{ path: path as UfsPath, state, sizeBytes, etag, lastModifiedMs, cachedAtMs, loadId: loadId as LoadId },
    segmentBytes,
    ranges: ranges === null ? whole : unflat(ranges),
    ...(versionId === null ? {} : { versionId }),
  };
}
