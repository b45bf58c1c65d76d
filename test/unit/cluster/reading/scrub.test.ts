/** What the scrub says of what it could not do, and that it ends when it is told to. */
import { readFileSync, writeFileSync } from 'node:fs';
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

it('a place inside a file holds for that version of it, and not for the next', async () => {
  const folder = temporaryFolder('scrub-place');
  const file = join(folder.path, 'scrub.json');
  const readFrom = async (fileId: number): Promise<number | undefined> => {
    const inside = { fileId, endBytes: 2 * MiB };
    writeFileSync(file, JSON.stringify({ after: '', inside, begunMs: Date.now(), checkedBytes: 2 * MiB }));
    const offsets: number[] = [];
    const { close } = scrubOf((offset) => offsets.push(offset), { file });
    await until(() => offsets.length > 0);
    await close();
    return offsets[0];
  };
  expect(await readFrom(record.fileId)).toBe(2 * MiB);
  expect(await readFrom(record.fileId + 1)).toBe(0);
  folder.remove();
});

it('the place is written down while one file is read, and what cannot be a place begins anew', async () => {
  const folder = temporaryFolder('scrub-place');
  const file = join(folder.path, 'scrub.json');
  writeFileSync(file, JSON.stringify({ after: '', inside: { fileId: 1 }, begunMs: Date.now(), checkedBytes: 7 }));
  const seen: { offset: number; place: unknown }[] = [];
  const look = (offset: number): void => {
    seen.push({ offset, place: JSON.parse(readFileSync(file, 'utf8')) });
  };
  let nowMs = Date.now();
  const { close } = scrubOf(look, { file, wallMs: () => (nowMs += 60_000) });
  await until(() => seen.length > 2);
  await close();
  expect(seen.slice(0, 3).map(({ offset }) => offset)).toEqual([0, MiB, 2 * MiB]);
  expect(seen[2]!.place).toMatchObject({
    after: '',
    inside: { fileId: 1, endBytes: 2 * MiB },
    checkedBytes: 7 + 2 * MiB,
  });
  folder.remove();
});
