/** Looking up and listing what is in the index. Reads only. */
import type { FileId, UfsPath } from '../core/types.ts';
import type { IndexDb, Table } from './index-db.ts';
import { decodeFile, fileFigures, fileKey, parseFileKey, pathKey } from './records.ts';
import type { FileRecord, PathSummary } from './types.ts';

/** Rows taken from the index at a time: no read transaction stays open while the consumer works. */
const rowsAtOnce = 256;

/** First key that does not begin with `prefix`; undefined: there is none. */
export function endOfPrefix(prefix: Uint8Array): Buffer | undefined {
  const end = Buffer.from(prefix);
  for (let i = end.length - 1; i >= 0; i--) {
    if (end[i] === 0xff) continue;
    end[i] = end[i]! + 1;
    return end.subarray(0, i + 1);
  }
  return undefined;
}

function afterKey(key: Uint8Array): Buffer {
  return Buffer.concat([key, Buffer.of(0)]);
}

function* rows(
  index: IndexDb,
  table: Table,
  prefix: string,
  after: string | undefined,
): Generator<{ key: Buffer; value: Buffer }> {
  const prefixKey = pathKey(prefix);
  const end = endOfPrefix(prefixKey);
  let start: Buffer | undefined = prefixKey.length > 0 ? prefixKey : undefined;
  if (after !== undefined) {
    const behind = afterKey(pathKey(after));
    if (!start || Buffer.compare(behind, start) > 0) start = behind;
  }
  for (;;) {
    const range = { ...(start ? { start } : {}), ...(end ? { end } : {}), limit: rowsAtOnce };
    const chunk: { key: Buffer; value: Buffer }[] = [];
    for (const { key, value } of index.range(table, range)) {
      chunk.push({ key: Buffer.from(key.buffer, key.byteOffset, key.byteLength), value });
    }
    yield* chunk;
    if (chunk.length < rowsAtOnce) return;
    start = afterKey(chunk.at(-1)!.key);
  }
}

export function visibleRecord(index: IndexDb, path: string): FileRecord | undefined {
  const bytes = index.get(index.files, pathKey(path));
  return bytes === undefined ? undefined : decodeFile(bytes, path);
}

export function* visibleRecords(index: IndexDb, prefix: string, after?: string): Generator<FileRecord> {
  for (const { key, value } of rows(index, index.files, prefix, after)) yield decodeFile(value, key.toString('utf8'));
}

/** Loading files that the index knows, whether they are in memory or not. */
export function* storedLoading(
  index: IndexDb,
  prefix: string,
  after?: string,
): Generator<{ path: UfsPath; fileId: FileId }> {
  for (const { key, value } of rows(index, index.loadingPaths, prefix, after)) {
    yield { path: key.toString('utf8') as UfsPath, fileId: parseFileKey(value) };
  }
}

export function loadingRecord(index: IndexDb, file: FileId): FileRecord | undefined {
  const bytes = index.get(index.loading, fileKey(file));
  return bytes === undefined ? undefined : decodeFile(bytes);
}

/** Two listings in byte order of the path as one; of one path the visible record comes first. */
export function* mergeByPath(visible: Iterator<FileRecord>, loading: Iterable<FileRecord>): Generator<FileRecord> {
  let next = visible.next();
  for (const record of loading) {
    const key = pathKey(record.path);
    while (!next.done && Buffer.compare(pathKey(next.value.path), key) <= 0) {
      yield next.value;
      next = visible.next();
    }
    yield record;
  }
  for (; !next.done; next = visible.next()) yield next.value;
}

/** @param loading files below the prefix that are being loaded; those that have a visible version too count once. */
export function summarize(index: IndexDb, prefix: string, loading: Iterable<FileRecord>): PathSummary {
  const summary = { files: 0, bytes: 0, cachedFiles: 0, cachedBytes: 0 };
  for (const { value } of rows(index, index.files, prefix, undefined)) {
    const { state, sizeBytes, cachedBytes } = fileFigures(value);
    summary.files++;
    summary.bytes += sizeBytes;
    if (state === 'complete') summary.cachedFiles++;
    summary.cachedBytes += cachedBytes;
  }
  for (const record of loading) {
    const visible = visibleRecord(index, record.path);
    if (visible?.state === 'complete') continue;
    if (!visible) {
      summary.files++;
      summary.bytes += record.sizeBytes;
    }
    // Of a version that is visible in part, what is visible was counted.
    summary.cachedBytes += record.cachedBytes - (visible?.fileId === record.fileId ? visible.cachedBytes : 0);
  }
  return summary;
}
