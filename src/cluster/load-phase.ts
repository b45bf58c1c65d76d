/**
 * RUNNING: list the source into the manifest, and hand its files to the fleet.
 *
 * Who is in it: the lister, which appends chunks to the manifest; the dispatch loop, which takes chunks in order and keeps
 * two batches of files with each worker (hand-out). With partial listing both run at once, else one after the other. Files are asked
 * for in haste: those that the worker sets aside, because the origin is silent about them, are loaded when no other is
 * left (core/silence says why).
 *
 * What survives a crash: the chunks up to the cursor, and the tallies of chunks whose last file is settled. A chunk that
 * was under way is gone through again: what its files have cached is asked of the worker, and not fetched twice.
 */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { abortable } from '../core/abortable.ts';
import { reportOf } from '../core/errors.ts';
import type { FileFailure } from '../core/job.ts';
import { type Tally, TallySum } from '../core/job-machine.ts';
import { Thinning } from '../core/thinning.ts';
import type { ManifestEntry } from '../core/types.ts';
import type { FileOutcome } from '../ingest/types.ts';
import { detailBase, noSpan, type Span, startSpan, traced } from '../telemetry/trace.ts';
import { boundedFilter } from './bounded-filter.ts';
import type { FileHow } from './fleet-file.ts';
import type { CachedFile } from './fleet-survey.ts';
import { Gate } from './gate.ts';
import { type HandedFile, HandOut } from './hand-out.ts';
import { indexVersion } from './index-file.ts';
import { type ListedPage, listSource } from './lister.ts';
import { countsAsThere, mayBeThere } from './load-choice.ts';
import type { ManifestChunk } from './manifest.ts';
import { addNeed, type Need } from './need.ts';
import { mapOrdered } from './ordered.ts';
import { type RunContext, RunInterrupted } from './run-context.ts';
import { SeenPaths } from './seen-paths.ts';
import { outstandingLimit } from './settings.ts';
import { failedTally, failureOfRun, metadataTally, tallyOf } from './settle.ts';
import { TurnTaking } from './turn-taking.ts';

/** Files set aside at most; about 500 B each. Beyond them, files are waited for in their place. */
const setAsideLimit = 4096;
/** Of those, so many are asked for at workers before they are handed out. */
const setAsideAtOnce = 256;
/** Pages that the workers are asked about at a time: their answers take longer than our part of the work. */
const pagesAtOnce = 4;
/** Chunks whose writes are not yet committed; about 100 KiB each. */
const chunkWritesAtOnce = 16;

const inHaste: FileHow = { hasty: true };
const waitedFor: FileHow = { hasty: false };

interface OpenChunk {
  readonly index: number;
  /** It was under way when an earlier process ended. */
  readonly replayed: boolean;
  unsettled: number;
  readonly tally: TallySum;
  /** Of some chunks: see core/thinning. */
  readonly span: Span;
}

interface PlannedPage {
  readonly page: ListedPage;
  readonly chunk: ManifestChunk;
  /** Keys of the paths that the page was the first to name. */
  readonly keys: readonly string[];
  readonly need: Need;
}

interface OpenFile extends HandedFile {
  readonly open: OpenChunk;
}

export class LoadPhase {
  readonly #context: RunContext;
  readonly #gate = new Gate();
  /** A page takes ten milliseconds of planning in all, and the coordinator answers questions meanwhile. */
  readonly #turns = new TurnTaking();
  /** Undefined: a listing names each file once. */
  readonly #seen: SeenPaths | undefined;
  readonly #handOut: HandOut;
  /** Chunks in the manifest that are not dispatched, in order. */
  readonly #ready: number[] = [];
  /** Chunks below this were listed by an earlier process, or stand for some that were. */
  #replayBelow: number;
  #listed = false;
  #failure: { readonly error: unknown } | undefined;
  /** What files of the manifest will take, and is not reserved yet. */
  #unreserved: Need = new Map();
  readonly #setAside: OpenFile[] = [];
  readonly #writes = new Set<Promise<void>>();
  readonly #thinning = new Thinning(detailBase());
  /** Of files that have settled in this turn; undefined: none has. */
  #untold: TallySum | undefined;

  constructor(context: RunContext) {
    this.#context = context;
    const { definition, deps } = context;
    this.#seen = definition.source.kind === 'path' ? undefined : new SeenPaths(deps.store, definition.number, 'load');
    this.#handOut = new HandOut({
      ...{ fleet: deps.fleet, run: definition.runId, gate: this.#gate },
      filesEach: outstandingLimit(definition.options, deps.settings),
      halted: () => this.#halted,
    });
    this.#replayBelow = context.claim?.takenOver ? Number.POSITIVE_INFINITY : context.marks.chunks;
    context.signal.addEventListener('abort', () => this.#gate.nudge(), { once: true });
  }

  /**
   * Resolves when every file is settled, or the signal has fired. Rejects with what ends the job as a whole: ORIGIN_*
   * of the listing, STORE_NO_ROOM, or RunInterrupted.
   */
  async run(): Promise<void> {
    const { definition, deps } = this.#context;
    await this.#checkSource();
    this.#ready.push(...deps.store.chunks(definition.number, { open: true }));
    const recovered = this.#context.marks.chunks > 0;
    if (definition.options.partialListing) {
      if (recovered) await this.#planAgain();
      if (!this.#halted) await this.#reserve();
      const listing = this.#listTraced().catch((error: unknown) => this.#fail(error));
      await Promise.all([listing, this.#load()]);
    } else {
      await this.#listTraced();
      if (recovered) await this.#planAgain();
      if (!this.#halted) await this.#reserve();
      await this.#load();
    }
    await Promise.all(this.#writes);
    await this.#replaceLost(recovered);
    if (this.#failure !== undefined && !this.#context.signal.aborted) throw this.#failure.error;
  }

  get #halted(): boolean {
    return this.#context.signal.aborted || this.#failure !== undefined;
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#gate.nudge();
  }

  // --- listing

  /** A cursor into an index file is worth something only for the same file: else the listing starts anew. */
  async #checkSource(): Promise<void> {
    const { definition, marks, deps, signal, apply } = this.#context;
    if (definition.source.kind !== 'index' || this.#context.progress().listingDone) return;
    const version = await abortable(indexVersion(definition.source.path, deps.origins, signal), signal);
    if (marks.sourceVersion !== undefined && marks.sourceVersion !== version) {
      deps.log.warn(
        { jobId: definition.jobId, indexFile: definition.source.path },
        'the index file changed across a restart: it is listed anew',
      );
      await deps.store.dropManifest(definition.number);
      marks.chunks = 0;
      marks.cursor = undefined;
      // What the chunks that are gone had settled is found again in the cache.
      this.#replayBelow = Number.POSITIVE_INFINITY;
      apply({ type: 'listingRestarted' });
    }
    marks.sourceVersion = version;
    await deps.store.saveJob(this.#context.record());
  }

  #listTraced(): Promise<void> {
    if (this.#context.progress().listingDone) return this.#list();
    return traced('list', {}, async (span) => {
      await this.#list();
      const { tally: _, ...progress } = this.#context.progress();
      span.set({ 'primed.chunks': this.#context.marks.chunks, 'primed.listed': progress.listingDone });
    });
  }

  async #list(): Promise<void> {
    const { definition, marks, deps, signal, apply } = this.#context;
    if (!this.#context.progress().listingDone) {
      const filter = boundedFilter(definition.options.fileFilterRegex);
      const { origins, settings } = deps;
      const { waits } = this.#context;
      const options = { origins, settings, signal, waits, pause: (ms: number) => sleep(ms, undefined, { signal }) };
      const pages = listSource(definition.source, marks.cursor ?? { line: 0 }, options);
      const planned = mapOrdered(pages, pagesAtOnce, (page) =>
        this.#planPage(page, filter(page.entries.map(({ path }) => path))),
      );
      for await (const page of planned) {
        await this.#turns.take();
        if (this.#halted) return;
        await this.#addPage(page);
      }
      if (this.#halted) return;
      await Promise.all(this.#writes);
      apply({ type: 'listingEnded' });
      await deps.store.saveJob(this.#context.record());
    }
    this.#listed = true;
    this.#gate.nudge();
  }

  /** Pages are planned several at a time, and told apart in their order: what an index names twice is planned once. */
  async #planPage(page: ListedPage, kept: readonly boolean[]): Promise<PlannedPage> {
    const { definition, deps } = this.#context;
    const named = { entries: page.entries.filter((_, index) => kept[index]), refused: page.refused };
    const { entries, refused, keys } = this.#seen?.take(named) ?? { ...named, keys: [] };
    await this.#turns.take();
    if (!definition.options.loadMetadataOnly) await deps.fleet.makeRoom(definition.runId, entries);
    await this.#turns.take();
    return { page, keys, ...(await this.#plan(entries, refused)) };
  }

  async #addPage({ page, keys, chunk, need }: PlannedPage): Promise<void> {
    const { definition, marks, deps, apply } = this.#context;
    const { loadMetadataOnly, partialListing } = definition.options;
    const { entries, refused } = chunk;
    const bytes = loadMetadataOnly ? 0 : entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    addNeed(this.#unreserved, need);
    // Nothing is waited for between the marks and the chunk: they become durable together.
    if (partialListing) await this.#reserve();
    // The job may have ended meanwhile, and its manifest be gone.
    if (this.#halted) return;
    apply({ type: 'listed', page: { scannedFiles: page.scanned, files: entries.length + refused.length, bytes } });
    marks.cursor = page.cursor;
    if (entries.length + refused.length === 0) {
      this.#write(deps.store.saveJob(this.#context.record()));
      return;
    }
    const index = marks.chunks;
    marks.chunks += 1;
    this.#write(
      deps.store.addChunk(this.#context.record(), index, chunk, keys).then(() => {
        this.#seen?.stored(keys);
        this.#ready.push(index);
        this.#gate.nudge();
      }),
    );
    while (this.#writes.size >= chunkWritesAtOnce) await Promise.race(this.#writes);
  }

  /** How much room is needed for what is not cached yet. */
  async #plan(
    entries: readonly ManifestEntry[],
    refused: readonly FileFailure[],
  ): Promise<{ chunk: ManifestChunk; need: Need }> {
    const { definition, deps } = this.#context;
    const chunk = { entries, refused };
    if (definition.options.loadMetadataOnly) return { chunk, need: new Map() };
    const replayed = this.#replayBelow === Number.POSITIVE_INFINITY;
    if (!this.#mayHave(replayed)) return { chunk, need: deps.fleet.needOf(definition.runId, entries) };
    return { chunk, need: (await deps.fleet.survey(definition.runId, entries)).need };
  }

  /** After a restart: the room that the files of open chunks still need, as the workers say about each. */
  async #planAgain(): Promise<void> {
    const { definition, deps } = this.#context;
    if (definition.options.loadMetadataOnly) return;
    const unreserved: Need = new Map();
    for (const index of this.#ready) {
      const chunk = deps.store.chunk(definition.number, index);
      if (chunk === undefined) continue;
      await deps.fleet.makeRoom(definition.runId, chunk.entries);
      const { need } = await deps.fleet.survey(definition.runId, chunk.entries);
      addNeed(unreserved, need);
      await nextTurn();
      if (this.#halted) return;
    }
    this.#unreserved = unreserved;
  }

  /** On top of what is left: files under way have drawn a part of theirs, which must not be asked for twice. */
  async #reserve(): Promise<void> {
    const { definition, deps } = this.#context;
    if (definition.options.loadMetadataOnly || this.#unreserved.size === 0) return;
    const need = this.#unreserved;
    this.#unreserved = new Map();
    await deps.fleet.reserveMore(definition.runId, need);
  }

  // --- loading

  async #load(): Promise<void> {
    for (;;) {
      while (this.#ready.length === 0 && !this.#listed && !this.#halted) await this.#gate.changed();
      const index = this.#ready.shift();
      if (index === undefined || this.#halted) break;
      const chunk = this.#context.deps.store.chunk(this.#context.definition.number, index);
      if (chunk !== undefined) await this.#loadChunk(index, chunk);
      // Files that are skipped settle at once: a long run of them must not keep others from their turn.
      await nextTurn();
    }
    await this.#gate.below(1, () => this.#halted);
    await this.#loadSetAside();
    await this.#gate.below(1, () => this.#halted);
  }

  /** Workers may have joined since: what others have of them is copied from those. */
  async #loadSetAside(): Promise<void> {
    const { definition, deps } = this.#context;
    for (let from = 0; from < this.#setAside.length; from += setAsideAtOnce) {
      if (this.#halted) return;
      const some = this.#setAside.slice(from, from + setAsideAtOnce);
      const entries = some.map(({ entry }) => entry);
      const { files } = await deps.fleet.survey(definition.runId, entries, { elsewhere: true });
      for (const [at, { open, entry }] of some.entries()) {
        if (this.#halted) return;
        const { holders } = files[at]!;
        await this.#hand(open, entry, holders === undefined ? waitedFor : { ...waitedFor, holders });
      }
    }
  }

  async #loadChunk(index: number, chunk: ManifestChunk): Promise<void> {
    const { entries, refused } = chunk;
    const open: OpenChunk = {
      index,
      replayed: index < this.#replayBelow,
      // One more than there are files: the chunk does not end before all of it is handed out.
      unsettled: entries.length + refused.length + 1,
      tally: new TallySum(),
      span: this.#thinning.next()
        ? startSpan('dispatch batch', {
            attributes: {
              'primed.batch': index,
              'primed.files': entries.length,
              'primed.one_of': this.#thinning.stride,
            },
          })
        : noSpan,
    };
    for (const failure of refused) this.#settle(open, failedTally({ path: failure.path, sizeBytes: 0 }, failure));
    if (this.#context.definition.options.loadMetadataOnly) await this.#loadMetadata(open, entries);
    else {
      const now = await this.#cachedNow(open, chunk);
      for (let at = 0; at < entries.length; at += 1) {
        if (this.#halted) return;
        const handing = this.#dispatch(open, chunk, at, now?.[at]);
        if (handing !== undefined) await handing;
      }
    }
    if (!this.#halted) this.#leave(open, 1);
  }

  /** Whether something of files may be there that nobody has handed out yet. */
  #mayHave(replayed: boolean): boolean {
    return replayed || mayBeThere(this.#context.definition);
  }

  /** Undefined: nothing can be there. */
  async #cachedNow(open: OpenChunk, chunk: ManifestChunk): Promise<readonly CachedFile[] | undefined> {
    const { definition, deps } = this.#context;
    const elsewhere = this.#mayHave(open.replayed);
    if (!elsewhere) return undefined;
    return (await deps.fleet.survey(definition.runId, chunk.entries, { elsewhere })).files;
  }

  /** See HandOut. */
  #dispatch(
    open: OpenChunk,
    chunk: ManifestChunk,
    at: number,
    cached: CachedFile | undefined,
  ): Promise<void> | undefined {
    const { definition } = this.#context;
    const entry = chunk.entries[at]!;
    if (cached !== undefined && countsAsThere(cached, definition.options)) {
      const { path, sizeBytes } = entry;
      const { own, ownBytes: loadedBytes } = cached;
      const result = own ? 'loaded' : 'skipped';
      this.#account(open, entry, { path, result, loadedBytes, skippedBytes: sizeBytes - loadedBytes });
      return undefined;
    }
    const how = this.#setAside.length < setAsideLimit ? inHaste : waitedFor;
    return this.#hand(open, entry, cached?.holders === undefined ? how : { ...how, holders: cached.holders });
  }

  /**
   * What was settled, and went with a worker that was lost since, or may have been while nobody looked, is loaded anew. A job
   * with failed files has failed, whatever is there.
   */
  async #replaceLost(recovered: boolean): Promise<void> {
    const { definition, deps, progress } = this.#context;
    let seen = recovered ? -1 : 0;
    while (!this.#halted && !definition.options.loadMetadataOnly && progress().tally.failedFiles === 0) {
      const losses = deps.fleet.losses(definition.runId);
      if (losses === seen) return;
      seen = losses;
      for (const index of [...deps.store.chunks(definition.number)]) {
        const chunk = deps.store.chunk(definition.number, index);
        if (chunk !== undefined) await this.#replaceIn(chunk);
        if (this.#halted) return;
      }
      await this.#gate.below(1, () => this.#halted);
    }
  }

  async #replaceIn({ entries }: ManifestChunk): Promise<void> {
    const { definition, deps, apply } = this.#context;
    const all = (await deps.fleet.survey(definition.runId, entries)).files;
    const gone = entries.filter((_, at) => !countsAsThere(all[at]!, definition.options));
    if (gone.length === 0) return;
    const hows = await deps.fleet.roomAgain(definition.runId, gone);
    const settled = ({ result, error }: FileOutcome, { entry: { path, sizeBytes } }: HandedFile): void => {
      if (result === 'stopped') this.#fail(new RunInterrupted());
      else if (result === 'failed') {
        const reason = error ?? { code: 'INTERNAL', message: 'the worker gave no reason' };
        apply({ type: 'lost', lost: [{ failure: { path, ...reason }, sizeBytes }] });
      }
    };
    for (const [at, entry] of gone.entries()) {
      if (this.#halted) return;
      const claim = deps.fleet.claimOf(definition.runId, entry);
      await this.#handOut.hand({ entry, how: hows[at]!, claim, settled });
    }
  }

  #hand(open: OpenChunk, entry: ManifestEntry, how: FileHow): Promise<void> | undefined {
    const { deps, definition } = this.#context;
    const claim = deps.fleet.claimOf(definition.runId, entry);
    return this.#handOut.hand({ entry, how, claim, settled: this.#settled, open } as OpenFile);
  }

  /** Of all files that were handed out. */
  readonly #settled = (outcome: FileOutcome, file: OpenFile): void => {
    const { open, entry } = file;
    if (outcome.result === 'later') this.#setAside.push(file);
    else this.#account(open, entry, outcome);
  };

  #account(open: OpenChunk, entry: ManifestEntry, outcome: FileOutcome): void {
    const lost = failureOfRun(outcome);
    if (lost !== undefined) {
      this.#fail(lost);
      return;
    }
    const tally = tallyOf(entry, outcome);
    if (tally === undefined) {
      this.#fail(new RunInterrupted());
      return;
    }
    this.#settle(open, tally);
  }

  async #loadMetadata(open: OpenChunk, entries: readonly ManifestEntry[]): Promise<void> {
    const { definition, deps } = this.#context;
    const { batchSize } = definition.options;
    for (let from = 0; from < entries.length; from += batchSize) {
      await this.#gate.below(outstandingLimit(definition.options, deps.settings), () => this.#halted);
      if (this.#halted) return;
      const slice = entries.slice(from, from + batchSize);
      const { files } = await deps.fleet.survey(definition.runId, slice);
      const skipped = files.filter(({ complete }) => complete).length;
      this.#gate.enter(slice.length);
      void deps.fleet
        .loadMetadata(definition.runId, slice)
        .then(
          () => this.#settle(open, metadataTally({ loaded: slice.length - skipped, skipped }), slice.length),
          (error: unknown) => {
            for (const { path } of slice) this.#settle(open, failedTally({ path, sizeBytes: 0 }, reportOf(error)));
          },
        )
        .then(() => this.#gate.leave(slice.length));
    }
  }

  /** Many files settle in one turn, and the job hears of them before anybody goes on who has waited for them. */
  #settle(open: OpenChunk, tally: Tally, files = 1): void {
    if (this.#untold === undefined) {
      const untold = new TallySum();
      this.#untold = untold;
      queueMicrotask(() => {
        this.#untold = undefined;
        this.#context.apply({ type: 'settled', tally: untold.sum });
      });
    }
    this.#untold.add(tally);
    open.tally.add(tally);
    this.#leave(open, files);
  }

  #leave(open: OpenChunk, count: number): void {
    const { definition, deps } = this.#context;
    open.unsettled -= count;
    if (open.unsettled > 0) return;
    open.span.set({ 'primed.failed_files': open.tally.sum.failedFiles });
    open.span.end();
    this.#write(deps.store.endChunk(definition.number, open.index, open.tally.sum));
  }

  #write(write: Promise<void>): void {
    const watched: Promise<void> = write
      .catch((error: unknown) => this.#fail(error))
      .finally(() => this.#writes.delete(watched));
    this.#writes.add(watched);
  }
}
