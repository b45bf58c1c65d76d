/**
 * store by itself: the group commit under small objects, opening with a million blocks, and the allocator.
 * No object bytes are written: this is about everything but the write.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Bench } from 'tinybench';
import { GrainAllocator, type Runs, regionGrains } from '../../src/core/allocator.ts';
import { sliceExtents } from '../../src/core/part-plan.ts';
import { seededRandom } from '../../src/core/random.ts';
import type { LoadId, Log, RunId, UfsPath } from '../../src/core/types.ts';
import { alignBytes, KiB, MiB } from '../../src/core/units.ts';
import { openStore } from '../../src/store/index.ts';
import type { LandedPart, Store, StoreOptions } from '../../src/store/types.ts';
import { resultsDir } from '../support/workspace.ts';

export function suites(): readonly Bench[] {
  return [landBench(), openBench(), allocatorBench()];
}

const log: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const [run, load] = ['bench-run' as RunId, 'bench-load' as LoadId];
const batchObjects = 256;
const objectBytes = 16 * KiB;
/** A batch as the worker lands it: begun one by one, one allocation for the pack, landed together. */
const concurrentBatches = 4;

class Bed {
  readonly #dir: string;
  readonly #options: StoreOptions;
  store!: Store;
  #made = 0;

  constructor(sizeBytes: number) {
    mkdirSync(resultsDir, { recursive: true });
    this.#dir = mkdtempSync(join(resultsDir, 'store-bench-'));
    const stores = [{ dir: join(this.#dir, 'store'), sizeBytes }];
    this.#options = { indexDir: join(this.#dir, 'index'), stores, now: Date.now, log, ledgerFlushMs: 1000 };
  }

  async open(): Promise<void> {
    this.store = await openStore(this.#options);
  }

  async land(objects: number, sizeBytes: number): Promise<void> {
    const parts: LandedPart[] = [];
    const { store } = this;
    const extents = store.allocate(run, objects * sizeBytes);
    for (let i = 0; i < objects; i += 1) {
      const path = `s3://bench/objects/${String(this.#made).padStart(9, '0')}.jpg` as UfsPath;
      this.#made += 1;
      const etag = '9b2cf535f27731c974343645a3985328';
      const entry = { path, etag, sizeBytes, lastModifiedMs: 1_700_000_000_000 };
      const { fileId } = store.beginFile({ run, load, entry, reuse: 'load', partBytes: 8 * MiB });
      const own = sliceExtents(extents, i * sizeBytes, sizeBytes);
      parts.push({
        fileId,
        range: { offset: 0, length: sizeBytes },
        extents: own,
        pageChecksums: Uint32Array.of(i),
      });
    }
    store.account(run, { originBytes: objects * sizeBytes });
    await store.land(run, parts);
  }

  /** Makes room, outside what is measured. */
  async empty(): Promise<void> {
    await this.store.remove('s3://bench' as UfsPath);
  }

  async close(): Promise<void> {
    await this.store.close();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

function landBench(): Bench {
  const bench = new Bench({ name: 'lands', time: 0, iterations: 200, warmup: false });
  let bed: Bed;
  const hooks = {
    async: true,
    beforeAll: async () => {
      bed = new Bed(2048 * MiB);
      await bed.open();
      await bed.land(batchObjects, objectBytes);
    },
    beforeEach: async () => {
      if (bed.store.usage().freeBytes < 64 * MiB) await bed.empty();
    },
    afterAll: () => bed.close(),
  };
  const each = `${batchObjects} objects of ${objectBytes / KiB} KiB begun, allocated and landed durably`;
  bench.add(each, () => bed.land(batchObjects, objectBytes), hooks);
  bench.add(
    `${concurrentBatches} times ${each}, at once`,
    async () => {
      await Promise.all(Array.from({ length: concurrentBatches }, () => bed.land(batchObjects, objectBytes)));
    },
    hooks,
  );
  return bench;
}

const blocks = 1_000_000;

function openBench(): Bench {
  const bench = new Bench({ name: 'opening', time: 0, iterations: 5, warmup: false });
  let bed: Bed;
  bench.add(`a store with ${blocks.toLocaleString('en-US')} blocks opened`, () => bed.open(), {
    async: true,
    beforeAll: async () => {
      bed = new Bed(blocks * alignBytes + 64 * MiB);
      await bed.open();
      for (let made = 0; made < blocks; made += 2000) await bed.land(2000, alignBytes);
      await bed.store.close();
    },
    afterEach: () => bed.store.close(),
    afterAll: async () => {
      await bed.open();
      await bed.close();
    },
  });
  return bench;
}

function allocatorBench(): Bench {
  const bench = new Bench({ name: 'allocator', time: 300, warmupTime: 100 });
  const grains = 10_000_000;
  const make = (fill: (allocator: GrainAllocator, random: () => number) => void): (() => GrainAllocator) => {
    let made: GrainAllocator | undefined;
    return () => {
      if (made) return made;
      made = new GrainAllocator(grains);
      made.seal();
      fill(made, seededRandom(1));
      return made;
    };
  };
  const empty = make(() => {});
  /** Four fifths full of 16 KiB objects, of which a random fifth has left. */
  const aged = make((allocator, random) => {
    const held: Runs = [];
    while (allocator.freeGrains > regionGrains) held.push(...allocator.allocate(4)!);
    for (let i = 0; i < held.length; i += 2) if (random() < 0.2) allocator.free(held[i]!, held[i + 1]!);
  });
  const cycle = (allocator: GrainAllocator, wanted: number): void => {
    const runs = allocator.allocate(wanted)!;
    for (let i = 0; i < runs.length; i += 2) allocator.free(runs[i]!, runs[i + 1]!);
  };
  for (const [what, allocator] of [
    ['empty', empty],
    ['aged', aged],
  ] as const) {
    for (const bytes of [16 * KiB, 4 * MiB, 8 * MiB]) {
      const name = `${bytes / KiB} KiB allocated and freed, ${what} store of ${grains.toLocaleString('en-US')} grains`;
      bench.add(name, () => cycle(allocator(), bytes / alignBytes), { beforeAll: () => void allocator() });
    }
  }
  return bench;
}
