/** How far a job is, while it runs: a bar on a terminal, a line now and then elsewhere. */
import cliProgress from 'cli-progress';
import type { FreeReport, JobProgress } from '../client/types.ts';
import type { JobState } from '../core/job.ts';
import { limitText } from '../core/limit-causes.ts';
import { formatSize, formatTimeLeft } from '../core/sizes.ts';
import { type CliIo, colorAllowed, redrawable, unicodeAllowed } from './io.ts';
import { inAscii } from './spans.ts';

export interface Watched {
  readonly mJobState: JobState;
}

/** What there is to see of a job. */
export interface Figures<P extends Watched> {
  /** How much is done, 0 to 1; undefined: not known. */
  share(progress: P): number | undefined;
  describe(progress: P): string;
}

export interface Meter<P extends Watched> {
  show(progress: P): void;
  /** No answer at the moment, and why. */
  waiting(reason: string): void;
  end(): void;
}

/** At most one line in this time, except when the state changes. */
const lineEveryMs = 3_000;
const barColumnsMax = 30;
/** A shorter bar shows nothing; the words have its place. */
const barColumnsMin = 5;
/** Of a terminal that does not say. */
const usualColumns = 80;
const redrawPerSecond = 10;

/** Writes to standard error, so that standard output keeps to results. */
export function makeMeter<P extends Watched>(io: CliIo, figures: Figures<P>): Meter<P> {
  return redrawable(io, io.stderr) ? barMeter(io, figures) : lineMeter(io, figures);
}

function barMeter<P extends Watched>(io: CliIo, figures: Figures<P>): Meter<P> {
  const paint = colorAllowed(io, io.stderr) ? (bar: string) => `\u001b[36m${bar}\u001b[39m` : (bar: string) => bar;
  let words = 'starting';
  let known = true;
  const bar = new cliProgress.SingleBar({
    stream: io.stderr,
    fps: redrawPerSecond,
    barsize: barColumnsMax,
    hideCursor: true,
    gracefulExit: false,
    linewrap: false,
    format: (_options, params) => {
      if (!known) return words;
      const line = `${(params.progress * 100).toFixed(1).padStart(5)}%  ${words}`;
      // The line is cut at the edge of the terminal, and its end says how long it will take and what failed.
      const room = (io.stderr.columns || usualColumns) - line.length - 1;
      const columns = Math.min(barColumnsMax, room);
      if (columns < barColumnsMin) return line.trimStart();
      const full = Math.round(params.progress * columns);
      const drawn = `${'█'.repeat(full)}${'░'.repeat(columns - full)}`;
      return `${paint(unicodeAllowed(io) ? drawn : inAscii(drawn))} ${line}`;
    },
  });
  bar.start(1, 0);
  return {
    show(progress) {
      const share = figures.share(progress);
      known = share !== undefined;
      words = figures.describe(progress);
      bar.update(share ?? 0);
    },
    waiting(reason) {
      known = false;
      words = `waiting: ${reason}`;
    },
    end() {
      bar.stop();
    },
  };
}

function lineMeter<P extends Watched>(io: CliIo, figures: Figures<P>): Meter<P> {
  let shown = '';
  let shownState = '';
  let shownAtMs = Number.NEGATIVE_INFINITY;
  const write = (state: string, line: string): void => {
    const dueAtMs = shownAtMs + lineEveryMs;
    if (line === shown || (state === shownState && io.now() < dueAtMs)) return;
    [shown, shownState, shownAtMs] = [line, state, io.now()];
    io.stderr.write(`${line}\n`);
  };
  return {
    show: (progress) =>
      write(
        progress.mJobState,
        `${progress.mJobState} ${percent(figures.share(progress))}${figures.describe(progress)}`,
      ),
    waiting: (reason) => write('waiting', `waiting: ${reason}`),
    end() {},
  };
}

function percent(share: number | undefined): string {
  return share === undefined ? '' : `${(share * 100).toFixed(1)}%  `;
}

/** How much is done, 0 to 1: of bytes, or of files where there are no bytes; of the checking while it verifies. */
function shareOf(progress: JobProgress): number | undefined {
  const { mTotalByteCount: bytes, mTotalFileCount: files } = progress;
  if (progress.mJobState === 'SUCCEEDED') return 1;
  if (bytes !== undefined && bytes > 0 && progress.mMetadataOnly !== true) {
    const done =
      progress.mJobState === 'VERIFYING'
        ? (progress.verifiedBytes ?? 0)
        : progress.mLoadedByteCount + progress.mSkippedByteCount;
    return Math.min(1, done / bytes);
  }
  return files === undefined || files === 0 ? undefined : Math.min(1, progress.mProcessedFileCount / files);
}

/** `1.20GB of 5.00GB, 12 of 40 files, 310.00MB/s, ETA 12s, 1 failed, limited by: disk writes (71%)` */
function describe(progress: JobProgress): string {
  const { mTotalByteCount: bytes, mTotalFileCount: files, mJobState: state } = progress;
  if (state === 'WAITING') return `waiting${progress.reason === undefined ? '' : ` (${progress.reason})`}`;
  const of = (total: string | number | undefined): string => (total === undefined ? '' : ` of ${total}`);
  const parts: string[] = [];
  if (state === 'VERIFYING')
    parts.push(
      `verified ${formatSize(progress.verifiedBytes ?? 0)}${of(bytes === undefined ? undefined : formatSize(bytes))}`,
    );
  else {
    const cached = progress.mLoadedByteCount + progress.mSkippedByteCount;
    if (progress.mMetadataOnly !== true)
      parts.push(`${formatSize(cached)}${of(bytes === undefined ? undefined : formatSize(bytes))}`);
    parts.push(`${progress.mProcessedFileCount}${of(files)} files`);
  }
  if (progress.listingDone === false && state === 'RUNNING')
    parts.push(`listing: ${progress.scannedFiles ?? 0} keys so far`);
  if (progress.mThroughput !== undefined && state === 'RUNNING') parts.push(`${formatSize(progress.mThroughput)}/s`);
  if (progress.etaMs !== undefined && state === 'RUNNING') parts.push(`ETA ${formatTimeLeft(progress.etaMs)}`);
  if (progress.mFailedFileCount > 0) parts.push(`${progress.mFailedFileCount} failed`);
  const limit = progress.limitedBy?.[0];
  if (limit !== undefined) parts.push(`limited by: ${limitText(limit)}`);
  return parts.join(', ');
}

export const loadFigures: Figures<JobProgress> = { share: shareOf, describe };

/** `2.00GB of 5.00GB, 12 of 40 files`, or of a dry run what it has found */
export const freeFigures: Figures<FreeReport> = {
  share({ mJobState, dryRun, bytes, freedBytes }) {
    if (mJobState === 'SUCCEEDED') return 1;
    return dryRun || bytes === 0 ? undefined : Math.min(1, freedBytes / bytes);
  },
  describe({ mJobState, dryRun, files, bytes, freedFiles, freedBytes, reason }) {
    if (mJobState === 'WAITING') return `waiting${reason === undefined ? '' : ` (${reason})`}`;
    if (dryRun) return `${formatSize(bytes)}, ${files} files found`;
    return `${formatSize(freedBytes)} of ${formatSize(bytes)}, ${freedFiles} of ${files} files`;
  },
};
