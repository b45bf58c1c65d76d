/** `primed fs pin`, `unpin` and `pins` */
import type { PinInfo } from '../client/types.ts';
import { pinOf } from '../core/retention.ts';
import {
  type ClientOptions,
  coordinatorOption,
  type Format,
  formatOption,
  printJson,
  type RegisterVerb,
  runs,
  withClient,
} from './context.ts';
import { exitCodes } from './exit.ts';
import { printable } from './printable.ts';
import { formatTable } from './table.ts';

export const registerFsPin: RegisterVerb = (fs, context) => {
  for (const verb of ['pin', 'unpin'] as const) {
    const command = fs
      .command(verb)
      .description(verb === 'pin' ? 'never evict a path, on any worker' : 'take a pin back')
      .argument('<path>', 'a file, or with a slash at its end all that begins with it');
    coordinatorOption(command);
    runs(command, context, (path: string, flags: ClientOptions) =>
      withClient(context, flags, async (client) => {
        // The coordinator would say the same; this saves it the trouble.
        const row = await client[verb](pinOf(path));
        context.io.stdout.write(
          `${printable(row.path)} is ${row.pinned ? 'pinned' : 'not pinned any more'}${lateOf(row)}.\n`,
        );
        return exitCodes.done;
      }),
    );
  }
  const list = fs.command('pins').description('list what is pinned').addOption(formatOption());
  coordinatorOption(list);
  runs(list, context, async (flags: ClientOptions & { readonly format?: Format }) => {
    const rows = await withClient(context, flags, (client) => client.pins());
    if (flags.format === 'JSON') printJson(context.io, rows);
    else context.io.stdout.write(formatTable(['PATH', 'NOT YET KNOWN TO'], rows.map(cellsOf)));
    return exitCodes.done;
  });
};

function cellsOf({ path, pending }: PinInfo): string[] {
  return [path, pending.length === 0 ? '-' : pending.join(', ')].map(printable);
}

function lateOf({ pending }: PinInfo): string {
  return pending.length === 0 ? '' : `; not yet known to ${printable(pending.join(', '))}, who will be told`;
}
