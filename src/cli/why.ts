/** `primed why`: the story of a file: loads, attempts, evictions, in the order in which they happened, and where it lies now. */
import type { PathStat } from '../client/types.ts';
import type { Story } from '../core/story.ts';
import { countOf, printable } from '../core/text.ts';
import type { RegisterVerb } from './context.ts';
import { UsageError } from './exit.ts';
import { describeStat } from './fs-stat.ts';
import { addAsking } from './verb.ts';

export const registerWhy: RegisterVerb = (program, context) => {
  addAsking(program, context, {
    name: 'why',
    description: 'tell the story of a file: its loads, attempts that failed, evictions, and why it is cached or not',
    operands: [['<path>', 'a file: s3://bucket/key, file:///dir/name']],
    examples: ['primed why s3://datasets/a.bin', 'primed why s3://datasets/a.bin --format json'],
    ask: async (client, _flags, path: string) => {
      if (path.endsWith('/')) throw new UsageError(`'${path}' is no file: primed fs stat tells of a directory.`);
      return client.why(path);
    },
    text: tell,
  });
};

function tell({ path, now, story }: Story): string {
  const lines = story.map(({ at, worker, text }) => {
    const who = worker === undefined ? '' : `${printable(worker)}: `;
    return `${at}  ${who}${printable(text)}\n`;
  });
  const { dropped, indexLoads, olderLoads, placement = [], unanswered = [], keptSince } = now;
  if (dropped > 0) lines.push(`${countOf(dropped, 'older event')} of the file made way for these.\n`);
  if (indexLoads > 0)
    lines.push(
      `${countOf(indexLoads, 'load')} from index files, in which no failure of it is kept; whether it was in them is not.\n`,
    );
  if (olderLoads > 0) lines.push(`${countOf(olderLoads, 'older load')} ${olderLoads === 1 ? 'is' : 'are'} left out.\n`);
  const stat = now.stat === undefined ? '' : `\n${describeStat(now.stat as PathStat)}`;
  const placed = placement.map(({ index, workers }) => `${`Placed ${index}:`.padEnd(14)} ${workers.join(', ')}\n`);
  const silent = unanswered.map(({ id, reason }) => `NOT HEARD: ${id}: ${printable(reason)}\n`);
  const kept =
    keptSince === undefined
      ? ''
      : `\nWorkers that answered keep attempts that failed and what left the store for ${now.keptFor}, ${now.keptPerFile} events a file at most, and all of it since ${keptSince}.\n`;
  return `${printable(path)}: ${printable(now.text)}\n\n${lines.join('')}${stat}${placed.join('')}${silent.join('')}${kept}`;
}
