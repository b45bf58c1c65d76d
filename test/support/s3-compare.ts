/** Answers of two S3 servers to the same request, reduced to what both mean by them, and what is different. */
import { XMLParser } from 'fast-xml-parser';
import type { RawAnswer } from './raw-http.ts';

/** What an answer says: status, headers that matter, body; of XML what it holds, of a refusal its code. */
export type Said = Readonly<Record<string, unknown>>;

const headersCompared = [
  ...['etag', 'last-modified', 'accept-ranges', 'content-length', 'content-range', 'content-type', 'content-encoding'],
  ...['content-language', 'content-disposition', 'cache-control', 'expires', 'x-amz-version-id'],
];
const names = /^(Key|Prefix|Delimiter|Marker|NextMarker|StartAfter)$/;
const lists = new Set(['Contents', 'CommonPrefixes', 'Bucket']);
const opaque = new Set(['Owner', 'NextContinuationToken', 'ContinuationToken', 'CreationDate']);
const parser = new XMLParser({ parseTagValue: false, ignoreAttributes: true, trimValues: false, htmlEntities: true });

export function saidBy(answer: RawAnswer, method: string): Said {
  const { status } = answer;
  const body = unchunked(answer);
  const isXml = body.subarray(0, 5).toString() === '<?xml';
  const told = method === 'HEAD' ? '' : isXml ? xmlIn(body) : body.toString('base64');
  // With a refusal, and with what is not modified, a reference sends no header that says anything.
  if (status >= 300 || isXml) return { status, body: told };
  // The answer to HEAD of a bucket has no body, of whatever type and length.
  const isObject = answer.headers.etag !== undefined;
  const headers = Object.entries(answer.headers).filter(
    ([name]) => isObject && (headersCompared.includes(name) || name.startsWith('x-amz-meta-')),
  );
  return { status, ...Object.fromEntries(headers), body: told };
}

/** Where the next page of a listing of the second generation begins. */
export function tokenIn(answer: RawAnswer): string | undefined {
  const root = parser.parse(unchunked(answer).toString()) as { ListBucketResult?: { NextContinuationToken?: string } };
  return root.ListBucketResult?.NextContinuationToken;
}

/** The elements of a document; that they are in another order says nothing. */
function xmlIn(body: Buffer): unknown {
  const { '?xml': _, ...root } = parser.parse(body.toString()) as Record<string, Record<string, unknown>>;
  if (root.Error !== undefined) return { error: root.Error.Code };
  const isEncoded = root.ListBucketResult?.EncodingType === 'url';
  const meant = (name: string, value: unknown): unknown => {
    if (opaque.has(name)) return 'something';
    // Two encodings of one key are the same key. Where not every name is encoded that should be, it decodes to itself.
    if (names.test(name) && isEncoded) return decodeURIComponent(String(value).replaceAll('+', '%20'));
    if (Array.isArray(value)) return value.map((one) => meant('', one));
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(
      Object.entries(value)
        // An element that only the reference has: whether an object is one that is appended to.
        .filter(([inner]) => inner !== 'Type')
        .map(([inner, one]) => [inner, lists.has(inner) ? [meant(inner, one)].flat() : meant(inner, one)])
        .toSorted(),
    );
  };
  return meant('', root);
}

function unchunked({ headers, body }: RawAnswer): Buffer {
  if (headers['transfer-encoding'] !== 'chunked') return body;
  const pieces: Buffer[] = [];
  for (let at = 0; ; ) {
    const line = body.indexOf('\r\n', at);
    const length = Number.parseInt(body.toString('latin1', at, line), 16);
    if (!(length > 0)) return Buffer.concat(pieces);
    pieces.push(body.subarray(line + 2, line + 2 + length));
    at = line + 2 + length + 2;
  }
}

/** On one line, `what theirs -> ours; …`; empty: nothing. */
export function difference(theirs: unknown, ours: unknown, what = ''): string {
  if (JSON.stringify(theirs) === JSON.stringify(ours)) return '';
  if (isObject(theirs) && isObject(ours)) {
    const inner = [...new Set([...Object.keys(theirs), ...Object.keys(ours)])];
    return inner
      .map((name) => difference(theirs[name], ours[name], what === '' ? name : `${what}.${name}`))
      .filter((one) => one !== '')
      .join('; ');
  }
  const short = (value: unknown): string => (JSON.stringify(value) ?? 'none').slice(0, 80);
  return `${what} ${short(theirs)} -> ${short(ours)}`;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object';
}
