/** `primed fs check` */
import type { PrimedClient } from '../client/client.ts';
import type { CheckSummary } from '../core/check.ts';
import { formatSize } from '../core/sizes.ts';
import { printable } from '../core/text.ts';
import type { RegisterVerb } from './context.ts';
import { exitCodes } from './exit.ts';
import { type CliIo, redrawable } from './io.ts';
import { addAsking } from './verb.ts';

/** Elsewhere than on a terminal a line is written at most this often. */
const lineEveryMs = 3_000;

export const registerFsCheck: RegisterVerb = (fs, context) => {
  addAsking(fs, context, {
    name: 'check',
    description: 'read everything that is cached at or below a path from the SSD, and check it',
    operands: [['<path>', 'file or directory']],
    examples: ['primed fs check s3://datasets/imagenet/'],
    ask: (client, _flags, path: string) => check(context.io, client, path),
    text: describeCheck,
    exitCode: ({ ok }) => (ok ? exitCodes.done : exitCodes.failed),
  });
};

async function check(io: CliIo, client: PrimedClient, path: string): Promise<CheckSummary> {
  const redraws = redrawable(io, io.stderr);
  let shownAtMs = io.now();
  const summary = await client.check(path, {
    onProgress({ checkedFiles, checkedBytes, badPageCount }) {
      if (!redraws && io.now() - shownAtMs < lineEveryMs) return;
      shownAtMs = io.now();
      const line = `checked ${checkedFiles} files, ${formatSize(checkedBytes)}${badPageCount === 0 ? '' : `, ${badPageCount} bad pages`}`;
      io.stderr.write(redraws ? `\r\u001b[K${line}` : `${line}\n`);
    },
  });
  if (redraws) io.stderr.write('\r\u001b[K');
  return summary;
}

function describeCheck(summary: CheckSummary): string {
  const { path, ok, checkedFiles, checkedBytes, badPageCount, badPages, uncheckedFiles, goneFiles } = summary;
  const bad = badPageCount === 0 ? '' : `, ${badPageCount} bad pages`;
  const lines = [`${path}: ${ok ? 'OK' : 'BAD'}: ${checkedFiles} files, ${formatSize(checkedBytes)} checked${bad}`];
  for (const page of badPages)
    lines.push(
      `\t${page.worker === undefined ? '' : `${page.worker}: `}${printable(page.path)}: page ${page.page} (bytes ${page.offset} to ${page.offset + page.lengthBytes - 1}): ${printable(page.message)}`,
    );
  if (badPageCount > badPages.length) lines.push(`\t... and ${badPageCount - badPages.length} more`);
  if (uncheckedFiles > 0) lines.push(`\t${uncheckedFiles} files are not complete in the cache, and were not checked`);
  if (goneFiles > 0) lines.push(`\t${goneFiles} files were replaced or removed meanwhile`);
  for (const { id, reason } of summary.unanswered ?? [])
    lines.push(`\tworker '${id}' did not answer, and its pages were not checked: ${printable(reason)}`);
  return `${lines.join('\n')}\n`;
}
