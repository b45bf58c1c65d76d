/** What tests of a cluster in the middle of an upgrade share: the older release, what is loaded, and a load that goes as far as a test lets it. */
import { afterAll, beforeAll, expect } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import type { EmbeddedOrigin } from '../../src/demo/origin/api.ts';
import { temporaryFolder } from './files.ts';
import { unpackRelease } from './release.ts';

/** The first has three segments. */
export const objects = [
  { key: 'data/large.bin', sizeBytes: 9 * MiB + 4097 },
  ...Array.from({ length: 60 }, (_, n) => ({ key: `data/middle-${n}.bin`, sizeBytes: MiB + n })),
  ...Array.from({ length: 60 }, (_, n) => ({ key: `data/small-${n}.bin`, sizeBytes: 16 * KiB + n })),
];
export const totalBytes = objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
export const path = 's3://demo/data/';
export const eventually = { timeout: 60_000, interval: 50 };

/** The release of the protocol before: its executable, from `beforeAll` on. */
export function olderRelease(): () => string {
  const folder = temporaryFolder('release');
  let executable = '';
  beforeAll(() => {
    executable = unpackRelease('protocol-3', folder.path);
  });
  afterAll(() => folder.remove());
  return () => executable;
}

/** Bytes flow, so that nobody takes the origin for dead, and hardly a file becomes whole: all of them would take over an hour. */
export const held = { bytesPerSecond: 16 * KiB };
const flowing = { bytesPerSecond: 8 * MiB };
/**
 * What may pass for one step, beside what is under way then: more than the requests under way have among them, so that one of
 * them ends, and little of all, so that much is left after a handful of steps.
 */
const stepBytes = 8 * MiB;

/** Lets a load that is held go on until more than so many bytes are cached; it is held again then. However long that takes. */
export async function untilMore(
  origin: EmbeddedOrigin,
  cached: () => Promise<number>,
  thanBytes: number,
): Promise<void> {
  // Those of answers under way too.
  const sent = (): number => Object.values(origin.stats().bytesByClient).reduce((sum, bytes) => sum + bytes, 0);
  const before = sent();
  origin.setKnobs(flowing);
  try {
    const more = async (): Promise<number> => {
      if (sent() - before > stepBytes) origin.setKnobs(held);
      return cached();
    };
    await expect.poll(more, eventually).toBeGreaterThan(thanBytes);
  } finally {
    origin.setKnobs(held);
  }
}

/** The rest comes at once. */
export function letGo(origin: EmbeddedOrigin): void {
  // What is under way has a limit.
  origin.setKnobs({ bytesPerSecond: 4096 * MiB });
  origin.setKnobs({ bytesPerSecond: 0 });
}
