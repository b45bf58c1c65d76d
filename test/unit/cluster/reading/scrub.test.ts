/** What the scrub says of what it could not do, and that it ends when it is told to. */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Scrub, type ScrubOptions } from '../../../../src/cluster/reading/scrub.ts';
import { PrimedError } from '../../../../src/core/errors.ts';
import { MiB } from '../../../../src/core/units.ts';
import type { FileRecord, Store } from '../../../../src/store/types.ts';
import { temporaryFolder } from '../../../support/files.ts';
import { Lines, until } from '../wire/stage.ts';

const sizeBytes = 3 * MiB;
const record = { path: 's3://b/a', fileId: 1, sizeBytes, state: 'complete' } as unknown as FileRecord;

function scrubOf(
  read: (offset: number) => void,
  more: Partial<ScrubOptions>,
): { scrub: Scrub; log: Lines; close: () => Promise<void> } {
  const store = {
    list: ({ after }: { after?: string }) => (after === undefined ? [record] : []),
    ranges: () => [{ offset: 0, length: sizeBytes }],
    usage: () => ({ usedBytes: sizeBytes }),
    open: () => ({
      record,
      // biome-ignore lint/correctness/useYield: a read of a page either gives it or fails
      async *read({ offset }: { offset: number }) {
        read(offset);
      },
      close: () => undefined,
    }),
  } as unknown as Store;
  const folder = temporaryFolder('scrub');
  const log = new Lines();
  const scrub = new Scrub({
    ...{ store, log, file: join(folder.path, 'scrub.json'), wallMs: Date.now },
    repairs: { repair: () => Promise.reject(new Error('nobody is to be asked for the bytes')) },
    pace: { periodMs: 100, mostBytesPerSecond: 1024 * MiB },
    observe: { checked: () => undefined, round: () => undefined },
    ...more,
  });
  scrub.start();
  const close = async (): Promise<void> => {
    await scrub.close();
    folder.remove();
  };
  return { scrub, log, close };
}

it('pages that the drive does not give are no checked ones: the first is named, and all are counted', async () => {
  let checkedBytes = 0;
  const ofRounds: number[] = [];
  const { log, close } = scrubOf(
    (offset) => {
      if (offset > 0) throw new PrimedError('STORE_IO', `at ${offset}: EIO`);
    },
    {
      observe: {
        checked: (bytes) => {
          checkedBytes += bytes;
        },
        round: () => ofRounds.push(checkedBytes),
      },
    },
  );
  await until(() => log.having('pages could not be read').length > 0);
  await close();
  expect(ofRounds[0]).toBe(MiB);
  expect(log.having('pages could not be read')[0]!.facts).toEqual({ pages: 2 });
  expect(log.having('a page could not be read')[0]!.facts).toMatchObject({ path: record.path, page: 1 });
  expect(log.lines[1]!.line, 'the second one is not named').toContain('pages could not be read');
});

it('a repair that takes long does not hold up the stop', async () => {
  const asked: number[] = [];
  const { close } = scrubOf(
    () => {
      throw new PrimedError('STORE_CORRUPT', 'not its checksum');
    },
    {
      repairs: {
        repair: (_, page) => {
          asked.push(page);
          return new Promise(() => undefined);
        },
      },
    },
  );
  await until(() => asked.length > 0);
  await close();
  expect(asked).toEqual([0]);
});
