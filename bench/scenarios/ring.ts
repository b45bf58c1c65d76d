/** The ring of a cluster larger than most: what it costs to build, to ask and to change, and how even it is. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import {
  defaultVirtualNodes,
  makeRing,
  type Ring,
  type RingWorker,
  segmentKey,
  workerIdentity,
} from '../../src/core/ring.ts';
import { MiB } from '../../src/core/units.ts';
import { figure, type Row, verdict } from '../support/results.ts';
import type { Scenario } from '../support/scenario.ts';

const zoneCount = 3;
const copies = 3;

export const ring: Scenario = {
  summary: 'the ring of 10,000 workers: build, join, lookups, memory, how even the shares are',
  async run({ runs, quick, log }) {
    const workerCount = quick ? 200 : 10_000;
    const keyCount = quick ? 50_000 : 1_000_000;
    const workers = cluster(workerCount + 1);
    const before = workers.slice(0, -1);
    const keys = Array.from({ length: keyCount }, (_, i) =>
      segmentKey(`s3://bucket/dataset/shard-${i >> 4}.tar`, i & 15),
    );

    log(`building a ring of ${workerCount} workers, ${runs} times`);
    const built = measured(runs, () => makeRing(before));
    log('joining one worker');
    const joined = measured(runs, () => built.ring.next(workers));
    const moves = movesBetween(built.ring, joined.ring, workers.at(-1)!, keys);
    log(`looking up ${keyCount} keys, ${runs} times each way`);
    const lookups: Row[] = [
      lookupRow('the owner of a key', runs, keys, (key) => built.ring.owners(key, 1)),
      lookupRow(`${copies} owners of a key`, runs, keys, (key) => built.ring.owners(key, copies)),
      lookupRow(`${copies} owners in ${zoneCount} zones`, runs, keys, (key) => built.ring.placement(key, copies)),
    ];
    return {
      title: 'The ring of a large cluster',
      about: `In one thread. Shares are parts of the hash space, so they are exact. A share is the sum of ${defaultVirtualNodes} random gaps and deviates by 1/sqrt(${defaultVirtualNodes}) = ${(100 / Math.sqrt(defaultVirtualNodes)).toFixed(1)}%, whatever the number of workers; the largest of many deviates more than the largest of few. Moved are the keys with another owner after one worker joined.`,
      parameters: { workers: workerCount, virtualNodes: defaultVirtualNodes, keys: keyCount, zones: zoneCount },
      rows: [
        {
          name: `built, ${workerCount.toLocaleString('en-US')} workers`,
          figures: { time: built.time, memory: built.memory },
        },
        {
          name: 'one worker joins',
          figures: {
            time: joined.time,
            'moved keys': figure('%', [(100 * moves.moved) / keyCount]),
            'ideally moved': figure('%', [100 / workers.length]),
          },
        },
        ...lookups,
        shareRow(makeRing(cluster(100))),
        shareRow(built.ring),
      ],
      verdicts: [
        verdict('Keys that a join moves between workers that stay', moves.astray, 'keys', 'at most', 0),
        verdict(
          'Standard deviation of the shares of 100 workers',
          deviationPercent(makeRing(cluster(100))),
          '%',
          'at most',
          5,
        ),
      ],
      notes: [],
    };
  },
};

function cluster(size: number): RingWorker[] {
  return Array.from({ length: size }, (_, i) => ({
    identity: workerIdentity(`worker-${i}.cluster.example`),
    zone: `zone-${i % zoneCount}`,
  }));
}

/** The last of some rings that were made alike, how long each took, and what each holds inside and outside of the heap. */
function measured(runs: number, make: () => Ring<RingWorker>) {
  let ring: Ring<RingWorker>;
  const milliseconds: number[] = [];
  const mebibytes: number[] = [];
  for (let run = 0; run < runs; run += 1) {
    const bytesBefore = heldBytes();
    const startedMs = performance.now();
    const made = make();
    milliseconds.push(performance.now() - startedMs);
    mebibytes.push((heldBytes() - bytesBefore) / MiB);
    ring = made;
  }
  return { ring: ring!, time: figure('ms', milliseconds), memory: figure('MiB', mebibytes) };
}

/** After garbage was collected. */
function heldBytes(): number {
  setFlagsFromString('--expose-gc');
  (runInNewContext('gc') as () => void)();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** How many keys have another owner on the second ring, and how many of them not the joined worker. */
function movesBetween(before: Ring<RingWorker>, after: Ring<RingWorker>, joined: RingWorker, keys: readonly string[]) {
  const owners = keys.map((key) => [before.owners(key, 1)[0], after.owners(key, 1)[0]] as const);
  const moved = owners.filter(([old, now]) => old !== now);
  return { moved: moved.length, astray: moved.filter(([, now]) => now !== joined).length };
}

function lookupRow(
  name: string,
  runs: number,
  keys: readonly string[],
  lookUp: (key: string) => readonly unknown[],
): Row {
  const rates = Array.from({ length: runs }, () => {
    const startedMs = performance.now();
    let found = 0;
    for (const key of keys) found += lookUp(key).length;
    if (found === 0) throw new Error(`${name}: nothing was found`);
    return keys.length / ((performance.now() - startedMs) / 1000);
  });
  return { name, figures: { rate: figure('lookups/s', rates) } };
}

function shareRow(of: Ring<RingWorker>): Row {
  return {
    name: `shares of ${of.workers.length.toLocaleString('en-US')} workers`,
    figures: {
      'standard deviation': figure('%', [deviationPercent(of)]),
      'largest, of the mean': figure('x', [Math.max(...relativeShares(of))]),
    },
  };
}

/** Shares as multiples of their mean. */
function relativeShares(of: Ring<RingWorker>): number[] {
  return [...of.shares()].map((share) => share * of.workers.length);
}

function deviationPercent(of: Ring<RingWorker>): number {
  const relative = relativeShares(of);
  const variance = relative.reduce((sum, share) => sum + (share - 1) ** 2, 0) / relative.length;
  return 100 * Math.sqrt(variance);
}
