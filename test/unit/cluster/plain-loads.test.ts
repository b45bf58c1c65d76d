/** Small files on one worker each: the links are asked for them once, without a promise, and what fails goes on from there. */
import { expect, test } from 'vitest';
import type { Fleet } from '../../../src/cluster/fleet.ts';
import { Gate } from '../../../src/cluster/gate.ts';
import { HandOut } from '../../../src/cluster/hand-out.ts';
import type { ErrorCode } from '../../../src/core/errors.ts';
import type { JobId, LoadId, ManifestEntry, RunId, WorkerId } from '../../../src/core/types.ts';
import type { FileOutcome } from '../../../src/ingest/types.ts';
import { begun, difference, files, hasty, names, reserved, run } from './fake-fleet.ts';
import { FakeCluster, type FakeLink } from './fake-links.ts';

const small = 90;

/** Hands files out as a job does; resolves with their outcomes, in order. */
function handedOut(
  fleet: Fleet,
  some: readonly ManifestEntry[],
  { filesEach = 1000, of = run } = {},
): Promise<FileOutcome[]> {
  const gate = new Gate();
  const handOut = new HandOut({ fleet, run: of, filesEach, gate, halted: () => false });
  return Promise.all(
    some.map(
      (entry) =>
        new Promise<FileOutcome>((resolve) => {
          void handOut.hand({ entry, how: hasty, claim: fleet.claimOf(of, entry), settled: resolve });
        }),
    ),
  );
}

function asked(cluster: FakeCluster): { begun: number; loads: number } {
  const links = [...cluster.links.values()];
  const sum = (of: (link: FakeLink) => number): number => links.reduce((all, link) => all + of(link), 0);
  return { begun: sum((link) => link.begun), loads: sum((link) => link.loads) };
}

/** Of each file the origin has sent all bytes, once. */
function expectSentOnce(cluster: FakeCluster, some: readonly ManifestEntry[]): void {
  expect(cluster.source.sentBytes).toBe(some.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
  expect(cluster.source.sent.size).toBe(some.length);
}

async function opened(count: number, { replicas = 1, sizeBytes = small } = {}) {
  const cluster = new FakeCluster(...names);
  const fleet = await begun(cluster, { replicas });
  const some = files(count, sizeBytes);
  await reserved(fleet, some);
  return { cluster, fleet, some };
}

test('small files without replicas take one call each, without a promise', async () => {
  const { cluster, fleet, some } = await opened(200);
  const outcomes = await handedOut(fleet, some, { filesEach: 10 });
  expect(outcomes.map(({ path, result, loadedBytes, version }) => [path, result, loadedBytes, version?.etag])).toEqual(
    some.map(({ path, etag }) => [path, 'loaded', small, etag]),
  );
  expect(asked(cluster)).toEqual({ begun: 200, loads: 200 });
  for (const name of names) expect(cluster.link(name).begun).toBeGreaterThan(10);
  expectSentOnce(cluster, some);
});

test('files that are cut, or have replicas, do not go that way', async () => {
  for (const order of [{ replicas: 2 }, { sizeBytes: 250 }]) {
    const { cluster, fleet, some } = await opened(20, order);
    await handedOut(fleet, some);
    expect(asked(cluster).begun).toBe(0);
    expect(cluster.source.sentBytes).toBe(some.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
  }
});

test('a worker that does not reach the origin is asked once for each file, and the origin once by the one in its place', async () => {
  const { cluster, fleet, some } = await opened(40);
  const cutOff = cluster.link('a');
  cutOff.failing = 'ORIGIN_UNREACHABLE';
  const outcomes = await handedOut(fleet, some);
  expect(outcomes.every(({ result }) => result === 'loaded')).toBe(true);
  expect(cutOff.begun).toBeGreaterThan(0);
  expect(cutOff.loads).toBe(cutOff.begun);
  expect(asked(cluster).begun).toBe(40);
  expectSentOnce(cluster, some);
});

test.each<ErrorCode>(['ORIGIN_DENIED', 'ORIGIN_NOT_FOUND'])(
  '%s is the end of a file: nobody is asked again',
  async (code) => {
    const { cluster, fleet, some } = await opened(20);
    for (const name of names) cluster.link(name).failing = code;
    const outcomes = await handedOut(fleet, some);
    expect(outcomes.map(({ result, error }) => [result, error?.code])).toEqual(some.map(() => ['failed', code]));
    expect(asked(cluster)).toEqual({ begun: 20, loads: 20 });
    expect(cluster.source.sentBytes).toBe(0);
  },
);

test('what a worker had under way that is lost is loaded on others, and nothing else is loaded twice', async () => {
  const { cluster, fleet, some } = await opened(40);
  const lost = cluster.link('b');
  lost.delay = () => new Promise(() => undefined);
  const outcomes = handedOut(fleet, some);
  const under = lost.begun;
  expect(under).toBeGreaterThan(0);
  cluster.lose('b');
  expect((await outcomes).every(({ result }) => result === 'loaded')).toBe(true);
  expectSentOnce(cluster, some);
  expect(difference(fleet.progress(run).ledger)).toBe(0);
});

async function lackedRoom({ keptBytes, drains }: { keptBytes: number; drains: boolean }) {
  const cluster = new FakeCluster('a');
  const fleet = await begun(cluster);
  const some = files(60, small);
  const first = cluster.link('a');
  first.keptBytes = keptBytes;
  // Nothing is reserved yet, and they join before that is heard.
  first.delay = async () => {
    await new Promise((resolve) => setImmediate(resolve));
    if (cluster.links.size > 1) return;
    if (drains) cluster.draining.add(first.id);
    for (const name of ['b', 'c']) cluster.join(name);
  };
  const outcomes = await handedOut(fleet, some);
  expect(new Set(outcomes.map(({ result }) => result))).toEqual(new Set(['loaded']));
  expect(first.begun).toBe(60);
  expectSentOnce(cluster, some);
  const others = ['b', 'c'].map((name) => cluster.link(name));
  const ledgerOf = (link: FakeLink) => link.progress(run).ledger;
  return { cluster, first, others, ledgerOf };
}

test.each([
  [1, false],
  [small - 1, true],
])(
  'a file that lacked room, with %d bytes there, is loaded where it began when others have joined, and those copy it; it drains: %s',
  async (keptBytes, drains) => {
    const { first, others, ledgerOf } = await lackedRoom({ keptBytes, drains });
    expect(ledgerOf(first).originBytes).toBe(60 * small);
    for (const link of others) {
      const { originBytes, peerBytes } = ledgerOf(link);
      expect([originBytes, peerBytes > 5 * small]).toEqual([0, true]);
    }
  },
);

test.each([
  [0, false],
  [0, true],
  [small / 2, true],
])(
  'a file that lacked room, with no more than %d bytes there, is loaded by whom it belongs to when others have joined, and nowhere else; it drains: %s',
  async (keptBytes, drains) => {
    const { cluster, first, others, ledgerOf } = await lackedRoom({ keptBytes, drains });
    const loaded = [first, ...others].map((link) => link.disk.segments.size);
    expect(loaded.reduce((sum, count) => sum + count)).toBe(60);
    for (const link of others) expect(link.disk.segments.size).toBeGreaterThan(5);
    expect(first.disk.segments.size > 5).toBe(!drains);
    if (drains) expect([first.disk.segments.size, first.reserved.size]).toEqual([0, 0]);
    for (const { id } of cluster.links.values()) expect(ledgerOf(cluster.link(id)).peerBytes).toBe(0);
  },
);

test('files that were claimed before a worker joined go to who they belong to by then', async () => {
  const cluster = new FakeCluster('a', 'b');
  const fleet = await begun(cluster);
  const some = files(60, small);
  await reserved(fleet, some);
  const claims = some.map((entry) => fleet.claimOf(run, entry));
  const joined = cluster.join('c');
  await reserved(fleet, some);
  const outcomes = await Promise.all(
    some.map(
      (entry, at) =>
        new Promise<FileOutcome>((resolve) => fleet.begin(run, { entry, how: hasty, claim: claims[at]! }, resolve)),
    ),
  );
  expect(outcomes.every(({ result }) => result === 'loaded')).toBe(true);
  const theirs = some.filter((entry) => fleet.claimOf(run, entry).owner?.id === ('c' as WorkerId));
  expect(theirs.length).toBeGreaterThan(5);
  expect(joined.disk.segments.size).toBe(theirs.length);
  expectSentOnce(cluster, some);
});

test.each([true, false])(
  'a path is loaded by one run at a time, also one that begins later: %s',
  async (beginsLater) => {
    const { cluster, fleet, some } = await opened(30);
    const other = 'run-2' as RunId;
    const spec = { run: other, job: 'job-2' as JobId, load: 'load-2' as LoadId, term: 0, reuse: 'any' } as const;
    const begins = () => fleet.startRun({ ...spec, onChange: 'restart', segmentBytes: 100, weight: 10 }, 1);
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    for (const name of names) cluster.link(name).delay = () => held;
    if (!beginsLater) await begins();
    const first = handedOut(fleet, some);
    if (beginsLater) await begins();
    const second = handedOut(fleet, some, { of: other });
    await new Promise((resolve) => setImmediate(resolve));
    expect(asked(cluster)).toEqual({ begun: 30, loads: 30 });
    release();
    expect((await first).every(({ result }) => result === 'loaded')).toBe(true);
    expect((await second).every(({ result }) => result === 'skipped')).toBe(true);
    expectSentOnce(cluster, some);
    expect(asked(cluster)).toEqual({ begun: 30, loads: 60 });
    // Nobody has a turn any more.
    expect((await handedOut(fleet, some, { of: other })).every(({ result }) => result === 'skipped')).toBe(true);
  },
);
