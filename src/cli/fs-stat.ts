/** `primed fs stat` */
import type { PathStat } from '../client/types.ts';
import { formatSize } from '../core/sizes.ts';
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

interface StatFlags extends ClientOptions {
  readonly format?: Format;
}

export const registerFsStat: RegisterVerb = (fs, context) => {
  const command = fs
    .command('stat')
    .description('say how much of a path is cached')
    .argument('<path>', 'file or directory')
    .addOption(formatOption());
  coordinatorOption(command);
  runs(command, context, (path: string, flags: StatFlags) =>
    withClient(context, flags, async (client) => {
      const stat = await client.stat(path);
      if (flags.format === 'JSON') printJson(context.io, stat);
      else context.io.stdout.write(describeStat(stat));
      return exitCodes.done;
    }),
  );
};

function describeStat({ path, type, files, bytes, cachedFiles, cachedBytes, file }: PathStat): string {
  // Of nothing, everything is there.
  const percent = bytes === 0 ? 100 : Math.floor((cachedBytes / bytes) * 1000) / 10;
  const lines: [string, string][] = [
    ['Path', path],
    ['Type', type],
    ['Files cached', `${cachedFiles} of ${files}`],
    ['Bytes cached', `${formatSize(cachedBytes)} of ${formatSize(bytes)} (${percent}%)`],
  ];
  if (file !== undefined) {
    lines.push(['State', file.state], ['ETag', file.etag]);
    if (file.versionId !== undefined) lines.push(['Version', file.versionId]);
    lines.push(['Last modified', file.lastModified]);
    if (file.cachedAt !== undefined) lines.push(['Cached at', file.cachedAt]);
  }
  return lines.map(([name, value]) => `${`${name}:`.padEnd(15)}${value}\n`).join('');
}
