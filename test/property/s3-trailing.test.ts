/** Bodies with a checksum behind them, as they are sent to origins, against what takes such bodies apart. */
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { trailed, trailedLength } from '../../src/origin/trailing.ts';
import { AwsChunked } from '../../src/server/s3/aws-chunked.ts';

const sums = { crc32: 8, crc32c: 8, crc64nvme: 12, sha1: 28, sha256: 44 } as const;

it('however a body is cut, what arrives is the body and the checksum, and as long as was said', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(fc.integer({ min: 0, max: 300 }), fc.constantFrom(65_535, 65_536, 65_537, 131_072)), {
        maxLength: 6,
      }),
      fc.constantFrom(...(Object.keys(sums) as (keyof typeof sums)[])),
      fc.integer({ min: 1, max: 100_000 }),
      async (lengths, kind, network) => {
        const pieces = lengths.map((length, at) => Buffer.alloc(length, at + 1));
        const body = Buffer.concat(pieces);
        let given = 0;
        const source = async function* () {
          for (const piece of pieces) {
            yield piece;
            given += piece.length;
          }
        };
        const value = 'x'.repeat(sums[kind]);
        const trailer = {
          name: `x-amz-checksum-${kind}`,
          value: () => {
            expect(given).toBe(body.length);
            return value;
          },
        };
        const sent: Uint8Array[] = [];
        for await (const piece of trailed(source(), body.length, trailer)) sent.push(piece);
        const wire = Buffer.concat(sent);
        expect(wire.length).toBe(trailedLength(body.length, trailer));
        const decoder = new AwsChunked({ trails: true });
        const taken: Buffer[] = [];
        for (let at = 0; at < wire.length; at += network) taken.push(...decoder.take(wire.subarray(at, at + network)));
        decoder.finish();
        expect(Buffer.concat(taken).equals(body)).toBe(true);
        expect([...decoder.trailers]).toEqual([[trailer.name, value]]);
      },
    ),
    { numRuns: 60 },
  );
});

it('a body of another length than was said is never given to its end', async () => {
  const trailer = { name: 'x-amz-checksum-crc32', value: () => 'AAAAAA==' };
  const source = async function* () {
    yield Buffer.alloc(10);
  };
  for (const said of [9, 11]) {
    let text = '';
    const taking = async (): Promise<void> => {
      for await (const piece of trailed(source(), said, trailer)) text += Buffer.from(piece).toString('latin1');
    };
    await expect(taking()).rejects.toThrow(/than it was said to be/);
    expect(text).not.toContain('x-amz-checksum');
  }
});
