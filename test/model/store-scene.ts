/** A store and its model: each command is done to both, and all that can be seen of the one is what the other says. */
import { expect } from 'vitest';
import { type ByteRange, emptyLedger, type FileId, type ManifestEntry, type RunId } from '../../src/core/types.ts';
import { alignUp, MiB, pageBytes } from '../../src/core/units.ts';
import { pageChecksums } from '../../src/platform/index.ts';
import type { LandedPart, OpenFile } from '../../src/store/types.ts';
import type { CrashingStore, CrashPoint } from '../support/crashing-store.ts';
import { contentOf, entry, path } from '../support/store-fixture.ts';
import { bytesOfPages, fetchedBy, isShown, type ModelFile, pageCountOf, StoreModel } from '../support/store-model.ts';
import { type Command, loads, names, runs, sizes } from './store-commands.ts';

/** Over all scenes: how often a file was seen in part, and was added to then; files that were evicted. */
export const met = { visibleInPart: 0, addedInPart: 0, evicted: 0 };

export class Scene {
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
    met.evicted += files;
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
    for (const { state } of model.visible.values()) if (state === 'partial') met.visibleInPart++;
    for (const { reopened, added } of model.loading.values()) if (reopened && added) met.addedInPart++;
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
