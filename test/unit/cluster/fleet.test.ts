/** Files over several workers: who fetches what, what a lost worker costs, and what a changed file leaves behind. */
import { expect, test } from 'vitest';
import type { WorkerId } from '../../../src/cluster/worker-link.ts';
import { begun, difference, files, hasty, holdersOf, names, reserved, run, segmentBytes } from './fake-fleet.ts';
import { FakeCluster } from './fake-links.ts';
import { entryOf } from './fakes.ts';

test('the segments of a file are spread over the workers, and each byte leaves the origin once', async () => {
  const cluster = new FakeCluster(...names);
  const fleet = await begun(cluster);
  const some = files(20);
  await reserved(fleet, some);
  const outcomes = await Promise.all(some.map((file) => fleet.load(run, file, hasty)));
  expect(outcomes.map(({ result, loadedBytes }) => [result, loadedBytes])).toEqual(some.map(() => ['loaded', 950]));
  for (const file of some) for (const holders of holdersOf(cluster, file)) expect(holders).toHaveLength(1);
  expect(cluster.source.sentBytes).toBe(20 * 950);
  for (const name of names) expect(cluster.link(name).loads).toBeGreaterThan(20);
  expect(fleet.progress(run).ledger).toMatchObject({ originBytes: 19_000, cachedBytes: 19_000 });
});

test.each([2, 3])('%i replicas lie on as many workers, and are fetched from the origin once', async (replicas) => {
  const cluster = new FakeCluster(...names);
  const fleet = await begun(cluster, { replicas });
  const some = files(10);
  await reserved(fleet, some);
  await Promise.all(some.map((file) => fleet.load(run, file, hasty)));
  for (const file of some) for (const holders of holdersOf(cluster, file)) expect(new Set(holders).size).toBe(replicas);
  expect(cluster.source.sentBytes).toBe(10 * 950);
});

test('replicas go to different zones where there are enough', async () => {
  const cluster = new FakeCluster(...names);
  for (const [name, zone] of [
    ['a', 'east'],
    ['b', 'east'],
    ['c', 'west'],
    ['d', 'west'],
  ] as const)
    cluster.zones.set(name as WorkerId, zone);
  const fleet = await begun(cluster, { replicas: 2 });
  const some = files(10);
  await reserved(fleet, some);
  await Promise.all(some.map((file) => fleet.load(run, file, hasty)));
  for (const file of some) {
    for (const holders of holdersOf(cluster, file)) {
      expect(new Set(holders.map((id) => cluster.zones.get(id)))).toEqual(new Set(['east', 'west']));
    }
  }
});

test('a worker that is lost in the middle costs what it had, and the ledger balances', async () => {
  const cluster = new FakeCluster(...names);
  const fleet = await begun(cluster);
  const file = entryOf('s3://b/large', 20_000);
  await reserved(fleet, [file]);
  const atB = cluster.link('b');
  let lostWith = 0;
  atB.delay = async ({ index }) => {
    for (let turn = 0; turn < index; turn += 1) await new Promise((resolve) => setImmediate(resolve));
    if (atB.disk.segments.size < 10) return;
    lostWith ||= atB.disk.segments.size;
    cluster.lose('b');
    await new Promise(() => undefined);
  };
  const { result, loadedBytes } = await fleet.load(run, file, hasty);
  expect(lostWith).toBe(10);
  expect(atB.loads).toBeGreaterThan(11);
  expect([result, loadedBytes]).toEqual(['loaded', 20_000]);
  for (const holders of holdersOf(cluster, file)) expect(holders.filter((id) => id !== 'b')).toHaveLength(1);
  const { ledger } = fleet.progress(run);
  expect(ledger.discardedBytes.lost).toBe(cluster.disk('b').segments.size * segmentBytes);
  expect(difference(ledger)).toBe(0);
  expect(cluster.source.sentBytes).toBe(20_000 + ledger.discardedBytes.lost);
  expect(fleet.losses(run)).toBe(1);
});

test('while no worker is there a file waits, says so, and is loaded when one joins', async () => {
  const cluster = new FakeCluster('a');
  const fleet = await begun(cluster);
  cluster.lose('a');
  const outcome = fleet.load(run, entryOf('s3://b/f', 50), hasty);
  await new Promise((resolve) => setImmediate(resolve));
  expect(fleet.waitingFor(run)).toContain('no worker');
  cluster.join('z');
  expect((await outcome).result).toBe('loaded');
  expect(fleet.waitingFor(run)).toBeUndefined();
});

test('a worker whose disk fails is not asked for the segment again: another takes it', async () => {
  const cluster = new FakeCluster(...names);
  const fleet = await begun(cluster);
  cluster.link('c').failing = 'STORE_IO';
  const some = files(10);
  await reserved(fleet, some);
  const outcomes = await Promise.all(some.map((file) => fleet.load(run, file, hasty)));
  expect(cluster.link('c').loads).toBeGreaterThan(0);
  expect(outcomes.every(({ result }) => result === 'loaded')).toBe(true);
});

test('what one worker cannot get from the origin is got by another, and copied by the first where it is a replica', async () => {
  for (const replicas of [1, 3]) {
    const cluster = new FakeCluster(...names);
    const fleet = await begun(cluster, { replicas });
    cluster.link('c').failing = 'ORIGIN_LOST';
    const some = files(10);
    await reserved(fleet, some);
    const outcomes = await Promise.all(some.map((file) => fleet.load(run, file, hasty)));
    expect(cluster.link('c').loads).toBeGreaterThan(0);
    expect(outcomes.every(({ result }) => result === 'loaded')).toBe(true);
    const holders = some.flatMap((file) => holdersOf(cluster, file));
    expect(holders.filter((ids) => ids.length !== replicas)).toEqual([]);
    expect(holders.some((ids) => ids.includes('c' as WorkerId))).toBe(replicas > 1);
    expect(cluster.source.sentBytes).toBe(10 * 950);
  }
});

test('an object that answers nobody is asked for by two workers, an origin that is lost to all of them once by each', async () => {
  const cluster = new FakeCluster(...names);
  const fleet = await begun(cluster);
  const loads = () => names.reduce((sum, name) => sum + cluster.link(name).loads, 0);
  for (const [code, workers] of [
    ['ORIGIN_TIMEOUT', 2],
    ['ORIGIN_LOST', names.length],
  ] as const) {
    const before = loads();
    for (const name of names) cluster.link(name).failing = code;
    const outcome = await fleet.load(run, entryOf('s3://b/f', 50), hasty);
    expect(outcome).toMatchObject({ result: 'failed', error: { code } });
    expect(loads() - before).toBe(workers);
  }
});

test('what the origin refuses is refused once, whatever the number of workers', async () => {
  const cluster = new FakeCluster(...names);
  const fleet = await begun(cluster);
  for (const name of names) cluster.link(name).failing = 'ORIGIN_DENIED';
  const file = entryOf('s3://b/f', 50);
  const outcome = await fleet.load(run, file, hasty);
  expect(outcome).toMatchObject({ result: 'failed', error: { code: 'ORIGIN_DENIED' } });
  expect(names.reduce((sum, name) => sum + cluster.link(name).loads, 0)).toBe(1);
});

test('a drained worker gets no new segments and keeps what it has', async () => {
  const cluster = new FakeCluster(...names);
  const fleet = await begun(cluster);
  const [first, second] = [files(5), files(10).slice(5)];
  await reserved(fleet, first);
  await Promise.all(first.map((file) => fleet.load(run, file, hasty)));
  const had = cluster.disk('a').segments.size;
  cluster.draining.add('a' as WorkerId);
  cluster.changed();
  await reserved(fleet, second);
  await Promise.all(second.map((file) => fleet.load(run, file, hasty)));
  expect(had).toBeGreaterThan(0);
  expect(cluster.disk('a').segments.size).toBe(had);
  for (const file of second) for (const holders of holdersOf(cluster, file)) expect(holders).toHaveLength(1);
});

test('a file that changes under the load is loaded whole at the new version, and nothing of the old one stays', async () => {
  const cluster = new FakeCluster(...names);
  const fleet = await begun(cluster);
  const file = entryOf('s3://b/large', 2000);
  await reserved(fleet, [file]);
  let fetched = 0;
  for (const name of names) {
    cluster.link(name).delay = async ({ index }) => {
      // One after the other, so that some are durable when the object changes.
      for (let turn = 0; turn < index; turn += 1) await new Promise((resolve) => setImmediate(resolve));
      fetched += 1;
      if (fetched === 12) cluster.source.versions.set(file.path, 'v2');
    };
  }
  const outcome = await fleet.load(run, file, hasty);
  expect(outcome).toMatchObject({ result: 'loaded', loadedBytes: 550, version: { etag: 'v2', sizeBytes: 550 } });
  for (const name of names)
    for (const held of cluster.disk(name).segments.values()) expect([held.etag, held.visible]).toEqual(['v2', true]);
  const { ledger } = fleet.progress(run);
  expect(ledger.discardedBytes.changed).toBeGreaterThan(0);
  expect(difference(ledger)).toBe(0);
});

test('what is cached is asked of the workers: all, some or nothing of a file', async () => {
  const cluster = new FakeCluster(...names);
  const fleet = await begun(cluster, { reuse: 'any' });
  const [whole, none] = files(2);
  await reserved(fleet, [whole!]);
  await fleet.load(run, whole!, hasty);
  const kept = await fleet.survey(run, [whole!, none!]);
  expect(kept.files).toEqual([
    { complete: true, bytes: 950, ours: true, own: true, ownBytes: 950 },
    { complete: false, bytes: 0, ours: false, own: false, ownBytes: 0 },
  ]);
  const lost = cluster.disk('a').segments.size;
  expect(lost).toBeGreaterThan(0);
  cluster.lose('a');
  const [after] = (await fleet.survey(run, [whole!])).files;
  expect(after!.complete).toBe(false);
});

test('no room on one worker refuses the reservation by its name, and takes none on the others', async () => {
  const cluster = new FakeCluster(...names);
  const fleet = await begun(cluster);
  cluster.disk('c').capacityBytes = 4096;
  const { need } = await fleet.survey(run, files(10));
  await expect(fleet.reserveMore(run, need)).rejects.toMatchObject({
    code: 'STORE_NO_ROOM',
    message: expect.stringContaining('worker c'),
  });
  expect(names.map((name) => cluster.link(name).reserved.get(run) ?? 0)).toEqual([0, 0, 0, 0]);
});

test('a segment whose room others have drawn asks for more until it has some', async () => {
  const cluster = new FakeCluster('a');
  const fleet = await begun(cluster);
  const link = cluster.link('a');
  const reserveMore = link.reserveMore.bind(link);
  let drawn = 0;
  link.reserveMore = async (of, bytes) => {
    await reserveMore(of, bytes);
    drawn += 1;
    if (drawn < 3) link.reserved.set(of, 0);
  };
  expect(await fleet.load(run, entryOf('s3://b/planned-elsewhere', 50), hasty)).toMatchObject({ result: 'loaded' });
  expect(drawn).toBe(3);
});

test('a stop ends the files that wait, and those under way', async () => {
  const cluster = new FakeCluster('a');
  const fleet = await begun(cluster);
  cluster.lose('a');
  const waiting = fleet.load(run, entryOf('s3://b/f', 50), hasty);
  await fleet.stopRun(run);
  expect((await waiting).result).toBe('stopped');
});

test('with fewer workers than replicas a file fails by name, and is not called loaded', async () => {
  const cluster = new FakeCluster('a', 'b');
  const fleet = await begun(cluster, { replicas: 2 });
  const file = entryOf('s3://b/f', 50);
  await reserved(fleet, [file]);
  cluster.lose('b');
  const outcome = await fleet.load(run, file, hasty);
  expect(outcome).toMatchObject({ result: 'failed', error: { code: 'WORKERS_SHORT' } });
});

test('a call on the link of a lost worker says so', async () => {
  const cluster = new FakeCluster('a');
  const link = cluster.link('a');
  cluster.lose('a');
  await expect(link.makeRoom()).rejects.toMatchObject({
    code: 'WORKER_LOST',
    message: expect.stringContaining('worker a'),
  });
});

test('a copy whose source fails is read from the origin', async () => {
  const cluster = new FakeCluster('a', 'b');
  const fleet = await begun(cluster, { replicas: 2 });
  const file = entryOf('s3://b/f', 50);
  await reserved(fleet, [file]);
  let copies = 0;
  cluster.has = () => {
    copies += 1;
    return false;
  };
  const outcome = await fleet.load(run, file, hasty);
  expect([outcome.result, copies]).toEqual(['loaded', 1]);
  expect(holdersOf(cluster, file).flat().sort()).toEqual(['a', 'b']);
  expect(cluster.source.sentBytes).toBe(100);
});
