/** `primed fs stat` */
import type { PathStat } from '../client/types.ts';
import { formatSize } from '../core/sizes.ts';
import { printable } from '../core/text.ts';
import type { RegisterVerb } from './context.ts';
import { addAsking } from './verb.ts';

export const registerFsStat: RegisterVerb = (fs, context) => {
  addAsking(fs, context, {
    name: 'stat',
    description: 'say how much of a path is cached',
    operands: [['<path>', 'file or directory']],
    examples: ['primed fs stat s3://datasets/imagenet/', 'primed fs stat s3://datasets/a.bin --format json'],
    ask: (client, _flags, path: string) => client.stat(path),
    text: describeStat,
  });
};

/** Segments and gaps that are shown to people. */
const mostLines = 100;

export function describeStat(stat: PathStat): string {
  const { path, type, files, bytes, cachedFiles, cachedBytes, file, replicas = [], workers = [] } = stat;
  // Of nothing, everything is there.
  const percent = bytes === 0 ? 100 : Math.floor((cachedBytes / bytes) * 1000) / 10;
  const lines: [string, string][] = [
    ['Path', path],
    ['Type', type],
    ['Files cached', `${cachedFiles} of ${files}`],
    ['Bytes cached', `${formatSize(cachedBytes)} of ${formatSize(bytes)} (${percent}%)`],
  ];
  if (stat.pinned === true) lines.push(['Pinned', 'yes']);
  if (file !== undefined) {
    lines.push(['State', file.state], ['ETag', file.etag]);
    if (file.versionId !== undefined) lines.push(['Version', file.versionId]);
    lines.push(['Last modified', file.lastModified]);
    if (file.cachedAt !== undefined) lines.push(['Cached at', file.cachedAt]);
  }
  for (const { replicas: count, bytes: some } of replicas)
    lines.push([count === 0 ? 'Missing' : count === 1 ? 'On 1 worker' : `On ${count} workers`, formatSize(some)]);
  for (const { offset, length } of file?.missing?.slice(0, mostLines) ?? [])
    lines.push(['Missing', `bytes ${offset} to ${offset + length - 1}`]);
  for (const { index, workers: on, partly = [] } of file?.segments?.slice(0, mostLines) ?? []) {
    const some = partly.map((id) => `${id} (part)`);
    lines.push([`Segment ${index}`, [...on, ...some].join(', ') || 'nowhere']);
  }
  const more = (file?.segments?.length ?? 0) - mostLines;
  if (more > 0) lines.push(['', `... and ${more} more segments; --format json has all`]);
  if (file === undefined)
    for (const { id, files: count, cachedBytes: some } of workers)
      lines.push([`Worker ${id}`, `${formatSize(some)} of ${count} files`]);
  for (const { id, reason } of stat.unanswered ?? []) lines.push([`Worker ${id}`, `NOT COUNTED: ${printable(reason)}`]);
  return lines.map(([name, value]) => `${`${name}${name === '' ? '' : ':'}`.padEnd(14)} ${value}\n`).join('');
}
