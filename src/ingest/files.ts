/**
 * Files of a run on this worker: how one begins, starts anew when it changes at the origin, and ends.
 *
 * A path has one loader at a time, over all runs: jobs may overlap, and the store keeps one loading version of a path. The
 * second run waits for the outcome of the first, and then finds the file complete, or loads it anew. Nobody who waits
 * holds anything that others wait for.
 */
import assert from 'node:assert/strict';
import { abortable } from '../core/abortable.ts';
import { PrimedError, reportOf } from '../core/errors.ts';
import { type FileTeller, keptReason } from '../core/file-events.ts';
import { partsOf } from '../core/part-plan.ts';
import type { ByteRange, Log, ManifestEntry, UfsPath } from '../core/types.ts';
import { alignUp } from '../core/units.ts';
import type { Origins } from '../origin/types.ts';
import type { Fetched, Store } from '../store/types.ts';
import { notReached } from './failures.ts';
import { Feed } from './feed.ts';
import type { Follows } from './follows.ts';
import type { ObjectAddress } from './origin-links.ts';
import type { FileTask, PartTask, Run } from './run.ts';
import type { FileOutcome, SourceWorker } from './types.ts';

export interface FileOrder {
  readonly entry: ManifestEntry;
  readonly address: ObjectAddress;
  readonly hasty: boolean;
  /** The worker that is asked in place of the origin; then `address` is there. */
  readonly source?: SourceWorker;
  /** See LoadHow. */
  readonly followed?: boolean;
  /** A part of the file, from page to page: then the outcome speaks of it alone, and a change of the object ends it. */
  readonly range?: ByteRange;
}

export class Files {
  readonly #store: Store;
  readonly #origins: Origins;
  readonly #log: Log;
  readonly #partBytes: number;
  readonly #maxRestarts: number;
  readonly #onPlanned: () => void;
  readonly #follows: Pick<Follows, 'follow'>;
  readonly #tell: FileTeller;
  /** Settles when nobody loads the path any more. */
  readonly #turns = new Map<UfsPath, Promise<unknown>>();

  constructor(options: {
    store: Store;
    origins: Origins;
    log: Log;
    partBytes: number;
    maxRestarts: number;
    /** There are new parts to fetch. */
    onPlanned: () => void;
    follows: Pick<Follows, 'follow'>;
    tell: FileTeller;
  }) {
    this.#store = options.store;
    this.#origins = options.origins;
    this.#log = options.log;
    this.#partBytes = options.partBytes;
    this.#maxRestarts = options.maxRestarts;
    this.#onPlanned = options.onPlanned;
    this.#follows = options.follows;
    this.#tell = options.tell;
  }

  /** Resolves when the file (or its range) is durable, given up, or stopped. */
  load(run: Run, order: FileOrder): Promise<FileOutcome> {
    // Ranges of one file are loaded side by side: who asks for them takes care of turns.
    if (order.range !== undefined) return this.#load(run, order);
    const { path } = order.entry;
    const earlier = this.#turns.get(path);
    const outcome = earlier === undefined ? this.#load(run, order) : this.#loadAfter(earlier, run, order);
    // who gives up waiting does not let the next one in before the first is done
    const over = (): void => {
      if (this.#turns.get(path) === turn) this.#turns.delete(path);
    };
    const turn: Promise<void> =
      earlier === undefined ? outcome.then(over, over) : Promise.allSettled([earlier, outcome]).then(over);
    this.#turns.set(path, turn);
    return outcome;
  }

  async #loadAfter(earlier: Promise<unknown>, run: Run, order: FileOrder): Promise<FileOutcome> {
    try {
      await abortable(earlier, run.abort.signal);
    } catch {
      return stoppedOutcome(order.entry);
    }
    return this.#load(run, order);
  }

  async #load(run: Run, { entry, address, hasty, source, range, followed = false }: FileOrder): Promise<FileOutcome> {
    if (run.stopping) return stoppedOutcome(entry);
    if (run.lost !== undefined && source === undefined) throw run.lost;
    const begun = this.#begin(run, entry, range);
    const wantedBytes = range?.length ?? entry.sizeBytes;
    if (begun.state === 'complete') return durableOutcome(entry, wantedBytes, begun);
    if (entry.sizeBytes === 0) {
      await this.#store.completeEmpty(run.spec.run, begun.fileId);
      return { path: entry.path, result: 'loaded', loadedBytes: 0, skippedBytes: 0, version: entry };
    }
    const missingBytes = bytesOf(begun.missing);
    if (missingBytes === 0) return durableOutcome(entry, wantedBytes, begun);
    const admitted = this.#store.admit(begun.fileId, entry.path, missingBytes);
    if (admitted !== undefined) {
      await admitted;
      if (run.stopping) return stoppedOutcome(entry);
      if (run.lost !== undefined && source === undefined) throw run.lost;
    }
    const feed = source?.follow === true ? new Feed(begun.missing, this.#partBytes) : undefined;
    const peer = source && { url: source.url, budget: { succeeded: 0, spent: 0 } };
    const trace = run.trace?.file({ entry, range, peer });
    return new Promise((resolve) => {
      const file: FileTask = {
        entry,
        range,
        originIndex: address.originIndex,
        key: address.key,
        peer,
        resolve,
        trace,
        fileId: begun.fileId,
        generation: 0,
        unplanned: feed ?? partsOf(begun.missing, this.#partBytes),
        unplannedBytes: missingBytes,
        outstanding: 0,
        loadedBytes: begun.ownBytes,
        skippedBytes: wantedBytes - missingBytes - begun.ownBytes,
        restarts: 0,
        troubled: false,
        dropped: false,
        error: undefined,
        changed: false,
        hasty,
        setAside: false,
        followed,
        held: false,
        unfollow: undefined,
      };
      run.files.add(file);
      if (feed !== undefined) file.unfollow = this.#follow(run, file, feed);
      run.queueOf(file).planning.push(file);
      this.#onPlanned();
    });
  }

  finish(run: Run, file: FileTask, outcome: FileOutcome): void {
    if (!run.files.delete(file)) return;
    file.unfollow?.();
    if (file.trace !== undefined) file.trace.ended(outcome);
    else if (outcome.result === 'failed') run.trace?.fileFailed(file, outcome);
    file.resolve(outcome);
  }

  stopAll(run: Run): void {
    for (const file of [...run.files]) {
      const { loadedBytes, skippedBytes } = file;
      this.finish(run, file, { ...stoppedOutcome(file.entry), loadedBytes, skippedBytes });
    }
  }

  /** Every file of the run ends with the error, as soon as nothing of it is on its way. */
  giveUpAll(run: Run, error: PrimedError): void {
    // What comes from other workers goes on.
    for (const file of [...run.files]) if (file.peer === undefined) this.#fail(run, file, error);
  }

  /** So does every other file that is copied from a worker which could not be reached. */
  giveUpFrom(run: Run, url: string, but: FileTask): void {
    for (const file of [...run.files])
      if (file !== but && file.peer?.url === url) this.#fail(run, file, notReached(file.entry.path, url));
  }

  #fail(run: Run, file: FileTask, error: PrimedError): void {
    file.error ??= error;
    if (file.outstanding === 0) this.#giveUp(run, file);
  }

  #follow(run: Run, file: FileTask, feed: Feed): () => void {
    const { entry, range = { offset: 0, length: entry.sizeBytes } } = file;
    const { url } = file.peer!;
    const failed = (error: PrimedError): void => this.#fail(run, file, error);
    return this.#follows.follow(
      { url, entry, range },
      {
        landed: (ranges) => {
          if (!feed.arrived(ranges)) return;
          run.copies.planning.push(file);
          this.#onPlanned();
        },
        all: () => {
          if (feed.complete) return;
          const { path } = entry;
          const message = `${path}: worker ${url} says that it has all of a segment, and has not told of every byte`;
          failed(new PrimedError('PEER_FAILED', message, { path, url }));
        },
        failed,
      },
    );
  }

  /** A part of the file has ended, in whatever way. The last one decides: done, given up, or anew on another version. */
  partEnded(run: Run, part: PartTask): void {
    const { file } = part;
    file.outstanding -= 1;
    if (file.held) {
      run.queueOf(file).release(file);
      this.#onPlanned();
    }
    if (file.outstanding > 0 || run.stopping || !run.files.has(file)) return;
    const { entry, range, loadedBytes, skippedBytes } = file;
    if (file.error !== undefined) this.#giveUp(run, file);
    else if (file.changed) this.#restart(run, file);
    else if (file.setAside) this.#setAside(run, file);
    else if (file.dropped) {
      const { path } = entry;
      const message = `${path}: the file was removed from the cache while it was loaded; submit the load again`;
      file.error = new PrimedError('FILE_NOT_CACHED', message, { path });
      this.#giveUp(run, file);
    } else if (file.unplannedBytes === 0) {
      const wantedBytes = range?.length ?? entry.sizeBytes;
      assert(loadedBytes + skippedBytes === wantedBytes, 'a file is loaded when every byte of it has landed');
      this.#complete(run, file);
    }
  }

  #begin(run: Run, entry: ManifestEntry, range: ByteRange | undefined): ReturnType<Store['beginFile']> {
    const { run: id, load, reuse, segmentBytes } = run.spec;
    const wanted = range === undefined ? {} : { range };
    return this.#store.beginFile({ run: id, load, entry, reuse, segmentBytes, partBytes: this.#partBytes, ...wanted });
  }

  /** Every byte of the file is durable. */
  #complete(run: Run, file: FileTask): void {
    const { loadedBytes, skippedBytes, entry } = file;
    if (file.troubled || this.#tell.hasFailed(entry.path)) this.#ended(run, file, {});
    else this.#tell.wentWell();
    this.finish(run, file, { path: entry.path, result: 'loaded', loadedBytes, skippedBytes, version: entry });
  }

  #giveUp(run: Run, file: FileTask): void {
    const { loadedBytes, skippedBytes, entry } = file;
    const error = reportOf(file.error);
    // Of a lost origin the job tells, once for all its files.
    if (error.code !== 'ORIGIN_LOST' || file.troubled) this.#ended(run, file, error);
    this.finish(run, file, { path: entry.path, result: 'failed', loadedBytes, skippedBytes, error });
  }

  #ended(run: Run, { entry, range }: FileTask, { code, message }: { code?: string; message?: string }): void {
    const how = message === undefined ? {} : { message: keptReason({ path: entry.path, message }) };
    this.#tell.happened({
      kind: code === undefined ? 'loaded' : 'given-up',
      ...{ path: entry.path, job: run.spec.job, etag: entry.etag },
      ...(range === undefined ? {} : { range }),
      ...(code === undefined ? {} : { code }),
      ...how,
    });
  }

  #setAside(run: Run, file: FileTask): void {
    const { loadedBytes, skippedBytes, entry } = file;
    this.finish(run, file, { path: entry.path, result: 'later', loadedBytes, skippedBytes });
  }

  #restart(run: Run, file: FileTask): void {
    if (file.range !== undefined) {
      const { loadedBytes, skippedBytes, entry } = file;
      this.finish(run, file, { path: entry.path, result: 'changed', loadedBytes, skippedBytes });
      return;
    }
    run.landsInFlight += 1;
    this.#startAnew(run, file)
      .catch((error: unknown) => {
        file.error = error instanceof PrimedError ? error : new PrimedError('INTERNAL', String(error));
        if (!run.stopping) this.#giveUp(run, file);
      })
      .finally(() => {
        run.landsInFlight -= 1;
        run.wakeIfIdle();
      });
  }

  /** The object has changed under the load: what was fetched of the old version goes, and the new one is loaded whole. */
  async #startAnew(run: Run, file: FileTask): Promise<void> {
    const { path, etag } = file.entry;
    const oldBytes = alignUp(file.entry.sizeBytes);
    await this.#store.abandonFile(file.fileId, 'changed');
    file.skippedBytes = 0;
    file.loadedBytes = 0;
    if (run.spec.onChange === 'fail') {
      const message = `${path}: the object changed at the origin during the load (it was ${etag}); the policy is to fail`;
      throw new PrimedError('ORIGIN_CHANGED', message, { path });
    }
    if (file.restarts >= this.#maxRestarts) {
      const message = `${path}: the object changed at the origin ${file.restarts + 1} times during the load`;
      throw new PrimedError('ORIGIN_CHANGED', message, { path });
    }
    file.restarts += 1;
    const found = await abortable(this.#origins.head(path, run.abort.signal), run.abort.signal);
    if (run.stopping) return;
    // the room of the old version went back to the reservation when it was abandoned; that of other files stays theirs
    const oldLeftBytes = Math.min(oldBytes, this.#store.reservedFor(run.spec.run));
    const evicted = await this.#store.reserveMore(run.spec.run, alignUp(found.sizeBytes) - oldLeftBytes);
    run.evictedBytes += evicted.bytes;
    if (run.stopping) return;
    const { sizeBytes, lastModifiedMs, versionId } = found;
    const version = { etag: found.etag, sizeBytes, lastModifiedMs };
    file.entry = { path, ...version, ...(versionId === undefined ? {} : { versionId }) };
    const { run: id, job: jobId } = run.spec;
    const facts = { run: id, jobId, path, was: etag, is: found.etag, sizeBytes };
    this.#log.info(facts, 'the object changed at the origin: loading it anew');
    const begun = this.#begin(run, file.entry, undefined);
    file.generation += 1;
    file.changed = false;
    file.hasty = false;
    file.setAside = false;
    if (begun.state === 'complete') {
      this.finish(run, file, durableOutcome(file.entry, sizeBytes, begun));
      return;
    }
    file.fileId = begun.fileId;
    if (sizeBytes === 0) {
      await this.#store.completeEmpty(run.spec.run, begun.fileId);
      this.#complete(run, file);
      return;
    }
    const missingBytes = bytesOf(begun.missing);
    await this.#store.admit(begun.fileId, path, missingBytes);
    if (run.stopping) return;
    file.unplanned = partsOf(begun.missing, this.#partBytes);
    file.unplannedBytes = missingBytes;
    file.loadedBytes = begun.ownBytes;
    file.skippedBytes = sizeBytes - file.unplannedBytes - begun.ownBytes;
    run.queueOf(file).planning.push(file);
    this.#onPlanned();
  }
}

function bytesOf(ranges: readonly ByteRange[]): number {
  return ranges.reduce((sum, range) => sum + range.length, 0);
}

export function stoppedOutcome(entry: ManifestEntry): FileOutcome {
  return { path: entry.path, result: 'stopped', loadedBytes: 0, skippedBytes: 0 };
}

/** All of it was here: it was skipped, but for what this very run had fetched of it. */
function durableOutcome(entry: ManifestEntry, bytes: number, { own, ownBytes }: Fetched): FileOutcome {
  const result = own ? 'loaded' : 'skipped';
  return { path: entry.path, result, loadedBytes: ownBytes, skippedBytes: bytes - ownBytes, version: entry };
}
