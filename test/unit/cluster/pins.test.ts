/** Pins of a cluster: durable, told to every worker that is there and to those that come, and shared by coordinators. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { openPinsStore, type PinsStore } from '../../../src/cluster/limits-store.ts';
import { ClusterPins, type PinTakers } from '../../../src/cluster/pins.ts';
import { openSharedPins } from '../../../src/cluster/shared/shared-limits.ts';
import type { WorkerId } from '../../../src/cluster/worker-link.ts';
import { mostPins, type PinList } from '../../../src/core/retention.ts';
import { MemoryEtcd } from '../../support/memory-etcd.ts';
import { memoryLimits } from '../../support/memory-limits.ts';
import { VirtualTime } from '../../support/virtual-time.ts';
import { Lines, until } from './wire/stage.ts';

class Taker {
  readonly heard: PinList[] = [];
  readonly id: WorkerId;
  /** Its connection is lost: what it is told waits. */
  away: Promise<void> | undefined;
  readonly link = {
    setPins: async (list: PinList): Promise<void> => {
      await this.away;
      this.heard.push(list);
    },
  };

  constructor(id: string) {
    this.id = id as WorkerId;
  }
}

class Takers implements PinTakers {
  readonly #listeners = new Set<() => void>();
  #live: readonly Taker[] = [];

  live = (): readonly Taker[] => this.#live;

  set(live: readonly Taker[]): void {
    this.#live = live;
    for (const listener of this.#listeners) listener();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}

const log = new Lines();
const takers = new Takers();
const open = (store: PinsStore, from = 'one', to: PinTakers = takers): ClusterPins =>
  new ClusterPins({ store, takers: to, from, log });
const pathsOf = ({ heard }: Taker) => heard.at(-1)?.paths;

afterEach(() => takers.set([]));

it('a worker that is there knows when the call ends; one that comes is told at once', async () => {
  const [a, b] = [new Taker('a'), new Taker('b')];
  takers.set([a]);
  const pins = open(memoryLimits());
  expect(await pins.pin('s3://bucket/x/')).toEqual({ path: 's3://bucket/x/', pinned: true, pending: [] });
  expect(pathsOf(a)).toEqual(['s3://bucket/x/']);
  takers.set([a, b]);
  await until(() => pathsOf(b)?.length === 1);
  expect(a.heard.length, 'nobody is told again what he knows').toBe(2);
  expect(pins.covers('s3://bucket/x/y')).toBe(true);
  expect(await pins.unpin('s3://bucket/x/')).toMatchObject({ pinned: false, pending: [] });
  expect([pathsOf(a), pathsOf(b)]).toEqual([[], []]);
  expect(pins.covers('s3://bucket/x/y')).toBe(false);
  await pins.close();
});

it('a worker that is not reached is named, and no reason to refuse', async () => {
  const [a, b] = [new Taker('a'), new Taker('b')];
  takers.set([a, b]);
  const pins = open(memoryLimits());
  await until(() => b.heard.length === 1);
  let back = (): void => undefined;
  b.away = new Promise((resolve) => {
    back = resolve;
  });
  expect(await pins.pin('s3://bucket/x')).toEqual({ path: 's3://bucket/x', pinned: true, pending: ['b'] });
  back();
  await until(() => pins.rows()[0]!.pending.length === 0);
  await pins.close();
});

it('is kept over a restart of the coordinator, and its version goes on', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'primed-pins-'));
  const first = open(openPinsStore(dir));
  await first.pin('s3://bucket/x');
  await first.pin('s3://bucket/y/');
  await first.unpin('s3://bucket/x');
  await first.close();
  const store = openPinsStore(dir);
  const again = open(store);
  expect(again.rows().map(({ path }) => path)).toEqual(['s3://bucket/y/']);
  expect(store.version).toBe(3);
  await again.close();
  rmSync(dir, { recursive: true });
});

it('holds at all coordinators that share etcd, and the workers of each are told by the same versions', async () => {
  const time = new VirtualTime();
  const etcd = new MemoryEtcd(time);
  const shared = () => openSharedPins({ etcd: etcd.client(time.process()), key: '/primed/test/pins', log });
  const worker = new Taker('a');
  const workers = new Takers();
  workers.set([worker]);
  const [storeOfOne, storeOfTwo] = [shared(), shared()];
  const [one, two] = [open(storeOfOne, 'etcd'), open(storeOfTwo, 'etcd', workers)];
  expect(() => one.rows()).toThrow(/etcd, which has not told/);
  await Promise.all([storeOfOne.loaded, storeOfTwo.loaded]);
  await one.pin('s3://bucket/x');
  await until(() => pathsOf(worker)?.[0] === 's3://bucket/x');
  expect(worker.heard.at(-1)!.version).toBe(storeOfOne.version);
  await two.pin('s3://bucket/y');
  await until(() => one.rows().length === 2);
  const later = open(shared(), 'etcd');
  await until(() => {
    try {
      return later.rows().length === 2;
    } catch {
      return false;
    }
  });
});

it('there is a limit, which names itself', async () => {
  const pins = open(memoryLimits());
  for (let at = 0; at < mostPins; at += 1) await pins.pin(`s3://bucket/${at}`);
  await expect(pins.pin('s3://bucket/more')).rejects.toMatchObject({
    code: 'REQUEST_INVALID',
    message: expect.stringContaining(String(mostPins)),
  });
  await pins.pin('s3://bucket/7');
});
