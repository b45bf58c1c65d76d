/** Who is told of which workers there are. */
import { expect, it } from 'vitest';
import { tellPeers } from '../../../src/cluster/peer-news.ts';
import { latestPeers, type PeerList } from '../../../src/core/peers.ts';
import type { WorkerId } from '../../../src/core/types.ts';
import { FakeCluster } from './fake-links.ts';
import { silent } from './fakes.ts';

const ids = (list: PeerList | undefined) => list?.peers.map(({ id, takes }) => (takes ? id : `(${id})`)).join(' ');

it('tells every live worker of each change, with a version that rises', () => {
  const cluster = new FakeCluster('a', 'b');
  const end = tellPeers({ members: cluster, from: 'c1', log: silent });
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

it('an older list of the same coordinator changes nothing; that of another does', () => {
  const list = (from: string, version: number): PeerList => ({ from, version, peers: [] });
  const two = list('c1', 2);
  expect(latestPeers(undefined, two)).toBe(two);
  expect(latestPeers(two, list('c1', 1))).toBe(two);
  const other = list('c2', 1);
  expect(latestPeers(two, other)).toBe(other);
});
