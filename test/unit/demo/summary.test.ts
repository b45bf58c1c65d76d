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
    ['a read that went to the origin', { ...sound, originBytesInReadBack: 10 }, /reading back took 10 B/],
  ])('%s is said', (_name, figures, message) => {
    const broken = brokenPromises(figures);
    expect(broken).toHaveLength(1);
    expect(broken[0]).toMatch(message);
  });
});
