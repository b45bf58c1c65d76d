/**
 * A load while machines lose sight of each other, freeze and die: what is cut off is not told so. Each test proves that its
 * fault hit work in flight, and that the load ends as if nothing had happened.
 */
import { afterEach, expect, it } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import { segmentBytes } from '../support/cluster.ts';
import {
  endsRight,
  openTestNet,
  reportOf,
  rowOf,
  sentBytes,
  type TestNet,
  totalBytes,
  underWay,
  unheardBytes,
  until,
} from '../support/net.ts';

let net: TestNet | undefined;
afterEach(async () => {
  await net?.close();
  net = undefined;
});

const workers = ['w1', 'w2', 'w3'];
const others = ['coordinator', 'origin', 'w1', 'w3'];
const fromCoordinator = { from: 'coordinator', to: 'w2' };
/** What a worker says of the runs of a coordinator that it does not hear from. */
const givenUp = 'a coordinator is away for longer than the lease: its runs are stopped';
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
  net = await openTestNet({ workers });
  await underWay(net);
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
  net = await openTestNet({ workers, env: { PRIMED_INGEST_MAX_ATTEMPTS: '3' } });
  await underWay(net);
  net.network.partition('w2', 'origin');
  await endsRight(net, { againBytes: await sentBytes(net, 'w2') });
  // It says so itself: a coordinator that had lost it meanwhile has not heard of them.
  expect(await retriesOf(net, 'w2')).toBeGreaterThan(0);
  expect(net.network.dropped({ from: 'origin', to: 'w2' })).toBeGreaterThan(0);
});

it('a machine that dies, and tells nobody, costs what it had', async () => {
  net = await openTestNet({ workers });
  await underWay(net);
  for (const other of others) net.network.partition('w2', other);
  await net.kill('w2');
  const diedMs = performance.now();
  await until(net, 'w2', 'LOST');
  // The lease, and what it takes to see that it has ended.
  expect(performance.now() - diedMs).toBeLessThan(2_000 + 2_000);
  expect(await reportOf(net)).toMatchObject({ mJobState: 'RUNNING' });
  const report = await endsRight(net, { againBytes: await sentBytes(net, 'w2') });
  expect(report.ledger.discardedBytes.lost).toBeGreaterThan(0);
});

it('a worker that stood still comes back late with what it has to say, and changes nothing', async () => {
  net = await openTestNet({ workers });
  await underWay(net);
  const { epoch } = await rowOf(net, 'w2');
  net.workers.get('w2')!.signal('SIGSTOP');
  await until(net, 'w2', 'LOST');
  const againBytes = await sentBytes(net, 'w2');
  expect(await reportOf(net)).toMatchObject({ mJobState: 'RUNNING' });
  net.workers.get('w2')!.signal('SIGCONT');
  await until(net, 'w2', 'LIVE');
  expect((await rowOf(net, 'w2')).epoch).toBeGreaterThan(epoch);
  await endsRight(net, { againBytes });
});

it('a coordinator that stood still for longer than a lease goes on with what is durable', async () => {
  net = await openTestNet({ workers });
  await underWay(net);
  // So that the workers do not come to the end of what they were asked for.
  await net.origin.setKnobs({ bytesPerSecond: 4 * MiB });
  net.coordinator.signal('SIGSTOP');
  await expect
    .poll(() => workers.every((id) => net!.workers.get(id)!.log().includes(givenUp)), {
      timeout: 30_000,
      interval: 100,
    })
    .toBe(true);
  const sentBefore = await sentBytes(net);
  expect(sentBefore).toBeLessThan(totalBytes);
  net.coordinator.signal('SIGCONT');
  await net.origin.setKnobs({ bytesPerSecond: 0 });
  await expect.poll(() => sentBytes(net!), { timeout: 20_000, interval: 50 }).toBeGreaterThan(sentBefore);
  const report = await endsRight(net, { againBytes: unheardBytes });
  expect(report.ledger.cachedBytes).toBe(totalBytes);
});

it('coordinator and worker die together: what was durable is not read again', async () => {
  net = await openTestNet({ workers });
  await underWay(net);
  const { cachedBytes } = (await reportOf(net)).ledger;
  await Promise.all([net.coordinator.kill(), net.kill('w2')]);
  expect(cachedBytes).toBeGreaterThan(totalBytes / 4);
  await net.startCoordinator();
  await net.start('w2');
  await endsRight(net, { againBytes: 0 });
});

it('a worker that is away for a minute finds a load that ended without it', async () => {
  net = await openTestNet({ workers, env: { PRIMED_CLUSTER_LEASE: '10s' } });
  await underWay(net);
  net.workers.get('w2')!.signal('SIGSTOP');
  const stoppedMs = performance.now();
  await until(net, 'w2', 'LOST');
  const lostMs = performance.now() - stoppedMs;
  expect(lostMs).toBeLessThan(10_000 + 2_000);
  const away = net.workers.get('w2')!;
  net.workers.delete('w2');
  await endsRight(net, { againBytes: await sentBytes(net, 'w2') });
  await expect.poll(() => performance.now() - stoppedMs, { timeout: 70_000, interval: 250 }).toBeGreaterThan(60_000);
  const sent = await sentBytes(net);
  away.signal('SIGCONT');
  net.workers.set('w2', away);
  await until(net, 'w2', 'LIVE');
  await endsRight(net, { againBytes: await sentBytes(net, 'w2'), sentBytes: sent });
  // What the origin had begun to send to it, and could not get rid of while it stood still: two parts.
  expect(await sentBytes(net)).toBeLessThanOrEqual(sent + 2 * segmentBytes);
});
