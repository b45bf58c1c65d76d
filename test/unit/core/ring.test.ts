import { describe, expect, it } from 'vitest';
import { hashPrefixOfText, hashWithInt32 } from '../../../src/core/murmur3.ts';
import { makeRing, type RingWorker, segmentKey, type WorkerIdentity, workerIdentity } from '../../../src/core/ring.ts';
import { pointsOf } from '../../../src/core/ring-points.ts';
import { hosts, identifiers, ownersOfPaths, pointsOfOne } from './ring-vectors.ts';

interface Named extends RingWorker {
  readonly name: string;
}

const named = (name: string, zone?: string): Named => ({ name, identity: workerIdentity(name), zone });
const hexOf = ({ identifier }: WorkerIdentity) => Buffer.from(identifier).toString('hex');
const names = (workers: readonly Named[]) => workers.map(({ name }) => name);

describe('a ring like that of Alluxio', () => {
  it('gives every host the identifier that its client gives it', () => {
    const made = hosts.map((host) => workerIdentity(host));
    expect(made.map(hexOf).sort()).toEqual([...identifiers].sort());
    expect(new Set(made.map(({ version }) => version))).toEqual(new Set([1]));
  });

  it('puts a worker at the same points', () => {
    const identity = { version: 1, identifier: new Uint8Array(Buffer.from(pointsOfOne.identifier, 'hex')) };
    expect([...pointsOf([{ owner: 0, identity }], 5).hashes]).toEqual(pointsOfOne.hashes);
  });

  it('finds the same owners in the same order', () => {
    const ring = makeRing(
      hosts.map((host) => named(host)),
      { virtualNodes: 5 },
    );
    const found = Object.keys(ownersOfPaths).map((path) => [
      path,
      ring
        .owners(path, 5)
        .map(({ identity }) => hexOf(identity).slice(0, 8))
        .join(' '),
    ]);
    expect(Object.fromEntries(found)).toEqual(ownersOfPaths);
  });

  it('makes the key of a segment of the path and its decimal index', () => {
    expect(segmentKey('s3://bucket/model.bin', 12)).toBe('s3://bucket/model.bin12');
  });
});

describe('owners', () => {
  const workers = ['a', 'b', 'c', 'd'].map((name) => named(name));

  it('are none on an empty ring, and none when none are wanted', () => {
    expect(makeRing([]).owners('key', 3)).toEqual([]);
    expect(makeRing([]).placement('key', 3)).toEqual([]);
    expect(makeRing(workers).owners('key', 0)).toEqual([]);
  });

  it('are all workers when more are wanted than there are', () => {
    expect(names(makeRing(workers).owners('key', 9)).sort()).toEqual(['a', 'b', 'c', 'd']);
  });

  it('pass over workers that are not accepted, and keep the order of the others', () => {
    const ring = makeRing(workers);
    const all = names(ring.owners('key', 4));
    expect(names(ring.owners('key', 4, ({ name }) => name !== all[1]))).toEqual([all[0], all[2], all[3]]);
    expect(ring.owners('key', 1, () => false)).toEqual([]);
  });

  it('are asked for acceptance once each', () => {
    const asked: string[] = [];
    makeRing(workers).owners('key', 4, ({ name }) => asked.push(name) === 0);
    expect(asked.sort()).toEqual(['a', 'b', 'c', 'd']);
  });

  it('are found by walking on where 100 attempts do not meet enough workers', () => {
    const many = Array.from({ length: 1000 }, (_, i) => named(`w${i}`));
    const ring = makeRing(many, { virtualNodes: 3 });
    const all = ring.owners('key', 1000);
    expect(new Set(all).size).toBe(1000);
    // 100 attempts meet 100 workers at most: the 500th was reached by the walk, which goes on in the same order.
    expect(ring.owners('key', 500)).toEqual(all.slice(0, 500));
    const last = all.at(-1)!;
    expect(ring.owners('key', 2, (worker) => worker === last)).toEqual([last]);
  });
});

describe('the next ring', () => {
  it('takes a new object of a known identity in place of the old one', () => {
    const moved = { ...named('a'), name: 'a, moved' };
    const before = makeRing([named('a'), named('b')]);
    const after = before.next([moved, named('b')]);
    for (let i = 0; i < 50; i += 1) {
      const expected = names(before.owners(`key${i}`, 2)).map((name) => (name === 'a' ? 'a, moved' : name));
      expect(names(after.owners(`key${i}`, 2))).toEqual(expected);
    }
  });

  it('tells workers apart by the version of their identity, too', () => {
    const older = { ...named('a'), name: 'older', identity: { ...workerIdentity('a'), version: 0 } };
    const ring = makeRing([named('a')]).next([named('a'), older]);
    expect(names(ring.owners('key', 2)).sort()).toEqual(['a', 'older']);
  });

  it('refuses two workers of one identity', () => {
    expect(() => makeRing([named('a'), named('b'), named('a')])).toThrow(/two workers of one ring have the identity/);
  });
});

describe('a key that hashes to a point', () => {
  // Such keys are rare: each was the first of some millions that lies at a point of a worker whose neighbours are
  // points of the other one.
  it.each(['key-7911001', 'key-9817735', 'key-14216191'])('belongs to the worker of that very point: %s', (key) => {
    const hash = hashWithInt32(hashPrefixOfText(key), 1);
    const workers = [named('a'), named('b')];
    const hit = workers.filter(({ identity }) => pointsOf([{ owner: 0, identity }], 2000).hashes.includes(hash));
    expect(hit).toHaveLength(1);
    expect(makeRing(workers).owners(key, 1)).toEqual(hit);
  });
});

describe('equal points', () => {
  // With one virtual node, these two lie at the same place of the circle.
  const [low, high] = [named('host-28018'), named('host-31567')].sort((a, b) =>
    hexOf(a.identity) < hexOf(b.identity) ? -1 : 1,
  ) as [Named, Named];
  const virtualNodes = 1;

  it('belong to the worker with the smaller identity, whoever came first', () => {
    const hashes = [low, high].map(({ identity }) => pointsOf([{ owner: 0, identity }], virtualNodes).hashes[0]);
    expect(hashes[0]).toBe(hashes[1]);
    const rings = [
      makeRing([low, high], { virtualNodes }),
      makeRing([high, low], { virtualNodes }),
      makeRing([high], { virtualNodes }).next([high, low]),
      makeRing([low], { virtualNodes }).next([high, low]),
    ];
    expect(rings.map((ring) => names(ring.owners('key', 2)))).toEqual(rings.map(() => names([low, high])));
  });
});

describe('placement', () => {
  const zones = { a: 'north', b: 'north', c: 'north', d: 'south', e: 'east' };
  const ring = makeRing(Object.entries(zones).map(([name, zone]) => named(name, zone)));
  const keys = Array.from({ length: 100 }, (_, i) => `s3://bucket/file-${i}0`);
  const zonesOf = (workers: readonly Named[]) => workers.map(({ zone }) => zone);

  it('takes a worker of each zone first, the best owner before all', () => {
    for (const key of keys) {
      const placed = ring.placement(key, 3);
      expect(new Set(zonesOf(placed)).size).toBe(3);
      expect(placed[0]).toBe(ring.owners(key, 1)[0]);
    }
  });

  it('fills up in the order of the owners when there are fewer zones than copies', () => {
    for (const key of keys) {
      const owners = ring.owners(key, 5);
      const firsts = owners.filter((worker, i) => zonesOf(owners).indexOf(worker.zone) === i);
      const others = owners.filter((worker) => !firsts.includes(worker));
      expect(names(ring.placement(key, 4))).toEqual(names([...firsts, ...others].slice(0, 4)));
    }
  });

  it('does not count a zone in which no worker is accepted', () => {
    for (const key of keys) {
      const placed = ring.placement(key, 3, ({ zone }) => zone !== 'east');
      expect(placed).toHaveLength(3);
      expect(new Set(zonesOf(placed))).toEqual(new Set(['north', 'south']));
    }
  });

  it('is that of the owners where no worker has a zone', () => {
    const plain = makeRing(hosts.map((host) => named(host)));
    for (const key of keys) expect(plain.placement(key, 3)).toEqual(plain.owners(key, 3));
  });
});
