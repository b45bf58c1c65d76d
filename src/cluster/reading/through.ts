/**
 * A file that is read with the origin behind it: what workers have of its version is read from them, everything else through the
 * owner of its segment from the origin. To `stream` the origin is one more holder, which has everything and comes last.
 *
 * The first byte is there before the head of the answer is sent: so a version that the origin has no more is found out while
 * another can still be taken for it. Afterwards a change ends the answer, for bytes of two versions are never in one.
 */
import { PrimedError } from '../../core/errors.ts';
import { type HeldFile, type HeldVersion, type Holding, isWhole } from '../../core/holdings.ts';
import type { Peer } from '../../core/peers.ts';
import {
  type ByteRange,
  type LoadId,
  type ManifestEntry,
  type ObjectVersion,
  sameVersion,
  type UfsPath,
} from '../../core/types.ts';
import { alignDown } from '../../core/units.ts';
import type { ObjectDetails } from '../../origin/types.ts';
import type { Found, FoundFile, OpenedFile } from './found.ts';
import type { Located } from './located.ts';
import type { OriginReads } from './origin/reads.ts';

/** What the origin is called among the holders of a file: no id of a worker. */
export const atOrigin = '//origin';

export interface ThroughOptions {
  readonly located: Located;
  readonly origin: OriginReads;
  /** From whoever has it, the origin last. */
  readonly stream: (file: HeldFile, range: ByteRange) => AsyncGenerator<Uint8Array>;
  readonly elsewhere: (file: HeldFile, range: ByteRange) => Peer | undefined;
  /** As it is shown: what is not cached of it is as good as there. */
  readonly shownOf: (version: HeldVersion) => FoundFile;
}

/**
 * The origin as a holder of what is wanted: everything, cut where placement cuts, for each segment is another one's. Not of the
 * whole object: it is asked for at each piece, and one of terabytes has very many segments.
 */
export function originHolding({ sizeBytes }: ObjectVersion, segmentBytes: number, wanted: ByteRange): Holding {
  const ranges: ByteRange[] = [];
  const end = Math.min(sizeBytes, wanted.offset + wanted.length);
  for (let offset = alignDown(wanted.offset, segmentBytes); offset < end; offset += segmentBytes)
    ranges.push({ offset, length: Math.min(segmentBytes, sizeBytes - offset) });
  return { holder: atOrigin, ranges };
}

/** A version that only the origin is known to have. */
export function heldAtOrigin(
  version: ManifestEntry & { readonly attributes?: string },
  segmentBytes: number,
): HeldFile {
  const { path, etag, sizeBytes, lastModifiedMs, versionId, attributes = '' } = version;
  const known = { path, etag, sizeBytes, lastModifiedMs, attributes, state: 'partial', cachedAtMs: 0 } as const;
  return { ...known, loadId: '' as LoadId, segmentBytes, ranges: [], ...(versionId && { versionId }) };
}

function unheld(object: ObjectDetails, segmentBytes: number): HeldVersion {
  return { file: heldAtOrigin(object, segmentBytes), shown: true, holdings: [], ranges: [] };
}

/**
 * @param version what is to be read
 * @param confirmed whether the origin is known to have it; else it is asked as soon as it is needed
 */
export function foundThrough(version: HeldVersion, confirmed: boolean, options: ThroughOptions): Found {
  const { located, origin, shownOf } = options;
  const { file } = version;
  const shown = shownOf(version);
  return {
    file: shown,
    settled: async () => {
      const whole = { offset: 0, length: file.sizeBytes };
      if (confirmed || isWhole(version) || (await located.coverSoon(file, whole)).length === 0) return shown;
      const object = await origin.version(file.path);
      if (object === undefined) throw absent(file.path);
      return shownOf(unheld(object, origin.segmentBytes));
    },
    open: () => new ThroughFile(version, confirmed, options),
  };
}

interface Begun {
  readonly range: ByteRange;
  readonly rest: AsyncGenerator<Uint8Array>;
  readonly first: Uint8Array;
}

class ThroughFile implements OpenedFile {
  readonly #options: ThroughOptions;
  #version: HeldFile;
  #file: FoundFile;
  #confirmed: boolean;
  #begun: Begun | undefined;

  constructor(version: HeldVersion, confirmed: boolean, options: ThroughOptions) {
    this.#options = options;
    this.#version = version.file;
    this.#file = options.shownOf(version);
    this.#confirmed = confirmed;
  }

  get file(): FoundFile {
    return this.#file;
  }

  async prepare(range: ByteRange): Promise<boolean> {
    const { located, origin, stream } = this.#options;
    const { path } = this.#version;
    this.close();
    if (range.length === 0 || (await located.coverSoon(this.#version, range)).length === 0) return true;
    if (!this.#confirmed) {
      if (await this.#takeCurrent()) return false;
    }
    const rest = stream(this.#version, range);
    try {
      const { value: first, done } = await rest.next();
      if (done === true) throw new PrimedError('INTERNAL', `${path}: nothing came of ${range.length} bytes`);
      this.#begun = { range, rest, first };
      return true;
    } catch (error) {
      if (!(error instanceof PrimedError) || (error.code !== 'ORIGIN_CHANGED' && error.code !== 'ORIGIN_NOT_FOUND'))
        throw error;
      origin.forget(path);
      await this.#takeCurrent();
      return false;
    }
  }

  /** Throws FILE_NOT_CACHED where the origin has no such object any more. Resolves with whether it is another version. */
  async #takeCurrent(): Promise<boolean> {
    const { origin } = this.#options;
    const { path } = this.#version;
    const object = await origin.version(path);
    if (object === undefined) throw absent(path);
    this.#confirmed = true;
    if (sameVersion(object, this.#version)) return false;
    const version = unheld(object, origin.segmentBytes);
    this.#version = version.file;
    this.#file = this.#options.shownOf(version);
    return true;
  }

  elsewhere(range: ByteRange): Peer | undefined {
    return this.#options.elsewhere(this.#version, range);
  }

  read(range: ByteRange): AsyncIterable<Uint8Array> {
    const begun = this.#begun;
    this.#begun = undefined;
    if (begun?.range === range || (begun?.range.offset === range.offset && begun.range.length === range.length))
      return continued(begun);
    void begun?.rest.return(undefined);
    return this.#options.stream(this.#version, range);
  }

  close(): void {
    void this.#begun?.rest.return(undefined).catch(() => undefined);
    this.#begun = undefined;
  }
}

function absent(path: UfsPath): PrimedError {
  return new PrimedError('FILE_NOT_CACHED', `${path} is at the origin no more.`, { path });
}

/** What has begun is ended by whoever has it, also where nothing more of it is read. */
function continued({ first, rest }: Begun): AsyncIterable<Uint8Array> {
  return {
    [Symbol.asyncIterator]() {
      let given = false;
      return {
        next(): Promise<IteratorResult<Uint8Array>> {
          if (given) return rest.next();
          given = true;
          return Promise.resolve({ done: false, value: first });
        },
        return: () => rest.return(undefined),
      };
    },
  };
}
