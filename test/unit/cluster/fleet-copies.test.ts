/** Where the bytes of a segment come from: a worker that has them rather than the origin, whoever fails on the way. */
import { describe, expect, test } from 'vitest';
import type { WorkerId } from '../../../src/cluster/worker-link.ts';
import type { ErrorCode } from '../../../src/core/errors.ts';
import { segmentsOf } from '../../../src/core/segments.ts';
import type { ManifestEntry, RunId } from '../../../src/core/types.ts';
import { MiB } from '../../../src/core/units.ts';
import { begun, difference, files, hasty, holdersOf, names, reserved, run } from './fake-fleet.ts';
import { FakeCluster, type FakeLink } from './fake-links.ts';
import { entryOf } from './fakes.ts';

const large = { segmentBytes: 16 * MiB };

/** Loads what an earlier run has loaded, on the workers of now. */
async function loadedAgain(cluster: FakeCluster, some: readonly ManifestEntry[], replicas = 1) {
  cluster.source.sent.clear();
  for (const { copies } of cluster.links.values()) copies.length = 0;
  const fleet = await begun(cluster, { reuse: 'any', replicas });
  await reserved(fleet, some);
  const before = await fleet.survey(run, some, { elsewhere: true });
  const outcomes = await Promise.all(
    some.map((file, at) => fleet.load(run, file, { hasty: false, holders: before.files[at]!.holders ?? new Map() })),
  );
  for (const { result } of outcomes) expect(['loaded', 'skipped']).toContain(result);
  return before.files;
}

async function loadedOnce(cluster: FakeCluster, some: readonly ManifestEntry[], replicas = 1): Promise<void> {
  const fleet = await begun(cluster, { replicas, run: 'run-0' as RunId });
  const { need } = await fleet.survey('run-0' as RunId, some);
  await fleet.reserveMore('run-0' as RunId, need);
  await Promise.all(some.map((file) => fleet.load('run-0' as RunId, file, hasty)));
}

const copiesOf = (cluster: FakeCluster) => [...cluster.links.values()].flatMap(({ copies }) => copies);

describe('a replica', () => {
  test('of a large segment follows its source, one of a small segment waits for it', async () => {
    for (const [sizeBytes, follows] of [
      [40 * MiB, true],
      [5 * MiB, false],
    ] as const) {
      const cluster = new FakeCluster(...names);
      const fleet = await begun(cluster, { replicas: 3, ...large });
      const file = entryOf('s3://b/large', sizeBytes);
      await reserved(fleet, [file]);
      expect(await fleet.load(run, file, hasty)).toMatchObject({ result: 'loaded', loadedBytes: sizeBytes });
      const copies = copiesOf(cluster);
      const count = [...segmentsOf(file, large.segmentBytes)].length;
      expect(copies).toHaveLength(2 * count);
      expect(copies.filter(({ source }) => source.follow === true)).toHaveLength(follows ? 4 : 0);
      // Who fetches knows, of each segment that is followed.
      const followed = new Set(copies.filter(({ source }) => source.follow).map(({ segment }) => segment.offset));
      const told = [...cluster.links.values()].flatMap((link) => link.followed.map(({ offset }) => offset));
      expect(told.sort((x, y) => x - y)).toEqual([...followed].sort((x, y) => x - y));
      expect(cluster.source.sentBytes).toBe(sizeBytes);
    }
  });

  test('that could not follow is copied when the source is done', async () => {
    const cluster = new FakeCluster('a', 'b');
    const fleet = await begun(cluster, { replicas: 2, ...large });
    const file = entryOf('s3://b/large', 16 * MiB);
    await reserved(fleet, [file]);
    // It looks before anything is there.
    cluster.followed = async () => undefined;
    const fetcher: FakeLink[] = [];
    for (const link of cluster.links.values()) {
      link.delay = async () => {
        if (fetcher.length === 0) fetcher.push(link);
        if (fetcher[0] === link) for (let i = 0; i < 10; i += 1) await new Promise((resolve) => setImmediate(resolve));
      };
    }
    expect((await fleet.load(run, file, hasty)).result).toBe('loaded');
    expect(copiesOf(cluster).map(({ source }) => source.follow)).toEqual([true, undefined]);
    expect(cluster.source.sentBytes).toBe(16 * MiB);
  });

  test('that followed a source which is lost goes on with what it has, and who comes in its place follows it', async () => {
    const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    for (let at = 0; at < 12; at += 1) {
      const cluster = new FakeCluster('a', 'b', 'c');
      const fleet = await begun(cluster, { replicas: 2, ...large });
      const file = entryOf(`s3://b/large${at}`, 16 * MiB);
      await reserved(fleet, [file]);
      let follower: WorkerId | undefined;
      cluster.followed = async () => undefined;
      for (const link of cluster.links.values()) {
        link.keptBytes = 8 * MiB;
        link.delay = async () => {
          if (link.followed.length === 0 || follower !== undefined) return;
          while (copiesOf(cluster).length === 0) await turn();
          follower = [...cluster.links.values()].find(({ copies }) => copies.length > 0)!.id;
          cluster.lose(link.id);
        };
      }
      expect((await fleet.load(run, file, hasty)).result).toBe('loaded');
      expect(cluster.links.size).toBe(2);
      const [other] = [...cluster.links.values()].filter(({ id }) => id !== follower);
      expect(other!.copies.map(({ source }) => source.worker)).toContain(follower);
      expect(other!.progress(run).ledger).toMatchObject({ originBytes: 0, peerBytes: 16 * MiB });
    }
  });

  test('that has a part asks for the rest, also where it did not reach the next source', async () => {
    const cluster = new FakeCluster(...names, 'e');
    const fleet = await begun(cluster, { replicas: 2, ...large });
    for (let at = 0; at < 8; at += 1) {
      const file = entryOf(`s3://b/part${at}`, 16 * MiB);
      await reserved(fleet, [file]);
      const [first, second] = fleet.claimOf(run, file).workers.map((id) => cluster.link(id));
      // They were heard to have it, and have not. Two are asked, and then the last of them.
      const holders = cluster.live().filter(({ link }) => link !== first && link !== second);
      second!.delay = async () => {
        second!.keptBytes = second!.keptBytes === 0 ? 8 * MiB : 0;
      };
      const before = second!.progress(run).ledger.originBytes;
      const outcome = await fleet.load(run, file, { hasty: false, holders: new Map([[0, holders]]) });
      expect(outcome.result).toBe('loaded');
      expect(second!.copies.length).toBeGreaterThan(1);
      expect(second!.progress(run).ledger.originBytes - before).toBe(16 * MiB);
      second!.delay = async () => undefined;
      second!.keptBytes = 0;
    }
  });

  test('whose source is lost is copied from another that has it, and not from the origin', async () => {
    const cluster = new FakeCluster(...names);
    const fleet = await begun(cluster, { replicas: 3 });
    const file = entryOf('s3://b/f', 50);
    await reserved(fleet, [file]);
    // The worker that fetched dies when one copy of two is made.
    let copies = 0;
    for (const link of cluster.links.values()) {
      link.delay = async () => {
        const last = link.copies.at(-1);
        if (last === undefined) return;
        copies += 1;
        if (copies !== 2) return;
        const { worker } = last.source;
        while (cluster.holders({ file, index: 0, offset: 0, length: 50 }).length < 2)
          await new Promise((resolve) => setImmediate(resolve));
        cluster.lose(worker);
      };
    }
    expect((await fleet.load(run, file, hasty)).result).toBe('loaded');
    expect(cluster.links.size).toBe(3);
    expect(holdersOf(cluster, file)[0]).toHaveLength(3);
    expect(cluster.source.sentBytes).toBe(50);
    expect(difference(fleet.progress(run).ledger)).toBe(0);
  });

  test('with a bad page is none: the others are made from elsewhere, and it is loaded anew', async () => {
    const cluster = new FakeCluster('a', 'b', 'c');
    const fleet = await begun(cluster, { replicas: 3 });
    const file = entryOf('s3://b/f', 950);
    await reserved(fleet, [file]);
    const atA = cluster.link('a');
    atA.bad.add(file.path);
    const outcome = await fleet.load(run, file, hasty);
    expect(outcome.result).toBe('loaded');
    expect(atA.discarded).toBe(1);
    for (const holders of holdersOf(cluster, file)) expect(holders).toHaveLength(3);
    expect(atA.bad.size).toBe(0);
  });

  test('whose page is bad whenever it is loaded ends the file by name', async () => {
    const cluster = new FakeCluster('a', 'b');
    const fleet = await begun(cluster, { replicas: 2 });
    const file = entryOf('s3://b/f', 950);
    await reserved(fleet, [file]);
    for (const { bad } of cluster.links.values()) {
      bad.add(file.path);
      bad.delete = () => false;
    }
    expect(await fleet.load(run, file, hasty)).toMatchObject({ result: 'failed', error: { code: 'STORE_CORRUPT' } });
    expect(Math.max(cluster.link('a').discarded, cluster.link('b').discarded)).toBe(2);
  });
});

describe('what a worker has already', () => {
  test('is copied from it when others join, and only what moved', async () => {
    const cluster = new FakeCluster('a', 'b');
    const some = files(20);
    await loadedOnce(cluster, some);
    cluster.join('c');
    cluster.join('d');
    const before = await loadedAgain(cluster, some);
    expect(cluster.source.sentBytes).toBe(0);
    const moved = before.reduce((sum, { holders }) => sum + (holders?.size ?? 0), 0);
    expect(moved).toBeGreaterThan(50);
    expect(copiesOf(cluster)).toHaveLength(moved);
    for (const name of ['a', 'b']) expect(cluster.link(name).copies).toHaveLength(0);
  });

  test('is copied from it while it drains', async () => {
    const cluster = new FakeCluster('a', 'b', 'c');
    const some = files(10);
    await loadedOnce(cluster, some);
    const had = cluster.disk('a').segments.size;
    cluster.draining.add('a' as WorkerId);
    cluster.changed();
    await loadedAgain(cluster, some);
    expect(cluster.source.sentBytes).toBe(0);
    expect(had).toBeGreaterThan(0);
    expect(copiesOf(cluster)).toHaveLength(had);
  });

  test('is copied when more replicas are asked for', async () => {
    const cluster = new FakeCluster(...names);
    const some = files(10);
    await loadedOnce(cluster, some);
    await loadedAgain(cluster, some, 2);
    expect(cluster.source.sentBytes).toBe(0);
    for (const file of some) for (const holders of holdersOf(cluster, file)) expect(holders).toHaveLength(2);
  });

  test('is found around its place in a large cluster, with a few questions', async () => {
    const many = Array.from({ length: 30 }, (_, i) => `w${i}`);
    const cluster = new FakeCluster(...many);
    const some = files(20);
    await loadedOnce(cluster, some);
    cluster.join('late-1');
    cluster.join('late-2');
    const before = await loadedAgain(cluster, some);
    expect(before.reduce((sum, { holders }) => sum + (holders?.size ?? 0), 0)).toBeGreaterThan(5);
    expect(cluster.source.sentBytes).toBe(0);
  });

  test('of another version, or another load, is not copied', async () => {
    const cluster = new FakeCluster('a', 'b');
    const some = files(10);
    await loadedOnce(cluster, some);
    cluster.join('c');
    const fleet = await begun(cluster, { reuse: 'any' });
    const changed = some.map((file) => ({ ...file, etag: 'v2' }));
    for (const { holders } of (await fleet.survey(run, changed, { elsewhere: true })).files)
      expect(holders).toBeUndefined();
    const other = 'run-2' as RunId;
    const strict = await begun(cluster, { run: other, load: 'load-2' as never });
    for (const { holders } of (await strict.survey(other, some, { elsewhere: true })).files)
      expect(holders).toBeUndefined();
  });

  test('and does not give is asked of the next, and of the origin when none is left', async () => {
    const cluster = new FakeCluster('a', 'b');
    const some = files(20, 50);
    await loadedOnce(cluster, some, 2);
    for (const name of ['c', 'd', 'e', 'f']) cluster.join(name);
    const fleet = await begun(cluster, { reuse: 'any' });
    await reserved(fleet, some);
    const found = (await fleet.survey(run, some, { elsewhere: true })).files;
    const at = found.findIndex(({ holders }) => holders !== undefined);
    const { holders } = found[at]!;
    cluster.source.sent.clear();
    for (const { copies } of cluster.links.values()) copies.length = 0;
    cluster.has = () => false;
    expect((await fleet.load(run, some[at]!, { hasty: false, holders: holders! })).result).toBe('loaded');
    const asked = copiesOf(cluster).map(({ source }) => source.worker);
    expect(asked.sort()).toEqual(['a', 'b']);
    expect(cluster.source.sentBytes).toBe(50);
  });
});

describe('a worker that does not reach the origin', () => {
  test.each(['ORIGIN_UNREACHABLE', 'ORIGIN_TIMEOUT', 'ORIGIN_RESET', 'ORIGIN_LOST'] as const)(
    'costs no file: with %s another one fetches',
    async (code) => {
      const cluster = new FakeCluster(...names);
      const fleet = await begun(cluster);
      cluster.link('b').failing = code;
      const some = files(10);
      await reserved(fleet, some);
      const outcomes = await Promise.all(some.map((file) => fleet.load(run, file, hasty)));
      expect(cluster.link('b').loads).toBeGreaterThan(0);
      expect(new Set(outcomes.map(({ result }) => result))).toEqual(new Set(['loaded']));
      expect(cluster.source.sentBytes).toBe(10 * 950);
      if (code !== 'ORIGIN_LOST') return;
      // It is not asked to fetch anything more by this run.
      const loads = cluster.link('b').loads;
      const more = entryOf('s3://b/more', 5000);
      await reserved(fleet, [more]);
      expect((await fleet.load(run, more, hasty)).result).toBe('loaded');
      expect(cluster.link('b').loads).toBe(loads);
    },
  );

  test('has its replicas all the same', async () => {
    const cluster = new FakeCluster('a', 'b');
    const fleet = await begun(cluster, { replicas: 2 });
    cluster.link('b').failing = 'ORIGIN_TIMEOUT';
    const some = files(10);
    await reserved(fleet, some);
    await Promise.all(some.map((file) => fleet.load(run, file, hasty)));
    for (const file of some) for (const holders of holdersOf(cluster, file)) expect(holders).toHaveLength(2);
    expect(cluster.source.sentBytes).toBe(10 * 950);
  });

  test('keeps a replica of what a worker beyond its owners fetched, where none of them reaches it', async () => {
    const cluster = new FakeCluster('a', 'b', 'c');
    const fleet = await begun(cluster, { replicas: 2 });
    for (const name of ['a', 'b']) cluster.link(name).failing = 'ORIGIN_LOST';
    const some = files(10);
    await reserved(fleet, some);
    const outcomes = await Promise.all(some.map((file) => fleet.load(run, file, hasty)));
    expect(new Set(outcomes.map(({ result }) => result))).toEqual(new Set(['loaded']));
    for (const file of some) for (const holders of holdersOf(cluster, file)) expect(holders).toHaveLength(2);
    expect(cluster.source.sentBytes).toBe(10 * 950);
  });

  test('is followed by one other, and then the file fails', async () => {
    const cluster = new FakeCluster(...names);
    const fleet = await begun(cluster);
    for (const name of names) cluster.link(name).failing = 'ORIGIN_TIMEOUT';
    const file = entryOf('s3://b/f', 50);
    expect(await fleet.load(run, file, hasty)).toMatchObject({ result: 'failed', error: { code: 'ORIGIN_TIMEOUT' } });
    expect(names.reduce((sum, name) => sum + cluster.link(name).loads, 0)).toBe(2);
  });

  test('ends the run as lost when no other reaches it either', async () => {
    const cluster = new FakeCluster(...names);
    const fleet = await begun(cluster);
    for (const name of names) cluster.link(name).failing = 'ORIGIN_LOST';
    const outcomes = await Promise.all(files(3).map((file) => fleet.load(run, file, hasty)));
    for (const outcome of outcomes) expect(outcome).toMatchObject({ result: 'failed', error: { code: 'ORIGIN_LOST' } });
    expect(await fleet.load(run, entryOf('s3://b/g', 50), hasty)).toMatchObject({ error: { code: 'ORIGIN_LOST' } });
  });
});

test('a worker that refuses this coordinator is passed over', async () => {
  const cluster = new FakeCluster(...names);
  cluster.link('c').failing = 'WORKER_REFUSED';
  const fleet = await begun(cluster);
  const some = files(10);
  await reserved(fleet, some);
  const outcomes = await Promise.all(some.map((file) => fleet.load(run, file, hasty)));
  expect(cluster.link('c').loads).toBeGreaterThan(0);
  expect(new Set(outcomes.map(({ result }) => result))).toEqual(new Set(['loaded']));
});

test.each<[ErrorCode, string[], number]>([
  ['WORKER_REFUSED', ['a', 'b'], 1],
  ['STORE_IO', ['a', 'b'], 1],
  ['ORIGIN_TIMEOUT', ['a', 'b'], 1],
  ['STORE_IO', ['a', 'b', 'c'], 2],
])(
  '%s of one of the workers %j that takes no more by then, with %d replicas: the others have what it lacks',
  async (code, ids, replicas) => {
    const cluster = new FakeCluster(...ids);
    const fleet = await begun(cluster, { replicas });
    const some = files(40, 90);
    await reserved(fleet, some);
    const gone = cluster.link('a');
    gone.delay = async () => {
      cluster.draining.add(gone.id);
      cluster.changed();
      gone.failing = code;
    };
    const outcomes = await Promise.all(some.map((file) => fleet.load(run, file, hasty)));
    expect(gone.loads).toBeGreaterThan(5);
    expect(new Set(outcomes.map(({ result }) => result))).toEqual(new Set(['loaded']));
    expect(gone.disk.segments.size).toBe(0);
    for (const id of ids.slice(1)) expect(cluster.link(id).disk.segments.size).toBe(40);
  },
);
