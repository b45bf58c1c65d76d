/**
 * What the origin has at a path now: one HEAD however many ask, whose answer counts for as long as each of them allows.
 *
 * An answer is as old as its request. So somebody who wants none older than his own question joins no HEAD that is under way:
 * he, and all who come while that one is, wait for the next.
 */
import { PrimedError } from '../../../core/errors.ts';
import { isYoung } from '../../../core/read-policy.ts';
import type { UfsPath } from '../../../core/types.ts';
import type { ObjectDetails } from '../../../origin/types.ts';

/** What the origin said. */
export interface Seen {
  /** Undefined: there is no such object. */
  readonly object: ObjectDetails | undefined;
  /** When it was asked, monotonic. */
  readonly askedAtMs: number;
}

export interface VersionsOptions {
  /** Rejects with ORIGIN_NOT_FOUND where there is no such object. */
  readonly ask: (path: UfsPath, maxAgeMs: number) => Promise<Seen>;
  readonly now: () => number;
}

/** Answers that are remembered; about 500 B each. The one that was used longest ago goes first. */
const mostKept = 65_536;
/** An origin that failed is asked about the same path once in so long. */
const againMs = 2_000;
/** So long nobody waits for that: he is told of the failure before, until an answer comes. */
const failureMs = 30_000;
/** Where nothing says how old an answer may be: long enough for the requests of one reader. */
const usualMaxAgeMs = 60_000;
/** That there is nothing is believed for less long: it may be written any moment. */
const absentMaxAgeMs = 1_000;

interface Asking {
  readonly atMs: number;
  readonly answer: Promise<Seen>;
  /** The HEAD after this one. */
  next: Promise<Seen> | undefined;
}

export class Versions {
  readonly #options: VersionsOptions;
  readonly #seen = new Map<UfsPath, Seen>();
  readonly #asking = new Map<UfsPath, Asking>();
  readonly #failed = new Map<UfsPath, { readonly atMs: number; readonly error: PrimedError }>();

  constructor(options: VersionsOptions) {
    this.#options = options;
  }

  /** What is known and young enough. */
  known(path: UfsPath, maxAgeMs: number | undefined): Seen | undefined {
    const seen = this.#seen.get(path);
    if (seen === undefined) return undefined;
    const limitMs = maxAgeMs ?? usualMaxAgeMs;
    const allowed = seen.object === undefined ? Math.min(limitMs, absentMaxAgeMs) : limitMs;
    if (!isYoung(seen.askedAtMs, allowed, this.#options.now())) return undefined;
    this.#seen.delete(path);
    this.#seen.set(path, seen);
    return seen;
  }

  /** Rejects with ORIGIN_*, for everything but that there is no such object. */
  async at(path: UfsPath, maxAgeMs: number | undefined): Promise<Seen> {
    const known = this.known(path, maxAgeMs);
    if (known !== undefined) return known;
    const limitMs = maxAgeMs ?? usualMaxAgeMs;
    const failed = this.#failed.get(path);
    const sinceMs = failed === undefined ? Number.POSITIVE_INFINITY : this.#options.now() - failed.atMs;
    if (failed === undefined || sinceMs > failureMs) return this.#join(path, limitMs);
    if (sinceMs > againMs && !this.#asking.has(path)) this.#begin(path, limitMs).catch(() => undefined);
    throw failed.error;
  }

  /** What is known of it has been seen to be wrong. */
  forget(path: UfsPath): void {
    this.#seen.delete(path);
  }

  #join(path: UfsPath, maxAgeMs: number): Promise<Seen> {
    const current = this.#asking.get(path);
    if (current === undefined) return this.#begin(path, maxAgeMs);
    if (isYoung(current.atMs, maxAgeMs, this.#options.now())) return current.answer;
    const begin = (): Promise<Seen> => this.#begin(path, maxAgeMs);
    current.next ??= current.answer.then(begin, begin);
    return current.next;
  }

  #begin(path: UfsPath, maxAgeMs: number): Promise<Seen> {
    const asking: Asking = { atMs: this.#options.now(), answer: this.#ask(path, maxAgeMs), next: undefined };
    this.#asking.set(path, asking);
    const ended = (): void => {
      if (this.#asking.get(path) === asking) this.#asking.delete(path);
    };
    asking.answer.then(ended, ended);
    return asking.answer;
  }

  async #ask(path: UfsPath, maxAgeMs: number): Promise<Seen> {
    try {
      const seen = await this.#options.ask(path, maxAgeMs);
      this.#failed.delete(path);
      this.#keep(this.#seen, path, seen);
      return seen;
    } catch (error) {
      if (error instanceof PrimedError) this.#keep(this.#failed, path, { atMs: this.#options.now(), error });
      throw error;
    }
  }

  #keep<T>(map: Map<UfsPath, T>, path: UfsPath, value: T): void {
    map.delete(path);
    map.set(path, value);
    if (map.size > mostKept) map.delete(map.keys().next().value!);
  }
}
