/** Ranges over the hot path: right answers, and sockets that died while idle. */
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
  wholeBytes,
} from './raw-server.ts';

afterEach(closeOpened);

describe('right answers', () => {
  test('a range is asked with Range and If-Match, signed, and lands exactly', async () => {
    const { server, client } = await openClient([right]);
    expectExactly(await fetchRange(client, request(1000, 50_000)), 1000, 50_000);
    const { text } = server.requests[0]!;
    expect(text).toMatch(/^GET \/bucket\/dir\/object HTTP\/1\.1\r\n/);
    expect(text).toContain('\r\nRange: bytes=1000-50999\r\n');
    expect(text).toContain(`\r\nIf-Match: "${etag}"\r\n`);
    expect(text).toMatch(/\r\nAuthorization: AWS4-HMAC-SHA256 Credential=AKID\/\d{8}\/us-east-1\/s3\/aws4_request, /);
  });

  test('a whole object is asked without a Range', async () => {
    const { server, client } = await openClient([right]);
    expectExactly(await fetchRange(client, request()), 0, wholeBytes);
    expect(server.requests[0]!.text).not.toMatch(/^range:/im);
  });

  test('a version id is asked for', async () => {
    const { server, client } = await openClient([right]);
    const version = { etag, sizeBytes: wholeBytes, lastModifiedMs: 0, versionId: 'v/1+2' };
    expectExactly(await fetchRange(client, request(0, 10, { version })), 0, 10);
    expect(server.requests[0]!.text).toMatch(/^GET \/bucket\/dir\/object\?versionId=v%2F1%2B2 HTTP/);
  });

  test('an empty object', async () => {
    const { client } = await openClient([raw(`HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: "${etag}"\r\n\r\n`)]);
    const version = { etag, sizeBytes: 0, lastModifiedMs: 0 };
    const fetched = await fetchRange(client, request(0, 0, { version }));
    expect(fetched.result.failure).toBeUndefined();
    expect(fetched.landed).toEqual([]);
  });

  test('one socket serves many requests, one after the other', async () => {
    const { server, client } = await openClient([right], { maxSockets: 1 });
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
    const { client } = await openClient([drip]);
    expectExactly(await fetchRange(client, request(7, 20_000)), 7, 20_000);
  });

  test.each([
    ['a weak tag', `W/"${etag}"`],
    ['an unquoted tag', etag],
  ])('%s names the same version', async (_, sent) => {
    const { client } = await openClient([raw(`HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: ${sent}\r\n\r\nabc`)]);
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
    const { server, client } = await openClient([long, right]);
    expectExactly(await fetchRange(client, request(0, 100)), 0, 100);
    expectExactly(await fetchRange(client, request(100, 100)), 100, 100);
    expect(server.sockets.length).toBe(2);
  });

  test('Connection: close is honoured', async () => {
    const closing: Step = (asked) => {
      const { head, body } = rightHead(asked, { extraHeaders: 'Connection: close\r\n' });
      asked.socket.end(Buffer.concat([Buffer.from(head, 'latin1'), body]));
    };
    const { server, client } = await openClient([closing]);
    expectExactly(await fetchRange(client, request(0, 9000)), 0, 9000);
    expectExactly(await fetchRange(client, request(50, 9000)), 50, 9000);
    expect(server.sockets.length).toBe(2);
  });
});

describe('a socket that died while idle', () => {
  test('the request goes out once more on a new one, and this is no failure', async () => {
    const dropSecond: Step = ({ socket }) => socket.resetAndDestroy();
    const { server, client } = await openClient([right, dropSecond, right]);
    expectExactly(await fetchRange(client, request(0, 100)), 0, 100);
    expectExactly(await fetchRange(client, request(5, 100)), 5, 100);
    expect(server.requests.map((r) => r.connection)).toEqual([0, 0, 1]);
  });

  test('but only once', async () => {
    const drop: Step = ({ socket }) => socket.resetAndDestroy();
    const { server, client } = await openClient([right, drop]);
    expectExactly(await fetchRange(client, request(0, 100)), 0, 100);
    const { result } = await fetchRange(client, request(5, 100));
    expect(result.failure?.cause).toBe('reset');
    expect(server.requests.length).toBe(3);
  });

  test('a new socket that dies is a failure at once', async () => {
    const { server, client } = await openClient([({ socket }) => socket.resetAndDestroy()]);
    expect((await fetchRange(client, request())).result.failure?.cause).toBe('reset');
    expect(server.requests.length).toBe(1);
  });
});
