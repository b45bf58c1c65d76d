/** `primed fs ls` */
import type { DirectoryEntry, FileEntry } from '../client/types.ts';
import { formatSize } from '../core/sizes.ts';
import { printable } from '../core/text.ts';
import { positiveInteger, type RegisterVerb, runs, withClient } from './context.ts';
import { exitCodes } from './exit.ts';
import { writeMuch } from './io.ts';
import { addVerb, type Flags } from './verb.ts';

type LsFlags = Flags<{ readonly recursive?: boolean; readonly limit?: number }>;

/** What the server gives at once; the whole listing is printed page by page and never held. */
const pageEntries = 1000;

export const registerFsLs: RegisterVerb = (fs, context) => {
  const command = addVerb(fs, {
    name: 'ls',
    description: 'list cached files; as JSON a line each',
    operands: [['<path>', 'directory or file, such as s3://bucket/dir/']],
    flags: [
      ['-r, --recursive', 'everything below, not one level'],
      ['--limit <count>', 'stop after this many entries', positiveInteger],
    ],
    examples: ['primed fs ls s3://datasets/', 'primed fs ls -r s3://datasets/imagenet/ --limit 20'],
  });
  runs(command, context, (path: string, flags: LsFlags) =>
    withClient(context, flags, async (client) => {
      let left = flags.limit ?? Number.POSITIVE_INFINITY;
      let after: string | undefined;
      const silent = new Map<string, string>();
      await writeMuch(context.io.stdout, async (write) => {
        do {
          const page = await client.ls(path, {
            recursive: flags.recursive === true,
            limit: Math.min(left, pageEntries),
            ...(after === undefined ? {} : { after }),
          });
          const line = flags.format === 'json' ? (entry: object) => `${JSON.stringify(entry)}\n` : lineOf;
          await write(page.entries.map(line).join(''));
          for (const { id, reason } of page.unanswered ?? []) silent.set(id, reason);
          left -= page.entries.length;
          after = page.next;
        } while (after !== undefined && left > 0);
      });
      for (const [id, reason] of silent)
        context.io.stderr.write(`Worker '${id}' did not answer, and its files are not counted: ${printable(reason)}\n`);
      return exitCodes.done;
    }),
  );
};

/** Size, how much of it is cached, time, path. */
function lineOf(entry: FileEntry | DirectoryEntry): string {
  if (entry.type === 'directory')
    return `${'-'.padStart(10)}  ${'directory'.padEnd(9)}  ${' '.repeat(24)}  ${printable(entry.path)}\n`;
  const state =
    entry.state === 'loading' || entry.state === 'partial'
      ? `${Math.floor((entry.cachedBytes / entry.sizeBytes) * 100)}%`
      : entry.state;
  const kept = entry.pinned === true ? `${state}, pinned` : state;
  return `${formatSize(entry.sizeBytes).padStart(10)}  ${kept.padEnd(9)}  ${entry.lastModified}  ${printable(entry.path)}\n`;
}
