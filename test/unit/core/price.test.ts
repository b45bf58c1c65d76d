import { expect, test } from 'vitest';
import { RequestTally } from '../../../src/core/price.ts';

test('a price is for what it names and what lies below: not for a bucket whose name begins alike', () => {
  const free = { list: 0, head: 0, transfer: 0 };
  const tally = new RequestTally({
    currency: 'USD',
    rows: [
      { prefix: 's3://data', get: 1000, ...free },
      { prefix: 's3://data/cold/', get: 10_000, ...free },
      { prefix: 'file:///nas', get: 100_000, ...free },
    ],
  });
  for (const path of ['s3://data/a', 's3://data/cold/b', 'file:///nas']) tally.add(path, 'wholeGet', 1);
  for (const path of ['s3://data-archive/a', 'file:///nas2/b']) tally.add(path, 'wholeGet', 1);
  expect([tally.price('USD').get, tally.unpriced]).toEqual([111, 2]);
});
