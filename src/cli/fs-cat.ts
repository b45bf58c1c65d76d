/** `primed fs cat` */
import { InvalidArgumentError } from 'commander';
import { PrimedError } from '../core/errors.ts';
import { parseSize } from '../core/sizes.ts';
import { type ClientOptions, type RegisterVerb, runs, withClient } from './context.ts';
import { exitCodes } from './exit.ts';
import { writeMuch } from './io.ts';
import { addVerb } from './verb.ts';

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
  const command = addVerb(fs, {
    name: 'cat',
    description: 'write the bytes of a cached file to standard output',
    operands: [['<path>', 'file']],
    flags: [
      ['--offset <bytes>', 'begin here, such as 4096 or 1MB', bytes],
      ['--length <bytes>', 'end after this many', bytes],
    ],
    examples: [
      'primed fs cat s3://datasets/a.bin > a.bin',
      'primed fs cat s3://datasets/a.bin --offset 1MB --length 4k',
    ],
    prints: 'bytes',
  });
  runs(command, context, (path: string, { offset, length, ...flags }: CatFlags) =>
    withClient(context, flags, async (client) => {
      const range = { ...(offset === undefined ? {} : { offset }), ...(length === undefined ? {} : { length }) };
      await writeMuch(context.io.stdout, async (write, left) => {
        for await (const piece of client.cat(path, range, left)) await write(piece);
      });
      return exitCodes.done;
    }),
  );
};
