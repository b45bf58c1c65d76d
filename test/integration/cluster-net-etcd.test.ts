/** A load of two coordinators over etcd, while etcd is out of sight, or restarts. */
import { afterEach, expect, it } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import { call, list } from '../support/api.ts';
import { loggedMs } from '../support/daemon.ts';
import { type EtcdNet, openEtcdNet } from '../support/etcd-net.ts';
import { endsRight, reportOf, totalBytes, underWay } from '../support/net.ts';

let net: EtcdNet | undefined;
afterEach(async () => {
  await net?.close();
  net = undefined;
});

const failOverMs = 10_000;
const paused = 'jobs pause: nothing is decided without a lease';
const takenOver = 'a job was taken over';
/** Without a leader nothing is renewed, and an election takes up to 2 s, and as long again each time that the votes split. */
const patientLeaseMs = 20_000;
const eventually = { timeout: 60_000, interval: 50 };

/** A load that `a` runs, so slow that the fault comes in its middle, and the end of the fault too. */
async function slowLoad(
  members: readonly string[],
  options: { leaseMs?: number } = {},
): Promise<EtcdNet & { readonly before: number }> {
  const opened = await openEtcdNet(members, options);
  net = opened;
  await underWay(opened);
  await opened.origin.setKnobs({ bytesPerSecond: 3 * MiB });
  expect(opened.owner()).toBe('a');
  const { cachedBytes, inFlightBytes } = (await reportOf(opened)).ledger;
  expect(inFlightBytes).toBeGreaterThan(0);
  return Object.assign(opened, { before: cachedBytes });
}

const ready = async ({ api }: { api: string }): Promise<number> => (await call(api, 'GET', '/health/ready')).status;

it('a coordinator that loses sight of etcd alone pauses before its lease is over, and the other goes on', async () => {
  const { a, b, network, owner, ...scene } = await slowLoad(['e1']);
  const { jobId } = await reportOf({ coordinator: a });
  network.partition('a', 'e1');
  let ownedMs = 0;
  await expect
    .poll(() => {
      const askedMs = Date.now();
      const isOwned = owner() === 'a';
      if (isOwned) ownedMs = askedMs;
      return isOwned;
    }, eventually)
    .toBe(false);
  const leaseOverMs = Date.now();
  const pausedMs = loggedMs(a.log(), paused);
  // It had stopped when nobody else could have had the claim yet.
  expect(pausedMs).toBeLessThan(ownedMs);
  await expect.poll(owner, eventually).toBe('b');
  await expect.poll(() => b.log(), eventually).toContain(takenOver);
  await expect
    .poll(async () => (await reportOf({ coordinator: b })).ledger?.cachedBytes ?? 0, eventually)
    .toBeGreaterThan(scene.before);
  const tookMs = Date.now() - leaseOverMs;
  expect(tookMs).toBeLessThan(failOverMs);
  expect(await reportOf({ coordinator: b })).toMatchObject({ jobId, mJobState: 'RUNNING' });
  for (const cut of [
    { from: 'a', to: 'e1' },
    { from: 'e1', to: 'a' },
  ])
    expect(network.dropped(cut)).toBeGreaterThan(0);
  expect(await ready(a)).toBe(503);
  net!.coordinator = b;
  const done = await endsRight(net!, { againBytes: 0 });
  expect(done.ledger.cachedBytes).toBe(totalBytes);
  network.heal();
  await expect.poll(() => ready(a), eventually).toBe(200);
  await expect.poll(() => reportOf({ coordinator: a }), eventually).toEqual(done);
  expect(a.log()).not.toContain('"the job has ended"');
  console.log(`paused ${ownedMs - pausedMs} ms or more before its claim was gone; taken over ${tookMs} ms after`);
});

it('etcd dies in the middle of a load, and comes back: the load ends once, and right', async () => {
  const { a, b, before } = await slowLoad(['e1']);
  const { jobId } = await reportOf({ coordinator: a });
  const { term } = net!.etcdStatus()[0]!;
  await net!.killEtcd('e1');
  for (const daemon of [a, b]) await expect.poll(() => ready(daemon), eventually).toBe(503);
  await net!.startEtcd('e1');
  expect(net!.etcdStatus()[0]!.term).toBeGreaterThan(term);
  for (const daemon of [a, b]) await expect.poll(() => ready(daemon), eventually).toBe(200);
  await expect
    .poll(async () => (await reportOf({ coordinator: b })).ledger.cachedBytes, eventually)
    .toBeGreaterThan(before);
  const done = await endsRight(net!, { againBytes: 0 });
  expect(done).toMatchObject({ jobId, ledger: { cachedBytes: totalBytes } });
  await expect.poll(() => reportOf({ coordinator: b }), eventually).toEqual(done);
  for (const { api } of [a, b]) expect((await list(api)).json()).toHaveLength(1);
});

it('the loss of the leading member of etcd costs a load nothing', async () => {
  const members = ['e1', 'e2', 'e3'];
  const { a, b, network, before } = await slowLoad(members, { leaseMs: patientLeaseMs });
  const { jobId } = await reportOf({ coordinator: a });
  const { member: lost, term } = net!.etcdStatus().find(({ leads }) => leads)!;
  const left = members.filter((name) => name !== lost);
  // Its machine is gone: nobody is told.
  for (const name of [...left, 'a', 'b', 'w1', 'w2']) network.partition(lost, name);
  await net!.killEtcd(lost);
  await expect.poll(() => net!.etcdStatus(left).filter(({ leads }) => leads), eventually).toHaveLength(1);
  for (const status of net!.etcdStatus(left)) expect(status.term).toBeGreaterThan(term);
  expect(network.dropped({ from: left[0]!, to: lost })).toBeGreaterThan(0);
  await expect
    .poll(async () => (await reportOf({ coordinator: b })).ledger.cachedBytes, eventually)
    .toBeGreaterThan(before);
  for (const daemon of [a, b]) await expect.poll(() => ready(daemon), eventually).toBe(200);
  const done = await endsRight(net!, { againBytes: 0 });
  expect(done).toMatchObject({ jobId, ledger: { cachedBytes: totalBytes } });
  await expect.poll(() => reportOf({ coordinator: b }), eventually).toEqual(done);
  for (const daemon of [a, b]) expect(daemon.log()).not.toContain(paused);
  network.heal();
  await net!.startEtcd(lost);
  expect(net!.etcdStatus()).toHaveLength(members.length);
});
