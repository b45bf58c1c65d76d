/** `primed job limit`: the bandwidth of a load while it runs. */
import { Option } from 'commander';
import { rateOf } from '../core/origin-limits.ts';
import type { RegisterVerb } from './context.ts';
import { addAsking } from './verb.ts';

const bandwidthFlag = new Option('--bandwidth <size>', 'bytes a second that one worker reads for it at most, or none');

export const registerJobLimit: RegisterVerb = (job, context) => {
  addAsking<{ readonly bandwidth: string }, { readonly message: string }>(job, context, {
    name: 'limit',
    description: 'limit the bandwidth of an active load, from now on',
    operands: [['<path>', 'as it was submitted']],
    flags: [bandwidthFlag.makeOptionMandatory()],
    examples: ['primed job limit s3://datasets/ --bandwidth 200MB', 'primed job limit s3://datasets/ --bandwidth none'],
    ask: async (client, { bandwidth }, path: string) => {
      // The coordinator would say the same; this saves it the trouble.
      rateOf('bandwidth', bandwidth);
      return client.limitJob(path, bandwidth);
    },
    text: ({ message }) => `${message}\n`,
  });
};
