/** The origin as one more holder of a file. */
import { expect, it } from 'vitest';
import { atOrigin, originHolding } from '../../../../src/cluster/reading/through.ts';
import { GiB, MiB } from '../../../../src/core/units.ts';

const segmentBytes = 64 * MiB;
const object = { etag: 'v1', sizeBytes: 5 * 1024 * GiB + 5, lastModifiedMs: 0 };

it('has the segments of what is wanted, however large the object is, and cut where placement cuts', () => {
  const at = 1000 * segmentBytes;
  expect(originHolding(object, segmentBytes, { offset: at + 1, length: segmentBytes })).toEqual({
    holder: atOrigin,
    ranges: [
      { offset: at, length: segmentBytes },
      { offset: at + segmentBytes, length: segmentBytes },
    ],
  });
});

it('ends where the object ends', () => {
  const last = object.sizeBytes - 5;
  const { ranges } = originHolding(object, segmentBytes, { offset: object.sizeBytes - 1, length: 1 });
  expect(ranges).toEqual([{ offset: last, length: 5 }]);
});
