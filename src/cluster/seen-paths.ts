/**
 * Which paths one pass over an index file has named already: an index may name a file twice, or a file and the directory
 * that contains it. What was seen lies in the job store, about 50 B a path, and not in memory; it is written together
 * with the cursor behind it, so that a restart neither forgets a path nor takes it for a second naming.
 */
import { createHash } from 'node:crypto';
import type { FileFailure } from '../core/job.ts';
import type { ManifestEntry } from '../core/types.ts';
import type { JobStore } from './job-store.ts';

/** 120 bits: two paths of ten million are taken for one with a chance of 4e-23. */
const hashBytes = 15;

export type Pass = 'load' | `verify ${number}`;

export interface Named {
  readonly entries: readonly ManifestEntry[];
  readonly refused: readonly FileFailure[];
}

export class SeenPaths {
  readonly #isStored: (key: string) => boolean;
  readonly #pass: Pass;
  /** On their way to the store, where they are not to be read yet. */
  readonly #coming = new Set<string>();

  constructor(store: JobStore, number: number, pass: Pass) {
    this.#isStored = (key) => store.hasSeen(number, key);
    this.#pass = pass;
  }

  /** What is named for the first time, and the keys to store with it. They must be `stored` some time. */
  take({ entries, refused }: Named): Named & { readonly keys: readonly string[] } {
    const keys: string[] = [];
    const isNew = ({ path }: { readonly path: string }): boolean => {
      const key = this.#keyOf(path);
      if (this.#coming.has(key) || this.#isStored(key)) return false;
      this.#coming.add(key);
      keys.push(key);
      return true;
    };
    return { entries: entries.filter(isNew), refused: refused.filter(isNew), keys };
  }

  stored(keys: readonly string[]): void {
    for (const key of keys) this.#coming.delete(key);
  }

  #keyOf(path: string): string {
    const hash = createHash('sha256').update(path).digest();
    return `${this.#pass} ${hash.toString('base64url', 0, hashBytes)}`;
  }
}
