/**
 * One page of a listing: keys and common prefixes in byte order, both counted by the limit, from whatever yields
 * records in that order, and from the pages of several. Pure.
 */

export interface ListingOrder {
  /** What every path of the listing begins with: `s3://bucket/`. Keys are the rest. */
  readonly root: string;
  readonly prefix: string;
  /** Empty: none. */
  readonly delimiter: string;
  /** Keys up to and including this are left out; a common prefix here leaves out everything below it. Empty: none. */
  readonly after: string;
  readonly maxKeys: number;
}

export interface ListingPage<T> {
  readonly files: readonly { readonly key: string; readonly record: T }[];
  readonly commonPrefixes: readonly string[];
  /** The last key or common prefix of the page when more follow; a page that begins after it goes on from here. */
  readonly next?: string;
}

/** What a listing needs of a store: records in byte order of their paths, no path twice. */
export interface RecordSource<T extends { readonly path: string }> {
  list(options: { prefix: string; after?: string; limit?: number }): Iterable<T>;
}

/** Sorts behind every key that begins with the text before it, except keys that hold this very character. */
const lastCharacter = '\u{10ffff}';

export function listPage<T extends { readonly path: string }>(
  source: RecordSource<T>,
  order: ListingOrder,
): ListingPage<T> {
  const files: { key: string; record: T }[] = [];
  const commonPrefixes: string[] = [];
  const { root } = order;
  const afterGroup = groupOf(order.after, order);
  let skipBelow = afterGroup !== undefined && afterGroup === order.after ? afterGroup : undefined;
  let last = order.after;
  let seek: string | undefined = skipBelow === undefined ? order.after : skipBelow + lastCharacter;

  // S3 answers max-keys=0 with an empty page that is not truncated.
  if (order.maxKeys === 0) return { files, commonPrefixes };
  while (seek !== undefined) {
    const from: string = seek;
    seek = undefined;
    for (const record of source.list({ prefix: root + order.prefix, ...(from === '' ? {} : { after: root + from }) })) {
      const key = record.path.slice(root.length);
      if (skipBelow !== undefined && key.startsWith(skipBelow)) continue;
      if (files.length + commonPrefixes.length === order.maxKeys) return { files, commonPrefixes, next: last };
      const group = groupOf(key, order);
      if (group === undefined) {
        files.push({ key, record });
        last = key;
        continue;
      }
      commonPrefixes.push(group);
      last = group;
      skipBelow = group;
      // A folder may hold millions of keys: start anew behind it instead of reading through it.
      seek = group + lastCharacter;
      break;
    }
  }
  return { files, commonPrefixes };
}

/** The common prefix that a key is folded into: up to and including the first delimiter behind the prefix. */
function groupOf(key: string, { prefix, delimiter }: ListingOrder): string | undefined {
  if (delimiter === '' || !key.startsWith(prefix)) return undefined;
  const at = key.indexOf(delimiter, prefix.length);
  return at < 0 ? undefined : key.slice(0, at + delimiter.length);
}

/** Keys and common prefixes of several pages, each once and in order, up to where all of them say what there is. */
export function mergePages<T>(
  pages: readonly ListingPage<T>[],
  maxKeys: number,
): { readonly items: readonly MergedItem<T>[]; readonly next?: string } {
  const found = new Map<string, T[] | 'prefix'>();
  for (const { files, commonPrefixes } of pages) {
    for (const { key, record } of files) {
      const known = found.get(key);
      if (known === undefined || known === 'prefix') found.set(key, [record]);
      else known.push(record);
    }
    for (const prefix of commonPrefixes) found.set(prefix, 'prefix');
  }
  // Behind the end of a page that goes on, that one may have keys which it has not said yet.
  const ends = pages.flatMap(({ next }) => (next === undefined ? [] : [Buffer.from(next)]));
  const horizon = ends.sort(Buffer.compare)[0];
  const sorted = Array.from(found, ([name, records]) => ({ bytes: Buffer.from(name), name, records }))
    .filter(({ bytes }) => horizon === undefined || Buffer.compare(bytes, horizon) <= 0)
    .sort((a, b) => Buffer.compare(a.bytes, b.bytes));
  const items = sorted
    .slice(0, maxKeys)
    .map(({ name, records }): MergedItem<T> => (records === 'prefix' ? { prefix: name } : { key: name, records }));
  if (items.length === 0 || (horizon === undefined && items.length === sorted.length)) return { items };
  return { items, next: sorted[items.length - 1]!.name };
}

/** What all pages say of a key, or that keys are folded into a common prefix. */
export type MergedItem<T> = { readonly key: string; readonly records: readonly T[] } | { readonly prefix: string };
