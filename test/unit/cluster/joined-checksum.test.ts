/** The whole-object checksum of a file that lies on several workers: joined from those of its segments. */
import { expect, test } from 'vitest';
import { Fleet } from '../../../src/cluster/fleet.ts';
import { ringPlacement } from '../../../src/cluster/placement.ts';
import type { SegmentOutcome } from '../../../src/cluster/worker-link.ts';
import type { JobId, LoadId, RunId } from '../../../src/core/types.ts';
import { type JoinedKind, joinedSum, type RangeSum } from '../../../src/ingest/whole-object.ts';
import type { ObjectDetails } from '../../../src/origin/types.ts';
import { FakeCluster, type FakeLink } from './fake-links.ts';
import { entryOf, silent } from './fakes.ts';

const run = 'run-1' as RunId;
const file = entryOf('s3://b/dir/big', 1150);
const segmentBytes = 100;

interface World {
  readonly fleet: Fleet;
  readonly cluster: FakeCluster;
  readonly asked: (JoinedKind | undefined)[];
  readonly discardedOn: () => string[];
  /** What each worker was told, to tell readers. */
  readonly stated: () => unknown[];
}

/** @param sumAt what a worker says of the segment at an offset; undefined: nothing */
async function loaded(
  head: () => Promise<Partial<ObjectDetails>>,
  sumAt: (link: FakeLink, offset: number) => string | undefined,
  replicas = 1,
): Promise<World> {
  const cluster = new FakeCluster('a', 'b', 'c');
  const origins = { head: async () => ({ ...file, checksums: {}, ...(await head()) }) };
  const fleet = new Fleet({
    members: cluster,
    placement: ringPlacement(cluster),
    origins,
    maxRestarts: 1,
    log: silent,
  });
  const spec = { run, job: 'job-1' as JobId, load: 'load-1' as LoadId, term: 0, reuse: 'any', weight: 50 } as const;
  await fleet.startRun({ ...spec, onChange: 'restart', segmentBytes }, replicas);
  await fleet.reserveMore(run, fleet.needOf(run, [file]));
  const outcome = (await fleet.load(run, file, { hasty: false })) as SegmentOutcome;
  expect(outcome.result).toBe('loaded');
  const asked: (JoinedKind | undefined)[] = [];
  for (const link of cluster.links.values()) {
    const verify = link.verify.bind(link);
    link.verify = async (id, of, segments, kind?: JoinedKind) => {
      asked.push(kind);
      const sums = segments.flatMap(({ offset, length }): RangeSum[] => {
        const sum = sumAt(link, offset);
        return sum === undefined ? [] : [{ offset, length, sum }];
      });
      return { ...(await verify(id, of, segments)), ...(kind === undefined ? {} : { sums }) };
    };
  }
  const discardedOn = () => [...cluster.links.values()].filter(({ discarded }) => discarded > 0).map(({ id }) => id);
  const stated = () => [...cluster.links.values()].map((link) => link.stated.get(file.path));
  return { fleet, cluster, asked, discardedOn, stated };
}

const sumOf = (_: FakeLink, offset: number): string => (offset + 1).toString(16).padStart(16, '0');
const all = Array.from({ length: 12 }, (_, at) => ({
  ...{ offset: at * segmentBytes, length: Math.min(segmentBytes, file.sizeBytes - at * segmentBytes) },
  sum: (at * segmentBytes + 1).toString(16).padStart(16, '0'),
}));
const crc64nvme = joinedSum('crc64nvme', all);
const narrow = all.map((one) => ({ ...one, sum: one.sum.slice(8) }));
const crc32c = joinedSum('crc32c', narrow);
const crc32 = joinedSum('crc32', narrow);

test('is right where the segments together have what the origin states: CRC-64/NVME before CRC-32C before CRC-32', async () => {
  const both = await loaded(async () => ({ checksums: { crc64nvme, crc32c: 'another' } }), sumOf);
  expect(await both.fleet.verify(run, file, new Map())).toEqual({ verdict: 'right', whole: true });
  expect(both.asked).toEqual(['crc64nvme', 'crc64nvme', 'crc64nvme']);
  const one = await loaded(
    async () => ({ checksums: { crc32c } }),
    (link, offset) => sumOf(link, offset).slice(8),
    2,
  );
  expect(await one.fleet.verify(run, file, new Map())).toEqual({ verdict: 'right', whole: true });
  expect(one.asked).toEqual(['crc32c', 'crc32c', 'crc32c']);
  const plain = await loaded(
    async () => ({ checksums: { crc32, sha256: 'another' } }),
    (link, offset) => sumOf(link, offset).slice(8),
  );
  expect(await plain.fleet.verify(run, file, new Map())).toEqual({ verdict: 'right', whole: true });
  expect(plain.asked).toEqual(['crc32', 'crc32', 'crc32']);
  expect([both.discardedOn(), one.discardedOn(), plain.discardedOn()]).toEqual([[], [], []]);
  expect(both.stated()).toEqual([1, 2, 3].map(() => ({ crc64nvme, crc32c: 'another' })));
  expect(one.stated()).toEqual([1, 2, 3].map(() => ({ crc32c })));
});

test('is right too where a worker cannot be told what readers are to be told', async () => {
  const there = await loaded(async () => ({ checksums: { crc64nvme } }), sumOf);
  const [deaf] = there.cluster.links.values();
  deaf!.stateChecksums = () => Promise.reject(new Error('lost just now'));
  expect(await there.fleet.verify(run, file, new Map())).toEqual({ verdict: 'right', whole: true });
  expect(there.stated()).toEqual([undefined, { crc64nvme }, { crc64nvme }]);
});

test('is bad where they have another, or where replicas do not agree; then every worker removes what it has', async () => {
  const wrong = (_: FakeLink, offset: number): string => sumOf(_, offset === 300 ? 301 : offset);
  const other = await loaded(async () => ({ checksums: { crc64nvme } }), wrong);
  const verdict = await other.fleet.verify(run, file, new Map());
  expect(verdict).toMatchObject({ verdict: 'bad', badPages: 0, error: { code: 'STORE_CORRUPT' } });
  expect(other.discardedOn()).toEqual(['a', 'b', 'c']);
  expect(other.stated()).toEqual([undefined, undefined, undefined]);
  for (const link of other.cluster.links.values()) expect(link.disk.segments.size).toBe(0);
  let said = 0;
  const oneOf = (link: FakeLink, offset: number): string => {
    if (offset === 300) said += 1;
    return offset === 300 && said === 2 ? wrong(link, offset) : sumOf(link, offset);
  };
  const apart = await loaded(async () => ({ checksums: { crc64nvme } }), oneOf, 2);
  expect(await apart.fleet.verify(run, file, new Map())).toMatchObject({ verdict: 'bad' });
  expect(said).toBe(2);
});

test.each<[string, () => Promise<Partial<ObjectDetails>>]>([
  ['states none that can be joined', async () => ({ checksums: { sha256: 'x', sha1: 'y' } })],
  ['has another version by now', async () => ({ etag: 'v2', checksums: { crc64nvme: 'x' } })],
  ['does not answer', () => Promise.reject(new Error('no answer'))],
])('is not compared where the origin %s: the pages are checked', async (_, head) => {
  const { fleet, asked, discardedOn, stated } = await loaded(head, sumOf);
  expect(await fleet.verify(run, file, new Map())).toEqual({ verdict: 'right', whole: false });
  expect([asked, discardedOn()]).toEqual([[undefined, undefined, undefined], []]);
  expect(stated()).toEqual([undefined, undefined, undefined]);
});

test('is right by its pages alone where a worker says no sums, as one of a release before that does not know the kind', async () => {
  const { fleet, asked, discardedOn, stated } = await loaded(
    async () => ({ checksums: { crc32 } }),
    (link, offset) => (link.id === 'b' ? undefined : sumOf(link, offset).slice(8)),
  );
  expect(await fleet.verify(run, file, new Map())).toEqual({ verdict: 'right', whole: false });
  expect(asked).toEqual(['crc32', 'crc32', 'crc32']);
  expect([discardedOn(), stated()]).toEqual([[], [undefined, undefined, undefined]]);
});
