/**
 * How far a FREE job is, worker by worker, as a pure function of what the workers say.
 *
 * What a worker had at first is counted before anything is removed. So what is gone is known after any crash, of the
 * coordinator or of the worker: what there was, less what there still is.
 */

export interface FreedWorker {
  readonly worker: string;
  /** What it had of the path when the job first looked; files that are loaded in part count. */
  readonly files: number;
  readonly bytes: number;
  readonly freedFiles: number;
  readonly freedBytes: number;
  /** It has nothing of the path any more; of a dry run: it has said all that it has. */
  readonly done: boolean;
}

export interface FreeProgress {
  /** Nothing is removed; the job says what would be. */
  readonly dryRun: boolean;
  /** In the order in which they were asked first. */
  readonly workers: readonly FreedWorker[];
  /** Workers that are known and did not answer: they keep what they have. */
  readonly absent: readonly string[];
}

export type FreeEvent =
  /** All that a worker has of the path now, be it at first or after an interruption. */
  | { readonly type: 'found'; readonly worker: string; readonly files: number; readonly bytes: number }
  /** So much of it is gone. */
  | { readonly type: 'freed'; readonly worker: string; readonly files: number; readonly bytes: number }
  /** The worker was asked for all of the path. */
  | { readonly type: 'workerFreed'; readonly worker: string };

export function newFree(dryRun: boolean): FreeProgress {
  return { dryRun, workers: [], absent: [] };
}

/** The progress after an event. A worker that was not `found` before is not known, and changes nothing. */
export function nextFree(free: FreeProgress, event: FreeEvent): FreeProgress {
  const { worker } = event;
  const known = free.workers.find((one) => one.worker === worker);
  if (known === undefined) {
    if (event.type !== 'found') return free;
    return { ...free, workers: [...free.workers, foundAgain(nothingYet(worker), event)] };
  }
  const next = nextWorker(known, event);
  return { ...free, workers: free.workers.map((one) => (one === known ? next : one)) };
}

function nextWorker(known: FreedWorker, event: FreeEvent): FreedWorker {
  switch (event.type) {
    case 'found':
      return foundAgain(known, event);
    case 'freed':
      return {
        ...known,
        freedFiles: known.freedFiles + event.files,
        freedBytes: known.freedBytes + event.bytes,
      };
    case 'workerFreed':
      return { ...known, done: true };
  }
}

function nothingYet(worker: string): FreedWorker {
  return { worker, files: 0, bytes: 0, freedFiles: 0, freedBytes: 0, done: false };
}

function foundAgain(known: FreedWorker, left: { files: number; bytes: number }): FreedWorker {
  // What went without a word of it (the worker died over its answer) is missing now.
  const freedFiles = Math.max(known.freedFiles, known.files - left.files);
  const freedBytes = Math.max(known.freedBytes, known.bytes - left.bytes);
  return {
    ...known,
    ...{ freedFiles, freedBytes, done: false },
    files: freedFiles + left.files,
    bytes: freedBytes + left.bytes,
  };
}

/** Why a FREE that has come to its end may not succeed; undefined: it may. */
export function unfreed({ workers, dryRun }: FreeProgress, absent: readonly string[]): string | undefined {
  if (absent.length > 0) {
    const who = absent.length === 1 ? 'worker did' : 'workers did';
    const what = dryRun ? 'what they have is not known' : 'they keep what they have of the path';
    return `${absent.length} ${who} not answer, and ${what}: ${absent.join(', ')}`;
  }
  const left = workers.filter(({ done }) => !done).map(({ worker }) => worker);
  return left.length === 0
    ? undefined
    : `a defect of primed: the job ended before these workers were done: ${left.join(', ')}; please report it`;
}

/** Sums over the workers. */
export function freeTotals({ workers }: FreeProgress): {
  files: number;
  bytes: number;
  freedFiles: number;
  freedBytes: number;
} {
  const sum = { files: 0, bytes: 0, freedFiles: 0, freedBytes: 0 };
  for (const one of workers) {
    sum.files += one.files;
    sum.bytes += one.bytes;
    sum.freedFiles += one.freedFiles;
    sum.freedBytes += one.freedBytes;
  }
  return sum;
}
