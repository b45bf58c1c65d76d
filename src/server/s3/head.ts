/**
 * The head of an answer about one object: status and headers, decided from the request's headers and query and from what
 * is known of the object. Knows no server: the same for whoever writes it.
 */
import { putAttributes, versionIn } from '../../core/attributes.ts';
import type { ByteRange, ObjectPart, ObjectVersion } from '../../core/types.ts';
import { judge, type RequestHeaders } from './conditions.ts';
import { S3Error } from './errors.ts';

/** What is known of an object. */
export interface KnownObject extends ObjectVersion {
  /** What its origin says of it beside its version: core/attributes. */
  readonly attributes: string;
}

export interface ObjectHead {
  readonly status: 200 | 206 | 304;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** What the body is; undefined: the answer has none, to a GET neither. */
  readonly range: ByteRange | undefined;
}

/** Parameters of the query that stand in for headers of the object. Only who signs may have them: see `asksForHeaders`. */
const overrides: readonly (readonly [parameter: string, header: string])[] = [
  'content-type',
  'content-language',
  'content-encoding',
  'content-disposition',
  'cache-control',
  'expires',
].map((header) => [`response-${header}`, header] as const);

export function asksForHeaders(query: ReadonlyMap<string, string>): boolean {
  return overrides.some(([parameter]) => query.has(parameter));
}

/**
 * Of a cached version. Throws S3Error PreconditionFailed, InvalidRange, InvalidPart, InvalidPartNumber, NoSuchVersion,
 * InvalidArgument for an override that no header can carry.
 * @param known where the part lies that `partToFind` has named
 */
export function headOf(
  record: KnownObject,
  requestHeaders: RequestHeaders,
  query: ReadonlyMap<string, string>,
  known?: ObjectPart,
): ObjectHead {
  const version = versionOf(record);
  const asked = query.get('versionId') ?? '';
  if (asked !== '' && asked !== (version ?? 'null')) throw noSuchVersion(asked);
  const partNumber = partNumberOf(record, requestHeaders, query);
  const verdict = judge(requestHeaders, record);
  const headers = versionHeaders(record, asked === '' ? version : asked);
  if (verdict.kind === 'not-modified') {
    putCaching(headers, record);
    return { status: 304, headers, range: undefined };
  }
  if (verdict.kind === 'precondition-failed') {
    throw new S3Error('PreconditionFailed', 'At least one of the pre-conditions you specified did not hold', {
      details: { Condition: verdict.condition },
    });
  }
  // Behind the conditions: whoever names another version hears of that, also where it is not known where parts lie.
  const part = partOf(record, partNumber, known);
  if (verdict.kind === 'range-not-satisfiable') {
    throw new S3Error('InvalidRange', 'The requested range is not satisfiable', {
      details: { RangeRequested: verdict.asked, ActualObjectSize: String(record.sizeBytes) },
      headers: { 'content-range': `bytes */${record.sizeBytes}` },
    });
  }
  const range = verdict.kind === 'part' ? verdict.range : (part?.range ?? { offset: 0, length: record.sizeBytes });
  // An empty object has no byte range to name, so that its part 1 is plain 200.
  const partial = verdict.kind === 'part' || (part !== undefined && record.sizeBytes > 0);
  const checksums = !partial && requestHeaders['x-amz-checksum-mode'] === 'ENABLED' ? 'checksums' : undefined;
  putAttributes(headers, record.attributes, checksums);
  putOverrides(headers, query);
  if (part?.parts !== undefined) headers['x-amz-mp-parts-count'] = String(part.parts);
  headers['content-length'] = String(range.length);
  if (!partial) return { status: 200, headers, range };
  headers['content-range'] = `bytes ${range.offset}-${range.offset + range.length - 1}/${record.sizeBytes}`;
  return { status: 206, headers, range };
}

/** What of a multipart ETag says how many parts there were. */
const partsShape = /^[0-9a-f]{32}-([1-9]\d{0,4})$/;
const mostParts = 10_000;

/** The part of an object of several whose place has to be known for `headOf`. Throws S3Error as that does. */
export function partToFind(
  record: KnownObject,
  headers: RequestHeaders,
  query: ReadonlyMap<string, string>,
): number | undefined {
  const number = partNumberOf(record, headers, query);
  return number !== undefined && (partsOf(record) ?? 1) > 1 ? number : undefined;
}

function partNumberOf(
  record: KnownObject,
  headers: RequestHeaders,
  query: ReadonlyMap<string, string>,
): number | undefined {
  const text = query.get('partNumber') ?? '';
  if (text === '') return undefined;
  const part = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (part < 1 || part > mostParts) {
    throw new S3Error('InvalidArgument', `Part number must be an integer between 1 and ${mostParts}, inclusive`, {
      details: { ArgumentName: 'partNumber', ArgumentValue: text },
    });
  }
  if (headers.range !== undefined) {
    throw new S3Error('InvalidRequest', 'Cannot specify both Range header and partNumber query parameter');
  }
  if (part > (partsOf(record) ?? 1)) {
    throw new S3Error('InvalidPartNumber', 'The requested partnumber is not satisfiable');
  }
  return part;
}

/** Undefined: it was not uploaded in parts. */
function partsOf({ etag }: KnownObject): number | undefined {
  const text = partsShape.exec(etag)?.[1];
  return text === undefined ? undefined : Number(text);
}

/** What is asked for by a part's number. Undefined: nothing is. */
function partOf(
  record: KnownObject,
  number: number | undefined,
  known: ObjectPart | undefined,
): { readonly range: ByteRange; readonly parts: number | undefined } | undefined {
  if (number === undefined) return undefined;
  const parts = partsOf(record);
  if (parts === undefined || parts === 1) return { range: { offset: 0, length: record.sizeBytes }, parts };
  if (known?.parts === parts) return known;
  throw new S3Error(
    'InvalidPart',
    'It is not known here where the parts of the object begin: read it by ranges, or have the worker read through (reading.read_through) from an origin that says so.',
  );
}

/** A cache keeps one version of a key; of an origin that numbers none it is called `null`. */
function versionOf({ versionId, attributes }: KnownObject): string | undefined {
  return versionId ?? versionIn(attributes);
}

function noSuchVersion(asked: string): S3Error {
  return new S3Error('NoSuchVersion', 'The specified version is not the one in the cache.', {
    details: { VersionId: asked },
  });
}

/** What a cache on the way needs to go on with what it has (RFC 9110 section 15.4.5). */
function putCaching(headers: Record<string, string>, { attributes }: KnownObject): void {
  const all: Record<string, string> = {};
  putAttributes(all, attributes);
  for (const name of ['cache-control', 'expires']) if (all[name] !== undefined) headers[name] = all[name];
}

function putOverrides(headers: Record<string, string>, query: ReadonlyMap<string, string>): void {
  if (query.size === 0) return;
  for (const [parameter, header] of overrides) {
    const value = query.get(parameter);
    if (value === undefined || value === '') continue;
    if (!/^[\t\x20-\x7e\x80-\xff]*$/.test(value)) {
      throw new S3Error('InvalidArgument', 'Header value cannot be represented using ISO-8859-1.', {
        details: { ArgumentName: parameter, ArgumentValue: value },
      });
    }
    headers[header] = value;
  }
}

function versionHeaders(record: KnownObject, version: string | undefined): Record<string, string> {
  const headers: Record<string, string> = {
    etag: `"${record.etag}"`,
    'last-modified': new Date(record.lastModifiedMs).toUTCString(),
    'accept-ranges': 'bytes',
  };
  if (version !== undefined) headers['x-amz-version-id'] = version;
  return headers;
}
