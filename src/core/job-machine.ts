/**
 * The life of a job, as a pure function: `nextState(job, event, now)`. Whoever drives a job (the coordinator)
 * turns what happens into events and makes the answer durable; nothing else decides about states and counters.
 *
 *   WAITING ──started──▶ RUNNING ──loadingEnded──▶ VERIFYING ──verifyEnded──▶ SUCCEEDED
 *      │                    │  └───────────────────────┴──────failed───────▶ FAILED
 *      └──────stopped───────┴─────(stopRequested, stopped)─────────────────▶ STOPPED
 *
 * A FREE goes from RUNNING to its end by `freeEnded`.
 *
 * End states absorb every event, so that a late message changes nothing. SUCCEEDED has one entrance, `succeeded`,
 * which counts: every file of the manifest is accounted for, none failed, and every byte is loaded or was there.
 */
import { type FreeEvent, type FreeProgress, nextFree, unfreed } from './free-job.ts';
import type { FileFailure, JobState } from './job.ts';

/** Failures that are kept with their reasons; the count goes on. About 200 bytes each. */
export const maxFailuresKept = 1000;

/** What happened to files since the last event. Plain sums, so that tallies of chunks can be added up after a crash. */
export interface Tally {
  readonly loadedFiles: number;
  /** Those of them that have no bytes. */
  readonly loadedEmptyFiles: number;
  readonly loadedBytes: number;
  readonly skippedFiles: number;
  readonly skippedBytes: number;
  readonly failedFiles: number;
  /** Bytes of the manifest that belong to the failed files. */
  readonly failedBytes: number;
  /** How much larger (or smaller) the loaded versions are than those of the manifest. */
  readonly grownBytes: number;
  /** The first `maxFailuresKept`. */
  readonly failures: readonly FileFailure[];
}

export const emptyTally: Tally = {
  loadedFiles: 0,
  loadedEmptyFiles: 0,
  loadedBytes: 0,
  skippedFiles: 0,
  skippedBytes: 0,
  failedFiles: 0,
  failedBytes: 0,
  grownBytes: 0,
  failures: [],
};

/** What the listing has said so far; bytes are those to be cached (0 for a load of metadata). */
export interface Listed {
  readonly scannedFiles: number;
  readonly files: number;
  readonly bytes: number;
}

/** A file whose bytes were counted, and did not stand the verification. */
export interface LostFile {
  readonly failure: FileFailure;
  readonly sizeBytes: number;
}

export interface JobProgress {
  readonly state: JobState;
  readonly reason?: string;
  readonly submittedAtMs: number;
  readonly startedAtMs?: number;
  readonly endedAtMs?: number;
  /** Time in RUNNING and VERIFYING up to `activeSinceMs`. */
  readonly activeMs: number;
  /** Set while the clock of `activeMs` runs. */
  readonly activeSinceMs?: number;
  /** A stop was asked for; whatever happens then, the job ends STOPPED. */
  readonly stopping: boolean;
  readonly verify: boolean;
  readonly listing: Listed;
  readonly listingDone: boolean;
  readonly tally: Tally;
  readonly verifiedFiles: number;
  readonly verifiedBytes: number;
  /**
   * Of the verified ones, by their pages alone: their origin states nothing of all of their bytes that could be compared. At least as many as there are: one that had to be
   * verified twice may be counted twice. Absent: begun by a release that did not count them.
   */
  readonly verifiedByPages?: number;
  /** What the second listing has shown so far, in the versions that are cached. */
  readonly seenAgain: { readonly files: number; readonly bytes: number };
  /** Of a FREE, which has none of the figures of a load. */
  readonly free?: FreeProgress;
}

export type JobEvent =
  | FreeEvent
  /** Every worker that is there was asked; `absent` are those that are not. */
  | { readonly type: 'freeEnded'; readonly absent: readonly string[] }
  /** Its turn has come: it begins, or goes on where another process, or another coordinator, left it. */
  | { readonly type: 'started' }
  /** It has to wait; says why. One that ran keeps its state. */
  | { readonly type: 'queued'; readonly reason: string }
  /** One more page of the listing. Refused entries (a missing line of an index) come as files, and fail by a tally. */
  | { readonly type: 'listed'; readonly page: Listed }
  /** The listing has to begin anew (its source changed across a restart); nothing was accounted for yet. */
  | { readonly type: 'listingRestarted' }
  | { readonly type: 'listingEnded' }
  | { readonly type: 'settled'; readonly tally: Tally }
  /** Files that were counted as loaded or skipped, are not there any more, and could not be loaded again. */
  | { readonly type: 'lost'; readonly lost: readonly LostFile[] }
  /** Every listed file is settled and the listing is done. */
  | { readonly type: 'loadingEnded' }
  /**
   * `found`: files that the second listing had and the cache had not, already settled in `tally`. `lost`: files that
   * were counted as loaded or skipped before, and turned out to be bad beyond repair. `seenAgain`: all that the second
   * listing had, these included. `byPages`: of `files`, those that were compared with nothing that the origin states of
   * all of their bytes.
   */
  | {
      readonly type: 'verified';
      readonly files: number;
      readonly bytes: number;
      readonly byPages: number;
      readonly found: Listed;
      readonly tally: Tally;
      readonly lost: readonly LostFile[];
      readonly seenAgain: { readonly files: number; readonly bytes: number };
    }
  /** Another pass begins: it counts all files anew, those that it finds as they were left too. */
  | { readonly type: 'verifiedAgain' }
  | { readonly type: 'verifyEnded' }
  /** The job as a whole cannot go on: no listing, no room. */
  | { readonly type: 'failed'; readonly reason: string }
  | { readonly type: 'stopRequested' }
  /** Nothing is in flight any more. */
  | { readonly type: 'stopped' }
  /** The daemon came back; what was counted is what was durable. */
  | { readonly type: 'recovered' }
  /** The clock of `activeMs` is brought up to date, for the snapshot or the store. */
  | { readonly type: 'ticked' }
  /** The daemon goes down in good order: the clock stands still. */
  | { readonly type: 'paused' };

export function newJob(options: { verify: boolean; free?: FreeProgress }, nowMs: number): JobProgress {
  return {
    ...(options.free === undefined ? {} : { free: options.free }),
    state: 'WAITING',
    submittedAtMs: nowMs,
    activeMs: 0,
    stopping: false,
    verify: options.verify,
    listing: { scannedFiles: 0, files: 0, bytes: 0 },
    listingDone: false,
    tally: emptyTally,
    verifiedFiles: 0,
    verifiedBytes: 0,
    verifiedByPages: 0,
    seenAgain: { files: 0, bytes: 0 },
  };
}

export function isEnded(state: JobState): boolean {
  return state === 'STOPPED' || state === 'SUCCEEDED' || state === 'FAILED';
}

/** Why a file failed, without its path: messages of the catalogue often begin with it. */
export function failureReason({ path, message }: Pick<FileFailure, 'path' | 'message'>): string {
  return message.startsWith(`${path}: `) ? message.slice(path.length + 2) : message;
}

export function processedFiles(tally: Tally): number {
  return tally.loadedFiles + tally.skippedFiles + tally.failedFiles;
}

/** The job after an event at wall time `nowMs`. An event that does not fit the state changes nothing. */
export function nextState(job: JobProgress, event: JobEvent, nowMs: number): JobProgress {
  if (isEnded(job.state)) return job;
  switch (event.type) {
    case 'started':
      return job.stopping ? job : started(job, nowMs);
    case 'queued':
      return { ...withoutClock(ticked(job, nowMs)), reason: event.reason };
    case 'listed':
      return job.state === 'RUNNING' && !job.listingDone
        ? { ...job, listing: addListed(job.listing, event.page) }
        : job;
    case 'listingRestarted':
      return job.state === 'RUNNING'
        ? { ...job, listing: { scannedFiles: 0, files: 0, bytes: 0 }, listingDone: false, tally: emptyTally }
        : job;
    case 'listingEnded':
      return job.state === 'RUNNING' ? { ...job, listingDone: true } : job;
    case 'settled':
      return job.state === 'RUNNING' ? { ...job, tally: addTally(job.tally, event.tally) } : job;
    case 'lost':
      return job.state === 'RUNNING' ? { ...job, tally: event.lost.reduce(withoutLost, job.tally) } : job;
    case 'loadingEnded':
      return job.state === 'RUNNING' ? loadingEnded(job, nowMs) : job;
    case 'verified':
      return job.state === 'VERIFYING' ? verified(job, event) : job;
    case 'verifiedAgain':
      return job.state === 'VERIFYING'
        ? { ...job, verifiedFiles: 0, verifiedBytes: 0, seenAgain: { files: 0, bytes: 0 } }
        : job;
    case 'verifyEnded':
      return job.state === 'VERIFYING' ? succeeded(withoutGone(job), nowMs) : job;
    case 'found':
    case 'freed':
    case 'workerFreed':
      return job.state === 'RUNNING' && job.free !== undefined ? { ...job, free: nextFree(job.free, event) } : job;
    case 'freeEnded':
      return job.state === 'RUNNING' && job.free !== undefined ? freeEnded(job, job.free, event.absent, nowMs) : job;
    case 'failed':
      return job.stopping ? ended(job, 'STOPPED', nowMs) : ended(job, 'FAILED', nowMs, event.reason);
    case 'stopRequested':
      return job.state === 'WAITING' ? ended(job, 'STOPPED', nowMs) : { ...job, stopping: true };
    case 'stopped':
      return job.stopping ? ended(job, 'STOPPED', nowMs) : job;
    case 'recovered':
      return recovered(job, nowMs);
    case 'ticked':
      return ticked(job, nowMs);
    case 'paused':
      return withoutClock(ticked(job, nowMs));
  }
}

export function addTally(a: Tally, b: Tally): Tally {
  return {
    loadedFiles: a.loadedFiles + b.loadedFiles,
    loadedEmptyFiles: a.loadedEmptyFiles + b.loadedEmptyFiles,
    loadedBytes: a.loadedBytes + b.loadedBytes,
    skippedFiles: a.skippedFiles + b.skippedFiles,
    skippedBytes: a.skippedBytes + b.skippedBytes,
    failedFiles: a.failedFiles + b.failedFiles,
    failedBytes: a.failedBytes + b.failedBytes,
    grownBytes: a.grownBytes + b.grownBytes,
    failures: addFailures(a.failures, b.failures),
  };
}

/** The same in place, for very many. */
export class TallySum {
  #loadedFiles = 0;
  #loadedEmptyFiles = 0;
  #loadedBytes = 0;
  #skippedFiles = 0;
  #skippedBytes = 0;
  #failedFiles = 0;
  #failedBytes = 0;
  #grownBytes = 0;
  #failures: readonly FileFailure[] = [];

  add(tally: Tally): void {
    this.#loadedFiles += tally.loadedFiles;
    this.#loadedEmptyFiles += tally.loadedEmptyFiles;
    this.#loadedBytes += tally.loadedBytes;
    this.#skippedFiles += tally.skippedFiles;
    this.#skippedBytes += tally.skippedBytes;
    this.#failedFiles += tally.failedFiles;
    this.#failedBytes += tally.failedBytes;
    this.#grownBytes += tally.grownBytes;
    if (tally.failures.length > 0) this.#failures = addFailures(this.#failures, tally.failures);
  }

  get sum(): Tally {
    return {
      loadedFiles: this.#loadedFiles,
      loadedEmptyFiles: this.#loadedEmptyFiles,
      loadedBytes: this.#loadedBytes,
      skippedFiles: this.#skippedFiles,
      skippedBytes: this.#skippedBytes,
      failedFiles: this.#failedFiles,
      failedBytes: this.#failedBytes,
      grownBytes: this.#grownBytes,
      failures: this.#failures,
    };
  }
}

function addFailures(a: readonly FileFailure[], b: readonly FileFailure[]): readonly FileFailure[] {
  if (b.length === 0 || a.length >= maxFailuresKept) return a;
  return [...a, ...b.slice(0, maxFailuresKept - a.length)];
}

export function addListed(a: Listed, b: Listed): Listed {
  return { scannedFiles: a.scannedFiles + b.scannedFiles, files: a.files + b.files, bytes: a.bytes + b.bytes };
}

function started(job: JobProgress, nowMs: number): JobProgress {
  const { reason: _waited, ...rest } = job;
  const state = job.state === 'WAITING' ? 'RUNNING' : job.state;
  return { ...rest, state, startedAtMs: job.startedAtMs ?? nowMs, activeSinceMs: job.activeSinceMs ?? nowMs };
}

function loadingEnded(job: JobProgress, nowMs: number): JobProgress {
  if (job.stopping) return ended(job, 'STOPPED', nowMs);
  const whyNot = unfinished(job);
  if (whyNot !== undefined) return ended(job, 'FAILED', nowMs, whyNot);
  return job.verify ? { ...job, state: 'VERIFYING' } : succeeded(job, nowMs);
}

function verified(job: JobProgress, event: Extract<JobEvent, { type: 'verified' }>): JobProgress {
  return {
    ...job,
    listing: addListed(job.listing, event.found),
    tally: event.lost.reduce(withoutLost, addTally(job.tally, event.tally)),
    verifiedFiles: job.verifiedFiles + event.files,
    verifiedBytes: job.verifiedBytes + event.bytes,
    ...(job.verifiedByPages === undefined ? {} : { verifiedByPages: job.verifiedByPages + event.byPages }),
    seenAgain: {
      files: job.seenAgain.files + event.seenAgain.files,
      bytes: job.seenAgain.bytes + event.seenAgain.bytes,
    },
  };
}

/**
 * Totals of a verified job are those of the second listing: files that the origin has no more, and versions that were
 * loaded and have another one in their place by now, are not counted. They were among the loaded ones, else the skipped.
 */
function withoutGone(job: JobProgress): JobProgress {
  const { tally, listing, seenAgain } = job;
  const bytesBefore = tally.loadedBytes + tally.skippedBytes + tally.failedBytes;
  const goneFiles = Math.max(0, processedFiles(tally) - seenAgain.files);
  const goneBytes = Math.max(0, bytesBefore - seenAgain.bytes);
  const loadedFiles = Math.max(0, tally.loadedFiles - goneFiles);
  const loadedBytes = Math.max(0, tally.loadedBytes - goneBytes);
  const skippedFiles = Math.max(0, tally.skippedFiles - (goneFiles - (tally.loadedFiles - loadedFiles)));
  const skippedBytes = Math.max(0, tally.skippedBytes - (goneBytes - (tally.loadedBytes - loadedBytes)));
  const files = tally.loadedFiles - loadedFiles + tally.skippedFiles - skippedFiles;
  const bytes = tally.loadedBytes - loadedBytes + tally.skippedBytes - skippedBytes;
  return {
    ...job,
    listing: { ...listing, files: listing.files - files, bytes: listing.bytes - bytes },
    tally: { ...tally, loadedFiles, loadedBytes, skippedFiles, skippedBytes },
  };
}

/** Moves a file from the loaded ones (else the skipped ones) to the failed ones: bytes that failed are never counted. */
function withoutLost(tally: Tally, { failure, sizeBytes }: LostFile): Tally {
  const failed = {
    failedFiles: tally.failedFiles + 1,
    failedBytes: tally.failedBytes + sizeBytes,
    failures: addFailures(tally.failures, [failure]),
  };
  const counted =
    tally.loadedFiles > 0 && (tally.loadedBytes >= sizeBytes || tally.skippedFiles === 0) ? 'loaded' : 'skipped';
  if (counted === 'loaded') {
    return {
      ...tally,
      ...failed,
      loadedFiles: tally.loadedFiles - 1,
      loadedBytes: Math.max(0, tally.loadedBytes - sizeBytes),
    };
  }
  return {
    ...tally,
    ...failed,
    skippedFiles: Math.max(0, tally.skippedFiles - 1),
    skippedBytes: Math.max(0, tally.skippedBytes - sizeBytes),
  };
}

/** The only way of a FREE to SUCCEEDED. */
function freeEnded(job: JobProgress, free: FreeProgress, absent: readonly string[], nowMs: number): JobProgress {
  if (job.stopping) return ended(job, 'STOPPED', nowMs);
  const whyNot = unfreed(free, absent);
  const asked = { ...job, free: { ...free, absent } };
  return whyNot === undefined ? ended(asked, 'SUCCEEDED', nowMs) : ended(asked, 'FAILED', nowMs, whyNot);
}

/** The only way of a load to SUCCEEDED. */
function succeeded(job: JobProgress, nowMs: number): JobProgress {
  if (job.stopping) return ended(job, 'STOPPED', nowMs);
  const whyNot = unfinished(job);
  return whyNot === undefined ? ended(job, 'SUCCEEDED', nowMs) : ended(job, 'FAILED', nowMs, whyNot);
}

/** Why the job may not succeed; undefined: it may. */
function unfinished({ listing, listingDone, tally }: JobProgress): string | undefined {
  if (tally.failedFiles > 0) {
    const first = tally.failures[0];
    const count =
      tally.failedFiles === 1 ? `1 of ${listing.files} files` : `${tally.failedFiles} of ${listing.files} files`;
    return `${count} failed${first === undefined ? '' : `; the first: ${first.path}: ${failureReason(first)}`}`;
  }
  if (!listingDone) return 'a defect of primed: the load ended before its listing; please report it';
  const missing = listing.files - processedFiles(tally);
  if (missing !== 0) return `a defect of primed: ${missing} files are unaccounted for; please report it`;
  const missingBytes = listing.bytes + tally.grownBytes - tally.loadedBytes - tally.skippedBytes;
  if (missingBytes !== 0) return `a defect of primed: ${missingBytes} bytes are unaccounted for; please report it`;
  return undefined;
}

function ended(
  job: JobProgress,
  state: 'STOPPED' | 'SUCCEEDED' | 'FAILED',
  nowMs: number,
  reason?: string,
): JobProgress {
  const { reason: _earlier, ...rest } = withoutClock(ticked(job, nowMs));
  return { ...rest, state, stopping: false, endedAtMs: nowMs, ...(reason === undefined ? {} : { reason }) };
}

/** The time between the last durable tick and the crash is not known, and not counted. */
function recovered(job: JobProgress, nowMs: number): JobProgress {
  const stood = withoutClock(job);
  // What a load has under way at the workers has to end before.
  if (job.stopping) return job.free === undefined ? stood : ended(stood, 'STOPPED', nowMs);
  return job.state === 'WAITING' ? stood : { ...stood, activeSinceMs: nowMs };
}

function ticked(job: JobProgress, nowMs: number): JobProgress {
  if (job.activeSinceMs === undefined) return job;
  // The wall clock may be set back; time does not run backwards for that.
  return { ...job, activeMs: job.activeMs + Math.max(0, nowMs - job.activeSinceMs), activeSinceMs: nowMs };
}

function withoutClock(job: JobProgress): JobProgress {
  const { activeSinceMs: _stopped, ...rest } = job;
  return rest;
}
