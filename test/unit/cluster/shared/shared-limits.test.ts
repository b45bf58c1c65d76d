/** Limits of origins that several coordinators share through etcd. */
import { expect, it } from 'vitest';
import type { LimitsStore } from '../../../../src/cluster/limits-store.ts';
import { OriginLimits } from '../../../../src/cluster/origin-limits.ts';
import { openSharedLimits } from '../../../../src/cluster/shared/shared-limits.ts';
import { makeLimit, mostOriginLimits } from '../../../../src/core/origin-limits.ts';
import { MemoryEtcd, type MemoryEtcdClient } from '../../../support/memory-etcd.ts';
import { VirtualTime } from '../../../support/virtual-time.ts';
import { codeOf } from '../stage.ts';
import { Lines, until } from '../wire/stage.ts';

const key = '/primed/test/limits';
const origin = 's3://data/';

interface Coordinator {
  readonly client: MemoryEtcdClient;
  readonly store: LimitsStore;
  readonly limits: OriginLimits;
  readonly log: Lines;
}

const time = new VirtualTime();

function open(etcd: MemoryEtcd): Coordinator {
  const client = etcd.client(time.process());
  const log = new Lines();
  const store = openSharedLimits({ etcd: client, key, log });
  const configured = [makeLimit(origin, { bytesPerSecond: 1000 })];
  return { client, store, log, limits: new OriginLimits({ configured, store, log }) };
}

async function two(): Promise<[MemoryEtcd, Coordinator, Coordinator]> {
  const etcd = new MemoryEtcd(time);
  const both = [open(etcd), open(etcd)] as const;
  expect(both.map(({ limits }) => limits.known)).toEqual([false, false]);
  await Promise.all(both.map(({ limits }) => limits.loaded));
  return [etcd, ...both];
}

const heldBy = ({ limits }: Coordinator) => limits.effective();

it('a limit that is set through one coordinator holds at all, above the configuration, until one gives it back', async () => {
  const [etcd, a, b] = await two();
  const changes: string[] = [];
  b.limits.onChange(() => changes.push(JSON.stringify(heldBy(b))));
  expect(await a.limits.set(origin, { requestsPerSecond: 7 })).toEqual({
    ...{ origin, bytesPerSecond: 1000, requestsPerSecond: 7 },
    source: 'set',
  });
  await until(() => changes.length === 1);
  expect(heldBy(b)).toEqual([{ origin, bytesPerSecond: 1000, requestsPerSecond: 7 }]);
  // One that starts later knows it too.
  const c = open(etcd);
  await c.limits.loaded;
  expect(c.limits.rows()).toEqual(a.limits.rows());
  await b.limits.reset(origin);
  await until(() => heldBy(a)[0]?.requestsPerSecond === undefined);
  expect(a.limits.rows()).toEqual([{ origin, bytesPerSecond: 1000, source: 'configuration' }]);
});

it('of changes at the same time none is lost, though neither coordinator has heard of the other', async () => {
  const [, a, b] = await two();
  a.client.deaf = true;
  b.client.deaf = true;
  await Promise.all([
    a.limits.set(origin, { requestsPerSecond: 7 }),
    b.limits.set(origin, { bytesPerSecond: null }),
    a.limits.set('s3://a/', { bytesPerSecond: 1 }),
    b.limits.set('s3://b/', { bytesPerSecond: 2 }),
  ]);
  for (const one of [a, b]) {
    one.client.deaf = false;
    one.client.deliver();
    await until(() => heldBy(one).length === 3);
    expect(heldBy(one)).toEqual([
      { origin: 's3://a/', bytesPerSecond: 1 },
      { origin: 's3://b/', bytesPerSecond: 2 },
      { origin, requestsPerSecond: 7 },
    ]);
  }
});

it('while etcd is away nothing can be set, and what was set holds', async () => {
  const [etcd, a, b] = await two();
  await a.limits.set(origin, { requestsPerSecond: 7 });
  await until(() => heldBy(b)[0]?.requestsPerSecond === 7);
  etcd.setDown(true);
  expect(await codeOf(a.limits.set(origin, { requestsPerSecond: 8 }))).toMatch(/^ETCD_UNAVAILABLE/);
  expect(await codeOf(a.limits.reset(origin))).toMatch(/^ETCD_UNAVAILABLE/);
  expect(heldBy(a)).toEqual(heldBy(b));
  etcd.setDown(false);
  // Done, though nobody was told: it is heard all the same.
  a.client.mute = 1;
  expect(await codeOf(a.limits.set(origin, { requestsPerSecond: 9 }))).toMatch(/^ETCD_UNAVAILABLE/);
  for (const one of [a, b]) await until(() => heldBy(one)[0]?.requestsPerSecond === 9);
});

it('there are never more limits than there may be, though each of two coordinators had room for one', async () => {
  const [, a, b] = await two();
  for (let n = 0; n < mostOriginLimits - 2; n += 1) await a.limits.set(`s3://${n}/`, { bytesPerSecond: 1 });
  await until(() => heldBy(b).length === mostOriginLimits - 1);
  a.client.deaf = true;
  b.client.deaf = true;
  await a.limits.set('s3://x/', { bytesPerSecond: 1 });
  await a.limits.set(origin, { bytesPerSecond: 1 });
  expect(await codeOf(b.limits.set('s3://y/', { bytesPerSecond: 1 }))).toMatch(
    /^REQUEST_INVALID: .*as many as there may be/,
  );
});

it('what lies in etcd and cannot be read is said in the log, and what held before holds', async () => {
  const [etcd, a] = await two();
  await a.limits.set(origin, { requestsPerSecond: 7 });
  etcd.txn({ compare: [], success: [{ put: key, value: '{"version":99}' }] });
  await until(() => a.log.having('cannot be read').length === 1);
  expect(heldBy(a)).toEqual([{ origin, bytesPerSecond: 1000, requestsPerSecond: 7 }]);
});
