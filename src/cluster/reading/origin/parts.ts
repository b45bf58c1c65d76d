/** Where parts of objects lie, as the origin said: of a version that never changes, so that it is asked once. */
import type { ManifestEntry, ObjectPart } from '../../../core/types.ts';

/** Parts that are remembered; about 300 B each. The one that was used longest ago goes first. */
const mostKept = 16_384;

export class Parts {
  readonly #ask: (version: ManifestEntry, number: number) => Promise<ObjectPart | undefined>;
  readonly #known = new Map<string, Promise<ObjectPart | undefined>>();

  /** @param ask undefined: the origin does not say */
  constructor(ask: (version: ManifestEntry, number: number) => Promise<ObjectPart | undefined>) {
    this.#ask = ask;
  }

  /** Rejects as the question does; then, and where the origin did not say, the next one asks again. */
  async of(version: ManifestEntry, number: number): Promise<ObjectPart | undefined> {
    const key = `${number} ${version.etag} ${version.versionId ?? ''} ${version.path}`;
    const asked = this.#known.get(key) ?? this.#ask(version, number);
    this.#known.delete(key);
    this.#known.set(key, asked);
    if (this.#known.size > mostKept) this.#known.delete(this.#known.keys().next().value!);
    let part: ObjectPart | undefined;
    try {
      part = await asked;
      return part;
    } finally {
      if (part === undefined && this.#known.get(key) === asked) this.#known.delete(key);
    }
  }
}
