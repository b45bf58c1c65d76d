/** Wrong answers and silence on the hot path: each has its cause, and the client goes on. */
import { afterEach, describe, expect, test } from 'vitest';
import {
  closeOpened,
  etag,
  expectExactly,
  fetchRange,
  openClient,
  raw,
  request,
  right,
  rightHead,
  type Step,
  s3Error,
  timeouts,
  whole,
  wholeBytes,
} from './raw-server.ts';

afterEach(closeOpened);

describe('wrong answers', () => {
  const okHead = (fields: string): string => `HTTP/1.1 206 Partial Content\r\nETag: "${etag}"\r\n${fields}\r\n`;
  const cases: readonly [string, Step, string][] = [
    ['412', s3Error(412, 'PreconditionFailed'), 'changed'],
    ['404', s3Error(404, 'NoSuchKey'), 'missing'],
    ['403', s3Error(403, 'AccessDenied'), 'denied'],
    ['401', s3Error(401, 'Whatever'), 'denied'],
    ['an expired token', s3Error(400, 'ExpiredToken'), 'expired'],
    ['a skewed clock', s3Error(403, 'RequestTimeTooSkewed'), 'expired'],
    ['503', s3Error(503, 'SlowDown'), 'throttled'],
    ['503 without a body', raw('HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n'), 'throttled'],
    ['429', s3Error(429, 'TooManyRequests'), 'throttled'],
    ['500', s3Error(500, 'InternalError'), 'server'],
    ['416', s3Error(416, 'InvalidRange'), 'range'],
    ['400', s3Error(400, 'InvalidArgument'), 'client'],
    ['an error body until close', raw('HTTP/1.1 500 No\r\n\r\n<Error><Code>X</Code>', 'end'), 'server'],
    ['another ETag', (r) => r.socket.write(rightHead(r, { etag: 'other' }).head), 'changed'],
    [
      'another size',
      raw(okHead(`Content-Length: 100\r\nContent-Range: bytes 50-149/${wholeBytes + 1}\r\n`)),
      'changed',
    ],
    ['another range', raw(okHead(`Content-Length: 100\r\nContent-Range: bytes 51-150/${wholeBytes}\r\n`)), 'range'],
    ['a shorter range', raw(okHead(`Content-Length: 99\r\nContent-Range: bytes 50-148/${wholeBytes}\r\n`)), 'range'],
    [
      'a length that is not the range',
      raw(okHead(`Content-Length: 99\r\nContent-Range: bytes 50-149/${wholeBytes}\r\n`)),
      'range',
    ],
    [
      'the whole object for a range',
      raw(`HTTP/1.1 200 OK\r\nContent-Length: ${wholeBytes}\r\nETag: "${etag}"\r\n\r\n`),
      'range',
    ],
  ];

  test.each(cases)('%s', async (_, step, cause) => {
    const { client, server } = await openClient([step, right]);
    const fetched = await fetchRange(client, request(50, 100));
    expect(fetched.result.failure?.cause).toBe(cause);
    expect(fetched.result.receivedBytes).toBe(0);
    expect(fetched.landed).toEqual([]);
    expect(fetched.guardsIntact).toBe(true);
    expect(server.requests.length).toBe(1);
    // and the client goes on
    expectExactly(await fetchRange(client, request(50, 100)), 50, 100);
  });

  const whole200 = (fields: string): string => `HTTP/1.1 200 OK\r\n${fields}\r\n`;
  const ofWhole: readonly [string, string, string][] = [
    ['a shorter object', whole200(`ETag: "${etag}"\r\nContent-Length: ${wholeBytes - 1}\r\n`), 'range'],
    ['a longer object', whole200(`ETag: "${etag}"\r\nContent-Length: ${wholeBytes + 1}\r\n`), 'range'],
    ['another ETag', whole200(`ETag: "other"\r\nContent-Length: ${wholeBytes}\r\n`), 'changed'],
    [
      'a part that is as long',
      okHead(`Content-Length: ${wholeBytes}\r\nContent-Range: bytes 1-${wholeBytes}/${wholeBytes + 1}\r\n`),
      'range',
    ],
  ];

  test.each(ofWhole)('to a request for a whole object: %s', async (_, head, cause) => {
    const { client, server } = await openClient([raw(head), right]);
    const fetched = await fetchRange(client, request());
    expect(server.requests[0]!.text).not.toMatch(/^range:/im);
    expect(fetched.result.failure?.cause).toBe(cause);
    expect(fetched.landed).toEqual([]);
    expect(fetched.guardsIntact).toBe(true);
    expectExactly(await fetchRange(client, request()), 0, wholeBytes);
  });

  test('Code, Message, request id and Retry-After are reported, and the socket is kept', async () => {
    const { client, server } = await openClient([
      s3Error(503, 'SlowDown', 'Retry-After: 7\r\nx-amz-request-id: R9\r\n'),
      right,
    ]);
    const { result } = await fetchRange(client, request());
    expect(result.failure).toEqual({
      cause: 'throttled',
      message: 'about SlowDown',
      httpStatus: 503,
      s3Code: 'SlowDown',
      requestId: 'R9',
      retryAfterMs: 7000,
    });
    await fetchRange(client, request());
    expect(server.sockets.length).toBe(1);
  });

  test('a skewed clock is corrected by the origin, for the next attempt', async () => {
    const { client, server } = await openClient([
      s3Error(403, 'RequestTimeTooSkewed', 'Date: Fri, 04 Jan 2075 10:11:12 GMT\r\n'),
      right,
    ]);
    expect((await fetchRange(client, request())).result.failure?.cause).toBe('expired');
    expectExactly(await fetchRange(client, request()), 0, wholeBytes);
    expect(server.requests[1]!.text).toMatch(/^x-amz-date: 20750104T1011/m);
  });

  test('a chunked error body is read', async () => {
    const body = '<Error><Code>Slow';
    const rest = 'Down</Code></Error>';
    const chunked = `${body.length.toString(16)}\r\n${body}\r\n${rest.length.toString(16)}\r\n${rest}\r\n0\r\n\r\n`;
    const { client } = await openClient([
      raw(`HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}`),
      right,
    ]);
    expect((await fetchRange(client, request())).result.failure).toMatchObject({
      cause: 'throttled',
      s3Code: 'SlowDown',
    });
  });

  test('an endless error body is not read to its end', async () => {
    const endless: Step = ({ socket }) => {
      socket.write('HTTP/1.1 500 No\r\n\r\n');
      const more = (): void => {
        if (!socket.destroyed) socket.write('x'.repeat(16_384), more);
      };
      more();
    };
    const { client } = await openClient([endless]);
    expect((await fetchRange(client, request())).result.failure?.cause).toBe('server');
  });

  test.each([0, 1, 3000, 4095, 4096, 50_000, 99_999])('a reset after %i body bytes', async (bytes) => {
    const cut: Step = (asked) => {
      const { head, body } = rightHead(asked);
      asked.socket.write(Buffer.concat([Buffer.from(head, 'latin1'), body.subarray(0, bytes)]), () =>
        asked.socket.end(),
      );
    };
    const { client } = await openClient([cut, right]);
    const fetched = await fetchRange(client, request());
    expect(fetched.result.failure?.cause).toBe('short');
    expect(fetched.result.receivedBytes).toBe(bytes);
    expect(fetched.bytes.subarray(0, bytes).equals(whole.subarray(0, bytes))).toBe(true);
    expectExactly(await fetchRange(client, request()), 0, wholeBytes);
  });

  test('no connection', async () => {
    const { client, server } = await openClient([right]);
    await server.close();
    expect((await fetchRange(client, request())).result.failure).toMatchObject({ cause: 'connect' });
  });

  test('no credentials yet', async () => {
    const { client, server } = await openClient([right]);
    client.setCredentials(0, undefined);
    expect((await fetchRange(client, request())).result.failure?.cause).toBe('expired');
    expect(server.requests.length).toBe(0);
  });
});

describe('silence', () => {
  test('before the first byte', async () => {
    const { client } = await openClient([() => undefined], { timeouts: { ...timeouts, firstByteMs: 40 } });
    expect((await fetchRange(client, request())).result.failure?.cause).toBe('first-byte-timeout');
  });

  test('inside a body', async () => {
    const stall: Step = (asked) => {
      const { head, body } = rightHead(asked);
      asked.socket.write(Buffer.concat([Buffer.from(head, 'latin1'), body.subarray(0, 5000)]));
    };
    const { client } = await openClient([stall], { timeouts: { ...timeouts, stallMs: 40 } });
    const { result } = await fetchRange(client, request());
    expect(result.failure?.cause).toBe('stall');
    expect(result.receivedBytes).toBe(5000);
  });

  test('inside a head', async () => {
    const { client } = await openClient([raw('HTTP/1.1 200 OK\r\nContent-')], {
      timeouts: { ...timeouts, stallMs: 40 },
    });
    expect((await fetchRange(client, request())).result.failure?.cause).toBe('stall');
  });

  test('of an idle socket closes it', async () => {
    const { client, server } = await openClient([right], { idleMs: 40 });
    await fetchRange(client, request(0, 10));
    const socket = server.sockets[0]!;
    expect(client.sockets).toBe(1);
    if (!socket.destroyed) await new Promise((resolve) => socket.once('close', resolve));
    await expect.poll(() => client.sockets).toBe(0);
    expect(client.active + client.queued).toBe(0);
  });
});
