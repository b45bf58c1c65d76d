/** How a simulated worker loads a file: its parts, so many at a time, from where it is told to have them. */
import assert from 'node:assert/strict';
import { PrimedError, reportOf } from '../../src/core/errors.ts';
import type { DiscardReason, ManifestEntry, RunId } from '../../src/core/types.ts';
import type { FileOutcome, LoadHow } from '../../src/ingest/types.ts';
import { bytesOfPages, fetchedBy, type ModelLoading } from '../support/store-model.ts';
import { type PartEnd, PartSources } from './part-sources.ts';
import { roomOf, type SimStore } from './store.ts';
import type { SimWorkerOptions } from './worker.ts';
import { type FileTask, outcomeOf, type Run, type Waits } from './worker-run.ts';
import { here, type World } from './world.ts';

export const partPages = 2;
/** Parts that a worker fetches at once, of all runs. */
const slots = 3;
const maxRestarts = 2;

export interface FileLoadsOptions extends SimWorkerOptions {
  readonly waits: Waits;
  /** Those that have begun and not ended. */
  readonly runs: ReadonlyMap<RunId, Run>;
  /** So much for a run in all; throws STORE_NO_ROOM. */
  readonly reserve: (run: RunId, bytes: number) => void;
}

export class FileLoads {
  readonly #options: FileLoadsOptions;
  readonly #world: World = here();
  readonly #waits: Waits;
  readonly #sources: PartSources;
  #freeSlots = slots;
  readonly #waiting: (() => void)[] = [];

  constructor(options: FileLoadsOptions) {
    this.#options = options;
    this.#waits = options.waits;
    this.#sources = new PartSources(options, options.waits);
  }

  get store(): SimStore {
    return this.#options.store;
  }

  load(run: Run, entry: ManifestEntry, { range, hasty = false, source }: LoadHow): Promise<FileOutcome> {
    return new Promise((resolve) => {
      const file: FileTask = {
        ...{ entry, range, hasty: hasty || source !== undefined, source, resolve },
        ...{ loadedBytes: 0, skippedBytes: 0, restarts: 0, done: false },
      };
      run.files.add(file);
      this.#fetchFile(run, file).catch((error: unknown) => {
        const { loadedBytes, skippedBytes } = file;
        const ended = { ...outcomeOf(file.entry, 'failed'), loadedBytes, skippedBytes, error: reportOf(error) };
        this.finish(run, file, ended);
      });
    });
  }

  finish(run: Run, file: FileTask, outcome: FileOutcome): void {
    if (file.done) return;
    file.done = true;
    if (this.#world.logging)
      this.#world.log(
        `${this.#options.process.name} ${outcome.result} ${file.entry.path} ${file.range?.offset ?? 'whole'} ${outcome.error?.message ?? ''}`,
      );
    run.files.delete(file);
    file.resolve(outcome);
  }

  async #fetchFile(run: Run, file: FileTask): Promise<void> {
    for (;;) {
      if (run.stopping) {
        this.finish(run, file, outcomeOf(file.entry, 'stopped'));
        return;
      }
      if (run.lost !== undefined && file.source === undefined) throw run.lost;
      const { entry, range } = file;
      const wantedBytes = range?.length ?? entry.sizeBytes;
      const { load, reuse } = run.spec;
      const begun = this.store.begin(entry, load, reuse);
      const there = begun === 'complete' ? this.store.model.visible.get(entry.path)! : begun;
      const { own, ownBytes } = fetchedBy(run.spec.run, there, this.store.pagesOf(entry, range));
      const durable = {
        ...outcomeOf(entry, own ? 'loaded' : 'skipped'),
        ...{ loadedBytes: ownBytes, skippedBytes: wantedBytes - ownBytes, version: entry },
      };
      if (begun === 'complete') {
        this.finish(run, file, durable);
        return;
      }
      run.used.set(entry.path, begun);
      if (entry.sizeBytes === 0) {
        await this.#waits.commit();
        if (this.store.model.loading.get(entry.path) === begun) this.store.model.complete(entry.path, run.spec.run);
        this.finish(run, file, { ...outcomeOf(entry, 'loaded'), version: entry });
        return;
      }
      const missing = this.store.pagesOf(entry, range).filter((page) => !begun.pages.has(page));
      file.loadedBytes = ownBytes;
      file.skippedBytes = wantedBytes - bytesOfPages(entry, missing) - ownBytes;
      if (missing.length === 0) {
        this.finish(run, file, durable);
        return;
      }
      const ends = await Promise.all(partsOf(missing).map((pages) => this.#fetchPart(run, file, begun, pages)));
      // Then it ends with the others.
      if (file.done || run.stopping) return;
      const { loadedBytes, skippedBytes } = file;
      const failure = ends.find((end): end is { error: PrimedError } => typeof end === 'object');
      if (failure !== undefined) throw failure.error;
      if (ends.includes('changed')) {
        if (range !== undefined) {
          this.finish(run, file, { ...outcomeOf(entry, 'changed'), loadedBytes, skippedBytes });
          return;
        }
        await this.#startAnew(run, file, begun);
        continue;
      }
      if (ends.includes('later')) {
        this.finish(run, file, { ...outcomeOf(entry, 'later'), loadedBytes, skippedBytes });
        return;
      }
      if (ends.includes('dropped'))
        throw new PrimedError(
          'FILE_NOT_CACHED',
          `${entry.path}: the file was removed from the cache while it was loaded`,
        );
      assert.equal(loadedBytes + skippedBytes, wantedBytes, 'a file is loaded when every byte of it has landed');
      this.finish(run, file, { ...outcomeOf(entry, 'loaded'), loadedBytes, skippedBytes, version: entry });
      return;
    }
  }

  async #startAnew(run: Run, file: FileTask, begun: ModelLoading): Promise<void> {
    const { path, etag, sizeBytes } = file.entry;
    if (this.store.model.loading.get(path) === begun) this.giveUp(begun, 'changed');
    await this.#waits.commit();
    file.loadedBytes = 0;
    file.skippedBytes = 0;
    if (run.spec.onChange === 'fail' || file.restarts >= maxRestarts) {
      const message = `${path}: the object changed at the origin during the load (it was ${etag})`;
      throw new PrimedError('ORIGIN_CHANGED', message, { path });
    }
    file.restarts += 1;
    const found = await this.#options.origins.head(path, run.abort.signal);
    const othersBytes = Math.max(0, run.reservedBytes - roomOf(sizeBytes));
    this.#options.reserve(run.spec.run, othersBytes + roomOf(found.sizeBytes));
    const { etag: is, sizeBytes: size, lastModifiedMs } = found;
    file.entry = { path, etag: is, sizeBytes: size, lastModifiedMs };
  }

  async #fetchPart(run: Run, file: FileTask, begun: ModelLoading, pages: readonly number[]): Promise<PartEnd> {
    const bytes = bytesOfPages(file.entry, pages);
    // Who follows holds nothing that others wait for.
    const failure =
      file.source?.follow === true ? await this.#sources.followed(run, file, file.source.url, pages) : undefined;
    if (failure !== undefined) return failure;
    const room = roomOf(bytes);
    if (room > run.reservedBytes) {
      const message = `worker ${this.#options.name}: ${room} bytes are wanted, and ${run.reservedBytes} are reserved`;
      return { error: new PrimedError('STORE_NO_ROOM', message) };
    }
    run.reservedBytes -= room;
    await this.#takeSlot();
    run.partsInFlight += 1;
    try {
      const end =
        file.source === undefined
          ? await this.#sources.fromOrigin(run, file, pages, bytes)
          : await this.#sources.fromPeer(run, file, file.source.url, pages, bytes);
      if (end !== 'landed') {
        run.reservedBytes += room;
        return end;
      }
      return await this.#land(run, file, begun, pages, bytes, room);
    } finally {
      run.partsInFlight -= 1;
      const next = this.#waiting.shift();
      if (next === undefined) this.#freeSlots += 1;
      else next();
    }
  }

  #takeSlot(): Promise<void> | undefined {
    if (this.#freeSlots === 0) return new Promise((resolve) => this.#waiting.push(resolve));
    this.#freeSlots -= 1;
    return undefined;
  }

  async #land(
    run: Run,
    file: FileTask,
    begun: ModelLoading,
    pages: readonly number[],
    bytes: number,
    room: number,
  ): Promise<PartEnd> {
    const ledger = this.store.model.ledger(run.spec.run);
    ledger[file.source === undefined ? 'originBytes' : 'peerBytes'] += bytes;
    const dropped = this.store.model.loading.get(file.entry.path) !== begun;
    if (run.stopping || dropped) {
      ledger.discardedBytes[run.stopping ? 'stopped' : 'replaced'] += bytes;
      run.reservedBytes += room;
      return 'dropped';
    }
    await this.#waits.commit();
    const stillThere = this.store.model.loading.get(file.entry.path) === begun;
    this.store.land(run.spec.run, begun, pages[0]!, pages.length);
    if (!stillThere) {
      run.reservedBytes += room;
      return 'dropped';
    }
    file.loadedBytes += bytes;
    return 'landed';
  }

  /** What of it is not visible is freed, and may be used again by the run that was at work on it. */
  giveUp(file: ModelLoading, reason: DiscardReason): void {
    const { path } = file.entry;
    const usedBytes = this.store.usedBytes;
    this.store.abandon(path, reason);
    const freedBytes = usedBytes - this.store.usedBytes;
    for (const run of this.#options.runs.values()) {
      if (run.used.get(path) !== file) continue;
      run.reservedBytes += freedBytes;
      return;
    }
  }
}

/** Neighbours together, so many at a time. */
function partsOf(pages: readonly number[]): number[][] {
  const parts: number[][] = [];
  for (const page of pages) {
    const last = parts.at(-1);
    if (last !== undefined && last.length < partPages && last.at(-1) === page - 1) last.push(page);
    else parts.push([page]);
  }
  return parts;
}
