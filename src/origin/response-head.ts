/**
 * Reads the head of an HTTP/1.1 response, strictly: what RFC 9112 lets a sender write and nothing that it lets a
 * recipient forgive. Bare LF, folded lines, blanks before a colon, repeated or odd values of the headers that matter, and
 * HTTP/1.0 are malformed; the caller then goes the general way, whose parser may be kinder. Everything accepted here is
 * accepted by Node's own parser with the same meaning (test/property/origin-head.test.ts).
 */

import { attributeNames, bounded, withAttribute } from '../core/attributes.ts';

/** Longest head accepted, status line and final CRLF included; S3 sends 300 to 1,500 bytes. Node's own limit too. */
export const headBytesMax = 16 * 1024;
/** Most header lines accepted. */
export const headerLinesMax = 256;

export interface ResponseHead {
  readonly status: number;
  readonly contentLength: number | undefined;
  /** As sent: `bytes a-b/size`. */
  readonly contentRange: string | undefined;
  /** As sent, with quotes and `W/`. */
  readonly etag: string | undefined;
  readonly requestId: string | undefined;
  readonly retryAfter: string | undefined;
  readonly lastModified: string | undefined;
  readonly date: string | undefined;
  /** Lower case; undefined when there is none. */
  readonly transferEncoding: string | undefined;
  /** What belongs to the object: core/attributes. */
  readonly attributes: string;
  /** False: the server closes after this answer. */
  readonly keepAlive: boolean;
}

const statusLine = /^HTTP\/1\.1 ([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?\r\n/;
const headerLines = /^(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[\t\x20-\x7e\x80-\xff]*\r\n)*\r\n$/;
const endOfHead = Buffer.from('\r\n\r\n', 'latin1');

/** Every header is one of these slots, or of no interest. The value is what the answer is judged by. */
const slotOfName: Readonly<Record<string, Slot>> = {
  'content-length': 'contentLength',
  'content-range': 'contentRange',
  etag: 'etag',
  'x-amz-request-id': 'requestId',
  'retry-after': 'retryAfter',
  'last-modified': 'lastModified',
  date: 'date',
  'transfer-encoding': 'transferEncoding',
  connection: 'connection',
  ...Object.fromEntries(attributeNames.map((name) => [name, 'attribute'] as const)),
};
type Slot =
  /** It belongs to the object. */
  | 'attribute'
  | 'contentLength'
  | 'contentRange'
  | 'etag'
  | 'requestId'
  | 'retryAfter'
  | 'lastModified'
  | 'date'
  | 'transferEncoding'
  | 'connection';
/** Lengths of the names above: a name of another length is skipped without being cut out. */
const interestingLength: readonly boolean[] = Array.from({ length: 32 }, (_, n) =>
  Object.keys(slotOfName).some((name) => name.length === n),
);
const metaPrefixLength = 'x-amz-meta-'.length;

/** Parses a whole head, final empty line included, as latin1 text; undefined when it is malformed. */
export function parseHead(text: string): ResponseHead | undefined {
  const start = statusLine.exec(text);
  if (start === null) return undefined;
  const from = start[0].length;
  if (!headerLines.test(from === 0 ? text : text.slice(from))) return undefined;
  const values: Partial<Record<Slot, string>> = {};
  const partial = start[1] === '206';
  let attributes = '';
  let lines = 0;
  let at = from;
  while (at < text.length - 2) {
    const end = text.indexOf('\r\n', at);
    lines += 1;
    if (lines > headerLinesMax) return undefined;
    const colon = text.indexOf(':', at);
    if (interestingLength[colon - at] === true || isMeta(text, at, colon)) {
      const name = text.slice(at, colon).toLowerCase();
      const slot = slotOf(name) ?? (isMeta(text, at, colon) ? 'attribute' : undefined);
      if (slot === 'attribute') {
        // With a part of an object the checksum is that of the part, if anything.
        if (!partial || !name.startsWith('x-amz-checksum-'))
          attributes = withAttribute(attributes, name, trimBlanks(text, colon + 1, end));
      } else if (slot !== undefined) {
        const value = trimBlanks(text, colon + 1, end);
        // Node's parser takes blanks after a length, but no tab.
        if (
          slot === 'contentLength' &&
          text
            .slice(colon + 1, end)
            .trimStart()
            .includes('\t')
        )
          return undefined;
        if (values[slot] === undefined) values[slot] = value;
        else if (slot === 'connection') values[slot] += `,${value}`;
        else return undefined;
      }
    }
    at = end + 2;
  }
  const { contentLength, transferEncoding } = values;
  if (contentLength !== undefined && !/^[0-9]{1,15}$/.test(contentLength)) return undefined;
  // Both together are how responses get smuggled (RFC 9112, 6.3).
  if (contentLength !== undefined && transferEncoding !== undefined) return undefined;
  return {
    status: Number(start[1]),
    contentLength: contentLength === undefined ? undefined : Number(contentLength),
    contentRange: values.contentRange,
    etag: values.etag,
    requestId: values.requestId,
    retryAfter: values.retryAfter,
    lastModified: values.lastModified,
    date: values.date,
    transferEncoding: transferEncoding?.toLowerCase(),
    attributes: bounded(attributes),
    keepAlive: values.connection === undefined || !/(?:^|,)[ \t]*close[ \t]*(?:,|$)/i.test(values.connection),
  };
}

function slotOf(name: string): Slot | undefined {
  return Object.hasOwn(slotOfName, name) ? slotOfName[name] : undefined;
}

/** Whether it looks like `x-amz-meta-…`; others that do are told apart later. */
function isMeta(text: string, at: number, colon: number): boolean {
  return (
    colon - at > metaPrefixLength && (text.charCodeAt(at) | 0x20) === 0x78 && (text.charCodeAt(at + 7) | 0x20) === 0x65
  );
}

function trimBlanks(text: string, from: number, to: number): string {
  while (from < to && isBlank(text.charCodeAt(from))) from += 1;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to -= 1;
  return text.slice(from, to);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** `-1`: more bytes are needed. `-2`: malformed. Else where the body begins in the bytes of the last call. */
export type HeadProgress = number;
export const headIncomplete = -1;
export const headMalformed = -2;

export interface HeadReader {
  /** Takes the next `count` bytes; when the head ends in them, `head` holds it and the answer is the body's start. */
  read(bytes: Buffer, count: number): HeadProgress;
  readonly head: ResponseHead | undefined;
  /** Bytes taken since `reset`; 0 says that no answer has begun. */
  readonly takenBytes: number;
  reset(): void;
}

/** Incremental over any split of the bytes. Nothing is copied when the head arrives in one read, as it nearly always does. */
export function makeHeadReader(): HeadReader {
  let kept: Buffer | undefined;
  let head: ResponseHead | undefined;
  let taken = 0;

  const parse = (bytes: Buffer, headBytes: number): boolean => {
    head = parseHead(bytes.toString('latin1', 0, headBytes));
    return head !== undefined;
  };

  return {
    get head() {
      return head;
    },
    get takenBytes() {
      return taken;
    },
    reset() {
      kept = undefined;
      head = undefined;
      taken = 0;
    },
    read(bytes, count) {
      const before = taken;
      taken += count;
      // Not an HTTP/1.1 answer at all: say so at the first bytes instead of waiting for an empty line.
      if (before === 0 && bytes[0] !== 0x48) return headMalformed;
      const window = bytes.length === count ? bytes : bytes.subarray(0, count);
      const whole = kept === undefined ? window : Buffer.concat([kept, window]);
      const end = whole.indexOf(endOfHead, Math.max(0, before - (endOfHead.length - 1)));
      if (end < 0) {
        if (whole.length >= headBytesMax) return headMalformed;
        // A copy: the caller's buffer is filled again by the next read.
        kept = kept === undefined ? Buffer.from(window) : whole;
        return headIncomplete;
      }
      const headBytes = end + endOfHead.length;
      if (headBytes > headBytesMax || !parse(whole, headBytes)) return headMalformed;
      return headBytes - before;
    },
  };
}
