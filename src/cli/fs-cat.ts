/** `primed fs cat` */
import { InvalidArgumentError } from 'commander';
import { PrimedError } from '../core/errors.ts';
import { parseSize } from '../core/sizes.ts';
import { type ClientOptions, coordinatorOption, type RegisterVerb, runs, withClient } from './context.ts';
import { exitCodes } from './exit.ts';
import { writeSlowly } from './io.ts';

interface CatFlags extends ClientOptions {
  readonly offset?: number;
  readonly length?: number;
}

function bytes(written: string): number {
  try {
    return parseSize(written);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof PrimedError ? error.message : String(error));
  }
}

export const registerFsCat: RegisterVerb = (fs, context) => {
  const command = fs
    .command('cat')
    .description('write the bytes of a cached file to standard output')
    .argument('<path>', 'file')
    .option('--offset <bytes>', 'begin here, such as 4096 or 1MB', bytes)
    .option('--length <bytes>', 'end after this many', bytes);
  coordinatorOption(command);
  runs(command, context, (path: string, { offset, length, ...flags }: CatFlags) =>
    withClient(context, flags, async (client) => {
      const { stdout } = context.io;
      const range = { ...(offset === undefined ? {} : { offset }), ...(length === undefined ? {} : { length }) };
      const gone = new AbortController();
      const leave = (): void => gone.abort();
      // `primed fs cat … | head`: the reader has what it wanted
      stdout.once('close', leave).once('error', leave);
      try {
        for await (const piece of client.cat(path, range, gone.signal)) {
          await writeSlowly(stdout, piece, gone.signal);
        }
      } catch (error) {
        if (!gone.signal.aborted) throw error;
      } finally {
        stdout.off('close', leave).off('error', leave);
      }
      return exitCodes.done;
    }),
  );
};
