/** Ids of paths, in memory. */
import { pathId } from '../../src/core/path-id.ts';

export class MemoryIds {
  readonly #paths = new Map<string, string>();
  whole = true;

  add(path: string): void {
    this.#paths.set(pathId(path), path);
  }

  get(id: string): string | undefined {
    return this.#paths.get(id);
  }
}
