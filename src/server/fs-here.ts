/** The files of one worker, as its own file API shows them; bytes of others are read through (`files`). */

import type { ReadableFiles } from '../cluster/reading/files.ts';
import { directoryOf, type FsSource, nothingBelow } from '../cluster/reading/fs-source.ts';
import { listPage } from '../core/listing.ts';
import type { UfsPath } from '../core/types.ts';
import type { FileRecord, Store } from '../store/types.ts';
import { checkFiles, recordsBelow } from './fs-check.ts';

export type ShownStore = Pick<Store, 'stat' | 'list' | 'open' | 'summary' | 'ranges'>;

export function fsHere(store: ShownStore, files: ReadableFiles): FsSource {
  return {
    files,
    ls: async ({ path, recursive, limit, after }) => {
      const place = placeOf(store, path);
      if (place.file !== undefined) return { path, entries: [entryOf(place.file)] };
      const source = { list: (of: { prefix: string; after?: string }) => store.list({ ...of, includeLoading: true }) };
      const delimiter = recursive ? '' : '/';
      const page = listPage(source, { root: '', prefix: place.prefix, delimiter, after, maxKeys: limit });
      const entries = [
        ...page.files.map(({ record }) => entryOf(record)),
        ...page.commonPrefixes.map((directory) => ({ path: directory, type: 'directory' as const })),
      ].sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
      return { path, entries, ...(page.next === undefined ? {} : { next: page.next }) };
    },
    stat: (path) => statOf(store, path),
    check: async (path) => {
      const { file, prefix } = placeOf(store, path);
      return ({ signal, events }) => {
        const records = file === undefined ? recordsBelow(store, prefix) : [file];
        return checkFiles(store, { path, records, signal, events });
      };
    },
  };
}

function entryOf(record: FileRecord) {
  return {
    path: record.path,
    type: 'file' as const,
    state: record.state,
    sizeBytes: record.sizeBytes,
    cachedBytes: record.cachedBytes,
    missingBytes: record.sizeBytes - record.cachedBytes,
    etag: record.etag,
    ...(record.versionId === undefined ? {} : { versionId: record.versionId }),
    lastModified: new Date(record.lastModifiedMs).toISOString(),
  };
}

async function statOf(store: ShownStore, asked: string) {
  const { file, prefix } = placeOf(store, asked);
  if (file === undefined) return { path: asked, type: 'directory' as const, ...(await store.summary(prefix)) };
  const complete = file.state === 'complete';
  return {
    path: asked,
    type: 'file' as const,
    files: 1,
    bytes: file.sizeBytes,
    cachedFiles: complete ? 1 : 0,
    cachedBytes: file.cachedBytes,
    file: {
      ...entryOf(file),
      loadId: file.loadId,
      ...(complete ? { cachedAt: new Date(file.cachedAtMs).toISOString() } : {}),
    },
  };
}

/** The file that a path names, or what every path below the directory begins with. Throws FILE_NOT_CACHED, PATH_INVALID. */
function placeOf(store: ShownStore, asked: string): { file?: FileRecord; prefix: string } {
  const prefix = directoryOf(asked);
  const file = asked.endsWith('/') ? undefined : store.stat(asked as UfsPath);
  if (file !== undefined) return { file, prefix: asked };
  const [any] = store.list({ prefix, limit: 1, includeLoading: true });
  if (any === undefined) throw nothingBelow(asked);
  return { prefix };
}
