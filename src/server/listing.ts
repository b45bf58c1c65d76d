/**
 * One page of a listing: keys and common prefixes in byte order, both counted by the limit, from whatever yields
 * records in that order. The S3 port and the file API list by it; nothing here knows of XML or HTTP.
 */
import type { FileRecord } from '../store/types.ts';

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

export interface ListingPage {
  readonly files: readonly { readonly key: string; readonly record: FileRecord }[];
  readonly commonPrefixes: readonly string[];
  /** The last key or common prefix of the page when more follow; a page that begins after it goes on from here. */
  readonly next?: string;
}

/** What a listing needs of the store. */
export interface RecordSource {
  list(options: { prefix: string; after?: string; limit?: number }): Iterable<FileRecord>;
}

/** Sorts behind every key that begins with the text before it, except keys that hold this very character. */
const lastCharacter = '\u{10ffff}';

export function listPage(source: RecordSource, order: ListingOrder): ListingPage {
  const files: { key: string; record: FileRecord }[] = [];
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

/** The buckets that any cached path lies in, in byte order. */
export function* listBuckets(source: RecordSource): Generator<string> {
  let after: string | undefined;
  for (;;) {
    const [record] = source.list({ prefix: 's3://', limit: 1, ...(after === undefined ? {} : { after }) });
    if (record === undefined) return;
    const bucket = record.path.slice('s3://'.length).split('/', 1)[0]!;
    yield bucket;
    // '0' is the character behind '/': no path of this bucket sorts behind it, none of another before it.
    after = `s3://${bucket}0`;
  }
}
