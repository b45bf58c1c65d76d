/** `primed job limit`: the bandwidth of a load while it runs. */
import { rateOf } from '../core/origin-limits.ts';
import { type ClientOptions, coordinatorOption, type RegisterVerb, runs, withClient } from './context.ts';
import { exitCodes } from './exit.ts';

interface LimitFlags extends ClientOptions {
  readonly bandwidth: string;
}

export const registerJobLimit: RegisterVerb = (job, context) => {
  const command = job
    .command('limit')
    .description('limit the bandwidth of an active load, from now on')
    .argument('<path>', 'as it was submitted')
    .requiredOption('--bandwidth <size>', 'bytes a second that one worker reads for it at most, or none');
  coordinatorOption(command);
  runs(command, context, async (path: string, { bandwidth, ...flags }: LimitFlags) => {
    // The coordinator would say the same; this saves it the trouble.
    rateOf('bandwidth', bandwidth);
    const { message } = await withClient(context, flags, (client) => client.limitJob(path, bandwidth));
    context.io.stdout.write(`${message}\n`);
    return exitCodes.done;
  });
};
