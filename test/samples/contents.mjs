/** What the origin of the stored sample has: made from the key, and easily compressed. Used by the script that made it and by its test. */
const KiB = 1024;
const MiB = 1024 * KiB;

/** Key to size, in the bucket `sample`. */
export const sizes = new Map([
  ...Array.from({ length: 20 }, (_, index) => [`data/small-${String(index).padStart(2, '0')}.txt`, index * 137]),
  ['data/page.bin', MiB],
  ['data/large.bin', 5 * MiB + 123],
  ['gone/one.bin', 3000],
  ['half/half.bin', 8 * MiB],
  ...Array.from({ length: 10 }, (_, index) => [`late/part-${index}.bin`, 256 * KiB + index]),
]);
export const lastModifiedMs = Date.UTC(2026, 0, 2, 3, 4, 5);

/** @param {string} key @returns {Buffer} another line for each 4 KiB, repeated */
export function contentOf(key) {
  const body = Buffer.alloc(sizes.get(key) ?? 0);
  for (let from = 0; from < body.length; from += 4 * KiB)
    body.fill(`${key} ${from}\n`, from, Math.min(body.length, from + 4 * KiB));
  return body;
}
