/** What the scrub says of what it could not do. */
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { Scrub } from '../../../../src/cluster/reading/scrub.ts';
import { PrimedError } from '../../../../src/core/errors.ts';
import { MiB } from '../../../../src/core/units.ts';
import type { FileRecord, OpenFile, Store } from '../../../../src/store/types.ts';
import { temporaryFolder } from '../../../support/files.ts';
import { Lines, until } from '../wire/stage.ts';

const folder = temporaryFolder('scrub');
afterAll(() => folder.remove());

it('pages that the drive does not give are no checked ones: the first is named, and all are counted', async () => {
  const sizeBytes = 3 * MiB;
  const record = { path: 's3://b/a', fileId: 1, sizeBytes, state: 'complete' } as unknown as FileRecord;
  const store = {
    list: ({ after }: { after?: string }) => (after === undefined ? [record] : []),
    ranges: () => [{ offset: 0, length: sizeBytes }],
    usage: () => ({ usedBytes: sizeBytes }),
    open: (): OpenFile =>
      ({
        record,
        // biome-ignore lint/correctness/useYield: a read of a page either gives it or fails
        async *read({ offset }: { offset: number }) {
          if (offset > 0) throw new PrimedError('STORE_IO', `at ${offset}: EIO`);
        },
        close: () => undefined,
      }) as unknown as OpenFile,
  } as unknown as Store;
  const log = new Lines();
  let checkedBytes = 0;
  const ofRounds: number[] = [];
  const scrub = new Scrub({
    ...{ store, log, file: join(folder.path, 'scrub.json'), wallMs: Date.now },
    repairs: { repair: () => Promise.reject(new Error('nobody is asked for the bytes: it is the drive that fails')) },
    pace: { periodMs: 100, mostBytesPerSecond: 1024 * MiB },
    observe: {
      checked: (bytes) => {
        checkedBytes += bytes;
      },
      round: () => ofRounds.push(checkedBytes),
    },
  });
  scrub.start();
  await until(() => log.having('pages could not be read').length > 0);
  await scrub.close();
  expect(ofRounds[0]).toBe(MiB);
  expect(log.having('pages could not be read')[0]!.facts).toEqual({ pages: 2 });
  expect(log.having('a page could not be read')[0]!.facts).toMatchObject({ path: record.path, page: 1 });
  expect(log.lines[1]!.line, 'the second one is not named').toContain('pages could not be read');
});
