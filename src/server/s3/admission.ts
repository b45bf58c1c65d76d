/** What a request is about, and whether who sent it may ask for it: the same for everybody who answers on the S3 port. */
import { randomBytes } from 'node:crypto';
import type { S3Access, Sight } from './access.ts';
import { hostedBucket, parseAddress, type S3Address, splitTarget } from './address.ts';
import type { RequestHeaders } from './conditions.ts';
import { S3Error } from './errors.ts';
import { asksForHeaders } from './head.ts';

export interface S3Request {
  readonly method: string;
  /** As it was sent, with one character for each byte. */
  readonly target: string;
  readonly headers: RequestHeaders;
}

export type S3Operation = 'get' | 'head' | 'list' | 'other';

/** Parameters that turn a GET into another question, one that a read-only cache has no answer to. */
const unanswered = new Set(
  'accelerate acl analytics attributes cors encryption intelligent-tiering inventory legal-hold lifecycle logging metrics notification object-lock ownershipControls policy policyStatus publicAccessBlock replication requestPayment retention session tagging torrent uploadId uploads versions website'.split(
    ' ',
  ),
);

/** Of a GET or HEAD. Throws S3Error for a request that is not to be answered. */
export function admit(
  { method, target, headers }: S3Request,
  access: S3Access,
  domains: readonly string[],
): { readonly address: S3Address; readonly sight: Sight } {
  const hosted = hostedBucket(hostOf(headers), domains);
  const { path, search } = splitTarget(target);
  const signed = { method, rawPath: path, rawQuery: search, headers: headers as Record<string, string | string[]> };
  const sight = access.sight(signed, hosted === undefined ? path : `/${hosted}${path}`);
  const address = parseAddress(target, hosted);
  checkSight(sight, address, method);
  if (address.query.size === 0) return { address, sight };
  if (!sight.signed && asksForHeaders(address.query)) {
    const message = 'Request specific response headers cannot be used for anonymous GET requests.';
    throw new S3Error('InvalidRequest', message);
  }
  for (const name of address.query.keys()) {
    if (unanswered.has(name)) throw new S3Error('NotImplemented', `A read-only cache does not answer '?${name}'.`);
  }
  return { address, sight };
}

/** By the shape of the request alone: what cannot be parsed is `other`. */
export function operationOf({ method, target, headers }: S3Request, domains: readonly string[]): S3Operation {
  if (method !== 'GET' && method !== 'HEAD') return 'other';
  try {
    const { bucket, key, query } = parseAddress(target, hostedBucket(hostOf(headers), domains));
    if (key !== '') return method === 'GET' ? 'get' : 'head';
    if (method === 'HEAD') return 'head';
    return bucket === '' || query.has('location') || query.has('versioning') ? 'other' : 'list';
  } catch {
    return 'other';
  }
}

/** On every answer. */
export function commonHeaders(id: string): Record<string, string> {
  return { server: 'primed', 'x-amz-request-id': id, 'x-amz-id-2': 'primed' };
}

/** Unlike those of any other process or thread, and in order within this one. */
export function requestIds(): () => string {
  const origin = randomBytes(4).toString('hex').toUpperCase();
  let count = 0;
  return () => origin + (count++).toString(16).toUpperCase().padStart(8, '0');
}

/** Of what a caller may not read he is not told whether it is there. */
function checkSight(sight: Sight, { bucket, key, query }: S3Address, method: string): void {
  const isListing = method === 'GET' && !query.has('location') && !query.has('versioning');
  const allowed =
    bucket === '' ||
    (key !== '' || isListing
      ? sight.reads(`s3://${bucket}/${key || (query.get('prefix') ?? '')}`)
      : sight.knows(bucket));
  if (!allowed) throw new S3Error('AccessDenied', 'Access Denied: the key that signed this is for other paths.');
}

function hostOf({ host }: RequestHeaders): string | undefined {
  return typeof host === 'string' ? host : undefined;
}
