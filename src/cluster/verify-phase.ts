/**
 * VERIFYING: list the source again, load what is new or has changed, and have every cached page read and checked.
 *
 * A page of the listing is the step: its counters and the cursor behind it become durable together, so that a restart
 * repeats at most one page. A file that is bad is loaded anew once, by a run of its own under a load id that owns
 * nothing (so that nothing of the bad version is reused), and checked again.
 *
 * A worker that is lost takes verified files with it: then another pass looks for what is missing, loads that, and checks it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ErrorReport } from '../core/errors.ts';
import { PrimedError, reportOf } from '../core/errors.ts';
import type { FileFailure } from '../core/job.ts';
import {
  addListed,
  addTally,
  emptyTally,
  type JobEvent,
  type Listed,
  type LostFile,
  type Tally,
} from '../core/job-machine.ts';
import type { ManifestEntry } from '../core/types.ts';
import { boundedFilter } from './bounded-filter.ts';
import type { Holders } from './fleet-survey.ts';
import type { FileVerdict } from './fleet-verify.ts';
import { listSource } from './lister.ts';
import { mapOrdered } from './ordered.ts';
import { type RunContext, RunInterrupted } from './run-context.ts';
import { repairSpec } from './run-specs.ts';
import { SeenPaths } from './seen-paths.ts';
import { failedTally, failureOfRun, isOfRun, metadataTally, tallyOf } from './settle.ts';

type Checked = Omit<Extract<JobEvent, { type: 'verified' }>, 'type'>;

/** Each look learns of a worker that has gone, or loads what is missing. */
const looksForFile = 8;

const nothing: Listed = { scannedFiles: 0, files: 0, bytes: 0 };

export class VerifyPhase {
  readonly #context: RunContext;
  /** Of the page under way, for the snapshot. */
  #live = { files: 0, bytes: 0, byPages: 0 };
  #repair: Promise<unknown> = Promise.resolve();

  constructor(context: RunContext) {
    this.#context = context;
  }

  get live(): { readonly files: number; readonly bytes: number; readonly byPages: number } {
    return this.#live;
  }

  /** Resolves when every file is verified or lost, or the signal has fired. Rejects with what ends the job as a whole. */
  async run(): Promise<void> {
    const { definition, marks, deps, signal, apply } = this.#context;
    const losses = (): number => deps.fleet.losses(definition.runId);
    // What an earlier process has verified may have gone with a worker since.
    let known = marks.verifyCursor === undefined ? losses() : undefined;
    for (;;) {
      await this.#pass();
      if (signal.aborted || definition.options.loadMetadataOnly || losses() === known) return;
      known = losses();
      marks.verifyPass += 1;
      marks.verifyCursor = undefined;
      apply({ type: 'verifiedAgain' });
      await deps.store.saveJob(this.#context.record());
    }
  }

  async #pass(): Promise<void> {
    const { definition, marks, deps, signal, apply } = this.#context;
    const { origins, settings } = deps;
    const filter = boundedFilter(definition.options.fileFilterRegex);
    const { waits } = this.#context;
    const options = { origins, settings, signal, waits, pause: (ms: number) => sleep(ms, undefined, { signal }) };
    const seen =
      definition.source.kind === 'path'
        ? undefined
        : new SeenPaths(deps.store, definition.number, `verify ${marks.verifyPass}`);
    for await (const page of listSource(definition.source, marks.verifyCursor ?? { line: 0 }, options)) {
      const kept = filter(page.entries.map(({ path }) => path));
      const named = { entries: page.entries.filter((_, index) => kept[index]), refused: page.refused };
      const { entries, refused, keys } = seen?.take(named) ?? { ...named, keys: [] };
      const checked = definition.options.loadMetadataOnly
        ? await this.#refresh(entries)
        : await this.#checkPage(entries, refused);
      if (signal.aborted) return;
      this.#live = { files: 0, bytes: 0, byPages: 0 };
      apply({ type: 'verified', ...checked });
      marks.verifyCursor = page.cursor;
      await deps.store.saveJob(this.#context.record(), keys);
      seen?.stored(keys);
    }
  }

  /** Metadata has no pages: it is right when it is what the origin says now. */
  async #refresh(entries: readonly ManifestEntry[]): Promise<Checked> {
    const { definition, deps } = this.#context;
    const { files: cached } = await deps.fleet.survey(definition.runId, entries);
    const found = cached.filter(({ ours, complete }) => !ours && !complete).length;
    await deps.fleet.loadMetadata(definition.runId, entries);
    const files = entries.length;
    return {
      ...{ files, bytes: 0, byPages: 0, lost: [], seenAgain: { files, bytes: 0 } },
      found: { ...nothing, files: found },
      tally: metadataTally({ loaded: found, skipped: 0 }),
    };
  }

  async #checkPage(entries: readonly ManifestEntry[], refused: readonly FileFailure[]): Promise<Checked> {
    const { settings } = this.#context.deps;
    let { files, bytes, byPages, found, tally } = { files: 0, bytes: 0, byPages: 0, found: nothing, tally: emptyTally };
    const lost: LostFile[] = [];
    // What vanished from the origin stays cached as it was; what is refused for another reason cannot be verified.
    for (const failure of refused.filter(({ code }) => code !== 'ORIGIN_NOT_FOUND')) {
      lost.push({ failure, sizeBytes: 0 });
    }
    let seenAgain = { files: lost.length, bytes: 0 };
    for await (const checked of mapOrdered(entries, settings.verifyConcurrency, (entry) => this.#checkFile(entry))) {
      files += checked.files;
      bytes += checked.bytes;
      byPages += checked.byPages;
      found = { ...found, files: found.files + checked.found.files, bytes: found.bytes + checked.found.bytes };
      tally = addTally(tally, checked.tally);
      lost.push(...checked.lost);
      seenAgain = { files: seenAgain.files + 1, bytes: seenAgain.bytes + checked.seenAgain.bytes };
    }
    return { files, bytes, byPages, found, tally, lost, seenAgain };
  }

  async #checkFile(listed: ManifestEntry): Promise<Checked> {
    const { signal, marks } = this.#context;
    const unchecked = { files: 0, bytes: 0, byPages: 0, lost: [], seenAgain: { files: 1, bytes: listed.sizeBytes } };
    let entry = listed;
    let [found, tally] = [nothing, emptyTally];
    let gone: FileFailure | undefined;
    for (let looks = 0; looks < looksForFile && !signal.aborted; looks += 1) {
      const holders = await this.#whereabouts(entry);
      if (holders === undefined) {
        const loaded = await this.#load(entry);
        found = addListed(found, loaded.found);
        tally = addTally(tally, loaded.tally);
        if (loaded.entry === undefined) return { ...unchecked, found, tally };
        entry = loaded.entry;
        continue;
      }
      // What the first pass has read, and nobody has lost, is not read again; how it was compared has been counted.
      const known = looks === 0 && marks.verifyPass > 0;
      const checked: FileVerdict = known
        ? { verdict: 'right', whole: true }
        : await this.#verifyOrRepair(entry, holders);
      const { path, sizeBytes } = entry;
      const seenAgain = { files: 1, bytes: sizeBytes };
      if (checked.verdict === 'right') {
        this.#live.files += 1;
        this.#live.bytes += sizeBytes;
        const byPages = checked.whole ? 0 : 1;
        this.#live.byPages += byPages;
        return { files: 1, bytes: sizeBytes, byPages, found, tally, seenAgain, lost: [] };
      }
      const failure = { path, ...checked.error };
      if (checked.verdict === 'bad') return { ...unchecked, found, tally, seenAgain, lost: [{ failure, sizeBytes }] };
      gone = failure;
    }
    const { sizeBytes } = entry;
    const seenAgain = { files: 1, bytes: sizeBytes };
    const lost = signal.aborted ? [] : [{ failure: gone ?? moved(entry), sizeBytes }];
    return { ...unchecked, found, tally, seenAgain, lost };
  }

  /** The version that is cached; undefined: it could not be loaded. */
  async #load(listed: ManifestEntry): Promise<{ entry: ManifestEntry | undefined; found: Listed; tally: Tally }> {
    const { definition, deps } = this.#context;
    const { fleet } = deps;
    const found = { scannedFiles: 0, files: 1, bytes: listed.sizeBytes };
    try {
      const [how] = await fleet.roomAgain(definition.runId, [listed]);
      const outcome = await fleet.load(definition.runId, listed, how!);
      const lost = failureOfRun(outcome);
      if (lost !== undefined) throw lost;
      const tally = tallyOf(listed, outcome);
      if (tally === undefined) throw new RunInterrupted();
      const entry = tally.failedFiles > 0 ? undefined : { ...listed, ...outcome.version };
      return { entry, found, tally };
    } catch (error) {
      if (endsJob(error)) throw error;
      return { entry: undefined, found, tally: failedTally(listed, reportOf(error)) };
    }
  }

  /** Undefined: some of it is missing. */
  async #whereabouts(entry: ManifestEntry): Promise<Holders | undefined> {
    const { definition, deps, marks } = this.#context;
    const { runId, repairLoadId } = definition;
    const holders = await deps.fleet.whereabouts(runId, entry);
    return holders ?? (marks.repairs ? deps.fleet.whereabouts(runId, entry, repairLoadId) : undefined);
  }

  /** `gone` is said of what has to be looked for again, by whichever of the two checks. */
  async #verifyOrRepair(entry: ManifestEntry, holders: Holders): Promise<FileVerdict> {
    const { definition, deps, signal } = this.#context;
    const { runId, repairRunId, jobId } = definition;
    const { path } = entry;
    const first = await deps.fleet.verify(runId, entry, holders);
    if (first.verdict !== 'bad' || signal.aborted) return first;
    const { badPages, error } = first;
    deps.log.warn({ path, jobId, badPages, error }, 'a cached file does not stand verification: it is loaded anew');
    const repaired = this.#repair.then(() => this.#loadAnew(entry));
    this.#repair = repaired.catch(() => undefined);
    const failure = await repaired;
    if (failure !== undefined) return { ...first, error: failure };
    // Where its disk fails it was loaded on another: that one counts, whatever the first still has.
    const places = await deps.fleet.whereabouts(repairRunId, entry);
    if (places === undefined) return { verdict: 'gone', error: moved(entry) };
    const second = await deps.fleet.verify(repairRunId, entry, places);
    if (second.verdict !== 'bad') return second;
    const { code, message } = second.error;
    return { ...second, error: { code, message: `${message}; also after it was loaded anew` } };
  }

  /** One at a time: a reservation says what the whole run may still take. */
  async #loadAnew(entry: ManifestEntry): Promise<ErrorReport | undefined> {
    const { definition, claim, deps, marks, signal } = this.#context;
    const { repairRunId } = definition;
    if (signal.aborted) return undefined;
    if (!marks.repairs) {
      marks.repairs = true;
      await deps.store.saveJob(this.#context.record());
    }
    const spec = repairSpec(definition, claim);
    try {
      await deps.fleet.startRun(spec, definition.options.replicas);
      await deps.fleet.reserveMore(repairRunId, deps.fleet.needOf(repairRunId, [entry]));
      const outcome = await deps.fleet.load(repairRunId, entry, { hasty: false });
      const lost = failureOfRun(outcome);
      if (lost !== undefined) throw lost;
      if (outcome.result === 'stopped') throw new RunInterrupted();
      return outcome.result === 'failed'
        ? (outcome.error ?? { code: 'INTERNAL', message: 'the worker gave no reason' })
        : undefined;
    } catch (error) {
      if (endsJob(error)) throw error;
      return reportOf(error);
    }
  }
}

/** Rather than one file. */
function endsJob(error: unknown): boolean {
  return error instanceof RunInterrupted || (error instanceof PrimedError && isOfRun(error.code));
}

/** However often it was looked for, workers came or went meanwhile. */
function moved({ path }: ManifestEntry): FileFailure {
  const message = `${path}: workers that had it came and went while it was verified; submit the load again`;
  return { path, code: 'FILE_NOT_CACHED', message };
}
