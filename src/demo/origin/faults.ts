/**
 * Faults on demand. A rule says which requests it is for and what goes wrong with them; the first rule in order of
 * setting that fires wins. Rules are plain data, so that they can be sent to an origin in another process, and each
 * counts how often it fired, so that a test can prove that its fault happened.
 */

import { seededRandom } from '../../core/random.ts';

export type Operation =
  | 'ListBuckets'
  | 'HeadBucket'
  | 'GetBucketLocation'
  | 'ListObjects'
  | 'ListObjectsV2'
  | 'HeadObject'
  | 'GetObject'
  | 'PutObject'
  | 'DeleteObject'
  | 'CreateMultipartUpload'
  | 'UploadPart'
  | 'CompleteMultipartUpload'
  | 'AbortMultipartUpload'
  | 'Unknown';

/**
 * What goes wrong. Where `afterBytes` is given, it counts body bytes: undefined is before any byte of the answer, 0 is
 * right after the head. It is held below the length of the body, so that the body is never whole.
 */
export type Fault =
  /** An error answer instead; 503 is SlowDown, 429 is TooManyRequests, 500 is InternalError, other codes by `code`. */
  | { readonly kind: 'status'; readonly status: number; readonly code?: string; readonly retryAfterSeconds?: number }
  /** The connection is reset. */
  | { readonly kind: 'reset'; readonly afterBytes?: number }
  /** The connection is closed in order (FIN) although Content-Length promised more. */
  | { readonly kind: 'short-body'; readonly afterBytes: number }
  /** More bytes than were asked for: counted in Content-Length, or (`declared: false`) behind the end of it. */
  | { readonly kind: 'long-body'; readonly extraBytes: number; readonly declared?: boolean }
  /** Another range than asked for: in head and body, or in one of them only. */
  | { readonly kind: 'wrong-range'; readonly shiftBytes: number; readonly where?: 'both' | 'head' | 'body' }
  /** 200 with the whole object although a range was asked for. */
  | { readonly kind: 'whole-body' }
  /** One byte of the body is flipped; nothing in the head tells. */
  | { readonly kind: 'corrupt'; readonly atByte: number }
  /** The object is replaced by its next version just before this request is looked at. */
  | { readonly kind: 'change'; readonly sizeBytes?: number }
  /** The object is deleted just before this request is looked at. */
  | { readonly kind: 'vanish' }
  /** Silence: for `forMs`, then the rest; undefined: until the client gives up or the origin closes. */
  | { readonly kind: 'stall'; readonly afterBytes?: number; readonly forMs?: number }
  /** The body comes at this rate. */
  | { readonly kind: 'drip'; readonly bytesPerSecond: number }
  | { readonly kind: 'latency'; readonly delayMs: number }
  /** Transfer-Encoding: chunked, and no Content-Length. */
  | { readonly kind: 'chunked' }
  /** To `location`, or to the very same URL again. */
  | { readonly kind: 'redirect'; readonly status: 301 | 302 | 307 | 308; readonly location?: string };

export interface FaultRule {
  readonly fault: Fault;
  /** Default: GetObject only. `*`: everything. */
  readonly operation?: Operation | '*' | readonly Operation[];
  /** Exactly this key. */
  readonly key?: string;
  /** Source of a regular expression that must be found in the key. */
  readonly keyPattern?: string;
  /** Only requests whose range begins in `[from, to)`. */
  readonly rangeFrom?: { readonly from: number; readonly to: number };
  /** This many matching requests pass before the rule may fire. */
  readonly skip?: number;
  /** Of the rest every n-th one is meant. */
  readonly every?: number;
  /** Each request that is meant so far fires with this probability. */
  readonly probability?: number;
  /** Of the pseudo-random sequence behind `probability`; the same seed and requests fire the same. */
  readonly seed?: number;
  /** Fires at most so often. */
  readonly times?: number;
}

export interface FaultReport {
  readonly id: number;
  readonly rule: FaultRule;
  /** Requests that the rule was for by operation, key and range. */
  readonly matched: number;
  readonly fired: number;
}

export interface FaultSubject {
  readonly operation: Operation;
  readonly key: string;
  /** Where the asked range begins; undefined: no range. */
  readonly rangeStart: number | undefined;
}

/** Rules kept, removed ones included, so that counts can be read after the fact. */
const ruleLimit = 10_000;

interface LiveRule {
  readonly id: number;
  readonly rule: FaultRule;
  readonly pattern: RegExp | undefined;
  readonly random: () => number;
  active: boolean;
  matched: number;
  fired: number;
}

export class FaultBook {
  readonly #rules: LiveRule[] = [];

  set(rule: FaultRule): number {
    if (this.#rules.length >= ruleLimit) throw new RangeError(`more than ${ruleLimit} fault rules were set`);
    const id = this.#rules.length;
    this.#rules.push({
      id,
      rule,
      pattern: rule.keyPattern === undefined ? undefined : new RegExp(rule.keyPattern, 'u'),
      random: seededRandom(rule.seed ?? id + 1),
      active: true,
      matched: 0,
      fired: 0,
    });
    return id;
  }

  /** No rule fires any more; their counts stay. */
  clear(): void {
    for (const live of this.#rules) live.active = false;
  }

  reports(): FaultReport[] {
    return this.#rules.map(({ id, rule, matched, fired }) => ({ id, rule, matched, fired }));
  }

  fired(id: number): number {
    return this.#rules[id]?.fired ?? 0;
  }

  /** The fault of this request, counted as fired. */
  pick(subject: FaultSubject): Fault | undefined {
    for (const live of this.#rules) {
      if (!live.active || !isFor(live, subject)) continue;
      live.matched += 1;
      if (!isMeant(live)) continue;
      live.fired += 1;
      return live.rule.fault;
    }
    return undefined;
  }
}

function isFor({ rule, pattern }: LiveRule, subject: FaultSubject): boolean {
  const operations = rule.operation ?? 'GetObject';
  if (operations !== '*' && !(Array.isArray(operations) ? operations : [operations]).includes(subject.operation))
    return false;
  if (rule.key !== undefined && rule.key !== subject.key) return false;
  if (pattern !== undefined && !pattern.test(subject.key)) return false;
  if (rule.rangeFrom === undefined) return true;
  const start = subject.rangeStart ?? 0;
  return start >= rule.rangeFrom.from && start < rule.rangeFrom.to;
}

function isMeant(live: LiveRule): boolean {
  const { skip = 0, every = 1, probability = 1, times = Number.POSITIVE_INFINITY } = live.rule;
  if (live.fired >= times || live.matched <= skip) return false;
  if ((live.matched - skip) % every !== 0) return false;
  return probability >= 1 || live.random() < probability;
}
