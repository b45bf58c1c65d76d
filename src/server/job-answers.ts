/** What progress and stop answer of the newest job of a path, index file or alias: the same for loads and for frees. */
import type { FastifyReply } from 'fastify';
import type { JobService } from '../cluster/types.ts';
import { PrimedError } from '../core/errors.ts';
import type { JobSnapshot } from '../core/job.ts';
import { answerReport, type ReportFields } from './report-answer.ts';

export interface AskedJob {
  readonly type: 'LOAD' | 'FREE';
  readonly handle: string;
}

const words = { LOAD: 'Load', FREE: 'Free' } as const;

/** Rejects with JOB_NOT_FOUND, and with REQUEST_INVALID for a wrong field. */
export function answerProgress(
  jobs: JobService,
  { type, handle }: AskedJob,
  fields: ReportFields,
  reply: FastifyReply,
): Promise<FastifyReply> {
  return answerReport(reply, fields, async () => {
    const job = await findJob(jobs, { type, handle });
    if (job !== undefined) return job;
    throw new PrimedError('JOB_NOT_FOUND', `${words[type]} for path '${handle}' cannot be found.`, { path: handle });
  });
}

/** Rejects with JOB_NOT_FOUND when none is active. */
export async function answerStop(
  jobs: JobService,
  { type, handle }: AskedJob,
): Promise<{ success: boolean; jobId: string; path: string; message: string }> {
  const stopped = await jobs.stop(handle, type);
  const jobId = jobs.snapshot(handle, type)?.jobId;
  if (!stopped || jobId === undefined) {
    const message = `Cannot find ${type.toLowerCase()} job for path ${handle}, it might have already been stopped or finished`;
    throw new PrimedError('JOB_NOT_FOUND', message, { path: handle });
  }
  return { success: true, jobId, path: handle, message: `${words[type]} '${handle}' is successfully stopped.` };
}

/** Also when another coordinator has taken it a moment ago. */
export async function findJob(jobs: JobService, { type, handle }: AskedJob): Promise<JobSnapshot | undefined> {
  const known = jobs.snapshot(handle, type);
  if (known !== undefined) return known;
  await jobs.caughtUp();
  return jobs.snapshot(handle, type);
}
