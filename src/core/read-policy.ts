/**
 * What becomes of a read of what is not cached, and how long what is cached may be served without asking the origin.
 *
 * The longest prefix of the rules decides, then that of the origins, then what holds for everything; each setting by itself.
 */

/** `always`: read from the origin and kept; `pass`: read from the origin and not kept; `never`: it is not cached. */
export const readThroughWays = ['never', 'pass', 'always'] as const;
export type ReadThrough = (typeof readThroughWays)[number];

export interface ReadPolicy {
  readonly readThrough: ReadThrough;
  /** Undefined: an object never changes, and what is cached of it is right. 0: the origin is asked at each read. */
  readonly maxAgeMs: number | undefined;
  /**
   * Writes are passed through to the origin. Then `maxAgeMs` is 0, whatever else is said: a read that begins after a write has
   * been answered must not be given what was before it, on any worker, be it told of the write or not.
   */
  readonly writes?: boolean;
}

export interface ReadRule extends Partial<ReadPolicy> {
  /** `s3://bucket/…`, `s3://`, `file:///dir/`. */
  readonly prefix: string;
}

export interface ReadRules {
  readonly base: ReadPolicy;
  /** Of origins, and of prefixes within them. */
  readonly origins: readonly ReadRule[];
  readonly rules: readonly ReadRule[];
}

export class ReadPolicies {
  #base!: ReadPolicy;
  #origins!: readonly ReadRule[];
  #rules!: readonly ReadRule[];
  /** Whether anything at all is ever asked of an origin by a read. */
  readsAny!: boolean;
  #writesAny!: boolean;

  constructor(rules: ReadRules) {
    this.configure(rules);
  }

  /** From now on. */
  configure({ base, origins, rules }: ReadRules): void {
    this.#base = base;
    this.#origins = longestFirst(origins);
    this.#rules = longestFirst(rules);
    const all = [base, ...origins, ...rules];
    this.readsAny = all.some(({ readThrough = 'never' }) => readThrough !== 'never');
    this.#writesAny = all.some(({ writes }) => writes === true);
  }

  of(path: string): ReadPolicy {
    if (!this.readsAny && !this.#writesAny) return this.#base;
    const rule = matching(this.#rules, path);
    const origin = matching(this.#origins, path);
    const readThrough = rule?.readThrough ?? origin?.readThrough ?? this.#base.readThrough;
    if (rule?.writes ?? origin?.writes ?? false) return { readThrough, maxAgeMs: 0, writes: true };
    return { readThrough, maxAgeMs: rule?.maxAgeMs ?? origin?.maxAgeMs ?? this.#base.maxAgeMs };
  }

  /** Whether anything that begins so is written through. */
  mayWriteBelow(prefix: string): boolean {
    const written = [...this.#rules, ...this.#origins].some(
      (one) => one.writes === true && one.prefix.startsWith(prefix),
    );
    return written || this.of(prefix).writes === true;
  }

  /** Buckets that rules name, and of which something may be read at the origin. */
  get namedBuckets(): readonly string[] {
    const named = [...this.#rules, ...this.#origins].flatMap(({ prefix }) => {
      const bucket = /^s3:\/\/([^/]+)/.exec(prefix)?.[1];
      return bucket !== undefined && this.mayReadBelow(`s3://${bucket}/`) ? [bucket] : [];
    });
    return [...new Set(named)];
  }

  /** Whether the origin is asked for anything that begins so, by some rule. */
  mayReadBelow(prefix: string): boolean {
    if (this.of(prefix).readThrough !== 'never') return true;
    return [...this.#rules, ...this.#origins].some(
      (one) => one.prefix.startsWith(prefix) && (one.readThrough ?? 'never') !== 'never',
    );
  }
}

/**
 * Whether an answer of the origin is young enough.
 * @param askedAtMs when the request was sent whose answer it is
 */
export function isYoung(askedAtMs: number, maxAgeMs: number | undefined, nowMs: number): boolean {
  return maxAgeMs === undefined || nowMs - askedAtMs < maxAgeMs;
}

function longestFirst(rules: readonly ReadRule[]): ReadRule[] {
  return [...rules].sort((a, b) => b.prefix.length - a.prefix.length);
}

/** A prefix ends where a name ends: `s3://bucket/a` is for `a`, and for what lies below it. */
function matching(rules: readonly ReadRule[], path: string): ReadRule | undefined {
  return rules.find(({ prefix }) => {
    if (!path.startsWith(prefix)) return false;
    return prefix.endsWith('/') || path.length === prefix.length || path[prefix.length] === '/';
  });
}
