/** What the simulation takes off the time of an answer. */
import { expect, it } from 'vitest';
import { StoodStill } from '../sim/stood-still.ts';

it('of the time that somebody stood still only what lies within the interval counts, and none after his end', () => {
  const still = new StoodStill();
  const over = still.begins(100);
  expect(still.withinMs({ fromMs: 150, toMs: 170 })).toBe(20);
  over(200);
  // He was killed, and what would have thawed him comes later.
  over(900);
  still.begins(300)(350);
  expect(still.withinMs({ fromMs: 0, toMs: 1000 })).toBe(150);
  expect(still.withinMs({ fromMs: 150, toMs: 320 })).toBe(70);
  expect(still.withinMs({ fromMs: 200, toMs: 300 })).toBe(0);
});
