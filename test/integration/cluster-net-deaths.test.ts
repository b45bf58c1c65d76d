/**
 * A load while machines freeze and die, and nobody is told. Each test proves that its fault hit work in flight, and that the
 * load ends as if nothing had happened.
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
/** What a worker says of the runs of a coordinator that it does not hear from. */
const givenUp = 'a coordinator is away for longer than the lease: its runs are stopped';

it('a machine that dies, and tells nobody, costs what it had', async () => {
  net = await openTestNet({ workers });
  await underWay(net);
  for (const other of others) net.network.partition('w2', other);
  await net.kill('w2');
  const diedMs = performance.now();
  await until(net, 'w2', 'LOST');
  // The lease, and what it takes to see that it has ended: how long exactly is measured by the benchmark of fail-over.
  expect(performance.now() - diedMs).toBeLessThan(2_000 + 8_000);
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
  await net.origin.setKnobs({ bytesPerSecond: MiB });
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
  // What is sent while nobody hears of it is little then, however long a start takes.
  await net.origin.setKnobs({ bytesPerSecond: MiB });
  const { cachedBytes } = (await reportOf(net)).ledger;
  await Promise.all([net.coordinator.kill(), net.kill('w2')]);
  expect(cachedBytes).toBeGreaterThan(totalBytes / 4);
  await net.startCoordinator();
  await net.start('w2');
  // Those that live gave up what they had in flight if the start took longer than the lease.
  const gaveUp = ['w1', 'w3'].filter((id) => net!.workers.get(id)!.log().includes(givenUp));
  await endsRight(net, { againBytes: gaveUp.length * 2 * segmentBytes });
});

it('a worker that is away for a minute finds a load that ended without it', async () => {
  net = await openTestNet({ workers, env: { PRIMED_CLUSTER_LEASE: '10s' } });
  await underWay(net);
  net.workers.get('w2')!.signal('SIGSTOP');
  const stoppedMs = performance.now();
  await until(net, 'w2', 'LOST');
  const lostMs = performance.now() - stoppedMs;
  expect(lostMs).toBeLessThan(10_000 + 8_000);
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
