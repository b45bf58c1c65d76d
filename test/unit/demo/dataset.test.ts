import { expect, test } from 'vitest';
import { GiB, KiB, MiB } from '../../../src/core/units.ts';
import { datasetBytes, planDataset } from '../../../src/demo/dataset.ts';

test('the default dataset is 2 GiB of large, medium, small and empty files, with distinct keys', () => {
  const objects = planDataset();
  expect(datasetBytes(objects)).toBe(2 * GiB);
  const sizes = objects.map(({ sizeBytes }) => sizeBytes);
  expect(sizes.filter((size) => size >= 90 * MiB)).toHaveLength(6);
  expect(sizes.filter((size) => size > 0 && size <= 64 * KiB).length).toBeGreaterThan(4900);
  expect(sizes.filter((size) => size === 0).length).toBeGreaterThan(40);
  expect(sizes.filter((size) => size > MiB && size < 16 * MiB).length).toBeGreaterThan(40);
  expect(new Set(objects.map(({ key }) => key)).size).toBe(objects.length);
  const keys = objects.map(({ key }) => key).join('\n');
  for (const awkward of [' ', '+', '%', '数', '🚀', '&', '#', '?']) expect(keys).toContain(awkward);
});

test('is a function of its spec, and scales', () => {
  const spec = { totalBytes: 50 * MiB, seed: 7 };
  expect(planDataset(spec)).toEqual(planDataset(spec));
  expect(planDataset(spec)).not.toEqual(planDataset({ ...spec, seed: 8 }));
  expect(datasetBytes(planDataset(spec))).toBe(50 * MiB);
});
