/** `primed fs pin`, `unpin` and `pins` */
import type { PinInfo } from '../client/types.ts';
import { pinOf } from '../core/retention.ts';
import { printable } from '../core/text.ts';
import type { RegisterVerb } from './context.ts';
import { formatTable } from './table.ts';
import { addAsking } from './verb.ts';

export const registerFsPin: RegisterVerb = (fs, context) => {
  for (const name of ['pin', 'unpin'] as const) {
    addAsking(fs, context, {
      name,
      description: name === 'pin' ? 'never evict a path, on any worker' : 'take a pin back',
      operands: [['<path>', 'a file, or with a slash at its end all that begins with it']],
      examples: [`primed fs ${name} s3://models/llama/`],
      // The coordinator would say the same of a wrong path; this saves it the trouble.
      ask: (client, _flags, path: string) => client[name](pinOf(path)),
      text: (row) => `${printable(row.path)} is ${row.pinned ? 'pinned' : 'not pinned any more'}${lateOf(row)}.\n`,
    });
  }
  addAsking(fs, context, {
    name: 'pins',
    description: 'list what is pinned',
    examples: ['primed fs pins', 'primed fs pins --format json'],
    ask: (client) => client.pins(),
    text: (rows) => formatTable(['PATH', 'NOT YET KNOWN TO'], rows.map(cellsOf)),
  });
};

function cellsOf({ path, pending }: PinInfo): string[] {
  return [path, pending.length === 0 ? '-' : pending.join(', ')].map(printable);
}

function lateOf({ pending }: PinInfo): string {
  return pending.length === 0 ? '' : `; not yet known to ${printable(pending.join(', '))}, who will be told`;
}
