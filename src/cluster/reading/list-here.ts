/** One page of what this worker knows, with each path once, for itself and for those who put pages of workers together. */
import type { HeldFile } from '../../core/holdings.ts';
import { type ListingOrder, type ListingPage, listPage } from '../../core/listing.ts';
import type { FileRecord } from '../../store/types.ts';
import { heldIn } from './held-row.ts';
import type { LocalFiles } from './located.ts';

/** What is loading is in it too: another worker may have shown it already. */
export function pageHere(store: LocalFiles, order: ListingOrder): ListingPage<readonly HeldFile[]> {
  const source = {
    list: (options: { prefix: string; after?: string; limit?: number }) =>
      byPath(store.list({ ...options, includeLoading: true })),
  };
  const page = listPage(source, order);
  return {
    ...page,
    files: page.files.map(({ key, record }) => ({ key, record: record.records.map((one) => heldIn(store, one)) })),
  };
}

/** The visible and the loading record of a path stand side by side. */
function* byPath(records: Iterable<FileRecord>): Generator<{ path: string; records: FileRecord[] }> {
  let current: { path: string; records: FileRecord[] } | undefined;
  for (const record of records) {
    if (current?.path === record.path) {
      current.records.push(record);
      continue;
    }
    if (current !== undefined) yield current;
    current = { path: record.path, records: [record] };
  }
  if (current !== undefined) yield current;
}
