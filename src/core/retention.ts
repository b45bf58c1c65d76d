/**
 * What a file is worth to the store: by the rules of the configuration, and by what was pinned. A file belongs to one class:
 * that of the longest prefix that its path begins with, or to the pinned ones.
 */
import { PrimedError } from './errors.ts';

/** Files that nobody has given a rule. */
export const defaultClass = 0;
/** Files that stay. Classes of rules are numbered from 1. */
export const pinnedClass = 0xffff;
export const mostRules = 64;
/** Each is looked at when a file becomes visible, by the folders of its path: their number costs memory only. */
export const mostPins = 1000;
/** S3's limit of a key, and room for scheme and bucket. */
const mostPinBytes = 1100;

export interface RetentionRule {
  readonly prefix: string;
  /** Since the file was cached. */
  readonly ttlMs?: number;
  /** What has a lower one goes first; default 0. */
  readonly priority: number;
  /** Of all files of the class, without those that are pinned. */
  readonly quotaBytes?: number;
  readonly pinned: boolean;
}

/** What somebody has pinned. */
export interface Pin {
  readonly path: string;
}

/** As a coordinator tells its workers: of one that is told by the same, the highest version counts. */
export interface PinList {
  readonly from: string;
  readonly version: number;
  readonly paths: readonly string[];
}

/** A path, or with a slash at its end all that begins with it. Throws REQUEST_INVALID. */
export function pinOf(path: string): string {
  const scheme = /^(s3|file):\/\//.exec(path)?.[0];
  const wrong =
    scheme === undefined || path.length === scheme.length
      ? 'is no path: give s3://bucket/key, or s3://bucket/folder/ for all below it'
      : Buffer.byteLength(path) > mostPinBytes
        ? `is longer than ${mostPinBytes} bytes`
        : undefined;
  if (wrong !== undefined)
    throw new PrimedError('REQUEST_INVALID', `path: ${path.slice(0, 100)} ${wrong}.`, { field: 'path' });
  // A bucket is all of it.
  return scheme === 's3://' && !path.slice(scheme.length).includes('/') ? `${path}/` : path;
}

export class Pins {
  readonly #paths: ReadonlySet<string>;
  readonly #hasFolders: boolean;

  constructor(paths: Iterable<string> = []) {
    this.#paths = new Set(paths);
    this.#hasFolders = [...this.#paths].some((path) => path.endsWith('/'));
  }

  get paths(): readonly string[] {
    return [...this.#paths];
  }

  /** Costs a look-up for each folder of the path. */
  covers(path: string): boolean {
    if (this.#paths.size === 0) return false;
    if (this.#paths.has(path)) return true;
    if (!this.#hasFolders) return false;
    for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1))
      if (this.#paths.has(path.slice(0, at + 1))) return true;
    return false;
  }
}

/** Rules with the numbers that they have in the index. Who holds it sees others at once when they are set. */
export class Retention {
  #byClass: ReadonlyMap<number, RetentionRule> = new Map();
  /** The longest prefix first. */
  #byLength: readonly { readonly rule: RetentionRule; readonly class: number }[] = [];
  pins: Pins;

  constructor(rules: ReadonlyMap<number, RetentionRule>, pins: Pins) {
    this.pins = pins;
    this.setRules(rules);
  }

  setRules(rules: ReadonlyMap<number, RetentionRule>): void {
    this.#byClass = rules;
    this.#byLength = Array.from(rules, ([number, rule]) => ({ rule, class: number })).sort(
      (a, b) => b.rule.prefix.length - a.rule.prefix.length,
    );
  }

  classOf(path: string): number {
    if (this.pins.covers(path)) return pinnedClass;
    for (const { rule, class: number } of this.#byLength)
      if (path.startsWith(rule.prefix)) return rule.pinned ? pinnedClass : number;
    return defaultClass;
  }

  rule(of: number): RetentionRule | undefined {
    return this.#byClass.get(of);
  }

  priorityOf(of: number): number {
    return this.#byClass.get(of)?.priority ?? 0;
  }

  /** Classes whose files expire. */
  *mortal(): Generator<{ readonly class: number; readonly ttlMs: number }> {
    for (const [number, { ttlMs, pinned }] of this.#byClass)
      if (ttlMs !== undefined && !pinned) yield { class: number, ttlMs };
  }

  /** Classes that may not have more than so many bytes. */
  *bounded(): Generator<{ readonly class: number; readonly quotaBytes: number }> {
    for (const [number, { quotaBytes, pinned }] of this.#byClass)
      if (quotaBytes !== undefined && !pinned) yield { class: number, quotaBytes };
  }
}
