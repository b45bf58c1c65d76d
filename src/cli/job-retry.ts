/** `primed job retry-failed` */
import type { RegisterVerb } from './context.ts';
import { addAsking } from './verb.ts';

export const registerJobRetry: RegisterVerb = (job, context) => {
  addAsking(job, context, {
    name: 'retry-failed',
    description: 'submit a load of exactly the files that an ended load did not get, with its options',
    operands: [['<job>', 'its id, or a path, index file or alias, of which the newest load counts']],
    examples: ['primed job retry-failed s3://datasets/imagenet/'],
    ask: (client, _flags, asked: string) => client.retryFailed(asked),
    text: ({ message }) => `${message}\n`,
  });
};
