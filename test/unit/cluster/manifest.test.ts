import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeChunk, encodeChunk, type ManifestChunk } from '../../../src/cluster/manifest.ts';
import type { ManifestEntry, UfsPath } from '../../../src/core/types.ts';

const md5 = fc.string({ unit: fc.constantFrom(...'0123456789abcdef'), minLength: 32, maxLength: 32 });
const entry = (etag: fc.Arbitrary<string>) =>
  fc.record(
    {
      path: fc.string({ unit: 'grapheme' }).map((key) => `s3://bucket/dir/${key}` as UfsPath),
      etag,
      sizeBytes: fc.nat({ max: Number.MAX_SAFE_INTEGER }),
      lastModifiedMs: fc.nat({ max: 4_000_000_000_000 }),
      versionId: fc.string(),
    },
    { requiredKeys: ['path', 'etag', 'sizeBytes', 'lastModifiedMs'] },
  ) as fc.Arbitrary<ManifestEntry>;

function chunkOf(entries: readonly ManifestEntry[]): ManifestChunk {
  return { entries, refused: [] };
}

describe('a manifest chunk', () => {
  it('comes back as it was stored, whatever keys and ETags there are', () => {
    const entries = fc.oneof(fc.array(entry(md5)), fc.array(entry(fc.oneof(md5, fc.string(), fc.constant('abc-12')))));
    fc.assert(
      fc.property(entries, (some) => {
        const chunk = {
          ...chunkOf(some),
          refused: [{ path: 's3://b/x', code: 'ORIGIN_NOT_FOUND' as const, message: '404' }],
        };
        expect(decodeChunk(encodeChunk(chunk))).toEqual(chunk);
      }),
      { numRuns: 300 },
    );
  });

  it('does not split a character where paths part', () => {
    const entries = ['😀', '😁'].map((key) => ({
      path: `s3://b/${key}` as UfsPath,
      etag: 'e',
      sizeBytes: 1,
      lastModifiedMs: 1,
    }));
    expect(decodeChunk(encodeChunk(chunkOf(entries))).entries).toEqual(entries);
  });

  it('of a usual listing page takes at most 30 bytes a file', () => {
    let seed = 1;
    const random = () => {
      seed = (seed * 48271) % 2147483647;
      return seed / 2147483647;
    };
    const entries = Array.from({ length: 1000 }, (_, i) => ({
      path: `s3://bucket/data/train/part-${String(i).padStart(8, '0')}.parquet` as UfsPath,
      etag: Array.from({ length: 32 }, () => Math.floor(random() * 16).toString(16)).join(''),
      sizeBytes: Math.floor(random() * 1e8),
      lastModifiedMs: 1_700_000_000_000 + Math.floor(random() * 1e6) * 1000,
    }));
    expect(encodeChunk(chunkOf(entries)).byteLength / 1000).toBeLessThan(30);
  });
});
