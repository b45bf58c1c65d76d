/** What to submit so that exactly the files are loaded again that a load did not get. */
import { PrimedError } from './errors.ts';
import type { JobSnapshot, JobSource } from './job.ts';
import { isEnded } from './job-machine.ts';

/**
 * A path is one object where the origin has one of that name, so the names of the files are a list of paths; options stay
 * those of the load. Throws JOB_CONFLICT where it has not ended, REQUEST_INVALID where nothing failed, or where not every
 * name is known.
 */
export function failedOf(job: JobSnapshot): { readonly source: JobSource; readonly alias: string } {
  const { jobId, type, state, failedFiles, failures } = job;
  if (type !== 'LOAD') throw new PrimedError('REQUEST_INVALID', `Job ${jobId} is no load.`, { jobId });
  if (!isEnded(state))
    throw new PrimedError('JOB_CONFLICT', `Load ${jobId} is ${state}: what failed is known when it has ended.`, {
      jobId,
    });
  const paths = [...new Set(failures.map(({ path }) => path))];
  if (failedFiles === 0 || paths.length === 0) {
    const why = job.reason === undefined ? '' : ` (${job.reason})`;
    throw new PrimedError('REQUEST_INVALID', `No file of load ${jobId} failed; it is ${state}${why}.`, { jobId });
  }
  const other = 'submit the load again with skipIfExists, which loads what is missing';
  if (paths.length < failedFiles) {
    const message = `Of the ${failedFiles} files of load ${jobId} that failed only ${paths.length} are kept by name; ${other}.`;
    throw new PrimedError('REQUEST_INVALID', message, { jobId, failedFiles });
  }
  const folder = paths.find((path) => path.endsWith('/'));
  if (folder !== undefined)
    throw new PrimedError('REQUEST_INVALID', `${folder} would mean all that is below it; ${other}.`, {
      jobId,
      path: folder,
    });
  const alias = `retry-${jobId}`;
  const [only, ...more] = paths;
  return { alias, source: more.length === 0 ? { kind: 'path', path: only! } : { kind: 'paths', path: alias, paths } };
}
