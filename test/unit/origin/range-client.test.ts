import { afterEach, describe, expect, test } from 'vitest';
import type { RangeClient } from '../../../src/origin/types.ts';
import {
  clientOf,
  etag,
  type Fetched,
  fetchRange,
  laneOf,
  type RawServer,
  raw,
  request,
  right,
  rightHead,
  type Step,
  s3Error,
  serveRaw,
  timeouts,
  whole,
  wholeBytes,
} from './raw-server.ts';

let server: RawServer | undefined;
let client: RangeClient | undefined;
afterEach(async () => {
  await client?.close();
  await server?.close();
  client = undefined;
  server = undefined;
});

async function start(
  steps: readonly Step[],
  options: Parameters<typeof clientOf>[1] = {},
): Promise<{ server: RawServer; client: RangeClient }> {
  server = await serveRaw(steps);
  client = clientOf(laneOf(server.port), options);
  return { server, client };
}

function expectExactly(fetched: Fetched, offset: number, length: number): void {
  expect(fetched.result.failure).toBeUndefined();
  expect(fetched.result.receivedBytes).toBe(length);
  expect(fetched.bytes.equals(whole.subarray(offset, offset + length))).toBe(true);
  expect(fetched.guardsIntact).toBe(true);
  let at = 0;
  for (const piece of fetched.landed) {
    expect(piece.at).toBe(at);
    at += piece.count;
  }
  expect(at).toBe(length);
}

describe('right answers', () => {
  test('a range is asked with Range and If-Match, signed, and lands exactly', async () => {
    const { server, client } = await start([right]);
    expectExactly(await fetchRange(client, request(1000, 50_000)), 1000, 50_000);
    const { text } = server.requests[0]!;
    expect(text).toMatch(/^GET \/bucket\/dir\/object HTTP\/1\.1\r\n/);
    expect(text).toContain('\r\nRange: bytes=1000-50999\r\n');
    expect(text).toContain(`\r\nIf-Match: "${etag}"\r\n`);
    expect(text).toMatch(/\r\nAuthorization: AWS4-HMAC-SHA256 Credential=AKID\/\d{8}\/us-east-1\/s3\/aws4_request, /);
  });

  test('a whole object is asked without a Range', async () => {
    const { server, client } = await start([right]);
    expectExactly(await fetchRange(client, request()), 0, wholeBytes);
    expect(server.requests[0]!.text).not.toMatch(/^range:/im);
  });

  test('a version id is asked for', async () => {
    const { server, client } = await start([right]);
    const version = { etag, sizeBytes: wholeBytes, lastModifiedMs: 0, versionId: 'v/1+2' };
    expectExactly(await fetchRange(client, request(0, 10, { version })), 0, 10);
    expect(server.requests[0]!.text).toMatch(/^GET \/bucket\/dir\/object\?versionId=v%2F1%2B2 HTTP/);
  });

  test('an empty object', async () => {
    const { client } = await start([raw(`HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: "${etag}"\r\n\r\n`)]);
    const version = { etag, sizeBytes: 0, lastModifiedMs: 0 };
    const fetched = await fetchRange(client, request(0, 0, { version }));
    expect(fetched.result.failure).toBeUndefined();
    expect(fetched.landed).toEqual([]);
  });

  test('one socket serves many requests, one after the other', async () => {
    const { server, client } = await start([right], { maxSockets: 1 });
    const all = await Promise.all(Array.from({ length: 20 }, (_, i) => fetchRange(client, request(i * 100, 5000))));
    for (const [i, fetched] of all.entries()) expectExactly(fetched, i * 100, 5000);
    expect(server.sockets.length).toBe(1);
  });

  test('a head that comes byte by byte, and a body that drips', async () => {
    const drip: Step = (asked) => {
      const { head, body } = rightHead(asked);
      const bytes = Buffer.concat([Buffer.from(head, 'latin1'), body]);
      let at = 0;
      const next = (): void => {
        if (at >= bytes.length) return;
        const count = at < head.length ? 1 : 997;
        asked.socket.write(bytes.subarray(at, at + count));
        at += count;
        setImmediate(next);
      };
      next();
    };
    const { client } = await start([drip]);
    expectExactly(await fetchRange(client, request(7, 20_000)), 7, 20_000);
  });

  test.each([
    ['a weak tag', `W/"${etag}"`],
    ['an unquoted tag', etag],
  ])('%s names the same version', async (_, sent) => {
    const { client } = await start([raw(`HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: ${sent}\r\n\r\nabc`)]);
    const version = { etag, sizeBytes: 3, lastModifiedMs: 0 };
    const fetched = await fetchRange(client, request(0, 3, { version }));
    expect(fetched.result.failure).toBeUndefined();
    expect(fetched.bytes.toString()).toBe('abc');
  });

  test('bytes after the answer: the answer counts, the socket is not used again', async () => {
    const long: Step = (asked) => {
      const { head, body } = rightHead(asked);
      asked.socket.write(
        Buffer.concat([Buffer.from(head, 'latin1'), body, Buffer.from('HTTP/1.1 200 OK\r\n\r\ngarbage')]),
      );
    };
    const { server, client } = await start([long, right]);
    expectExactly(await fetchRange(client, request(0, 100)), 0, 100);
    expectExactly(await fetchRange(client, request(100, 100)), 100, 100);
    expect(server.sockets.length).toBe(2);
  });

  test('Connection: close is honoured', async () => {
    const closing: Step = (asked) => {
      const { head, body } = rightHead(asked, { extraHeaders: 'Connection: close\r\n' });
      asked.socket.end(Buffer.concat([Buffer.from(head, 'latin1'), body]));
    };
    const { server, client } = await start([closing]);
    expectExactly(await fetchRange(client, request(0, 9000)), 0, 9000);
    expectExactly(await fetchRange(client, request(50, 9000)), 50, 9000);
    expect(server.sockets.length).toBe(2);
  });
});

describe('a socket that died while idle', () => {
  test('the request goes out once more on a new one, and this is no failure', async () => {
    const dropSecond: Step = ({ socket }) => socket.resetAndDestroy();
    const { server, client } = await start([right, dropSecond, right]);
    expectExactly(await fetchRange(client, request(0, 100)), 0, 100);
    expectExactly(await fetchRange(client, request(5, 100)), 5, 100);
    expect(server.requests.map((r) => r.connection)).toEqual([0, 0, 1]);
  });

  test('but only once', async () => {
    const drop: Step = ({ socket }) => socket.resetAndDestroy();
    const { server, client } = await start([right, drop]);
    expectExactly(await fetchRange(client, request(0, 100)), 0, 100);
    const { result } = await fetchRange(client, request(5, 100));
    expect(result.failure?.cause).toBe('reset');
    expect(server.requests.length).toBe(3);
  });

  test('a new socket that dies is a failure at once', async () => {
    const { server, client } = await start([({ socket }) => socket.resetAndDestroy()]);
    expect((await fetchRange(client, request())).result.failure?.cause).toBe('reset');
    expect(server.requests.length).toBe(1);
  });
});

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
    const { client, server } = await start([step, right]);
    const fetched = await fetchRange(client, request(50, 100));
    expect(fetched.result.failure?.cause).toBe(cause);
    expect(fetched.result.receivedBytes).toBe(0);
    expect(fetched.landed).toEqual([]);
    expect(fetched.guardsIntact).toBe(true);
    expect(server.requests.length).toBe(1);
    // and the client goes on
    expectExactly(await fetchRange(client, request(50, 100)), 50, 100);
  });

  test('Code, Message, request id and Retry-After are reported, and the socket is kept', async () => {
    const { client, server } = await start([
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
    const { client, server } = await start([
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
    const { client } = await start([raw(`HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n${chunked}`), right]);
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
    const { client } = await start([endless]);
    expect((await fetchRange(client, request())).result.failure?.cause).toBe('server');
  });

  test.each([0, 1, 3000, 4095, 4096, 50_000, 99_999])('a reset after %i body bytes', async (bytes) => {
    const cut: Step = (asked) => {
      const { head, body } = rightHead(asked);
      asked.socket.write(Buffer.concat([Buffer.from(head, 'latin1'), body.subarray(0, bytes)]), () =>
        asked.socket.end(),
      );
    };
    const { client } = await start([cut, right]);
    const fetched = await fetchRange(client, request());
    expect(fetched.result.failure?.cause).toBe('short');
    expect(fetched.result.receivedBytes).toBe(bytes);
    expect(fetched.bytes.subarray(0, bytes).equals(whole.subarray(0, bytes))).toBe(true);
    expectExactly(await fetchRange(client, request()), 0, wholeBytes);
  });

  test('no connection', async () => {
    const { client, server } = await start([right]);
    await server.close();
    expect((await fetchRange(client, request())).result.failure).toMatchObject({ cause: 'connect' });
  });

  test('no credentials yet', async () => {
    const { client, server } = await start([right]);
    client.setCredentials(0, undefined);
    expect((await fetchRange(client, request())).result.failure?.cause).toBe('expired');
    expect(server.requests.length).toBe(0);
  });
});

describe('silence', () => {
  test('before the first byte', async () => {
    const { client } = await start([() => undefined], { timeouts: { ...timeouts, firstByteMs: 40 } });
    expect((await fetchRange(client, request())).result.failure?.cause).toBe('first-byte-timeout');
  });

  test('inside a body', async () => {
    const stall: Step = (asked) => {
      const { head, body } = rightHead(asked);
      asked.socket.write(Buffer.concat([Buffer.from(head, 'latin1'), body.subarray(0, 5000)]));
    };
    const { client } = await start([stall], { timeouts: { ...timeouts, stallMs: 40 } });
    const { result } = await fetchRange(client, request());
    expect(result.failure?.cause).toBe('stall');
    expect(result.receivedBytes).toBe(5000);
  });

  test('inside a head', async () => {
    const { client } = await start([raw('HTTP/1.1 200 OK\r\nContent-')], { timeouts: { ...timeouts, stallMs: 40 } });
    expect((await fetchRange(client, request())).result.failure?.cause).toBe('stall');
  });

  test('of an idle socket closes it', async () => {
    const { client, server } = await start([right], { idleMs: 40 });
    await fetchRange(client, request(0, 10));
    const socket = server.sockets[0]!;
    expect(client.sockets).toBe(1);
    if (!socket.destroyed) await new Promise((resolve) => socket.once('close', resolve));
    await expect.poll(() => client.sockets).toBe(0);
    expect(client.active + client.queued).toBe(0);
  });
});

describe('limits', () => {
  test('requests wait in order for a socket', async () => {
    const held: (() => void)[] = [];
    const hold: Step = (asked) => held.push(() => right(asked));
    const { client, server } = await start([hold], { maxSockets: 4 });
    client.setConcurrency(2);
    const done: number[] = [];
    const all = [0, 1, 2, 3].map((i) => fetchRange(client, request(i, 10)).then(() => done.push(i)));
    await expect.poll(() => held.length).toBe(2);
    expect([client.active, client.queued, client.sockets]).toEqual([2, 2, 2]);
    held[0]!();
    await expect.poll(() => held.length).toBe(3);
    expect(server.requests[2]!.text).toContain('bytes=2-11');
    client.setConcurrency(4);
    await expect.poll(() => held.length).toBe(4);
    for (const go of held.slice(1)) go();
    await Promise.all(all);
    expect(done[0]).toBe(0);
    // The third request went over the socket of the first one.
    expect([client.active, client.queued, client.sockets]).toEqual([0, 0, 3]);
  });

  test('the socket limit spans origins: an idle socket of one makes room for the other', async () => {
    const { client, server } = await start([right], { maxSockets: 1 });
    const second = await serveRaw([right]);
    client.addOrigin(laneOf(second.port, { originIndex: 1, signed: false }));
    await fetchRange(client, request(0, 10));
    const first = server.sockets[0]!;
    expectExactly(await fetchRange(client, request(0, 10, { originIndex: 1 })), 0, 10);
    if (!first.destroyed) await new Promise((resolve) => first.once('close', resolve));
    expect(second.requests[0]!.text).not.toMatch(/^authorization/im);
    await client.close();
    await second.close();
  });

  test('cancel drops a run, queued and in flight, and leaves others alone', async () => {
    const held: (() => void)[] = [];
    const { client } = await start([(asked) => held.push(() => right(asked))], { maxSockets: 2 });
    const wanted = [1, 2, 1, 2].map((run) => fetchRange(client, request(run, 10, { run })));
    await expect.poll(() => held.length).toBe(2);
    client.cancel(1);
    expect((await wanted[0]!).result.failure?.cause).toBe('cancelled');
    expect((await wanted[2]!).result.failure?.cause).toBe('cancelled');
    await expect.poll(() => held.length).toBe(3);
    for (const go of held) go();
    expect((await wanted[1]!).result.failure).toBeUndefined();
    expect((await wanted[3]!).result.failure).toBeUndefined();
  });

  test('cancel from within onBytes: nothing more is written', async () => {
    const { client } = await start([right]);
    const destination = new Uint8Array(wholeBytes);
    let landed = 0;
    const result = await new Promise<{ failure?: { cause: string } }>((resolve) => {
      client.get(
        request(),
        destination,
        (_, count) => {
          landed += count;
          client.cancel(1);
        },
        resolve,
      );
    });
    expect(result.failure?.cause).toBe('cancelled');
    expect(landed).toBeLessThanOrEqual(4096);
  });

  test('close ends everything as cancelled', async () => {
    const { client, server } = await start([() => undefined]);
    const waiting = fetchRange(client, request());
    await expect.poll(() => server.requests.length).toBe(1);
    await client.close();
    expect((await waiting).result.failure?.cause).toBe('cancelled');
    expect((await fetchRange(client, request())).result.failure?.cause).toBe('cancelled');
  });
});

describe('pacing', () => {
  test('no byte is read that was not granted', async () => {
    let granted = 0;
    let budget = 0;
    let asked = 0;
    const grant = (run: number, wanted: number): number => {
      expect(run).toBe(1);
      expect(wanted).toBeGreaterThan(0);
      asked += 1;
      if (asked % 3 === 0) budget += 7001; // refusals in between
      const now = Math.min(budget, wanted);
      budget -= now;
      granted += now;
      return now;
    };
    const { client } = await start([right], { grant, paceRetryMs: 1 });
    const memory = new Uint8Array(wholeBytes);
    let landed = 0;
    await new Promise<void>((resolve) => {
      client.get(
        request(),
        memory,
        (_, count) => {
          landed += count;
          expect(landed).toBeLessThanOrEqual(granted);
        },
        () => resolve(),
      );
    });
    expect(Buffer.from(memory).equals(whole)).toBe(true);
    expect(granted).toBe(wholeBytes);
    expect(asked).toBeGreaterThan(wholeBytes / 7001);
  });

  test('a request that is refused every byte is not even sent', async () => {
    const { client, server } = await start([right], { grant: () => 0, paceRetryMs: 1 });
    const waiting = fetchRange(client, request());
    await expect.poll(() => server.sockets.length).toBe(1);
    client.cancel(1);
    expect((await waiting).result.failure?.cause).toBe('cancelled');
    expect(server.requests.length).toBe(0);
  });
});
