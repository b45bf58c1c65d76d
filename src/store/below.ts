/** What lies at and below a path, a page at a time: for whoever counts it or removes it. Reads only. */
import type { FileId, UfsPath } from '../core/types.ts';
import { mergeByPath, visibleRecord, visibleRecords } from './catalog.ts';
import type { IndexDb } from './index-db.ts';
import { segmentBytes } from './layout.ts';
import type { LoadingFiles } from './loading-files.ts';
import type { FileRecord } from './types.ts';

export interface PageBelow {
  /** Paths of which there is anything. */
  readonly files: number;
  /** Durable bytes of them, visible or not. */
  readonly bytes: number;
  readonly visible: readonly string[];
  readonly loading: readonly FileId[];
  /** About so many records of files and blocks. */
  readonly records: number;
  /** Where the next page begins; undefined: this is the last one. */
  readonly next?: UfsPath;
}

/** @param order.records what a page has at most, but for the last path of it. */
export function pageBelow(
  index: IndexDb,
  loadingFiles: LoadingFiles,
  order: { readonly path: string; readonly after?: string; readonly records: number },
): PageBelow {
  const visible: string[] = [];
  const loading: FileId[] = [];
  let [files, bytes, records] = [0, 0, 0];
  let last: FileRecord | undefined;
  for (const record of recordsBelow(index, loadingFiles, order)) {
    const again = record.path === last?.path;
    // Both records of a path, visible and loading, stay on one page.
    if (!again && records >= order.records)
      return { files, bytes, visible, loading, records, next: last!.path as UfsPath };
    if (!again) files += 1;
    // Of a version that is visible in part, and is being added to, what is visible was counted.
    bytes += record.cachedBytes - (again && record.fileId === last!.fileId ? last!.cachedBytes : 0);
    if (record.state === 'loading') loading.push(record.fileId);
    else visible.push(record.path);
    records += 1 + Math.ceil(record.cachedBytes / segmentBytes);
    last = record;
  }
  return { files, bytes, visible, loading, records };
}

/** The file of that name, then what lies below it, in byte order. */
function* recordsBelow(
  index: IndexDb,
  loadingFiles: LoadingFiles,
  { path, after }: { readonly path: string; readonly after?: string },
): Generator<FileRecord> {
  const folder = path.endsWith('/') ? path : `${path}/`;
  if (after === undefined && path !== folder) {
    for (const record of [visibleRecord(index, path), loadingFiles.recordAt(path)]) if (record) yield record;
  }
  yield* mergeByPath(visibleRecords(index, folder, after), loadingFiles.records(folder, after));
}
