/** Answers of the embedded origin before they are sent: conditions, ranges and errors, by the rules of S3. */
import { type ChecksumName, type ObjectTable, piecesOf, type StoredObject, versionIdOf } from './objects.ts';
import { element, xmlDocument } from './xml.ts';

/** Status line, head, and a body that is made while it is sent. */
export interface Answer {
  readonly status: number;
  readonly headers: Record<string, string>;
  /** Content-Length. */
  readonly length: number;
  /** Bytes `[offset, offset + length)` of the body; absent: no body is sent (HEAD, 304, 204). */
  readonly body?: (offset: number, length: number) => Iterable<Buffer>;
}

/** An error of S3, thrown by whoever finds it. */
export class S3Refusal extends Error {
  readonly status: number;
  readonly code: string;
  readonly headers: Record<string, string>;

  constructor(status: number, code: string, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.headers = headers;
  }
}

export interface RequestContext {
  readonly requestId: string;
  readonly bucket: string;
  readonly key: string;
  readonly isHead: boolean;
}

export function errorAnswer(refusal: S3Refusal, context: RequestContext): Answer {
  const inner = [
    element('Code', refusal.code),
    element('Message', refusal.message),
    context.key === '' ? '' : element('Key', context.key),
    context.bucket === '' ? '' : element('BucketName', context.bucket),
    element('Resource', `/${context.bucket}${context.key === '' ? '' : `/${context.key}`}`),
    element('RequestId', context.requestId),
    element('HostId', hostIdOf(context.requestId)),
  ];
  return xmlAnswer(refusal.status, xmlDocument('Error', inner.join(''), false), context.isHead, refusal.headers);
}

export function hostIdOf(requestId: string): string {
  return Buffer.from(`primed-demo-origin/${requestId}`).toString('base64');
}

export function xmlAnswer(status: number, xml: string, isHead: boolean, headers: Record<string, string> = {}): Answer {
  const bytes = Buffer.from(xml, 'utf8');
  const head = { ...headers, 'Content-Type': 'application/xml' };
  if (isHead || status === 304) return { status, headers: head, length: 0 };
  return {
    status,
    headers: head,
    length: bytes.length,
    body: (offset, length) => [bytes.subarray(offset, offset + length)],
  };
}

export interface ObjectRequest {
  readonly isHead: boolean;
  readonly header: (name: string) => string | undefined;
  /** Answers carry x-amz-version-id. */
  readonly versioned: boolean;
  /** Stated when the client asks for checksums. */
  readonly checksums: readonly ChecksumName[];
  /** A part by its number, in place of a range. */
  readonly partNumber?: number;
  /** From a fault: the Range header is not looked at. */
  readonly ignoreRange: boolean;
  /** From a fault: the head speaks of a range, or the body is one, this many bytes further on. */
  readonly shift: { readonly headBytes: number; readonly bodyBytes: number };
}

/** GetObject and HeadObject of an object that exists. Throws S3Refusal for 412, 416 and 304. */
export function objectAnswer(table: ObjectTable, object: StoredObject, request: ObjectRequest): Answer {
  const etag = table.etagOf(object);
  const headers: Record<string, string> = {
    ETag: `"${etag}"`,
    'Last-Modified': new Date(object.lastModifiedMs).toUTCString(),
    'Accept-Ranges': 'bytes',
    'Content-Type': object.contentType,
  };
  if (request.versioned) headers['x-amz-version-id'] = versionIdOf(object);
  if (table.encryption !== undefined) headers['x-amz-server-side-encryption'] = table.encryption;
  const verdict = judgeConditions(request.header, etag, object.lastModifiedMs);
  if (verdict === 'failed') {
    throw new S3Refusal(412, 'PreconditionFailed', 'At least one of the pre-conditions you specified did not hold');
  }
  if (verdict === 'not-modified') return { status: 304, headers, length: 0 };
  const part = request.partNumber === undefined ? undefined : table.partOf(object, request.partNumber);
  if (request.partNumber !== undefined && part === undefined) {
    throw new S3Refusal(416, 'InvalidPartNumber', 'The requested partnumber is not satisfiable');
  }
  if (part?.parts !== undefined) headers['x-amz-mp-parts-count'] = String(part.parts);
  const range = request.ignoreRange ? undefined : (part ?? parseRange(request.header('range'), object.sizeBytes));
  if (range === 'unsatisfiable') {
    throw new S3Refusal(416, 'InvalidRange', 'The requested range is not satisfiable', {
      'Content-Range': `bytes */${object.sizeBytes}`,
    });
  }
  if (range === undefined && request.header('x-amz-checksum-mode')?.toUpperCase() === 'ENABLED') {
    const { stated = {} } = object;
    Object.assign(headers, stated);
    const isComposite = Object.values(stated).some((value) => value.includes('-'));
    if (Object.keys(stated).length > 0) headers['x-amz-checksum-type'] = isComposite ? 'COMPOSITE' : 'FULL_OBJECT';
    // An answer has one type.
    for (const name of isComposite ? [] : request.checksums) {
      const value = table.checksumOf(object, name);
      if (value !== undefined) {
        headers[`x-amz-checksum-${name}`] = value;
        headers['x-amz-checksum-type'] = 'FULL_OBJECT';
      }
    }
  }
  const { offset, length } = range ?? { offset: 0, length: object.sizeBytes };
  if (range !== undefined) {
    const first = offset + request.shift.headBytes;
    headers['Content-Range'] = `bytes ${first}-${first + length - 1}/${object.sizeBytes}`;
  }
  const bodyFrom = offset + request.shift.bodyBytes;
  const status = range === undefined ? 200 : 206;
  if (request.isHead) return { status, headers, length };
  return { status, headers, length, body: (from, count) => piecesOf(object, bodyFrom + from, count) };
}

/** RFC 9110, section 13.2.2, which S3 follows. Times are compared in whole seconds, as they are written. */
export function judgeConditions(
  header: (name: string) => string | undefined,
  etag: string,
  lastModifiedMs: number,
): 'pass' | 'failed' | 'not-modified' {
  const modified = Math.floor(lastModifiedMs / 1000) * 1000;
  const ifMatch = header('if-match');
  if (ifMatch !== undefined) {
    if (!namesEtag(ifMatch, etag)) return 'failed';
  } else {
    const unmodifiedSince = Date.parse(header('if-unmodified-since') ?? '');
    if (modified > unmodifiedSince) return 'failed';
  }
  const ifNoneMatch = header('if-none-match');
  if (ifNoneMatch !== undefined) return namesEtag(ifNoneMatch, etag) ? 'not-modified' : 'pass';
  const modifiedSince = Date.parse(header('if-modified-since') ?? '');
  return modified <= modifiedSince ? 'not-modified' : 'pass';
}

function namesEtag(list: string, etag: string): boolean {
  return list
    .split(',')
    .map((one) => one.trim().replace(/^W\//, '').replaceAll('"', ''))
    .some((one) => one === '*' || one === etag);
}

/**
 * A single range of bytes against a size; undefined where the header is absent or means nothing to S3 (other units,
 * several ranges, end before start), which is answered as the whole object.
 */
export function parseRange(
  header: string | undefined,
  sizeBytes: number,
): { offset: number; length: number } | 'unsatisfiable' | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? '');
  if (match === null) return undefined;
  const [first, last] = [match[1]!, match[2]!];
  if (first === '') {
    if (last === '') return undefined;
    const length = Math.min(Number(last), sizeBytes);
    return length === 0 ? 'unsatisfiable' : { offset: sizeBytes - length, length };
  }
  const offset = Number(first);
  if (last !== '' && Number(last) < offset) return undefined;
  if (offset >= sizeBytes) return 'unsatisfiable';
  const end = last === '' ? sizeBytes : Math.min(Number(last) + 1, sizeBytes);
  return { offset, length: end - offset };
}
