/** What a request is about: operation, bucket and key, from method, Host and URL. */
import type { IncomingMessage } from 'node:http';
import { S3Refusal } from './answer.ts';
import type { Operation } from './faults.ts';

export interface Target {
  readonly operation: Operation;
  readonly bucket: string;
  readonly key: string;
  readonly query: URLSearchParams;
  readonly rawPath: string;
  readonly rawQuery: string;
}

/** Query parameters that select operations or parts which this origin does not have. */
const unsupported = [
  'acl',
  'tagging',
  'versions',
  'partNumber',
  'policy',
  'torrent',
  'attributes',
  'X-Amz-Signature',
  'Signature',
];

/** Path style, and `<bucket>.localhost`. Throws S3Refusal where the URL is broken. */
export function targetOf(request: IncomingMessage): Target {
  const url = request.url ?? '/';
  const cut = url.indexOf('?');
  const rawPath = cut < 0 ? url : url.slice(0, cut);
  const rawQuery = cut < 0 ? '' : url.slice(cut + 1);
  const virtualBucket = /^(.+)\.localhost(?::\d+)?$/i.exec(request.headers.host ?? '')?.[1];
  const path = decodePath(virtualBucket === undefined ? rawPath : `/${virtualBucket}${rawPath}`);
  const slash = path.indexOf('/', 1);
  const bucket = slash < 0 ? path.slice(1) : path.slice(1, slash);
  const key = slash < 0 ? '' : path.slice(slash + 1);
  const query = new URLSearchParams(rawQuery);
  return { operation: operationOf(request.method ?? '', bucket, key, query), bucket, key, query, rawPath, rawQuery };
}

/** A plus sign in a path is a plus sign. */
function decodePath(rawPath: string): string {
  try {
    return decodeURIComponent(rawPath);
  } catch {
    throw new S3Refusal(400, 'InvalidURI', "Couldn't parse the specified URI.");
  }
}

function operationOf(method: string, bucket: string, key: string, query: URLSearchParams): Operation {
  if (query.has('uploads') || query.has('uploadId')) return key === '' ? 'Unknown' : multipartOf(method, query);
  const isPartRead = method === 'GET' || method === 'HEAD';
  if (unsupported.some((name) => query.has(name) && !(name === 'partNumber' && isPartRead))) return 'Unknown';
  if (bucket === '') return method === 'GET' ? 'ListBuckets' : 'Unknown';
  if (key === '') {
    if (method === 'HEAD') return 'HeadBucket';
    if (method !== 'GET') return 'Unknown';
    if (query.has('location')) return 'GetBucketLocation';
    return query.get('list-type') === '2' ? 'ListObjectsV2' : 'ListObjects';
  }
  switch (method) {
    case 'GET':
      return 'GetObject';
    case 'HEAD':
      return 'HeadObject';
    case 'PUT':
      return 'PutObject';
    case 'DELETE':
      return 'DeleteObject';
    default:
      return 'Unknown';
  }
}

function multipartOf(method: string, query: URLSearchParams): Operation {
  if (query.has('uploads')) return method === 'POST' ? 'CreateMultipartUpload' : 'Unknown';
  if (method === 'PUT' && query.has('partNumber')) return 'UploadPart';
  if (method === 'POST') return 'CompleteMultipartUpload';
  return method === 'DELETE' ? 'AbortMultipartUpload' : 'Unknown';
}
