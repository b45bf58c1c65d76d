/** Objects that came as multipart uploads: no MD5 to compare with, but a checksum of the whole that is joined from pieces. */
import { expect, it } from 'vitest';
import { putAttributes } from '../../../src/core/attributes.ts';
import type { ManifestEntry, RunId } from '../../../src/core/types.ts';
import { KiB, MiB } from '../../../src/core/units.ts';
import type { ChecksumName } from '../../../src/demo/origin/objects.ts';
import type { VerifyOutcome } from '../../../src/ingest/types.ts';
import { joinedSum } from '../../../src/ingest/whole-object.ts';
import { crc32c } from '../../../src/platform/checksum.ts';
import { type Bench, openBench } from './bench.ts';

/** Around the slot of 8 MiB and the page of 1 MiB, so that a file is digested in one piece, in two, and in many. */
const sizes = [KiB + 1, MiB, MiB + 1, 8 * MiB, 8 * MiB + 1, 25 * MiB + 4097];

interface World {
  readonly bench: Bench;
  readonly run: RunId;
  readonly entries: readonly ManifestEntry[];
}

async function world(checksums: readonly ChecksumName[], checksumMaxBytes = 64 * MiB): Promise<World> {
  const bench = await openBench({
    objects: sizes.map((sizeBytes, index) => ({ key: `multi-${index}`, sizeBytes })),
    wholeHashMaxBytes: KiB,
    checksumMaxBytes,
    checksums,
  });
  const entries = await bench.list();
  expect(entries.map(({ etag }) => etag)).toEqual(sizes.map(() => expect.stringMatching(/^[0-9a-f]{32}-\d+$/)));
  return { bench, run: bench.start(), entries };
}

const load = ({ bench, run, entries }: World) =>
  Promise.all(entries.map(async (entry) => (await bench.worker.load(run, entry)).result));
const verify = ({ bench, run, entries }: World): Promise<VerifyOutcome[]> =>
  Promise.all(entries.map((entry) => bench.worker.verify(run, entry)));
const allOf = <T>(value: T): T[] => sizes.map(() => value);

it.each(['crc64nvme', 'crc32'] as const)('%s of every whole object is compared, whatever the pieces', async (name) => {
  const there = await world([name]);
  try {
    expect(await load(there)).toEqual(allOf('loaded'));
    const outcomes = await verify(there);
    expect(outcomes.map(({ wholeObject }) => wholeObject)).toEqual(allOf('matched'));
    expect(outcomes.map(({ ok, checkedBytes }) => ({ ok, checkedBytes }))).toEqual(
      sizes.map((sizeBytes) => ({ ok: true, checkedBytes: sizeBytes })),
    );
    for (const { path } of there.entries) {
      const told: Record<string, string> = {};
      putAttributes(told, there.bench.store.stat(path)!.attributes, 'checksums');
      const { checksums } = await there.bench.details(path);
      expect(told).toMatchObject({ [`x-amz-checksum-${name}`]: checksums[name], 'x-amz-checksum-type': 'FULL_OBJECT' });
    }
  } finally {
    await there.bench.close();
  }
});

it('of ranges that lie on several workers it is joined: CRC-64/NVME, CRC-32C, CRC-32', async () => {
  const there = await world(['crc64nvme', 'crc32']);
  const { bench, run, entries } = there;
  try {
    expect(await load(there)).toEqual(allOf('loaded'));
    const entry = entries.at(-1)!;
    const cuts = [0, 3, 4, 12, 20, entry.sizeBytes / MiB].map((at) => at * MiB);
    const ranges = cuts.slice(1).map((end, at) => ({ offset: cuts[at]!, length: end - cuts[at]! }));
    const [here, elsewhere] = [0, 1].map((side) => ranges.filter((_, at) => at % 2 === side));
    const details = await bench.details(entry.path);
    const bytes: Uint8Array[] = [];
    for await (const piece of bench.store.open(entry.path).read({ offset: 0, length: entry.sizeBytes }))
      bytes.push(piece);
    const whole = crc32c(Buffer.concat(bytes)).toString(16).padStart(8, '0');
    const stated = { ...details.checksums, crc32c: Buffer.from(whole, 'hex').toString('base64') };
    for (const kind of ['crc64nvme', 'crc32c', 'crc32'] as const) {
      const outcomes = await Promise.all([here, elsewhere].map((some) => bench.worker.verify(run, entry, some, kind)));
      expect(outcomes.map(({ ok, checkedBytes }) => [ok, checkedBytes])).toEqual(
        [here, elsewhere].map((some) => [true, some!.reduce((sum, { length }) => sum + length, 0)]),
      );
      expect(
        joinedSum(
          kind,
          outcomes.flatMap(({ sums }) => sums!),
        ),
      ).toBe(stated[kind] ?? 'nothing');
    }
    expect(await bench.worker.verify(run, entry, here)).not.toHaveProperty('sums');
  } finally {
    await bench.close();
  }
});

it.each(['crc64nvme', 'crc32'] as const)(
  'one byte that was wrong on the way is found by %s, though every page has its own checksum',
  async (name) => {
    const there = await world([name]);
    const { bench } = there;
    try {
      const victims = [2, 5];
      const rules = victims.map((index) =>
        bench.origin.setFault({ fault: { kind: 'corrupt', atByte: MiB }, key: `multi-${index}`, times: 1 }),
      );
      expect(await load(there)).toEqual(allOf('loaded'));
      expect(rules.map((rule) => bench.origin.fired(rule))).toEqual([1, 1]);
      const outcomes = await verify(there);
      expect(outcomes.map(({ wholeObject }) => wholeObject)).toEqual(
        sizes.map((_, index) => (victims.includes(index) ? 'mismatched' : 'matched')),
      );
      expect(outcomes[5]).toMatchObject({ ok: false, badPages: 0, error: { code: 'STORE_CORRUPT' } });
    } finally {
      await bench.close();
    }
  },
);

it('what the origin states no checksum of is said to be unavailable, and its pages are checked all the same', async () => {
  const there = await world(['crc64nvme'], 0);
  try {
    expect(await load(there)).toEqual(allOf('loaded'));
    const outcomes = await verify(there);
    expect(outcomes.map(({ ok, wholeObject }) => [ok, wholeObject])).toEqual(allOf([true, 'unavailable']));
  } finally {
    await there.bench.close();
  }
});

it('an MD5 that is right has readers told the checksums as well: one HEAD for what came in parts, none for the others', async () => {
  const small = Array.from({ length: 5 }, (_, n) => ({ key: `small-${n}`, sizeBytes: KiB + n }));
  const parts = { key: 'parts', sizeBytes: 8 * MiB + 1 };
  for (const checksums of [['crc64nvme'], []] as const) {
    const bench = await openBench({ objects: [parts, ...small], checksums });
    const there = { bench, run: bench.start(), entries: await bench.list() };
    try {
      await load(there);
      bench.origin.resetStats();
      expect((await verify(there)).map(({ wholeObject }) => wholeObject)).toEqual(
        [1, 2, 3, 4, 5, 6].map(() => 'matched'),
      );
      expect(bench.origin.requests.map(({ operation, key }) => [operation, key])).toEqual([['HeadObject', 'parts']]);
      for (const { path } of there.entries) {
        const { crc64nvme } = (await bench.details(path)).checksums;
        const told = checksums.length === 0 ? '' : `6${crc64nvme}`;
        expect(bench.store.stat(path)!.attributes).toBe(told);
      }
    } finally {
      await bench.close();
    }
  }
});
