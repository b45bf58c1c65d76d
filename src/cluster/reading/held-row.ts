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
  attributes: string,
  ranges: number[] | null,
];

/** From what a store says. */
export function heldIn(store: Pick<Store, 'ranges'>, record: FileRecord): HeldFile {
  const { path, state, sizeBytes, etag, lastModifiedMs, versionId } = record;
  const { cachedAtMs, loadId, segmentBytes, attributes } = record;
  const held = { path, state, sizeBytes, etag, lastModifiedMs, cachedAtMs, loadId, segmentBytes, attributes };
  return { ...held, ranges: store.ranges(record), ...(versionId === undefined ? {} : { versionId }) };
}

export function heldRow(file: HeldFile): HeldRow {
  const { path, state, sizeBytes, etag, lastModifiedMs, versionId = null } = file;
  const { cachedAtMs, loadId, segmentBytes, attributes } = file;
  const ranges = state === 'complete' ? null : flat(file.ranges);
  const version = [path, state, sizeBytes, etag, lastModifiedMs, versionId] as const;
  return [...version, cachedAtMs, loadId, segmentBytes, attributes, ranges];
}

/** Throws TypeError for what is no row. */
export function heldFile(row: HeldRow): HeldFile {
  const [path, state, sizeBytes, etag, lastModifiedMs, versionId, ...rest] = row;
  const [cachedAtMs, loadId, segmentBytes, attributes, ranges] = rest;
  const numbers = [sizeBytes, lastModifiedMs, cachedAtMs, segmentBytes];
  if (![path, etag, attributes].every((one) => typeof one === 'string') || !numbers.every(Number.isFinite))
    throw new TypeError('a row does not say path, ETag and sizes');
  const whole = sizeBytes === 0 ? [] : [{ offset: 0, length: sizeBytes }];
  return {
    ...{ path: path as UfsPath, state, sizeBytes, etag, lastModifiedMs, cachedAtMs, loadId: loadId as LoadId },
    ...{ segmentBytes, attributes },
    ranges: ranges === null ? whole : unflat(ranges),
    ...(versionId === null ? {} : { versionId }),
  };
}
