/** Who is told of which workers there are, and when. */
import { expect, it } from 'vitest';
import type { Etcd } from '../../../src/cluster/etcd/index.ts';
import { openEtcdRegistry } from '../../../src/cluster/etcd-registry.ts';
import { countedLists, tellPeers } from '../../../src/cluster/peer-news.ts';
import { KnownPeers } from '../../../src/cluster/reading/known-peers.ts';
import { registryMembers } from '../../../src/cluster/registry-members.ts';
import { memberKeys } from '../../../src/core/member-entries.ts';
import { latestPeers, type PeerList } from '../../../src/core/peers.ts';
import { clusterProtocol } from '../../../src/core/protocol.ts';
import type { WorkerId } from '../../../src/core/types.ts';
import { systemClock } from '../../../src/platform/index.ts';
import { MemoryEtcd, type MemoryEtcdClient } from '../../support/memory-etcd.ts';
import { VirtualTime } from '../../support/virtual-time.ts';
import { FakeCluster } from './fake-links.ts';
import { silent } from './fakes.ts';

const ids = (list: PeerList | undefined) => list?.peers.map(({ id, takes }) => (takes ? id : `(${id})`)).join(' ');
const settled = Promise.resolve();

it('tells every live worker of each change, with a version that rises', async () => {
  const cluster = new FakeCluster('a', 'b');
  const end = tellPeers({ members: cluster, settled, order: countedLists('c1'), log: silent });
  await settled;
  cluster.zones.set('c' as WorkerId, 'rack');
  cluster.join('c');
  cluster.draining.add('b' as WorkerId);
  cluster.changed();
  expect(cluster.link('a').heard.map(ids)).toEqual(['a b', 'a b c', 'a (b) c']);
  expect(cluster.link('c').heard.map(ids)).toEqual(['a b c', 'a (b) c']);
  expect(cluster.link('a').heard.map(({ version }) => version)).toEqual([1, 2, 3]);
  expect(cluster.link('a').heard.at(-1)?.peers.at(-1)).toEqual({ id: 'c', url: 'http://c', zone: 'rack', takes: true });
  cluster.lose('b');
  expect(ids(cluster.link('c').heard.at(-1))).toBe('a c');
  end();
  cluster.lose('c');
  expect(cluster.link('a').heard).toHaveLength(4);
});

it('tells nothing while workers that were known may come back', async () => {
  const cluster = new FakeCluster('a');
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  const order = countedLists('c2');
  tellPeers({ members: cluster, settled: promise, order, log: silent });
  const never = tellPeers({ members: cluster, settled: promise, order, log: silent });
  never();
  cluster.changed();
  await settled;
  expect(cluster.link('a').heard).toEqual([]);
  cluster.join('b');
  resolve();
  await promise;
  expect(cluster.link('a').heard.map(ids)).toEqual(['a b']);
});

it('a coordinator asks who is there, and denies nothing, while workers may come back', () => {
  let whole = false;
  const peers = new KnownPeers(undefined, () => whole);
  peers.set({ from: '', version: 1, peers: [{ id: 'a' as WorkerId, url: 'http://a', takes: true }] });
  expect([peers.others().length, peers.known]).toEqual([1, false]);
  whole = true;
  expect(peers.known).toBe(true);
});

it('where one counts an older list changes nothing, whoever sends it; that of another does', () => {
  const list = (from: string, version: number): PeerList => ({ from, version, peers: [] });
  const two = list('c1', 2);
  expect(latestPeers(undefined, two)).toBe(two);
  expect(latestPeers(two, list('c1', 1))).toBe(two);
  const same = list('c1', 2);
  expect(latestPeers(two, same)).toBe(same);
  const other = list('c2', 1);
  expect(latestPeers(two, other)).toBe(other);
});

it('a coordinator that has heard less of etcd drops nobody who has joined since', async () => {
  const time = new VirtualTime();
  const server = new MemoryEtcd(time);
  const prefix = '/primed/lab/workers/';
  const join = (id: string): void => {
    const value = JSON.stringify({
      ...{ host: id, httpPort: 1, s3Port: 2, version: 'test', protocol: clusterProtocol.oldest },
      ...{ instance: '00000000-0000-4000-8000-000000000000', registeredAtMs: 1, leaseMs: 1000 },
    });
    const kinds = ['known', 'members'] as const;
    const success = kinds.map((kind) => ({ put: prefix + memberKeys[kind](id as WorkerId), value }));
    server.txn({ compare: [], success });
  };
  const coordinator = () => {
    const etcd = server.client(time.process());
    const registry = openEtcdRegistry({
      ...{ etcd: etcd as MemoryEtcdClient & Etcd, prefix, cluster: 'lab', leaseMs: 1000, timeoutMs: 1000 },
      ...{ clock: systemClock, log: silent },
    });
    const links = new FakeCluster();
    const told = (): PeerList | undefined => links.links.get('a' as WorkerId)?.heard.at(-1);
    const connect = ({ id }: { id: WorkerId }) => Object.assign(links.join(id), { lost: () => undefined });
    const members = registryMembers({ registry, connect });
    tellPeers({ members, settled: registry.loaded, order: () => registry.order(), log: silent });
    return { etcd, told };
  };
  join('a');
  const [ahead, behind] = [coordinator(), coordinator()];
  await expect.poll(() => [ids(ahead.told()), ids(behind.told())]).toEqual(['a', 'a']);
  behind.etcd.deaf = true;
  join('b');
  await expect.poll(() => ids(ahead.told())).toBe('a b');
  const peers = new KnownPeers('a' as WorkerId);
  const others = () => peers.others().map(({ id }) => id);
  peers.set(ahead.told()!);
  // Its link is made again, and tells what it told last.
  expect(ids(behind.told())).toBe('a');
  peers.set(behind.told()!);
  expect(others()).toEqual(['b']);
  behind.etcd.deaf = false;
  join('c');
  await expect.poll(() => ids(behind.told())).toBe('a b c');
  peers.set(behind.told()!);
  expect(others()).toEqual(['b', 'c']);
});
