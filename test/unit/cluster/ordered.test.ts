import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { mapOrdered } from '../../../src/cluster/ordered.ts';

async function all<T>(sequence: AsyncIterable<T>): Promise<T[]> {
  const values: T[] = [];
  for await (const value of sequence) values.push(value);
  return values;
}

test('results come in order, and no more than the limit are under way', async () => {
  let underWay = 0;
  let most = 0;
  const results = mapOrdered([5, 1, 4, 2, 3, 0], 3, async (turns) => {
    underWay += 1;
    most = Math.max(most, underWay);
    for (let turn = 0; turn < turns; turn += 1) await nextTurn();
    underWay -= 1;
    return turns;
  });
  expect(await all(results)).toEqual([5, 1, 4, 2, 3, 0]);
  expect(most).toBe(3);
});

test('a result does not wait for an item that is not there', async () => {
  let release: () => void = () => {};
  async function* items(): AsyncGenerator<number> {
    yield 1;
    await new Promise<void>((resolve) => {
      release = resolve;
    });
    yield 2;
  }
  const results = mapOrdered(items(), 4, async (value) => value);
  expect(await results.next()).toEqual({ value: 1, done: false });
  release();
  expect(await results.next()).toEqual({ value: 2, done: false });
  expect((await results.next()).done).toBe(true);
});

test('the first failure ends it, after what was under way has ended, and the sequence is closed', async () => {
  let closed = false;
  let ended = 0;
  function* items(): Generator<number> {
    try {
      for (let value = 0; ; value += 1) yield value;
    } finally {
      closed = true;
    }
  }
  const results = mapOrdered(items(), 3, async (value) => {
    await nextTurn();
    ended += 1;
    if (value === 1) throw new Error('one');
    return value;
  });
  await expect(all(results)).rejects.toThrow('one');
  expect(closed).toBe(true);
  expect(ended).toBeGreaterThanOrEqual(3);
});

test('a sequence that fails ends it', async () => {
  async function* items(): AsyncGenerator<number> {
    yield 1;
    throw new Error('no more');
  }
  await expect(all(mapOrdered(items(), 2, async (value) => value))).rejects.toThrow('no more');
});
