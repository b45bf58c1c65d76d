/**
 * The store against a reference model: random operations, with crashes after which only what was synced survives.
 *
 * Every command makes one commit at most, so a crash before the commit leaves the state before the command and one after
 * it the state behind it; there is nothing between. Failures print a seed and a path that fast-check replays.
 */
import fc from 'fast-check';
import { afterEach, expect, test, vi } from 'vitest';
import {
  type ByteRange,
  emptyLedger,
  type FileId,
  type LoadId,
  type ManifestEntry,
  type RunId,
} from '../../src/core/types.ts';
import { alignUp, MiB, pageBytes } from '../../src/core/units.ts';
import { pageChecksums } from '../../src/platform/index.ts';
import type { LandedPart, OpenFile } from '../../src/store/types.ts';
import { CrashingStore, type CrashPoint } from '../support/crashing-store.ts';
import { contentOf, entry, makeFixture, path } from '../support/store-fixture.ts';
import { bytesOfPages, fetchedBy, isShown, type ModelFile, pageCountOf, StoreModel } from '../support/store-model.ts';

const names = ['d/a', 'd/b', 'd/c', 'e/a', 'e/b'];
const sizes = [0, 100, 4096, MiB, MiB + 1, 2 * MiB + 5000, 4 * MiB, 5 * MiB + 5000];
/** Those of few pages: several objects of each have room. */
const small = 6;
const runs = ['run-1', 'run-2'] as RunId[];
const loads = ['load-1', 'load-2'] as LoadId[];

const name = fc.nat(names.length - 1);
/** In four of five. */
const likely = fc.nat(4).map((draw) => draw > 0);
const points = ['before sync', 'before commit', 'in commit', 'after commit'] as const;
/** In one command of six. */
const crash: fc.Arbitrary<CrashPoint | undefined> = fc.oneof(
  { arbitrary: fc.constant(undefined), weight: 5 },
  { arbitrary: fc.constantFrom(...points), weight: 1 },
);
const command = fc.oneof(
  {
    arbitrary: fc.record({
      kind: fc.constant('load' as const),
      name,
      /** Of the version that is there, if one is. */
      known: likely,
      size: fc.nat(small - 1),
      run: fc.nat(1),
      load: fc.nat(1),
      reuse: fc.constantFrom('any' as const, 'load' as const),
      /** First page and number of pages of each part that lands, as shares of the file. */
      parts: fc.array(fc.tuple(fc.nat(99), fc.nat(99)), { maxLength: 4 }),
      /** Whatever is missing of what is asked for. */
      all: fc.boolean(),
      /** What is asked for, as shares of the file; null: all of it. */
      range: fc.option(fc.tuple(fc.nat(99), fc.nat(99))),
      /** What has landed is shown by the same commit. */
      show: fc.boolean(),
      leave: fc.boolean(),
      lostBytes: fc.nat(5000),
      crash,
    }),
    weight: 10,
  },
  { arbitrary: fc.record({ kind: fc.constant('abandon' as const), name, late: fc.boolean(), crash }), weight: 2 },
  {
    arbitrary: fc.record({
      kind: fc.constant('metadata' as const),
      name,
      size: fc.nat(small - 1),
      load: fc.nat(1),
      crash,
    }),
    weight: 2,
  },
  {
    arbitrary: fc.record({
      kind: fc.constant('show' as const),
      name,
      known: likely,
      size: fc.nat(small - 1),
      crash,
    }),
    weight: 4,
  },
  {
    arbitrary: fc.record({ kind: fc.constant('remove' as const), at: fc.constantFrom('d', 'd/a', 'd/b', 'e', 'e/') }),
    weight: 2,
  },
  /** Room for so many percent of the stores. */
  {
    arbitrary: fc.record({ kind: fc.constant('evict' as const), share: fc.integer({ min: 85, max: 105 }), crash }),
    weight: 6,
  },
  { arbitrary: fc.record({ kind: fc.constant('hold' as const), name }), weight: 3 },
  { arbitrary: fc.record({ kind: fc.constant('release' as const) }), weight: 1 },
  { arbitrary: fc.record({ kind: fc.constant('overwrite' as const) }), weight: 1 },
  { arbitrary: fc.record({ kind: fc.constant('reopen' as const) }), weight: 1 },
  { arbitrary: fc.record({ kind: fc.constant('crash' as const) }), weight: 1 },
);
type Command = typeof command extends fc.Arbitrary<infer T> ? T : never;
/** All about one path, two large versions, and single pages of them: so that they are seldom whole. */
const narrow = command.map((step): Command => {
  const one = { ...step, ...('name' in step && { name: 0 }), ...('size' in step && { size: small + (step.size % 2) }) };
  if (one.kind !== 'load') return one as Command;
  return { ...one, all: false, parts: one.parts.map(([from]) => [from, 0] as [number, number]).slice(0, 2) };
});

/** How often each kind of crash fired, over all runs of the property. */
const fired = new Map<string, number>();
/** How often a file was seen in part, and how often it was added to then. */
const seenInPart = { visible: 0, added: 0 };
let grainsLost = 0;
let evicted = 0;

class Scene {
  model = new StoreModel();
  readonly #crashing: CrashingStore;
  /** Readers that are kept open, with the bytes they must go on seeing. */
  #held: { file: OpenFile; id: FileId; held: ModelFile; bytesOnDisk: number }[] = [];

  constructor(crashing: CrashingStore) {
    this.#crashing = crashing;
  }

  get #store(): CrashingStore['store'] {
    return this.#crashing.store;
  }

  async run(step: Command): Promise<void> {
    switch (step.kind) {
      case 'load':
        return this.#load(step);
      case 'abandon':
        return this.#abandon(step);
      case 'metadata': {
        const object = entry(names[step.name]!, sizes[step.size]!, `v${step.size}`);
        const next = this.model.clone();
        next.putMetadata(object, loads[step.load]!);
        return this.#commit(step.crash, next, () => [this.#store.putMetadata(loads[step.load]!, [object])]);
      }
      case 'show': {
        const object = this.#objectOf(step);
        const next = this.model.clone();
        if (next.loading.get(object.path)?.entry.etag === object.etag) next.show(object.path);
        return this.#commit(step.crash, next, () => [this.#store.show(object)]);
      }
      case 'remove':
        return this.#remove(step.at);
      case 'evict':
        return this.#evict(step);
      case 'hold': {
        const held = this.model.visible.get(path(names[step.name]!));
        if (held === undefined || held.state === 'metadata') return;
        const file = this.#store.open(held.entry.path);
        this.#held.push({ file, id: file.record.fileId, held, bytesOnDisk: this.#bytesOnDisk(held.entry.path) });
        return;
      }
      case 'release':
        return this.#release();
      case 'reopen':
        await this.#release();
        await this.#crashing.reopen();
        this.model = this.model.restarted();
        return;
      case 'overwrite':
        this.#crashing.overwriteFreeSpace();
        return this.checkBytes();
      case 'crash':
        // Lanes are writing when it happens.
        this.#crashing.overwriteFreeSpace();
        return this.#crashed(this.model);
    }
  }

  #objectOf(step: { name: number; size: number; known: boolean }): ManifestEntry {
    const object = entry(names[step.name]!, sizes[step.size]!, `v${step.size}`);
    const there = this.model.loading.get(object.path) ?? this.model.visible.get(object.path);
    return step.known && there ? there.entry : object;
  }

  async #load(step: Extract<Command, { kind: 'load' }>): Promise<void> {
    const object = this.#objectOf(step);
    const [run, load] = [runs[step.run]!, loads[step.load]!];
    const next = this.model.clone();
    const expected = next.begin(object, load, step.reuse);
    if (step.crash) this.#crashing.arm(step.crash);
    const range = rangeOf(object, step.range);
    const begun = this.#store.beginFile({ run, load, entry: object, reuse: step.reuse, partBytes: 2 * MiB, range });
    expect(begun.state).toBe(expected === 'complete' ? 'complete' : 'loading');
    const pending: Promise<unknown>[] = [];
    const complete: boolean[] = [];
    if (begun.state === 'loading') {
      const missingBytes = begun.missing.reduce((sum, { length }) => sum + length, 0);
      const pages = next.loading.get(object.path)!.pages;
      const wanted = pagesOfRange(range);
      expect(missingBytes).toBe(
        bytesOfPages(
          object,
          wanted.filter((page) => !pages.has(page)),
        ),
      );
      for (const who of runs.map((one) => ({ run: one, load })))
        expect(this.#store.cachedRange(who, object, range)).toMatchObject(next.cached(who, object, wanted));
      const { own, ownBytes } = begun;
      expect({ own, ownBytes }).toEqual(fetchedBy(run, next.loading.get(object.path)!, wanted));
      const count = pageCountOf(object);
      const ranges = step.all
        ? begun.missing.map(({ offset, length }) => [offset / pageBytes, Math.ceil(length / pageBytes)] as const)
        : [];
      for (const [from, share] of count > 0 ? step.parts : []) {
        const first = Math.floor((from / 100) * count);
        ranges.push([first, 1 + Math.floor((share / 100) * (count - first))]);
      }
      for (const [first, pagesOfPart] of ranges) {
        const part = this.#write(run, begun.fileId, object, first, pagesOfPart);
        this.#store.account(run, { originBytes: part.range.length });
        next.ledger(run).originBytes += part.range.length;
        const whole = next.land(run, object, first, pagesOfPart);
        complete.push(whole);
        pending.push(this.#store.land(run, [part]).then((ids) => expect(ids).toEqual(whole ? [begun.fileId] : [])));
      }
      if (step.show) {
        next.show(object.path);
        pending.push(this.#store.show(object));
      }
      if (object.sizeBytes === 0) {
        next.complete(object.path, run);
        pending.push(this.#store.completeEmpty(run, begun.fileId));
      }
    }
    this.#store.account(run, { originBytes: step.lostBytes });
    next.ledger(run).originBytes += step.lostBytes;
    await this.#commit(step.crash, next, () => [...pending, this.#store.flush()]);
    if (!step.crash && step.leave) this.#leave();
  }

  /** All runs end: what is begun with nothing landed is forgotten, as by a restart. */
  #leave(): void {
    for (const user of runs) this.#store.unreserve(user);
    for (const [at, file] of this.model.loading)
      if (file.pages.size === 0 || isShown(file)) this.model.loading.delete(at);
  }

  /** The clock stands still: who came first goes first. No run is at work on anything. */
  async #evict(step: Extract<Command, { kind: 'evict' }>): Promise<void> {
    this.#leave();
    const { capacityBytes, freeBytes, evictableBytes } = this.#store.usage();
    const wantedBytes = alignUp(Math.floor((capacityBytes * step.share) / 100));
    const read = new Set(this.#held.map(({ id }) => id));
    const candidates = [...this.#store.list({ prefix: '' })]
      .filter(({ fileId, state }) => state !== 'metadata' && !read.has(fileId))
      .sort((a, b) => a.fileId - b.fileId);
    const next = this.model.clone();
    let [files, bytes, short] = [0, 0, wantedBytes - freeBytes];
    // Then what is half loaded would go as well, in a commit of its own.
    const mostBytes = candidates.reduce((sum, { cachedBytes }) => sum + alignUp(cachedBytes), 0);
    if (this.model.loading.size > 0 && short > mostBytes) return;
    for (const record of short > evictableBytes ? [] : candidates) {
      if (short <= 0) break;
      next.withdraw(record.path);
      files++;
      bytes += record.cachedBytes;
      short -= alignUp(record.cachedBytes);
    }
    evicted += files;
    const room = 'room' as RunId;
    const crash = files > 0 ? step.crash : undefined;
    await this.#commit(crash, next, () => [
      this.#store.reserveMore(room, wantedBytes).then(
        (went) => expect(went).toEqual({ files, bytes }),
        (error) => {
          if (error.code !== 'STORE_NO_ROOM') throw error;
          expect(short).toBeGreaterThan(0);
        },
      ),
    ]);
    this.#store.unreserve(room);
  }

  async #abandon(step: Extract<Command, { kind: 'abandon' }>): Promise<void> {
    const loading = this.model.loading.get(path(names[step.name]!));
    if (!loading || isShown(loading)) return;
    const { path: at } = loading.entry;
    const record = [...this.#store.list({ prefix: at, includeLoading: true })].find(
      ({ state }) => state === 'loading',
    )!;
    const next = this.model.clone();
    next.abandon(at, 'failed');
    await this.#commit(step.crash, next, () => {
      const late =
        step.late && loading.entry.sizeBytes > 0 ? [this.#write(runs[1]!, record.fileId, loading.entry, 0, 1)] : [];
      const abandoned = this.#store.abandonFile(record.fileId, 'failed');
      for (const part of late) {
        this.#store.account(runs[1]!, { originBytes: part.range.length });
        next.ledger(runs[1]!).originBytes += part.range.length;
        if (loading.reopened) next.land(runs[1]!, loading.entry, 0, 1);
        else next.ledger(runs[1]!).discardedBytes.failed += part.range.length;
      }
      return [abandoned, this.#store.land(runs[1]!, late)];
    });
  }

  async #remove(at: string): Promise<void> {
    const prefix = path(at);
    const folder = prefix.endsWith('/') ? prefix : `${prefix}/`;
    const below = (candidate: string): boolean => candidate === prefix || candidate.startsWith(folder);
    const { visible, loading } = this.model;
    let bytes = 0;
    const found = new Set<string>();
    for (const [candidate, file] of visible) {
      if (!below(candidate)) continue;
      found.add(candidate);
      // What is being added to it has its bytes too.
      if (loading.get(candidate)?.reopened !== true) bytes += cachedBytesOf(file);
    }
    for (const [candidate, file] of loading) {
      if (!below(candidate)) continue;
      found.add(candidate);
      bytes += bytesOfPages(file.entry, file.pages.keys());
    }
    const files = found.size;
    for (const candidate of [...loading.keys()].filter(below)) this.model.abandon(candidate, 'stopped');
    for (const candidate of [...visible.keys()].filter(below)) this.model.withdraw(candidate);
    expect(await this.#store.free({ path: prefix, dryRun: true })).toEqual({ files, bytes });
    expect(await this.#store.remove(prefix)).toEqual({ files, bytes });
  }

  #write(run: RunId, fileId: FileId, object: ManifestEntry, first: number, count: number): LandedPart {
    const offset = first * pageBytes;
    const bytes = Buffer.from(contentOf(object).subarray(offset, offset + count * pageBytes));
    const extents = this.#store.allocate(run, bytes.length);
    this.#crashing.write(extents, bytes);
    const checksums = new Uint32Array(Math.ceil(bytes.length / pageBytes));
    pageChecksums(bytes, 0, bytes.length, checksums, 0);
    return { fileId, range: { offset, length: bytes.length }, extents, pageChecksums: checksums };
  }

  /** Carries out what becomes one commit, or dies in it. */
  async #commit(point: CrashPoint | undefined, next: StoreModel, act: () => Promise<unknown>[]): Promise<void> {
    if (point) this.#crashing.arm(point);
    const results = await Promise.allSettled(act());
    const failures = results.filter((result) => result.status === 'rejected');
    if (!point) {
      expect(failures).toEqual([]);
      this.model = next;
      return;
    }
    expect(failures.length, 'the crash that was armed has fired').toBe(results.length);
    await this.#crashed(point === 'after commit' ? next : this.model);
  }

  async #crashed(durable: StoreModel): Promise<void> {
    await this.#release();
    await this.#crashing.crash();
    this.model = durable.restarted();
  }

  async #release(): Promise<void> {
    for (const { file, held } of this.#held) {
      await this.#compare(file, held);
      file.close();
    }
    this.#held = [];
  }

  async #compare(file: OpenFile, { entry: object, state, pages }: ModelFile): Promise<void> {
    const content = contentOf(object);
    const here =
      state === 'complete' ? Array.from({ length: pageCountOf(object) }, (_, page) => page) : [...pages.keys()];
    for (const page of here) {
      const offset = page * pageBytes;
      const range = { offset, length: Math.min(pageBytes, object.sizeBytes - offset) };
      for await (const piece of file.read(range)) {
        const same = content.subarray(offset, offset + range.length).equals(piece);
        expect(same, `page ${page} of ${object.path} ${object.etag}`).toBe(true);
      }
    }
    if (here.length < pageCountOf(object) && file.record.cachedBytes === bytesOfPages(object, pages.keys())) {
      const missing = Array.from({ length: pageCountOf(object) }, (_, page) => page).find((page) => !pages.has(page))!;
      const reading = file
        .read({ offset: missing * pageBytes, length: 1 })
        [Symbol.asyncIterator]()
        .next();
      const outcome = await reading.then(
        ({ value }) => (value as Uint8Array)[0] === content[missing * pageBytes],
        (error) => error.code === 'FILE_NOT_CACHED',
      );
      expect(outcome, `page ${missing} of ${object.path}, which is not here or was added`).toBe(true);
    }
  }

  /** Of the version that is visible at a path, with what is being added to it. */
  #bytesOnDisk(at: string): number {
    const only = new StoreModel();
    only.visible.set(at, this.model.visible.get(at)!);
    const adding = this.model.loading.get(at);
    if (adding?.reopened) only.loading.set(at, adding);
    return only.usedBytes();
  }

  /** Everything that can be seen of the store is what the model says. */
  async check(): Promise<void> {
    const { model } = this;
    const seen = [...this.#store.list({ prefix: '', includeLoading: true })];
    const visible = seen.filter(({ state }) => state !== 'loading');
    expect(
      visible.map(({ path: at, etag, sizeBytes, state, loadId, cachedBytes }) => ({
        at,
        etag,
        sizeBytes,
        state,
        loadId,
        cachedBytes,
      })),
    ).toEqual(
      [...model.visible.values()]
        .map(({ entry: { path: at, etag, sizeBytes }, state, load: loadId }) => ({
          at,
          etag,
          sizeBytes,
          state,
          loadId,
          cachedBytes: cachedBytesOf(model.visible.get(at)!),
        }))
        .sort((a, b) => (a.at < b.at ? -1 : 1)),
    );
    expect(
      seen.filter(({ state }) => state === 'loading').map(({ path: at, etag, loadId }) => ({ at, etag, loadId })),
    ).toEqual(
      [...model.loading.values()]
        .filter((file) => !isShown(file))
        .map(({ entry: { path: at, etag }, load: loadId }) => ({ at, etag, loadId }))
        .sort((a, b) => (a.at < b.at ? -1 : 1)),
    );
    const retired = new Map<FileId, number>();
    for (const reader of this.#held) {
      const { path: at } = reader.held.entry;
      if (this.#store.stat(at)?.fileId !== reader.id) retired.set(reader.id, reader.bytesOnDisk);
      else reader.bytesOnDisk = this.#bytesOnDisk(at);
    }
    for (const { state } of model.visible.values()) if (state === 'partial') seenInPart.visible++;
    for (const { reopened, added } of model.loading.values()) if (reopened && added) seenInPart.added++;
    const held = [...retired.values()].reduce((a, b) => a + b, 0);
    expect(this.#store.usage()).toMatchObject({ usedBytes: model.usedBytes() + held, files: model.visible.size });
    for (const run of runs) expect(this.#store.ledger(run)).toEqual(model.ledgers.get(run) ?? emptyLedger());
  }

  async checkBytes(): Promise<void> {
    for (const held of this.model.visible.values()) {
      if (held.state === 'metadata') continue;
      const file = this.#store.open(held.entry.path);
      await this.#compare(file, held);
      file.close();
    }
  }

  /** What is half loaded is completed, so that the bytes that landed long ago are seen too. */
  async end(): Promise<void> {
    await this.#release();
    for (const { entry: object, load } of [...this.model.loading.values()]) {
      const begun = this.#store.beginFile({ run: runs[0]!, load, entry: object, reuse: 'load', partBytes: 2 * MiB });
      if (begun.state === 'complete') throw new Error(`${object.path} is complete`);
      if (object.sizeBytes === 0) await this.#store.completeEmpty(runs[0]!, begun.fileId);
      for (const { offset, length } of begun.missing) {
        const part = this.#write(runs[0]!, begun.fileId, object, offset / pageBytes, Math.ceil(length / pageBytes));
        await this.#store.land(runs[0]!, [part]);
      }
      this.model.complete(object.path);
    }
    await this.checkBytes();
    await this.#store.close();
  }
}

/** Whole pages of the object, one at least. */
function rangeOf(object: ManifestEntry, shares: readonly [number, number] | null): ByteRange {
  const count = pageCountOf(object);
  if (shares === null || count === 0) return { offset: 0, length: object.sizeBytes };
  const first = Math.floor((shares[0] / 100) * count);
  const pages = 1 + Math.floor((shares[1] / 100) * (count - first));
  const offset = first * pageBytes;
  return { offset, length: Math.min(object.sizeBytes, offset + pages * pageBytes) - offset };
}

function pagesOfRange({ offset, length }: ByteRange): number[] {
  return Array.from({ length: Math.ceil(length / pageBytes) }, (_, page) => offset / pageBytes + page);
}

function cachedBytesOf({ entry: object, state, pages }: ModelFile): number {
  return state === 'complete' ? object.sizeBytes : bytesOfPages(object, pages.keys());
}

afterEach(() => {
  vi.restoreAllMocks();
});

async function holdsWhatTheModelHolds(arbitrary: fc.Arbitrary<Command>, numRuns: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(
      fc.array(arbitrary, { minLength: 5, maxLength: 40, size: 'max' }),
      fc.integer(),
      async (commands, seed) => {
        const fixture = makeFixture({ stores: 2, sizeBytes: 33 * MiB });
        let state = seed;
        const crashing = new CrashingStore(fixture, () => {
          state = (Math.imul(state, 1664525) + 1013904223) | 0;
          return (state >>> 0) / 2 ** 32;
        });
        try {
          await crashing.open();
          const scene = new Scene(crashing);
          for (const step of commands) {
            await scene.run(step);
            await scene.check();
            if (step.kind === 'crash' || ('crash' in step && step.crash)) await scene.checkBytes();
          }
          await scene.end();
          for (const [point, times] of crashing.crashes) fired.set(point, (fired.get(point) ?? 0) + times);
          grainsLost += crashing.grainsLost;
        } finally {
          vi.restoreAllMocks();
          fixture.remove();
        }
      },
    ),
    { numRuns },
  );
}

test('whatever happens, the store holds what the model holds', { timeout: 300_000 }, async () => {
  await holdsWhatTheModelHolds(command, 30);
  for (const point of points) expect(fired.get(point), point).toBeGreaterThan(0);
  expect(evicted, 'files that were evicted').toBeGreaterThan(0);
  expect(grainsLost, 'grains that a crash took back').toBeGreaterThan(0);
});

test('whatever happens to a file that is here in part, too', { timeout: 300_000 }, async () => {
  await holdsWhatTheModelHolds(narrow, 20);
  expect(seenInPart.visible, 'files that were visible in part').toBeGreaterThan(0);
  expect(seenInPart.added, 'files that were added to while they were').toBeGreaterThan(0);
});
