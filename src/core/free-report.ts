/** What a FREE looks like to people (TEXT) and programs (JSON), in the manner of the report of a load. */
import { type FreeProgress, freeTotals } from './free-job.ts';
import type { JobSnapshot } from './job.ts';
import { formatSize } from './sizes.ts';
import { printable, timesOf, withoutUnknown } from './text.ts';

/** Lines without their ends. */
export function freeTextLines(job: JobSnapshot, free: FreeProgress): string[] {
  const { files, bytes, freedFiles, freedBytes } = freeTotals(free);
  const lines = [
    `Progress for freeing path '${printable(job.source.path)}':`,
    `\tSettings:\tdry run: ${free.dryRun}`,
    `\tJob State: ${job.state}${job.reason === undefined ? '' : ` (${printable(job.reason)})`}`,
  ];
  if (free.dryRun) lines.push(`\tFiles To Free: ${files}`, `\tBytes To Free: ${formatSize(bytes)}`);
  else {
    lines.push(`\tFiles Freed: ${freedFiles} out of ${files}`);
    lines.push(`\tBytes Freed: ${formatSize(freedBytes)} out of ${formatSize(bytes)}`);
  }
  for (const one of free.workers) {
    const all = `${one.files} files, ${formatSize(one.bytes)}`;
    const gone = free.dryRun ? '' : `${one.freedFiles} files, ${formatSize(one.freedBytes)} out of `;
    lines.push(`\tWorker ${one.worker}: ${gone}${all}`);
  }
  for (const worker of free.absent) lines.push(`\tWorker ${worker}: did not answer`);
  return lines;
}

/** `files` and `bytes`: what there was, of each worker by itself: a file that lies on two counts twice. */
export function freeJson(job: JobSnapshot, free: FreeProgress): Record<string, unknown> {
  return withoutUnknown({
    jobId: job.jobId,
    type: job.type,
    path: job.source.path,
    mJobState: job.state,
    mTimeElapsed: Math.round(job.activeMs),
    reason: job.reason,
    dryRun: free.dryRun,
    ...freeTotals(free),
    workers: free.workers,
    absentWorkers: free.absent,
    ...timesOf(job),
  });
}
