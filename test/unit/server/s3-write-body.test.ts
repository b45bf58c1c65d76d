/** Bodies of writes: aws-chunked with and without signatures, and what a request says of its body. */
import { createHash, createHmac, randomBytes } from 'node:crypto';
import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { expect, it, vi } from 'vitest';
import { crc32c, crc64nvme } from '../../../src/platform/index.ts';
import { AwsChunked } from '../../../src/server/s3/aws-chunked.ts';
import { S3Error } from '../../../src/server/s3/errors.ts';
import { writeBodyOf } from '../../../src/server/s3/write-body.ts';

const sums = { crc32c, crc64nvme };
const proof = {
  key: Buffer.from('a key'),
  scope: '20260101/us-east-1/s3/aws4_request',
  amzDate: '20260101T000000Z',
  signature: 'ab'.repeat(32),
};
const sha = (bytes: Buffer | string): string => createHash('sha256').update(bytes).digest('hex');

/** Written from the text of S3's reference, apart from what is tested. */
function framed(content: Buffer, sizes: readonly number[], trailer?: string, isSigned = true): Buffer {
  const frames: Buffer[] = [];
  let previous = proof.signature;
  const sign = (algorithm: string, rest: string): string => {
    const text = `${algorithm}\n${proof.amzDate}\n${proof.scope}\n${previous}\n${rest}`;
    previous = createHmac('sha256', proof.key).update(text).digest('hex');
    return previous;
  };
  let at = 0;
  const frame = (bytes: Buffer): void => {
    const signature = sign('AWS4-HMAC-SHA256-PAYLOAD', `${sha('')}\n${sha(bytes)}`);
    frames.push(
      Buffer.from(`${bytes.length.toString(16)}${isSigned ? `;chunk-signature=${signature}` : ''}\r\n`),
      bytes,
    );
    if (bytes.length > 0) frames.push(Buffer.from('\r\n'));
  };
  for (const size of [...sizes, content.length]) {
    const bytes = content.subarray(at, at + size);
    if (bytes.length > 0) frame(bytes);
    at += bytes.length;
  }
  frame(Buffer.alloc(0));
  if (trailer !== undefined) {
    frames.push(Buffer.from(`${trailer}\r\n`));
    if (isSigned)
      frames.push(Buffer.from(`x-amz-trailer-signature:${sign('AWS4-HMAC-SHA256-TRAILER', sha(`${trailer}\n`))}\r\n`));
  }
  return Buffer.concat([...frames, Buffer.from('\r\n')]);
}

function decoded(bytes: Buffer, cuts: readonly number[], decoder: AwsChunked): Buffer {
  const pieces: Buffer[] = [];
  let at = 0;
  for (const cut of [...cuts, bytes.length]) {
    pieces.push(...decoder.take(bytes.subarray(at, at + cut)));
    at += cut;
  }
  decoder.finish();
  return Buffer.concat(pieces);
}

const anyBytes = fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes));
const anySizes = fc.array(fc.integer({ min: 1, max: 90 }), { maxLength: 6 });

it('what was framed comes out, however it is cut on the way, and a trailer with it', () => {
  fc.assert(
    fc.property(anyBytes, anySizes, anySizes, fc.boolean(), fc.boolean(), (content, sizes, cuts, trails, signs) => {
      const decoder = new AwsChunked(signs ? { proof } : {});
      const sent = framed(content, sizes, trails ? 'x-amz-checksum-crc32:AAAAAA==' : undefined, signs);
      expect(decoded(sent, cuts, decoder).equals(content)).toBe(true);
      expect(decoder.trailers.get('x-amz-checksum-crc32')).toBe(trails ? 'AAAAAA==' : undefined);
    }),
  );
});

it('a signed body in which any one byte is another is refused, and so is one that is cut', () => {
  const content = randomBytes(120);
  const sent = framed(content, [50, 40], 'x-amz-checksum-crc32:AAAAAA==');
  fc.assert(
    fc.property(fc.nat(sent.length - 1), fc.integer({ min: 1, max: 255 }), (at, change) => {
      const spoilt = Buffer.from(sent);
      spoilt[at]! ^= change;
      let came: Buffer | undefined;
      try {
        came = decoded(spoilt, [], new AwsChunked({ proof }));
      } catch (error) {
        expect(error).toBeInstanceOf(S3Error);
      }
      // What says the same in other letters (a name in capitals, a size in them) is the same.
      if (came !== undefined) expect(came.equals(content)).toBe(true);
    }),
  );
  const end = sent.lastIndexOf('x-amz-trailer-signature');
  for (let length = 0; length < end; length += 1)
    expect(() => decoded(sent.subarray(0, length), [], new AwsChunked({ proof, trails: true }))).toThrow(S3Error);
  expect(() => decoded(framed(content, [], undefined, false), [], new AwsChunked({ proof }))).toThrow(/signature/);
});

function requestOf(headers: Record<string, string>, pieces: readonly Buffer[]): IncomingMessage {
  const request = new IncomingMessage(new Socket());
  Object.assign(request.headers, headers);
  for (const piece of pieces) request.push(piece);
  request.push(null);
  return request;
}

async function taken(
  headers: Record<string, string>,
  pieces: readonly Buffer[],
): Promise<{ bytes: Buffer; error?: unknown }> {
  const came: Buffer[] = [];
  try {
    const body = writeBodyOf(requestOf(headers, pieces), { stallMs: 1000, sums });
    for await (const piece of body.pieces()) came.push(piece);
    return { bytes: Buffer.concat(came) };
  } catch (error) {
    return { bytes: Buffer.concat(came), error };
  }
}

it('each thing that is said of a body is compared, and a body that is wrong never comes whole', async () => {
  const content = randomBytes(1000);
  const pieces = [content.subarray(0, 300), content.subarray(300)];
  const crc = (n: number): string => Buffer.from(n.toString(16).padStart(8, '0'), 'hex').toString('base64');
  const right: Record<string, string> = {
    'x-amz-content-sha256': sha(content),
    'content-md5': createHash('md5').update(content).digest('base64'),
    'x-amz-checksum-crc32': crc(crc32(content)),
    'x-amz-checksum-crc32c': crc(crc32c(content)),
    'x-amz-checksum-crc64nvme': Buffer.from(crc64nvme(content).toString(16).padStart(16, '0'), 'hex').toString(
      'base64',
    ),
    'x-amz-checksum-sha1': createHash('sha1').update(content).digest('base64'),
    'x-amz-checksum-sha256': createHash('sha256').update(content).digest('base64'),
  };
  const whole = await taken({ 'content-length': '1000', ...right }, pieces);
  expect([whole.error, whole.bytes.equals(content)]).toEqual([undefined, true]);
  for (const name of Object.keys(right)) {
    const spoilt = Buffer.from(content);
    spoilt[7]! ^= 1;
    const said = await taken({ 'content-length': '1000', [name]: right[name]! }, [
      spoilt.subarray(0, 300),
      spoilt.subarray(300),
    ]);
    expect([name, said.error]).toEqual([name, expect.any(S3Error)]);
    expect(said.bytes.length).toBeLessThan(1000);
  }
  for (const length of [999, 1001]) {
    const said = await taken({ 'content-length': String(length) }, pieces);
    expect(said.error).toMatchObject({ code: 'IncompleteBody' });
    expect(said.bytes.length).toBeLessThan(length);
  }
  expect((await taken({ 'transfer-encoding': 'chunked' }, pieces)).error).toMatchObject({
    code: 'MissingContentLength',
  });
  expect((await taken({ 'content-length': '6000000000' }, pieces)).error).toMatchObject({ code: 'EntityTooLarge' });
  expect((await taken({ 'content-length': '1000', 'content-md5': 'x' }, pieces)).error).toMatchObject({
    code: 'InvalidDigest',
  });
  expect((await taken({ 'content-length': '1000', 'x-amz-content-sha256': 'x' }, pieces)).error).toMatchObject({
    code: 'InvalidArgument',
  });
});

it('a body of which nothing more comes ends the connection after its limit, counted anew for each piece', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    const request = new IncomingMessage(new Socket());
    request.headers['content-length'] = '30';
    const body = writeBodyOf(request, { stallMs: 60_000, sums }).pieces();
    // The last piece is held back: so what is asked for comes when the one after it has.
    request.push(Buffer.alloc(10, 'a'));
    const first = body.next();
    await vi.advanceTimersByTimeAsync(59_000);
    request.push(Buffer.alloc(10, 'b'));
    expect((await first).value?.toString()).toBe('a'.repeat(10));
    const second = body.next();
    const failed = expect(second).rejects.toMatchObject({ code: 'RequestTimeout' });
    await vi.advanceTimersByTimeAsync(59_000);
    expect(request.destroyed).toBe(false);
    await vi.advanceTimersByTimeAsync(1_100);
    expect(request.destroyed).toBe(true);
    await failed;
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});

it.each([false, true])(
  'of a large body no more is held than one piece and what lies in the connection (chunked: %s)',
  async (isChunked) => {
    const piece = Buffer.alloc(64 * 1024);
    const count = 256;
    /** Taken off the connection, and given on. */
    let [taken, given] = [0, 0];
    const chunk = isChunked
      ? Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')])
      : piece;
    const request = new IncomingMessage(new Socket());
    request._read = () => {
      if (taken < count) {
        taken += 1;
        request.push(chunk);
      } else {
        request.push(isChunked ? Buffer.from('0\r\n\r\n') : null);
        if (isChunked) request.push(null);
      }
    };
    const length = String(count * piece.length);
    Object.assign(
      request.headers,
      isChunked
        ? { 'content-encoding': 'aws-chunked', 'x-amz-decoded-content-length': length }
        : { 'content-length': length },
    );
    let mostHeld = 0;
    for await (const bytes of writeBodyOf(request, { stallMs: 60_000, sums }).pieces()) {
      given += bytes.length;
      // Whoever sends it on takes his time: nothing is read ahead of him meanwhile.
      await new Promise((resolve) => setImmediate(resolve));
      mostHeld = Math.max(mostHeld, taken * piece.length - given);
    }
    expect(given).toBe(count * piece.length);
    // Its own piece, one that is taken apart, and two that Node reads ahead.
    expect(mostHeld).toBeLessThanOrEqual(4 * piece.length);
  },
);
