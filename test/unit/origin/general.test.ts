import { afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { RangeClient } from '../../../src/origin/types.ts';
import { type Certificate, makeCertificate } from '../../support/certificate.ts';
import {
  clientOf,
  etag,
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

const servers: RawServer[] = [];
let client: RangeClient | undefined;
afterEach(async () => {
  await client?.close();
  client = undefined;
  for (const server of servers.splice(0)) await server.close();
});

async function serve(...parameters: Parameters<typeof serveRaw>): Promise<RawServer> {
  const server = await serveRaw(...parameters);
  servers.push(server);
  return server;
}

const chunked: Step = (asked) => {
  const { head, body } = rightHead(asked);
  asked.socket.write(head.replace(/Content-Length: \d+\r\n/, 'Transfer-Encoding: chunked\r\n'), 'latin1');
  for (let at = 0; at < body.length; at += 7000) {
    const piece = body.subarray(at, at + 7000);
    asked.socket.write(Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]));
  }
  asked.socket.write('0\r\n\r\n');
};
const http10: Step = (asked) => {
  const { head, body } = rightHead(asked);
  asked.socket.end(Buffer.concat([Buffer.from(head.replace('HTTP/1.1', 'HTTP/1.0'), 'latin1'), body]));
};
const continued: Step = (asked) => {
  asked.socket.write('HTTP/1.1 100 Continue\r\n\r\n');
  right(asked);
};
const foldedLine: Step = (asked) => {
  const { head, body } = rightHead(asked, { extraHeaders: 'X-Odd : blank before the colon\r\n' });
  asked.socket.write(Buffer.concat([Buffer.from(head, 'latin1'), body]));
};

describe('what the hot path cannot read, the SDK fetches', () => {
  test.each([
    ['a chunked body', chunked],
    ['HTTP/1.0', http10],
    ['100 Continue first', continued],
  ])('%s', async (_, step) => {
    const server = await serve([step]);
    client = clientOf(laneOf(server.port));
    const fetched = await fetchRange(client, request(500, 60_000));
    expect(fetched.result.failure).toBeUndefined();
    expect(fetched.result.general).toBe(true);
    expect(fetched.bytes.equals(whole.subarray(500, 60_500))).toBe(true);
    expect(fetched.guardsIntact).toBe(true);
    expect(fetched.landed.reduce((at, piece) => (piece.at === at ? at + piece.count : Number.NaN), 0)).toBe(60_000);
    expect(server.requests.length).toBe(2);
    expect(server.requests[1]!.text).toMatch(/^range: bytes=500-60499$/im);
    expect(server.requests[1]!.text).toMatch(/^if-match: "/im);
    expect(server.requests[1]!.text).toMatch(/^authorization: AWS4-HMAC-SHA256 Credential=AKID\//im);
  });

  test('a redirect between regions', async () => {
    const moved = raw('HTTP/1.1 301 Moved\r\nx-amz-bucket-region: eu-west-3\r\nContent-Length: 0\r\n\r\n');
    const server = await serve([moved, moved, right]);
    client = clientOf(laneOf(server.port));
    const fetched = await fetchRange(client, request(0, 1000));
    expect(fetched.result.failure).toBeUndefined();
    expect(server.requests[2]!.text).toContain('/eu-west-3/s3/aws4_request');
  });

  test('a temporary redirect to another host, signed for it', async () => {
    const other = await serve([right]);
    const away = raw(
      `HTTP/1.1 307 Away\r\nLocation: http://localhost:${other.port}/moved/object?a=b%2Fc\r\nContent-Length: 0\r\n\r\n`,
    );
    const server = await serve([away]);
    client = clientOf(laneOf(server.port));
    const fetched = await fetchRange(client, request(10, 1000));
    expect(fetched.result.failure).toBeUndefined();
    expect(fetched.bytes.equals(whole.subarray(10, 1010))).toBe(true);
    expect(other.requests[0]!.text).toMatch(/^GET \/moved\/object\?(.*&)?a=b%2Fc/);
    expect(other.requests[0]!.text).toMatch(/^host: localhost:\d+$/im);
  });

  test('unsigned where the origin is', async () => {
    const server = await serve([chunked]);
    client = clientOf(laneOf(server.port, { signed: false }));
    expect((await fetchRange(client, request(0, 100))).result.failure).toBeUndefined();
    expect(server.requests[1]!.text).not.toMatch(/^authorization:/im);
  });
});

describe('what it cannot read either is a failure', () => {
  const chunkedOf = (headers: string, body: string): Step =>
    raw(
      `HTTP/1.1 206 P\r\nTransfer-Encoding: chunked\r\n${headers}\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
    );
  const rangeLine = `Content-Range: bytes 0-9/${wholeBytes}\r\n`;

  test.each([
    ['garbage', raw('SSH-2.0-OpenSSH\r\n'), 'protocol'],
    ['a head above the limit', raw(`HTTP/1.1 200 OK\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`), 'protocol'],
    ['a redirect to nowhere', raw('HTTP/1.1 302 Away\r\nContent-Length: 0\r\n\r\n'), 'protocol'],
    ['a malformed header', foldedLine, 'protocol'],
    ['a chunked body that is short', chunkedOf(`ETag: "${etag}"\r\n${rangeLine}`, 'short'), 'short'],
    ['a chunked body that is long', chunkedOf(`ETag: "${etag}"\r\n${rangeLine}`, 'much too long'), 'range'],
    ['a chunked body of another version', chunkedOf(`ETag: "other"\r\n${rangeLine}`, '0123456789'), 'changed'],
    [
      'a chunked body of another range',
      chunkedOf(`ETag: "${etag}"\r\nContent-Range: bytes 1-10/${wholeBytes}\r\n`, '0123456789'),
      'range',
    ],
  ])('%s', async (_, step, cause) => {
    const server = await serve([step]);
    client = clientOf(laneOf(server.port));
    const fetched = await fetchRange(client, request(0, 10));
    expect(fetched.result.failure?.cause).toBe(cause);
    expect(fetched.result.general).toBe(true);
    expect(fetched.guardsIntact).toBe(true);
    expect(server.requests.length).toBe(2);
  });

  test('a part of the object in place of the whole, though it is as long', async () => {
    const part = chunkedOf(`ETag: "${etag}"\r\nContent-Range: bytes 1-${wholeBytes}/*\r\n`, whole.toString('latin1'));
    const server = await serve([part]);
    client = clientOf(laneOf(server.port));
    const fetched = await fetchRange(client, request(0, wholeBytes));
    expect(fetched.result.general).toBe(true);
    expect(fetched.result.failure).toMatchObject({ cause: 'range', message: expect.stringContaining('bytes 1-') });
    expect(fetched.guardsIntact).toBe(true);
  });

  test.each([
    [s3Error(412, 'PreconditionFailed'), 'changed'],
    [s3Error(404, 'NoSuchKey'), 'missing'],
    [s3Error(403, 'AccessDenied'), 'denied'],
    [s3Error(400, 'ExpiredToken'), 'expired'],
    [s3Error(503, 'SlowDown'), 'throttled'],
    [s3Error(500, 'InternalError'), 'server'],
  ])('an error answer %#', async (step, cause) => {
    const server = await serve([raw('HTTP/1.0 200 OK\r\n\r\n', 'end'), step]);
    client = clientOf(laneOf(server.port));
    const { failure } = (await fetchRange(client, request(0, 10))).result;
    expect(failure?.cause).toBe(cause);
    expect(failure?.httpStatus).toBeGreaterThanOrEqual(400);
    expect(server.requests.length).toBe(2);
  });

  test('silence', async () => {
    const server = await serve([raw('HTTP/1.0 200 OK\r\n\r\n', 'end'), () => undefined]);
    client = clientOf(laneOf(server.port), { timeouts: { ...timeouts, connectMs: 50, firstByteMs: 50 } });
    expect((await fetchRange(client, request(0, 10))).result.failure?.cause).toBe('first-byte-timeout');
  });

  test('cancel', async () => {
    const server = await serve([raw('HTTP/1.0 200 OK\r\n\r\n', 'end'), () => undefined]);
    client = clientOf(laneOf(server.port));
    const waiting = fetchRange(client, request(0, 10));
    await expect.poll(() => server.requests.length).toBe(2);
    client.cancel(1);
    expect((await waiting).result.failure?.cause).toBe('cancelled');
  });
});

describe('over TLS', () => {
  let tls: Certificate;
  beforeAll(() => {
    tls = makeCertificate();
  });
  const lane = (port: number, more = {}): ReturnType<typeof laneOf> =>
    laneOf(port, {
      tls: true,
      host: 'localhost',
      hostHeader: `localhost:${port}`,
      endpoint: `https://localhost:${port}`,
      ...more,
    });

  test('ranges land exactly, on one socket', async () => {
    const server = await serve([right], tls);
    client = clientOf(lane(server.port, { caPem: tls.cert }), { maxSockets: 1 });
    for (const [offset, length] of [
      [0, wholeBytes],
      [1, 99_999],
      [50_000, 20_000],
    ] as const) {
      const fetched = await fetchRange(client, request(offset, length));
      expect(fetched.result.failure).toBeUndefined();
      expect(fetched.result.general).toBeUndefined();
      expect(fetched.bytes.equals(whole.subarray(offset, offset + length))).toBe(true);
      expect(fetched.guardsIntact).toBe(true);
    }
    expect(server.sockets.length).toBe(1);
  });

  test('paced, although TLS delivers the rest of a record while paused', async () => {
    const server = await serve([right], tls);
    let refusals = 0;
    const grant = (_request: unknown, wanted: number): number => {
      refusals += 1;
      return refusals % 2 === 0 ? Math.min(wanted, 3000) : 0;
    };
    client = clientOf(lane(server.port, { caPem: tls.cert }), { grant, paceRetryMs: 1 });
    for (let i = 0; i < 2; i += 1) {
      const fetched = await fetchRange(client, request(0, 60_000));
      expect(fetched.result.failure).toBeUndefined();
      expect(fetched.bytes.equals(whole.subarray(0, 60_000))).toBe(true);
      expect(fetched.guardsIntact).toBe(true);
    }
    expect(refusals).toBeGreaterThan(20);
  });

  test('a certificate that is not trusted', async () => {
    const server = await serve([right], tls);
    client = clientOf(lane(server.port));
    const { failure } = (await fetchRange(client, request())).result;
    expect(failure?.cause).toBe('connect');
    expect(failure?.message).toMatch(/certificate/i);
    expect(server.requests.length).toBe(0);
  });
});
