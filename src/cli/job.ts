/** `primed job …` */
import type { RegisterVerb } from './context.ts';
import { registerJobFree } from './job-free.ts';
import { registerJobLimit } from './job-limit.ts';
import { registerJobList } from './job-list.ts';
import { registerJobLoad } from './job-load.ts';

export const registerJob: RegisterVerb = (program, context) => {
  const job = program.command('job').description('submit, watch and stop loads, and free what they have cached');
  registerJobLoad(job, context);
  registerJobFree(job, context);
  registerJobLimit(job, context);
  registerJobList(job, context);
};
