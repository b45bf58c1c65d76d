/**
 * ListObjects, both versions: which keys and common prefixes a page has (pure), and the page as XML.
 * Source: the API reference of S3, ListObjectsV2 and ListObjects.
 */

import { encodeKey } from '../../server/s3/signing.ts';
import { compareUtf8, type ObjectTable, type StoredObject } from './objects.ts';
import { element, xmlDocument } from './xml.ts';

export const maxKeysLimit = 1000;

export interface ListRequest {
  readonly prefix: string;
  /** Empty: none. */
  readonly delimiter: string;
  /** Keys up to this one are left out; if it is a common prefix, everything below it too. */
  readonly after: string;
  readonly maxKeys: number;
}

export interface ListPage {
  readonly keys: readonly string[];
  readonly commonPrefixes: readonly string[];
  /** Continue after this name; undefined: the page is the last. */
  readonly next?: string;
}

/** One page of a sorted list of keys. Keys and common prefixes count alike against `maxKeys`. */
export function listPage(sorted: readonly string[], request: ListRequest): ListPage {
  const { prefix, delimiter, after, maxKeys } = request;
  const keys: string[] = [];
  const commonPrefixes: string[] = [];
  if (maxKeys === 0) return { keys, commonPrefixes };
  let last = '';
  let at = lowerBound(sorted, compareUtf8(prefix, after) > 0 ? prefix : after);
  while (at < sorted.length) {
    const key = sorted[at]!;
    // From the lower bound on, keys with the prefix come first and in one run.
    if (!key.startsWith(prefix)) break;
    const cut = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
    const name = cut < 0 ? key : key.slice(0, cut + delimiter.length);
    if (after !== '' && cut >= 0 && name === after) {
      at = endOfPrefix(sorted, name, at);
      continue;
    }
    if (after !== '' && key === after) {
      at += 1;
      continue;
    }
    if (keys.length + commonPrefixes.length === maxKeys) return { keys, commonPrefixes, next: last };
    last = name;
    if (cut < 0) keys.push(key);
    else commonPrefixes.push(name);
    at = cut < 0 ? at + 1 : endOfPrefix(sorted, name, at);
  }
  return { keys, commonPrefixes };
}

/** Index of the first key at or after `name`. */
function lowerBound(sorted: readonly string[], name: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareUtf8(sorted[middle]!, name) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Index of the first key behind all that begin with `prefix`, given that the one at `from` does. */
function endOfPrefix(sorted: readonly string[], prefix: string, from: number): number {
  let low = from;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]!.startsWith(prefix)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The XML of a listing; `query` as the client sent it. Undefined: a parameter is wrong, and the caller says so. */
export function listXml(table: ObjectTable, bucket: string, query: URLSearchParams): string | { wrong: string } {
  const v2 = query.get('list-type') === '2';
  const maxKeys = Number(query.get('max-keys') ?? maxKeysLimit);
  if (!Number.isInteger(maxKeys) || maxKeys < 0) return { wrong: 'max-keys' };
  const encodingType = query.get('encoding-type') ?? undefined;
  if (encodingType !== undefined && encodingType !== 'url') return { wrong: 'encoding-type' };
  const token = query.get('continuation-token') ?? undefined;
  const startAfter = query.get('start-after') ?? undefined;
  const marker = query.get('marker') ?? '';
  const request: ListRequest = {
    prefix: query.get('prefix') ?? '',
    delimiter: query.get('delimiter') ?? '',
    after: v2 ? (token === undefined ? (startAfter ?? '') : fromToken(token)) : marker,
    maxKeys: Math.min(maxKeys, maxKeysLimit),
  };
  const page = listPage(table.sortedKeys(bucket), request);
  const encode = encodingType === 'url' ? encodeKey : (text: string) => text;
  const parts = [
    element('Name', bucket),
    element('Prefix', encode(request.prefix)),
    request.delimiter === '' ? '' : element('Delimiter', encode(request.delimiter)),
    element('MaxKeys', maxKeys),
    element('EncodingType', encodingType),
    element('IsTruncated', page.next !== undefined),
  ];
  if (v2) {
    parts.push(
      element('KeyCount', page.keys.length + page.commonPrefixes.length),
      element('ContinuationToken', token),
      element('StartAfter', startAfter === undefined ? undefined : encode(startAfter)),
      element('NextContinuationToken', page.next === undefined ? undefined : toToken(page.next)),
    );
  } else {
    parts.push(element('Marker', encode(marker)));
    if (page.next !== undefined && request.delimiter !== '') parts.push(element('NextMarker', encode(page.next)));
  }
  for (const key of page.keys) {
    const object = table.find(bucket, key);
    if (object !== undefined) parts.push(contentsXml(object, table.etagOf(object), encode(key)));
  }
  for (const name of page.commonPrefixes)
    parts.push(`<CommonPrefixes>${element('Prefix', encode(name))}</CommonPrefixes>`);
  return xmlDocument('ListBucketResult', parts.join(''));
}

function contentsXml(object: StoredObject, etag: string, name: string): string {
  return `<Contents>${element('Key', name)}${element('LastModified', new Date(object.lastModifiedMs).toISOString())}${element(
    'ETag',
    `"${etag}"`,
  )}${element('Size', object.sizeBytes)}<StorageClass>STANDARD</StorageClass></Contents>`;
}

function toToken(name: string): string {
  return Buffer.from(name, 'utf8').toString('base64url');
}

function fromToken(token: string): string {
  return Buffer.from(token, 'base64url').toString('utf8');
}
