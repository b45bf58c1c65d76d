/**
 * Writes files through a store as a worker does, without an origin: parts of large files one by one, small files packed
 * into one write, O_DIRECT by the disk queue, several writes in flight, then landed. The bytes are not random: a store
 * does not look at them.
 */
import { closeSync } from 'node:fs';
import { sliceExtents } from '../../src/core/part-plan.ts';
import type { Extent, LoadId, RunId, UfsPath } from '../../src/core/types.ts';
import { alignUp, defaultPartBytes, MiB, pageBytes } from '../../src/core/units.ts';
import { makeAligned, openDirect, openDiskQueue } from '../../src/platform/index.ts';
import type { LandedPart, Store } from '../../src/store/types.ts';

/** As the worker packs: a write of small files holds this much at most, and files up to this size count as small. */
const packBytes = 4 * MiB;
const smallBytes = MiB;
const writesInFlight = 64;

export interface FileToFill {
  readonly path: UfsPath;
  readonly sizeBytes: number;
}

export interface Filled {
  readonly bytes: number;
  /** Separate writes that were needed: how fragmented the free space was. */
  readonly writes: number;
}

interface Piece {
  readonly part: Omit<LandedPart, 'extents'>;
  readonly offset: number;
}

interface Unit {
  readonly pieces: Piece[];
  bytes: number;
}

export class Filler {
  readonly #store: Store;
  readonly #memory = makeAligned(defaultPartBytes);
  readonly #descriptors: readonly number[];
  readonly #waiting: (() => void)[] = [];
  readonly #done: ((result: number) => void)[] = [];
  readonly #free = Array.from({ length: writesInFlight }, (_, token) => token);
  readonly #queue = openDiskQueue({
    engine: 'auto',
    depth: writesInFlight,
    onCompletions: (count, tokens, results) => {
      for (let i = 0; i < count; i += 1) {
        const token = tokens[i]!;
        this.#done[token]!(results[i]!);
        this.#free.push(token);
        this.#waiting.shift()?.();
      }
    },
  });

  constructor(store: Store) {
    this.#store = store;
    this.#descriptors = store.files.map((file) => openDirect(file.path, { write: true }).fd);
  }

  /** Makes the files complete and durable. `write: false` leaves their space as it is and makes only the index. */
  async fill(
    run: RunId,
    load: LoadId,
    files: readonly FileToFill[],
    options: { write: boolean } = { write: true },
  ): Promise<Filled> {
    this.#store.reserve(
      run,
      files.reduce((sum, file) => sum + alignUp(file.sizeBytes), 0),
    );
    let writes = 0;
    const landed = await Promise.all(
      this.#plan(run, load, files).map(async (unit) => {
        const extents = this.#store.allocate(run, unit.bytes);
        writes += extents.length;
        if (options.write) await this.#write(extents);
        return unit.pieces.map(({ part, offset }) => ({
          ...part,
          extents: sliceExtents(extents, offset, alignUp(part.range.length)),
        }));
      }),
    );
    await this.#store.land(run, landed.flat());
    this.#store.unreserve(run);
    return { bytes: files.reduce((sum, file) => sum + file.sizeBytes, 0), writes };
  }

  async close(): Promise<void> {
    await this.#queue.close();
    for (const fd of this.#descriptors) closeSync(fd);
  }

  #plan(run: RunId, load: LoadId, files: readonly FileToFill[]): readonly Unit[] {
    const units: Unit[] = [];
    let pack: Unit | undefined;
    for (const { path, sizeBytes } of files) {
      const entry = { path, sizeBytes, etag: 'filled', lastModifiedMs: 0 };
      const begun = this.#store.beginFile({ run, load, entry, reuse: 'load', partBytes: defaultPartBytes });
      if (begun.state === 'complete') throw new Error(`${path} is in the store already`);
      for (const range of begun.missing) {
        const isSmall = range.length <= smallBytes;
        if (!isSmall || pack === undefined || pack.bytes + alignUp(range.length) > packBytes) {
          const unit: Unit = { pieces: [], bytes: 0 };
          units.push(unit);
          if (isSmall) pack = unit;
          this.#add(unit, begun.fileId, range);
        } else this.#add(pack, begun.fileId, range);
      }
    }
    return units;
  }

  #add(unit: Unit, fileId: LandedPart['fileId'], range: LandedPart['range']): void {
    const pageChecksums = new Uint32Array(Math.ceil(range.length / pageBytes));
    unit.pieces.push({ part: { fileId, range, pageChecksums }, offset: unit.bytes });
    unit.bytes += alignUp(range.length);
  }

  async #write(extents: readonly Extent[]): Promise<void> {
    let offset = 0;
    const pending: Promise<void>[] = [];
    for (const extent of extents) {
      pending.push(this.#writeOne(extent, offset));
      offset += extent.length;
    }
    await Promise.all(pending);
  }

  async #writeOne(extent: Extent, offset: number): Promise<void> {
    while (this.#free.length === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    const token = this.#free.pop()!;
    const result = await new Promise<number>((resolve) => {
      this.#done[token] = resolve;
      const fd = this.#descriptors[extent.store]!;
      this.#queue.write({ fd, buffer: this.#memory, offset, length: extent.length, fileOffset: extent.offset, token });
      this.#queue.submit();
    });
    if (result !== extent.length) throw new Error(`a write of ${extent.length} bytes answered ${result}`);
  }
}
