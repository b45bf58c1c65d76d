/**
 * How an origin answers one worker, for people who watch: requests, bytes, first byte, and failures by kind, of late. Beside
 * core/worker-use: over HTTP a header of the renewal, in etcd a field of the figures; a node that does not know it goes without.
 */

/** What is asked of an origin, by the name of its request: those of HTTP, and pages of listings. */
export const originOperations = ['GET', 'HEAD', 'LIST', 'PUT', 'POST', 'DELETE'] as const;
export type OriginOperation = (typeof originOperations)[number];

/** Of an HTTP status; `none`: there was no answer. */
export const answerClasses = ['2xx', '3xx', '4xx', '5xx', 'none'] as const;
export type AnswerClass = (typeof answerClasses)[number];

/** Kinds of failure, as somebody decides what to do about them. */
export const originTroubles = [
  /** It said to slow down. */
  'throttled',
  /** 5xx. */
  'server',
  /** Access denied, or credentials that have expired. */
  'refused',
  /** No connection. */
  'unreachable',
  /** No first byte in time, or a body that stood still. */
  'slow',
  /** Connections that broke, and answers that cannot be right. */
  'broken',
  /** Objects that are others than those that were listed, or gone. */
  'changed',
] as const;
export type OriginTrouble = (typeof originTroubles)[number];

export interface OriginUse {
  /** `s3://bucket/` or `file:///dir/`. */
  readonly origin: string;
  readonly requestsPerMinute: number;
  readonly bytesPerSecond: number;
  /** Mean time to the first byte of reads, looks and listings that were answered; 0: none was. */
  readonly firstByteMs: number;
  readonly failuresPerMinute: Readonly<Record<OriginTrouble, number>>;
}

export const originsHeader = 'x-primed-origins';
/** Of one worker; the busiest ones. */
export const mostOriginsTold = 16;
/** Together with the other headers of a renewal it has to stay below what servers take, 16 KiB. */
const mostText = 4_000;

const figures = 3 + originTroubles.length;

export function busiestOf(list: readonly OriginUse[]): OriginUse[] {
  return list.toSorted((a, b) => b.requestsPerMinute - a.requestsPerMinute).slice(0, mostOriginsTold);
}

/** `name=requests,bytes,first byte,failures…`, with spaces between; names are percent-encoded. */
export function originsText(list: readonly OriginUse[]): string {
  let text = '';
  for (const { origin, requestsPerMinute, bytesPerSecond, firstByteMs, failuresPerMinute } of busiestOf(list)) {
    const values = [
      requestsPerMinute,
      bytesPerSecond,
      firstByteMs,
      ...originTroubles.map((one) => failuresPerMinute[one]),
    ];
    const entry = `${encodeURIComponent(origin)}=${values.map((value) => Math.max(0, Math.round(value))).join(',')}`;
    if (text.length + entry.length >= mostText) continue;
    text += text === '' ? entry : ` ${entry}`;
  }
  return text;
}

/** Without what no worker would have said; a newer one may say more behind the figures of an origin. */
export function parseOrigins(text: string): OriginUse[] {
  return text
    .slice(0, mostText)
    .split(' ')
    .slice(0, mostOriginsTold)
    .flatMap((entry) => parseOne(entry) ?? []);
}

function parseOne(entry: string): OriginUse | undefined {
  const [name = '', said = ''] = entry.split('=', 2);
  const words = said.split(',').slice(0, figures);
  if (words.length < figures || !words.every((word) => /^\d{1,15}$/.test(word))) return undefined;
  const [requestsPerMinute, bytesPerSecond, firstByteMs, ...failures] = words.map(Number) as [number, number, number];
  try {
    const origin = decodeURIComponent(name);
    if (!/^[a-z0-9+.-]+:\/\//.test(origin)) return undefined;
    const failuresPerMinute = Object.fromEntries(
      originTroubles.map((one, at) => [one, (failures as number[])[at]!]),
    ) as Record<OriginTrouble, number>;
    return { origin, requestsPerMinute, bytesPerSecond, firstByteMs, failuresPerMinute };
  } catch {
    return undefined;
  }
}
