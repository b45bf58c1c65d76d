/** The newest job of a path, index file, alias or id, also when another coordinator has taken it a moment ago. */
import type { JobService } from '../cluster/types.ts';
import type { JobSnapshot, JobType } from '../core/job.ts';

export async function findJob(jobs: JobService, handle: string, type?: JobType): Promise<JobSnapshot | undefined> {
  const known = jobs.snapshot(handle, type);
  if (known !== undefined) return known;
  await jobs.caughtUp();
  return jobs.snapshot(handle, type);
}
