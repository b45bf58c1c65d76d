/** What happened to a file, in a sentence each. */
import type { AttemptEvent, FileEvent, GoneEvent, GoneReason, LoadEndEvent } from './file-events.ts';
import { formatDuration, formatSize } from './sizes.ts';

/** The name of a job as people are told it; what readers have fetched is in no job. */
export function jobText(job: string | undefined, what = 'load'): string {
  if (job === undefined) return `a ${what} that is not known any more`;
  return job === 'read-through' ? 'a read' : `${what} ${job}`;
}

export function eventText(event: FileEvent, job: string | undefined): string {
  if (event.kind === 'attempt') return attemptText(event, job);
  if (event.kind === 'gone') return goneText(event, job);
  return endText(event, job);
}

function bytesText({ offset, length }: { offset: number; length: number }): string {
  return `bytes ${offset}-${offset + length - 1}`;
}

function attemptText(event: AttemptEvent, job: string | undefined): string {
  const { attempt, from, etag, result, message, httpStatus, s3Code, requestId, durationMs, next, delayMs } = event;
  const whom = from === undefined ? 'the origin' : `worker ${from}`;
  const said = [
    ...(httpStatus === undefined ? [] : [`HTTP ${httpStatus}`]),
    ...(s3Code === undefined ? [] : [s3Code]),
    ...(result === 'arrived' ? [] : [result]),
    ...(requestId === undefined ? [] : [`request id ${requestId}`]),
    `after ${Math.round(durationMs)} ms`,
  ].join(', ');
  const end = result === 'arrived' ? 'ARRIVED' : 'FAILED';
  const why = message === undefined ? '' : `: ${message}`;
  const then = next === undefined ? '' : `; ${nextText(next, delayMs)}`;
  return `attempt ${attempt} of ${jobText(job)} to get ${bytesText(event)} of version ${etag} from ${whom} ${end} (${said})${why}${then}`;
}

function nextText(next: NonNullable<AttemptEvent['next']>, delayMs = 0): string {
  if (next === 'again') return `tried again after ${delayMs} ms`;
  if (next === 'set-aside') return 'the file is silent, and is tried when no other is left';
  if (next === 'loaded-anew') return 'the object has changed, and is loaded anew';
  return 'given up';
}

function endText({ kind, range, code, message }: LoadEndEvent, job: string | undefined): string {
  const what = range === undefined ? 'it' : bytesText(range);
  if (kind === 'loaded') return `${jobText(job)} has got ${what} after all`;
  return `${jobText(job)} gave ${what} up: ${code}${message === undefined ? '' : `, ${message}`}`;
}

/** Without who, and when. */
export function goneText({ reason, bytes, path, files, etag, newEtag }: GoneEvent, job: string | undefined): string {
  const size = formatSize(bytes);
  const texts: Readonly<Record<GoneReason, string>> = {
    space: `evicted (${size}): not used for longest, to make room for ${jobText(job)}`,
    quota: `evicted (${size}): its prefix had more than its quota`,
    ttl: `evicted (${size}): as old as files of its prefix may be`,
    leftover: `evicted (${size}): half loaded by a load that was stopped, to make room`,
    freed: `freed by ${jobText(job, 'free')}, with all that was cached at and below ${path} (${files ?? 0} files, ${size})`,
    outdated: `removed (${size}): the origin has another version than ${etag}, or none`,
    written: `removed (${size}): it was written through a worker`,
    replaced: `replaced (${size}): version ${etag} made way for ${newEtag}`,
    corrupt: `removed (${size}): its bytes were wrong`,
  };
  return texts[reason];
}

export function agoText(atMs: number, nowMs: number): string {
  return `${formatDuration(nowMs - atMs)} ago`;
}
