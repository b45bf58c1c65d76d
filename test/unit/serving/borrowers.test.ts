/** To whom pages are lent: few enough that what they keep is a part of the cache. */
import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { expect, test } from 'vitest';
import { GiB, MiB } from '../../../src/core/units.ts';
import { Borrowers, borrowersOf } from '../../../src/serving/borrowers.ts';

const connection = (): Socket => new EventEmitter() as Socket;

test('a connection that was admitted stays so until it closes; then another one is', () => {
  const borrowers = new Borrowers(2);
  const [first, second, third] = [connection(), connection(), connection()];
  expect([first, second, third, first].map((one) => borrowers.admits(one))).toEqual([true, true, false, true]);
  second.emit('close');
  expect(borrowers.admits(third)).toBe(true);
  expect(borrowers.admits(second)).toBe(false);
  expect(first.listenerCount('close')).toBe(1);
});

test('all of them together keep half of the cache at most, but for one of each thread', () => {
  const keptBytes = 4 * MiB;
  for (const [cacheBytes, threads] of [
    [GiB, 1],
    [GiB, 8],
    [100 * MiB, 3],
  ] as const) {
    const most = borrowersOf(cacheBytes, threads) * threads * keptBytes;
    expect(most).toBeLessThanOrEqual(cacheBytes / 2);
    expect(most + threads * keptBytes).toBeGreaterThan(cacheBytes / 2);
  }
  expect(borrowersOf(16 * MiB, 8)).toBe(1);
});
