/** `primed job …` */
import type { RegisterVerb } from './context.ts';
import { registerJobFree } from './job-free.ts';
import { registerJobHistory } from './job-history.ts';
import { registerJobLimit } from './job-limit.ts';
import { registerJobList } from './job-list.ts';
import { registerJobLoad } from './job-load.ts';
import { registerJobRetry } from './job-retry.ts';
import { addGroup } from './verb.ts';

export const registerJob: RegisterVerb = (program, context) => {
  const job = addGroup(program, {
    name: 'job',
    description: 'submit, watch and stop loads, and free what they have cached',
    examples: ['primed job load s3://datasets/imagenet/ --submit', 'primed job list --job-state running'],
  });
  registerJobLoad(job, context);
  registerJobFree(job, context);
  registerJobLimit(job, context);
  registerJobList(job, context);
  registerJobHistory(job, context);
  registerJobRetry(job, context);
};
