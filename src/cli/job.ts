/** `primed job …` */
import type { RegisterVerb } from './context.ts';
import { registerJobList } from './job-list.ts';
import { registerJobLoad } from './job-load.ts';

export const registerJob: RegisterVerb = (program, context) => {
  const job = program.command('job').description('submit, watch and stop loads');
  registerJobLoad(job, context);
  registerJobList(job, context);
};
