/**
 * Entries, segments and results as they cross: a column for each field rather than an object for each row.
 * What is the same in all rows of a column is not sent.
 */
import { commonStart } from '../../core/common-start.ts';
import { isWhole, type Segment } from '../../core/segments.ts';
import type { ManifestEntry, ObjectVersion, UfsPath } from '../../core/types.ts';
import type { MissingParts } from '../../ingest/types.ts';
import { msgpack } from '../msgpack.ts';
import type { CachedSegment, SegmentOutcome } from '../worker-link.ts';
import { reportFrom, shortened } from './protocol.ts';

export type EntryColumns = [
  /** Common start of all paths. */
  start: string,
  ends: string[],
  etags: string[],
  sizes: number[],
  modified: number[],
  versionIds: (string | null)[] | null,
];

/** Index, offset and length of segments; nil: each is the whole of its file. */
export type Cuts = [indexes: number[], offsets: number[], lengths: number[]];

type Version = [etag: string, sizeBytes: number, lastModifiedMs: number, versionId: string | null];

export type OutcomeColumns = [
  /** nil: all are loaded. */
  results: number[] | null,
  /** nil: of each what was asked for. */
  loadedBytes: number[] | null,
  /** nil: none. */
  skippedBytes: number[] | null,
  /** 0 or nil: none; 1: that of the entry that was asked for. */
  versions: (0 | 1 | Version)[] | 1 | null,
  errors: [at: number, code: string, message: string][] | null,
];

export type CachedColumns = [flags: number[], bytes: number[], ownBytes: number[] | null];

export type MissingColumns = [bytes: number[], parts: number[], heads: number[]];

const results: readonly SegmentOutcome['result'][] = ['loaded', 'skipped', 'failed', 'stopped', 'changed', 'later'];

export function packEntries(entries: readonly ManifestEntry[]): EntryColumns {
  const count = entries.length;
  const start = commonStart(entries);
  const columns: EntryColumns = [
    start,
    new Array<string>(count),
    new Array<string>(count),
    new Array<number>(count),
    new Array<number>(count),
    entries.some(({ versionId }) => versionId !== undefined) ? entries.map(({ versionId }) => versionId ?? null) : null,
  ];
  const [, ends, etags, sizes, modified] = columns;
  for (let at = 0; at < count; at += 1) {
    const { path, etag, sizeBytes, lastModifiedMs } = entries[at]!;
    ends[at] = path.slice(start.length);
    etags[at] = etag;
    sizes[at] = sizeBytes;
    modified[at] = lastModifiedMs;
  }
  return columns;
}

const packed = new WeakMap<readonly ManifestEntry[], Buffer>();

/** The columns as bytes, made once for each array: all workers are asked about the same thousands of files. */
export function packedEntries(entries: readonly ManifestEntry[]): Buffer {
  const bytes = packed.get(entries) ?? msgpack.pack(packEntries(entries));
  packed.set(entries, bytes);
  return bytes;
}

/** Throws for bytes that are no columns, or whose columns do not fit together. */
export function unpackPackedEntries(bytes: Uint8Array): ManifestEntry[] {
  return unpackEntries(msgpack.unpack(bytes) as EntryColumns);
}

/** Throws for columns that do not fit together. */
export function unpackEntries([start, ends, etags, sizes, modified, versionIds]: EntryColumns): ManifestEntry[] {
  const count = ends.length;
  checkColumns(count, etags, sizes, modified, versionIds);
  const entries = new Array<ManifestEntry>(count);
  for (let at = 0; at < count; at += 1) {
    const path = (start + ends[at]!) as UfsPath;
    const versionId = versionIds?.[at] ?? undefined;
    const etag = etags[at]!;
    const sizeBytes = sizes[at]!;
    const lastModifiedMs = modified[at]!;
    entries[at] =
      versionId === undefined
        ? { path, etag, sizeBytes, lastModifiedMs }
        : { path, etag, sizeBytes, lastModifiedMs, versionId };
  }
  return entries;
}

export function packCuts(segments: readonly Segment[]): Cuts | null {
  if (segments.every((segment) => segment.index === 0 && isWhole(segment))) return null;
  return [
    segments.map(({ index }) => index),
    segments.map(({ offset }) => offset),
    segments.map(({ length }) => length),
  ];
}

/** Throws for columns that do not fit together. `fileOf`: whose segment the one at this place is. */
export function unpackCuts(count: number, cuts: Cuts | null, fileOf: (at: number) => ManifestEntry): Segment[] {
  if (cuts !== null) checkColumns(count, ...cuts);
  const segments = new Array<Segment>(count);
  for (let at = 0; at < count; at += 1) {
    const file = fileOf(at);
    segments[at] =
      cuts === null
        ? { file, index: 0, offset: 0, length: file.sizeBytes }
        : { file, index: cuts[0][at]!, offset: cuts[1][at]!, length: cuts[2][at]! };
  }
  return segments;
}

/** `wanted`: what each load was asked for. */
export function packOutcomes(outcomes: readonly SegmentOutcome[], wanted: readonly Segment[]): OutcomeColumns {
  const errors = outcomes.flatMap(({ error }, at): [number, string, string][] => {
    if (error === undefined) return [];
    const { code, message } = shortened(error);
    return [[at, code, message]];
  });
  const versions = outcomes.map(({ version }, at) =>
    version === undefined ? 0 : packVersion(version, wanted[at]!.file),
  );
  return [
    outcomes.every(({ result }) => result === 'loaded') ? null : outcomes.map(({ result }) => results.indexOf(result)),
    outcomes.every(({ loadedBytes }, at) => loadedBytes === wanted[at]!.length)
      ? null
      : outcomes.map(({ loadedBytes }) => loadedBytes),
    outcomes.some(({ skippedBytes }) => skippedBytes > 0) ? outcomes.map(({ skippedBytes }) => skippedBytes) : null,
    versions.every((version) => version === 1) ? 1 : versions.every((version) => version === 0) ? null : versions,
    errors.length > 0 ? errors : null,
  ];
}

/** `wantedAt`: as for `packOutcomes`; undefined where nobody waits for the outcome any more. Throws as `unpackEntries` does. */
export function unpackOutcomes(
  count: number,
  [codes, loaded, skipped, versions, errors]: OutcomeColumns,
  wantedAt: (at: number) => Segment | undefined,
): SegmentOutcome[] {
  checkColumns(count, codes, loaded, skipped, versions === 1 ? null : versions);
  const outcomes = new Array<SegmentOutcome>(count);
  for (let at = 0; at < count; at += 1) {
    const wanted = wantedAt(at);
    const result = codes === null ? 'loaded' : results[codes[at]!];
    if (result === undefined) throw new TypeError(`result ${codes?.[at]} is not known`);
    const loadedBytes = loaded === null ? (wanted?.length ?? 0) : loaded[at]!;
    const skippedBytes = skipped?.[at] ?? 0;
    const version = unpackVersion(versions === 1 ? 1 : (versions?.[at] ?? 0), wanted?.file);
    outcomes[at] =
      version === undefined ? { result, loadedBytes, skippedBytes } : { result, loadedBytes, skippedBytes, version };
  }
  for (const [at, code, message] of errors ?? []) {
    outcomes[at] = { ...outcomes[at]!, error: reportFrom(code, message) };
  }
  return outcomes;
}

export function packCached(cached: readonly CachedSegment[]): CachedColumns {
  return [
    cached.map(({ complete, ours, own }) => (complete ? 1 : 0) + (ours ? 2 : 0) + (own ? 4 : 0)),
    cached.map(({ bytes }) => bytes),
    cached.some(({ ownBytes }) => ownBytes > 0) ? cached.map(({ ownBytes }) => ownBytes) : null,
  ];
}

/** Throws as `unpackEntries` does. */
export function unpackCached(count: number, [flags, bytes, ownBytes]: CachedColumns): CachedSegment[] {
  checkColumns(count, flags, bytes, ownBytes);
  return flags.map((flag, at) => ({
    ...{ complete: (flag & 1) !== 0, ours: (flag & 2) !== 0, own: (flag & 4) !== 0 },
    ...{ bytes: bytes[at]!, ownBytes: ownBytes?.[at] ?? 0 },
  }));
}

export function packMissing(missing: readonly MissingParts[]): MissingColumns {
  return [missing.map(({ bytes }) => bytes), missing.map(({ parts }) => parts), missing.map(({ heads }) => heads)];
}

/** Throws as `unpackEntries` does. */
export function unpackMissing(count: number, [bytes, parts, heads]: MissingColumns): MissingParts[] {
  checkColumns(count, bytes, parts, heads);
  return bytes.map((some, at) => ({ bytes: some, parts: parts[at]!, heads: heads[at]! }));
}

function packVersion(version: ObjectVersion, wanted: ManifestEntry): 1 | Version {
  const { etag, sizeBytes, lastModifiedMs, versionId } = version;
  const same =
    etag === wanted.etag &&
    sizeBytes === wanted.sizeBytes &&
    lastModifiedMs === wanted.lastModifiedMs &&
    versionId === wanted.versionId;
  return same ? 1 : [etag, sizeBytes, lastModifiedMs, versionId ?? null];
}

function unpackVersion(packed: 0 | 1 | Version, wanted: ManifestEntry | undefined): ObjectVersion | undefined {
  if (packed === 0) return undefined;
  if (packed === 1) return wanted;
  const [etag, sizeBytes, lastModifiedMs, versionId] = packed;
  const version = { etag, sizeBytes, lastModifiedMs };
  return versionId === null ? version : { ...version, versionId };
}

function checkColumns(count: number, ...columns: readonly (readonly unknown[] | null)[]): void {
  for (const column of columns)
    if (column !== null && column.length !== count)
      throw new TypeError(`a column of ${column.length} rows stands beside one of ${count}`);
}
