/**
 * Does a store grow slow with use? It is filled and freed at mixed sizes for thousands of cycles, on the store's own
 * interface. Rates of the first and the last cycles lie minutes apart, and a shared machine drifts in minutes; so at the
 * end the aged store and a new one, equally full, take turns, and their ratio is the verdict.
 */
import { randomUUID } from 'node:crypto';
import { seededRandom } from '../../src/core/random.ts';
import type { LoadId, Log, RunId, UfsPath } from '../../src/core/types.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import { openStore, type Store } from '../../src/store/index.ts';
import { type FileToFill, Filler } from '../support/filler.ts';
import { figure, median, verdict } from '../support/results.ts';
import type { Context, Scenario } from '../support/scenario.ts';

const quiet: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const fullShare = 0.8;
const cycleBytes = 16 * MiB;
const smallest = 4 * KiB;
const largest = 32 * MiB;

export const cycles: Scenario = {
  summary: '2,000 cycles of filling and freeing a store at mixed sizes',
  async run(context) {
    const { quick, log } = context;
    const storeBytes = (quick ? 256 : 1024) * MiB;
    const cycleCount = quick ? 100 : 2000;
    const edge = Math.min(100, Math.floor(cycleCount / 4));
    const aging = await Aging.open(context, { storeBytes, seed: 1 });
    const first: Cycle[] = [];
    const last: Cycle[] = [];
    for (let cycle = 0; cycle < cycleCount; cycle += 1) {
      const done = await aging.cycle();
      if (cycle < edge) first.push(done);
      if (cycle >= cycleCount - edge) last.push(done);
      if ((cycle + 1) % Math.ceil(cycleCount / 4) === 0) log(`cycle ${cycle + 1} of ${cycleCount}`);
    }

    const fresh = await Aging.open(context, { storeBytes, seed: 2 });
    const pairs = { aged: [] as Cycle[], fresh: [] as Cycle[] };
    for (let cycle = 0; cycle < edge; cycle += 1) {
      // The same sizes for both, in the order that alternates too.
      const sizes = aging.nextSizes();
      const turns = [
        { store: aging, done: pairs.aged },
        { store: fresh, done: pairs.fresh },
      ];
      for (const { store, done } of cycle % 2 === 0 ? turns : turns.reverse()) done.push(await store.cycle(sizes));
    }
    await aging.close();
    await fresh.close();

    const ratio = median(pairs.aged.map((done, i) => done.rate / pairs.fresh[i]!.rate));
    const row = (name: string, done: readonly Cycle[]) => ({
      name,
      figures: {
        'write rate': figure('GiB/s', summary(done.map(({ rate }) => rate))),
        'bytes per write': figure('KiB', summary(done.map(({ writeBytes }) => writeBytes / KiB))),
      },
    });
    return {
      title: 'A store that is filled and freed over and over',
      about: `Each cycle removes files at random until a fifth of the store is free and writes about ${cycleBytes / MiB} MiB of new ones, of 4 KiB to 32 MiB (uniform in the logarithm). Timed are allocation, O_DIRECT writes, fdatasync and the durable index commit.`,
      parameters: { cycles: cycleCount, storeMiB: storeBytes / MiB, full: fullShare },
      rows: [
        row(`first ${edge} cycles`, first),
        row(`last ${edge} cycles`, last),
        row('aged store, in turns with a new one', pairs.aged),
        row('new store, in turns with the aged one', pairs.fresh),
      ],
      verdicts: [
        verdict(
          `Write rate after ${cycleCount.toLocaleString('en-US')} fill-and-free cycles, share of a new store's`,
          ratio,
          'x',
          'at least',
          0.9,
        ),
      ],
      notes: [
        `Rows hold the quartiles of their cycles; last over first: ${(median(last.map((c) => c.rate)) / median(first.map((c) => c.rate))).toFixed(2)}.`,
      ],
    };
  },
};

interface Cycle {
  /** GiB a second. */
  readonly rate: number;
  readonly writeBytes: number;
}

/** A hundred samples say no more in a table than their quartiles. */
function summary(values: readonly number[]): readonly number[] {
  const sorted = [...values].sort((a, b) => a - b);
  return [0.25, 0.5, 0.75].map((share) => sorted[Math.floor((sorted.length - 1) * share)]!);
}

/** A store at `fullShare`, and the files that are in it. */
class Aging {
  readonly #store: Store;
  readonly #filler: Filler;
  readonly #random: () => number;
  readonly #load = randomUUID() as LoadId;
  readonly #present: UfsPath[] = [];
  #made = 0;

  private constructor(store: Store, seed: number) {
    this.#store = store;
    this.#filler = new Filler(store);
    this.#random = seededRandom(seed);
  }

  static async open({ workspace }: Context, order: { storeBytes: number; seed: number }): Promise<Aging> {
    const store = await openStore({
      indexDir: workspace.folder('index'),
      stores: [{ dir: workspace.folder('store'), sizeBytes: order.storeBytes }],
      now: Date.now,
      log: quiet,
      ledgerFlushMs: 1000,
    });
    const aging = new Aging(store, order.seed);
    // Written to the brim once, so that no run meets blocks that the file system has not written before.
    while (store.usage().freeBytes > largest + cycleBytes) await aging.#fill(aging.nextSizes());
    return aging;
  }

  /** Sizes of about `cycleBytes` in all. */
  nextSizes(): readonly number[] {
    const sizes: number[] = [];
    for (let left = cycleBytes; left > 0; left -= sizes.at(-1)!) {
      sizes.push(Math.round(smallest * (largest / smallest) ** this.#random()));
    }
    return sizes;
  }

  async cycle(sizes: readonly number[] = this.nextSizes()): Promise<Cycle> {
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    const { capacityBytes } = this.#store.usage();
    const wanted = capacityBytes * (1 - fullShare) + bytes;
    while (this.#store.usage().freeBytes < wanted && this.#present.length > 0) {
      await Promise.all(Array.from({ length: 8 }, () => this.#removeOne()));
    }
    return this.#fill(sizes);
  }

  async close(): Promise<void> {
    await this.#filler.close();
    await this.#store.close();
  }

  async #fill(sizes: readonly number[]): Promise<Cycle> {
    const files: FileToFill[] = sizes.map((sizeBytes) => {
      this.#made += 1;
      return { path: `s3://bench/file-${this.#made}` as UfsPath, sizeBytes };
    });
    const startedAt = performance.now();
    const filled = await this.#filler.fill(randomUUID() as RunId, this.#load, files);
    const seconds = (performance.now() - startedAt) / 1000;
    this.#present.push(...files.map(({ path }) => path));
    return { rate: filled.bytes / 2 ** 30 / seconds, writeBytes: filled.bytes / filled.writes };
  }

  async #removeOne(): Promise<void> {
    const at = Math.floor(this.#random() * this.#present.length);
    const path = this.#present[at];
    if (path === undefined) return;
    this.#present[at] = this.#present.at(-1)!;
    this.#present.pop();
    await this.#store.remove(path);
  }
}
