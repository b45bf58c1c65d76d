/** Looking up and listing what is in the index. Reads only. */
import { setImmediate } from 'node:timers/promises';
import type { FileId, UfsPath } from '../core/types.ts';
import type { IndexDb, Table } from './index-db.ts';
import { decodeFile, fileFigures, fileKey, parseFileKey, pathKey } from './records.ts';
import type { FileRecord, PathSummary } from './types.ts';

/** Rows taken from the index at a time: no read transaction stays open while the consumer works. Who wants one gets a few. */
const rowsAtFirst = 8;
const rowsAtOnce = 256;
/** Files that are summed up in one turn of the event loop: about 10 ms. */
const summedAtOnce = 8192;

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

/** In the order of their keys, from behind `after` on, where they begin with the prefix. */
export function* rows(
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
  for (let limit = rowsAtFirst; ; limit = Math.min(rowsAtOnce, 4 * limit)) {
    const range = { ...(start ? { start } : {}), ...(end ? { end } : {}), limit };
    const chunk: { key: Buffer; value: Buffer }[] = [];
    for (const { key, value } of index.range(table, range)) {
      chunk.push({ key: Buffer.from(key.buffer, key.byteOffset, key.byteLength), value });
    }
    yield* chunk;
    if (chunk.length < limit) return;
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

/** Of everything that is visible, in byte order: a third of what the records cost. */
export function* visiblePaths(index: IndexDb): Generator<string> {
  for (const { key } of rows(index, index.files, '', undefined)) yield key.toString('utf8');
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

/**
 * In turns, between which everything else goes on: of millions of files it takes seconds. A path is judged in one turn.
 * @param loading files below the prefix and behind a path that are being loaded, in order; those that have a visible version too count once.
 */
export async function summarize(
  index: IndexDb,
  prefix: string,
  loading: (after: string | undefined) => Iterable<FileRecord>,
): Promise<PathSummary> {
  const summary = { files: 0, bytes: 0, cachedFiles: 0, cachedBytes: 0 };
  const end = endOfPrefix(pathKey(prefix));
  let after: Buffer | undefined;
  for (;;) {
    const start = after === undefined ? pathKey(prefix) : afterKey(after);
    const range = { ...(start.length > 0 ? { start } : {}), ...(end ? { end } : {}), limit: summedAtOnce };
    let rows = 0;
    let last: Buffer | undefined;
    for (const { key, value } of index.range(index.files, range)) {
      addVisible(summary, value);
      rows++;
      if (rows === summedAtOnce) last = Buffer.from(key);
    }
    for (const record of loading(after?.toString('utf8'))) {
      if (last !== undefined && Buffer.compare(pathKey(record.path), last) > 0) break;
      addLoading(summary, record, visibleRecord(index, record.path));
    }
    if (last === undefined) return summary;
    after = last;
    await setImmediate();
  }
}

type Sum = { -readonly [field in keyof PathSummary]: PathSummary[field] };

function addVisible(sum: Sum, value: Buffer): void {
  const { state, sizeBytes, cachedBytes } = fileFigures(value);
  sum.files++;
  sum.bytes += sizeBytes;
  if (state === 'complete') sum.cachedFiles++;
  sum.cachedBytes += cachedBytes;
}

function addLoading(sum: Sum, record: FileRecord, visible: FileRecord | undefined): void {
  if (visible?.state === 'complete') return;
  if (!visible) {
    sum.files++;
    sum.bytes += record.sizeBytes;
  }
  // Of a version that is visible in part, what is visible was counted.
  sum.cachedBytes += record.cachedBytes - (visible?.fileId === record.fileId ? visible.cachedBytes : 0);
}
