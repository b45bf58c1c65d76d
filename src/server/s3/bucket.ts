/** Questions about a bucket: both generations of listing, location, existence. Answers are XML documents. */

import type { ListedPage, ReadableFiles } from '../../cluster/reading/files.ts';
import type { Sight } from './access.ts';
import type { S3Address } from './address.ts';
import { S3Error } from './errors.ts';
import { document, element, escapeXml, s3Namespace } from './xml.ts';

/** S3's own limit on keys and common prefixes in one answer; a larger wish is cut down to it, as S3 does. */
const maxKeysLimit = 1000;
const owner = '<Owner><ID>primed</ID><DisplayName>primed</DisplayName></Owner>';

export async function bucketsXml(files: ReadableFiles, sight: Sight, createdAtMs: number): Promise<string> {
  const created = new Date(createdAtMs).toISOString();
  const rows = (await bucketsOf(files))
    .filter((bucket) => sight.knows(bucket))
    .map((bucket) => `<Bucket>${element('Name', bucket)}${element('CreationDate', created)}</Bucket>`);
  return document(
    `<ListAllMyBucketsResult xmlns="${s3Namespace}">${owner}<Buckets>${rows.join('')}</Buckets></ListAllMyBucketsResult>`,
  );
}

/** The buckets that any cached path lies in, and those that configuration names as readable, in byte order. */
export async function bucketsOf(files: ReadableFiles): Promise<string[]> {
  const buckets = [...files.namedBuckets];
  let after: string | undefined = '';
  while (after !== undefined) {
    const order = { root: 's3://', prefix: '', delimiter: '/', after, maxKeys: maxKeysLimit };
    const { commonPrefixes, next }: ListedPage = await files.list(order);
    buckets.push(...commonPrefixes.map((prefix) => prefix.slice(0, -1)));
    after = next;
  }
  return [...new Set(buckets)].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

/** No LocationConstraint means us-east-1: what clients sign with is never compared with anything. */
export function locationXml(): string {
  return document(`<LocationConstraint xmlns="${s3Namespace}"/>`);
}

/** A cache keeps one version of a key: versioning was never enabled. */
export function versioningXml(): string {
  return document(`<VersioningConfiguration xmlns="${s3Namespace}"/>`);
}

/** ListObjectsV2 with `list-type=2`, else ListObjects. Throws S3Error InvalidArgument. */
export async function listingXml(files: ReadableFiles, { bucket, query }: S3Address): Promise<string> {
  const value = (name: string) => query.get(name) ?? '';
  const second = listTypeOf(value('list-type'));
  const encode = encoderOf(value('encoding-type'));
  const maxKeys = maxKeysOf(value('max-keys'));
  const [prefix, delimiter] = [value('prefix'), value('delimiter')];
  const token = second ? value('continuation-token') : '';
  const startAfter = second ? value('start-after') : value('marker');
  const after = token === '' ? startAfter : readToken(token);
  const page = await files.list({ root: `s3://${bucket}/`, prefix, delimiter, after, maxKeys });
  const withOwner = !second || value('fetch-owner').toLowerCase() === 'true';

  const head = [
    element('Name', bucket),
    element('Prefix', encode(prefix)),
    delimiter === '' ? '' : element('Delimiter', encode(delimiter)),
    element('MaxKeys', maxKeys),
    value('encoding-type') === '' ? '' : element('EncodingType', 'url'),
    element('IsTruncated', page.next !== undefined),
    second ? secondHead({ page, token, startAfter, encode }) : firstHead({ page, startAfter, encode }),
  ];
  return document(
    `<ListBucketResult xmlns="${s3Namespace}">${head.join('')}${rowsXml(page, { encode, withOwner })}</ListBucketResult>`,
  );
}

type Encoder = (text: string) => string;

function secondHead(of: { page: ListedPage; token: string; startAfter: string; encode: Encoder }): string {
  return [
    element('KeyCount', of.page.files.length + of.page.commonPrefixes.length),
    of.startAfter === '' ? '' : element('StartAfter', of.encode(of.startAfter)),
    of.token === '' ? '' : element('ContinuationToken', of.token),
    of.page.next === undefined ? '' : element('NextContinuationToken', writeToken(of.page.next)),
  ].join('');
}

function firstHead(of: { page: ListedPage; startAfter: string; encode: Encoder }): string {
  const next = of.page.next === undefined ? '' : element('NextMarker', of.encode(of.page.next));
  return element('Marker', of.encode(of.startAfter)) + next;
}

function rowsXml(page: ListedPage, { encode, withOwner }: { encode: Encoder; withOwner: boolean }): string {
  const files = page.files.map(
    ({ key, record }) =>
      `<Contents>${element('Key', encode(key))}<LastModified>${new Date(record.lastModifiedMs).toISOString()}</LastModified>` +
      `<ETag>${escapeXml(`"${record.etag}"`)}</ETag><Size>${record.sizeBytes}</Size>` +
      `<StorageClass>STANDARD</StorageClass>${withOwner ? owner : ''}</Contents>`,
  );
  const groups = page.commonPrefixes.map(
    (group) => `<CommonPrefixes>${element('Prefix', encode(group))}</CommonPrefixes>`,
  );
  return files.join('') + groups.join('');
}

function listTypeOf(text: string): boolean {
  if (text === '' || text === '1') return false;
  if (text === '2') return true;
  throw invalidArgument('list-type', text, 'list-type is 1 or 2');
}

/** `%20` and `%2B` rather than `+`, so that decoders of both kinds read the same key. */
function encoderOf(type: string): Encoder {
  if (type === '') return (text) => text;
  if (type !== 'url') throw invalidArgument('encoding-type', type, 'Invalid Encoding Method specified in Request');
  return (text) => encodeURIComponent(text).replaceAll('%2F', '/');
}

function maxKeysOf(text: string): number {
  if (text === '') return maxKeysLimit;
  if (!/^\d{1,10}$/.test(text) || Number(text) > 0x7fff_ffff) {
    throw invalidArgument('max-keys', text, 'Argument maxKeys must be an integer between 0 and 2147483647');
  }
  return Math.min(Number(text), maxKeysLimit);
}

/** Opaque to clients: the last key or common prefix of the page before, behind a mark of the format. */
function writeToken(last: string): string {
  return `1${Buffer.from(last).toString('base64url')}`;
}

function readToken(token: string): string {
  const last = Buffer.from(token.slice(1), 'base64url').toString();
  if (last === '' || writeToken(last) !== token) {
    throw invalidArgument('continuation-token', token, 'The continuation token provided is incorrect');
  }
  return last;
}

function invalidArgument(name: string, value: string, message: string): S3Error {
  return new S3Error('InvalidArgument', message, { details: { ArgumentName: name, ArgumentValue: value } });
}
