/**
 * A load while machines lose sight of each other: what is cut off is not told so. Each test proves that its fault hit work in
 * flight, and that the load ends as if nothing had happened.
 */
import { afterEach, expect, it } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import {
  endsRight,
  openTestNet,
  reportOf,
  rowOf,
  sentBytes,
  type TestNet,
  totalBytes,
  underWay,
  until,
} from '../support/net.ts';

let net: TestNet | undefined;
afterEach(async () => {
  await net?.close();
  net = undefined;
});

const workers = ['w1', 'w2', 'w3'];
/** Where the fault is not the coordinator's to see: a worker that is late for a short lease on a busy machine must not be lost too. */
const longLease = { PRIMED_CLUSTER_LEASE: '60s' };
/** Bytes a second of the origin: a worker that is to lose it has most of its part still before it, however late the cut is. */
const slowly = 3 * MiB;
const fromCoordinator = { from: 'coordinator', to: 'w2' };
const toCoordinator = { from: 'w2', to: 'coordinator' };

it.each([
  ['both ways', [fromCoordinator, toCoordinator]],
  ['so that it hears nothing', [fromCoordinator]],
  ['so that nobody hears it', [toCoordinator]],
])('a worker that loses sight of the coordinator, %s, is replaced, and comes back', async (_, cuts) => {
  net = await openTestNet({ workers });
  await underWay(net);
  const { epoch } = await rowOf(net, 'w2');
  const sentBefore = await sentBytes(net);
  for (const cut of cuts) net.network.cut(cut);
  await until(net, 'w2', 'LOST');
  expect(await reportOf(net)).toMatchObject({ mJobState: 'RUNNING' });
  expect(await sentBytes(net)).toBeGreaterThan(sentBefore);
  for (const cut of cuts) expect(net.network.dropped(cut)).toBeGreaterThan(0);
  net.network.heal();
  await until(net, 'w2', 'LIVE');
  expect((await rowOf(net, 'w2')).epoch).toBeGreaterThan(epoch);
  expect(await reportOf(net)).toMatchObject({ mJobState: 'RUNNING' });
  await endsRight(net, { againBytes: await sentBytes(net, 'w2') });
});

it('workers that lose sight of each other read from the origin what they were to copy', async () => {
  net = await openTestNet({ workers });
  await underWay(net, { replicas: '2' });
  net.network.partition('w1', 'w2');
  await expect
    .poll(() => net!.coordinator.log(), { timeout: 30_000, interval: 50 })
    .toContain('a copy failed: it is made from another worker, or its bytes are read from the origin');
  const dropped = net.network.dropped({ from: 'w1', to: 'w2' }) + net.network.dropped({ from: 'w2', to: 'w1' });
  expect(dropped).toBeGreaterThan(0);
  const report = await endsRight(net, { replicas: 2, againBytes: totalBytes });
  expect(report.ledger.peerBytes).toBeGreaterThan(0);
  expect(await sentBytes(net)).toBeLessThan(totalBytes * 1.9);
});

it('a worker that loses sight of the origin for a while goes on when it is back', async () => {
  net = await openTestNet({ workers, env: longLease });
  await underWay(net, {}, slowly);
  const before = (await reportOf(net)).retries;
  net.network.partition('w2', 'origin');
  await expect
    .poll(async () => (await reportOf(net!)).retries, { timeout: 30_000, interval: 50 })
    .toBeGreaterThan(before);
  expect(net.network.dropped({ from: 'origin', to: 'w2' })).toBeGreaterThan(0);
  expect(await rowOf(net, 'w2')).toMatchObject({ state: 'LIVE' });
  net.network.heal();
  await endsRight(net, { againBytes: await sentBytes(net, 'w2') });
});

async function retriesOf({ workers: daemons }: TestNet, id: string): Promise<number> {
  const text = await (await fetch(`${daemons.get(id)!.api}/metrics`)).text();
  const counts = text.matchAll(/^primed_origin_retries_total\{[^}]*\} (\d+)/gm);
  return Array.from(counts, ([, count]) => Number(count)).reduce((sum, count) => sum + count, 0);
}

it('what a worker cannot read from the origin is read by those that can', async () => {
  net = await openTestNet({ workers, env: { ...longLease, PRIMED_INGEST_MAX_ATTEMPTS: '3' } });
  await underWay(net, {}, slowly);
  net.network.partition('w2', 'origin');
  await endsRight(net, { againBytes: await sentBytes(net, 'w2') });
  expect(await retriesOf(net, 'w2')).toBeGreaterThan(0);
  expect(net.network.dropped({ from: 'origin', to: 'w2' })).toBeGreaterThan(0);
});
