/**
 * The demo's dataset, as a plan: keys and sizes, a pure function of seed and size. The bytes come from origin/content.ts.
 *
 * Of all bytes about 70% lie in six large files of odd sizes (model weights), about 22% in medium files (shards), and
 * the rest in thousands of small ones (samples), some of them empty, some with keys that need care in URLs and XML.
 */

import { seededRandom } from '../core/random.ts';
import { GiB, KiB, MiB } from '../core/units.ts';
import type { ObjectSpec } from './origin/objects.ts';

export interface DatasetSpec {
  /** About so much in all; default 2 GiB. */
  readonly totalBytes?: number;
  readonly seed?: number;
  /** Before every key, with its slash; default `dataset/`. */
  readonly prefix?: string;
  /** Default 5,000 for 2 GiB, in proportion for other sizes, at least 40. */
  readonly smallFiles?: number;
}

const defaultTotalBytes = 2 * GiB;
const defaultSmallFiles = 5000;
/** Relative sizes of the large files; the sum is 1. */
const largeShares = [0.33, 0.22, 0.16, 0.12, 0.1, 0.07] as const;
const largePortion = 0.7;
/** Every so many small files one is empty, and one has a key from the list below. */
const emptyEvery = 97;
const awkwardEvery = 61;
const awkwardNames = [
  'name with spaces.bin',
  'plus+sign.bin',
  'percent%41literal.bin',
  'percent%2Fslash.bin',
  'größe-naïve.bin',
  '数据集.bin',
  '🚀-astral.bin',
  'question?mark.bin',
  'hash#mark.bin',
  'ampersand&less<greater>.bin',
  `quote'double".bin`,
  'tilde~(paren)!star*.bin',
  'equals=colon:semi;comma,at@dollar$.bin',
] as const;

/** The objects of a dataset; equal specs give equal lists. Sizes in bytes. */
export function planDataset(spec: DatasetSpec = {}): ObjectSpec[] {
  const totalBytes = spec.totalBytes ?? defaultTotalBytes;
  const prefix = spec.prefix ?? 'dataset/';
  const smallFiles = spec.smallFiles ?? Math.max(40, Math.round((defaultSmallFiles * totalBytes) / defaultTotalBytes));
  const random = seededRandom(spec.seed ?? 1);
  const objects: ObjectSpec[] = [];
  largeShares.forEach((share, index) => {
    // Odd sizes: neither parts, pages nor alignment divide them.
    const sizeBytes =
      Math.max(1, Math.floor(totalBytes * largePortion * share) + Math.floor(random() * 8191) - 4096) | 1;
    objects.push({
      key: `${prefix}weights/model-${String(index + 1).padStart(5, '0')}-of-00006.safetensors`,
      sizeBytes,
    });
  });
  for (let index = 0; index < smallFiles; index += 1) {
    objects.push({ key: smallKey(prefix, index), sizeBytes: smallSize(index, random) });
  }
  // What is missing from the total is spread over medium files of 1 to 12 MiB.
  let missing = totalBytes - objects.reduce((sum, object) => sum + object.sizeBytes, 0);
  for (let index = 0; missing > 0; index += 1) {
    const sizeBytes = Math.min(missing, MiB + Math.floor(random() * 11 * MiB));
    objects.push({ key: `${prefix}shards/train-${String(index).padStart(4, '0')}.tar`, sizeBytes });
    missing -= sizeBytes;
  }
  return objects;
}

/** Sizes of the plan added up. */
export function datasetBytes(objects: readonly ObjectSpec[]): number {
  return objects.reduce((sum, object) => sum + object.sizeBytes, 0);
}

function smallKey(prefix: string, index: number): string {
  const folder = `${prefix}samples/${String(Math.floor(index / 250)).padStart(3, '0')}/`;
  if (index % awkwardEvery !== awkwardEvery - 1) return `${folder}${String(index).padStart(6, '0')}.jpg`;
  const name = awkwardNames[Math.floor(index / awkwardEvery) % awkwardNames.length]!;
  return `${folder}${String(index).padStart(6, '0')} ${name}`;
}

function smallSize(index: number, random: () => number): number {
  if (index % emptyEvery === emptyEvery - 1) return 0;
  return KiB + Math.floor(random() * 63 * KiB);
}
