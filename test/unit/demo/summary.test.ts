import { describe, expect, test } from 'vitest';
import { emptyLedger, type Ledger } from '../../../src/core/types.ts';
import { GiB, MiB } from '../../../src/core/units.ts';
import {
  brokenPromises,
  type DemoFigures,
  lostAtKillBytes,
  sentTwiceBytes,
  summaryLines,
} from '../../../src/demo/summary.ts';

const ledger = (cachedBytes: number, crash = 0): Ledger => ({
  ...emptyLedger(),
  originBytes: cachedBytes + crash,
  cachedBytes,
  discardedBytes: { ...emptyLedger().discardedBytes, crash },
});

const sound: DemoFigures = {
  load: {
    files: 5081,
    bytes: 2 * GiB,
    loadMs: 2000,
    verifyMs: 1500,
    loadCpuSeconds: 1.5,
    originBytes: 2 * GiB,
    ledger: ledger(2 * GiB),
  },
  crash: {
    bytes: 512 * MiB,
    durableBeforeKillBytes: 200 * MiB,
    sentBeforeKillBytes: 260 * MiB,
    sentBytes: 560 * MiB,
    restartMs: 400,
    ledger: ledger(512 * MiB, 48 * MiB),
  },
  cluster: {
    workers: 3,
    replicas: 2,
    files: 300,
    bytes: 256 * MiB,
    killed: 'node-3',
    durableBeforeKillBytes: 100 * MiB,
    killedHeldBytes: 40 * MiB,
    sentBytes: 264 * MiB,
    loadMs: 3000,
    ledger: { ...ledger(264 * MiB), peerBytes: 248 * MiB, cachedBytes: 512 * MiB },
    readBackBytes: 768 * MiB,
    readBackMs: 2000,
    readBackFiles: 900,
    originBytesInReadBack: 0,
  },
  diskBytesPerSecond: 2 * GiB,
  diskIsDirect: true,
  originBytesPerSecond: 1.25 * GiB,
  readBackBytes: 2.5 * GiB,
  readBackMs: 4000,
  readBackFiles: 6300,
  originBytesInReadBack: 0,
};

describe('the summary of the demo', () => {
  test('says rate, shares, CPU and what the kill cost', () => {
    const text = summaryLines(sound).join('\n');
    for (const figure of [
      '2.00 GiB in 2.00 s: 1.00 GiB/s',
      '50% of 2.00 GiB/s (O_DIRECT writes)',
      '80% of 1.25 GiB/s',
      '0.75 CPU-seconds a GiB',
      '1.0000 x the dataset',
      '48.0 MiB; not yet durable at the kill: at most 60.0 MiB',
      '50,331,648 B discarded (crash)',
      '6,300 files, 2.50 GiB over S3 in 4.00 s',
      '3 workers: 300 files, 256.0 MiB, 2 replicas; node-3 killed with -9 at 100.0 MiB',
      '1.0313 x the dataset for 2 replicas; 8.0 MiB, lost with node-3, fetched twice',
      '768.0 MiB over S3, all of it through each of 3 workers',
    ]) {
      expect(text).toContain(figure);
    }
  });

  test('a sound run breaks no promise', () => {
    expect(brokenPromises(sound)).toEqual([]);
    expect(sentTwiceBytes(sound.crash!)).toBe(48 * MiB);
    expect(lostAtKillBytes(sound.crash!)).toBe(60 * MiB);
  });

  test.each<[string, DemoFigures, RegExp]>([
    [
      'a durable byte fetched twice',
      { ...sound, crash: { ...sound.crash!, sentBytes: 580 * MiB } },
      /68\.0 MiB were fetched twice/,
    ],
    [
      'an open ledger',
      { ...sound, load: { ...sound.load, ledger: { ...ledger(2 * GiB), originBytes: 2 * GiB + 1 } } },
      /does not balance/,
    ],
    ['bytes missing', { ...sound, load: { ...sound.load, ledger: ledger(2 * GiB - 1) } }, /bytes cached of/],
    [
      'a byte of the cluster fetched twice that was not lost',
      { ...sound, cluster: { ...sound.cluster!, sentBytes: 300 * MiB } },
      /44\.0 MiB were fetched twice, but node-3 had fetched only 40\.0 MiB/,
    ],
    [
      'a replica that is missing',
      {
        ...sound,
        cluster: {
          ...sound.cluster!,
          ledger: { ...sound.cluster!.ledger, peerBytes: 247 * MiB, cachedBytes: 511 * MiB },
        },
      },
      /the cluster holds 535822336 bytes, and 2 replicas are 536870912/,
    ],
    [
      'a read of the cluster that went to the origin',
      { ...sound, cluster: { ...sound.cluster!, originBytesInReadBack: 7 } },
      /from the cluster took 7 B/,
    ],
    ['a read that went to the origin', { ...sound, originBytesInReadBack: 10 }, /reading back took 10 B/],
  ])('%s is said', (_name, figures, message) => {
    const broken = brokenPromises(figures);
    expect(broken).toHaveLength(1);
    expect(broken[0]).toMatch(message);
  });
});
