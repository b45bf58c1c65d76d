/** Which writes are passed to the origin, and which of their headers and parameters: what is not named here is refused, as S3 does. */
import type { S3Address } from './address.ts';
import type { RequestHeaders } from './conditions.ts';
import { S3Error } from './errors.ts';

export type WriteOperation =
  | 'PutObject'
  | 'CopyObject'
  | 'DeleteObject'
  | 'DeleteObjects'
  | 'CreateMultipartUpload'
  | 'UploadPart'
  | 'UploadPartCopy'
  | 'CompleteMultipartUpload'
  | 'AbortMultipartUpload'
  | 'ListParts'
  | 'ListMultipartUploads';

/** Names of the query of each; `x-id` and the parameters of a signature are nobody's. */
const parameters: Readonly<Record<WriteOperation, readonly string[]>> = {
  PutObject: [],
  CopyObject: [],
  DeleteObject: ['versionId'],
  DeleteObjects: ['delete'],
  CreateMultipartUpload: ['uploads'],
  UploadPart: ['partNumber', 'uploadId'],
  UploadPartCopy: ['partNumber', 'uploadId'],
  CompleteMultipartUpload: ['uploadId'],
  AbortMultipartUpload: ['uploadId'],
  ListParts: ['uploadId', 'max-parts', 'part-number-marker', 'encoding-type'],
  ListMultipartUploads: [
    ...['uploads', 'prefix', 'delimiter', 'encoding-type', 'key-marker', 'max-uploads', 'upload-id-marker'],
  ],
};

const ofSignatures = /^(x-id|x-amz-.*|signature|awsaccesskeyid|expires)$/i;

/** Whether a GET is about what is being written, which the cache knows nothing of. */
export function asksForUploads(target: string): boolean {
  return /[?&]upload(?:s|Id)(?:[=&]|$)/.test(target);
}

/** Throws S3Error: MethodNotAllowed, NotImplemented. */
export function writeOperationOf(method: string, { key, query }: S3Address, headers: RequestHeaders): WriteOperation {
  const operation = shapeOf(method, key !== '', query, headers['x-amz-copy-source'] !== undefined);
  if (operation === undefined)
    throw new S3Error('MethodNotAllowed', 'The specified method is not allowed against this resource.', {
      details: { Method: method },
    });
  const known = parameters[operation];
  for (const name of query.keys())
    if (!known.includes(name) && !ofSignatures.test(name))
      throw new S3Error('NotImplemented', `What '?${name}' asks for is not passed to the origin.`);
  return operation;
}

function shapeOf(
  method: string,
  isKey: boolean,
  query: ReadonlyMap<string, string>,
  isCopy: boolean,
): WriteOperation | undefined {
  const isPart = query.has('uploadId');
  if (!isKey) {
    if (method === 'POST' && query.has('delete')) return 'DeleteObjects';
    return method === 'GET' && query.has('uploads') ? 'ListMultipartUploads' : undefined;
  }
  switch (method) {
    case 'PUT':
      if (isPart) return isCopy ? 'UploadPartCopy' : 'UploadPart';
      return isCopy ? 'CopyObject' : 'PutObject';
    case 'POST':
      if (isPart) return 'CompleteMultipartUpload';
      return query.has('uploads') ? 'CreateMultipartUpload' : undefined;
    case 'DELETE':
      return isPart ? 'AbortMultipartUpload' : 'DeleteObject';
    case 'GET':
      return isPart ? 'ListParts' : undefined;
    default:
      return undefined;
  }
}

/** Of the query of a request, what is passed on. */
export function passedParameters(
  operation: WriteOperation,
  query: ReadonlyMap<string, string>,
): Record<string, string> {
  const names = parameters[operation].filter((name) => query.has(name));
  return Object.fromEntries(names.map((name) => [name, query.get(name)!]));
}

const passed = new Set([
  ...['cache-control', 'content-disposition', 'content-language', 'content-md5', 'content-type', 'expires'],
  ...['if-match', 'if-none-match', 'x-amz-metadata-directive', 'x-amz-tagging', 'x-amz-tagging-directive'],
  ...['x-amz-storage-class', 'x-amz-website-redirect-location', 'x-amz-mp-object-size', 'x-amz-if-match-size'],
  ...['x-amz-if-match-last-modified-time', 'x-amz-copy-source-range', 'x-amz-copy-source-if-match'],
  ...[
    'x-amz-copy-source-if-none-match',
    'x-amz-copy-source-if-modified-since',
    'x-amz-copy-source-if-unmodified-since',
  ],
]);
/** Of the request to this port, and not of what is written; or said anew to the origin. */
const dropped = new Set([
  ...['x-amz-content-sha256', 'x-amz-date', 'x-amz-security-token', 'x-amz-decoded-content-length', 'x-amz-trailer'],
  ...['x-amz-sdk-checksum-algorithm', 'x-amz-user-agent', 'x-amz-copy-source', 'x-amz-checksum-mode'],
]);

/** Which checksums of an upload in parts are told to an origin that keeps them. */
const partwise: ReadonlySet<WriteOperation> = new Set(['CreateMultipartUpload', 'UploadPart'] as const);

/** Whether a request of an upload in parts speaks of checksums. */
export function saysOfParts(operation: WriteOperation, headers: RequestHeaders): boolean {
  if (!partwise.has(operation)) return false;
  return Object.keys(headers).some((name) => name === 'x-amz-trailer' || name.startsWith('x-amz-checksum-'));
}

/**
 * What the origin is told, in lower case. Throws S3Error: NotImplemented.
 * @param keeps whether the origin keeps the checksums of parts; else they are compared here, and go no further: an upload to which
 *   none were announced takes none, and one to which they were wants them of each part
 */
export function passedHeaders(
  operation: WriteOperation,
  headers: RequestHeaders,
  keeps: boolean,
): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value !== 'string') continue;
    if (name === 'content-encoding') {
      const encodings = value.split(',').map((one) => one.trim());
      const own = encodings.filter((one) => one.toLowerCase() !== 'aws-chunked' && one !== '');
      if (own.length > 0) kept[name] = own.join(',');
    } else if (name.startsWith('x-amz-checksum-')) {
      const isWhole = operation === 'PutObject' || operation === 'CompleteMultipartUpload';
      if (isWhole || (keeps && partwise.has(operation))) kept[name] = value;
    } else if (passed.has(name) || name.startsWith('x-amz-meta-') || name.startsWith('x-amz-server-side-encryption'))
      kept[name] = value;
    else if (name === 'x-amz-acl' && value !== 'private')
      throw new S3Error('NotImplemented', 'Only the private ACL is passed to the origin.');
    else if (name.startsWith('x-amz-') && name !== 'x-amz-acl' && !dropped.has(name))
      throw new S3Error('NotImplemented', `What the header ${name} asks for is not passed to the origin.`);
  }
  return kept;
}
