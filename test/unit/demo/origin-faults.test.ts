/** Every fault of the embedded origin, as a plain HTTP client sees it, and that it is counted. */
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { EmbeddedOrigin } from '../../../src/demo/origin/api.ts';
import { contentAt } from '../../../src/demo/origin/content.ts';
import { type Fault, FaultBook, type FaultRule } from '../../../src/demo/origin/faults.ts';
import { Pace } from '../../../src/demo/origin/pace.ts';
import { startOrigin } from '../../../src/demo/origin/server.ts';
import { smallDataset } from '../../support/origin.ts';

const key = 'data/part.bin';
const rangeBytes = 300_000;
let origin: EmbeddedOrigin;

interface Heard {
  readonly status: number;
  readonly headers: Record<string, string>;
  /** Everything behind the head, framing included. */
  readonly body: Buffer;
  readonly end: 'fin' | 'reset' | 'waiting';
}

/** One request on a connection of its own; what comes is recorded raw. `until`: stop waiting after so many body bytes. */
function request(options: { method?: string; range?: string; until?: number; path?: string } = {}): Promise<Heard> {
  const { method = 'GET', range = `bytes=0-${rangeBytes - 1}`, path = `/demo/${key}`, until } = options;
  return new Promise((resolve) => {
    const pieces: Buffer[] = [];
    const socket = connect(origin.port, origin.host);
    const done = (end: Heard['end']) => {
      socket.destroy();
      const raw = Buffer.concat(pieces);
      const cut = raw.indexOf('\r\n\r\n');
      const [first = '', ...lines] = raw.toString('latin1', 0, Math.max(0, cut)).split('\r\n');
      const headers = Object.fromEntries(
        lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 2)]),
      );
      resolve({
        status: Number(first.split(' ')[1] ?? 0),
        headers,
        body: cut < 0 ? Buffer.alloc(0) : raw.subarray(cut + 4),
        end,
      });
    };
    socket.on('data', (piece: Buffer) => {
      pieces.push(piece);
      if (until === undefined) return;
      const raw = Buffer.concat(pieces);
      const cut = raw.indexOf('\r\n\r\n');
      if (cut >= 0 && raw.length - cut - 4 >= until) done('waiting');
    });
    socket.on('end', () => done('fin'));
    socket.on('error', () => done('reset'));
    // `Connection: close` makes the origin end a sound answer with FIN.
    socket.write(
      `${method} ${path} HTTP/1.1\r\nHost: ${origin.host}:${origin.port}\r\nRange: ${range}\r\nConnection: close\r\n\r\n`,
    );
  });
}

async function withFault(fault: Fault, options: Parameters<typeof request>[0] = {}): Promise<Heard> {
  const id = origin.setFault({ fault, times: 1 });
  const heard = await request(options);
  expect(origin.fired(id), 'the fault fired').toBe(1);
  return heard;
}

const right = contentAt(key, 1, 0, rangeBytes);

beforeEach(async () => {
  origin = await startOrigin({ objects: smallDataset });
});
afterEach(() => origin.close());

describe('faults', () => {
  test('without a rule the answer is sound', async () => {
    const heard = await request();
    expect(heard).toMatchObject({ status: 206, end: 'fin' });
    expect(heard.headers['content-range']).toBe(`bytes 0-${rangeBytes - 1}/${8 * 2 ** 20}`);
    expect(heard.body.equals(right)).toBe(true);
  });

  test.each([
    [500, 'InternalError'],
    [503, 'SlowDown'],
    [429, 'TooManyRequests'],
  ])('status %i is %s in S3 XML, with Retry-After and request id', async (status, code) => {
    const heard = await withFault({ kind: 'status', status, retryAfterSeconds: 3 });
    expect(heard.status).toBe(status);
    expect(heard.headers['retry-after']).toBe('3');
    const xml = heard.body.toString();
    expect(xml).toContain(`<Code>${code}</Code>`);
    expect(xml).toContain(`<RequestId>${heard.headers['x-amz-request-id']}</RequestId>`);
  });

  test('reset before the answer, after the head, and at byte k', async () => {
    expect(await withFault({ kind: 'reset' })).toMatchObject({ status: 0, end: 'reset' });
    expect(await withFault({ kind: 'reset', afterBytes: 0 })).toMatchObject({ end: 'reset' });
    const late = await withFault({ kind: 'reset', afterBytes: 100_000 });
    expect(late.end).toBe('reset');
    expect(late.body.length).toBeLessThanOrEqual(100_000);
    expect(late.body.equals(right.subarray(0, late.body.length))).toBe(true);
    expect(origin.requests.every(({ complete }) => !complete)).toBe(true);
    expect(origin.requests.at(-1)).toMatchObject({ bytesSent: 100_000, fault: 'reset' });
  });

  test('short body: promised more, ended in order', async () => {
    const heard = await withFault({ kind: 'short-body', afterBytes: 1234 });
    expect(heard.headers['content-length']).toBe(String(rangeBytes));
    expect(heard).toMatchObject({ status: 206, end: 'fin' });
    expect(heard.body.equals(right.subarray(0, 1234))).toBe(true);
  });

  test('long body, declared and undeclared', async () => {
    const declared = await withFault({ kind: 'long-body', extraBytes: 10 });
    expect(declared.headers['content-length']).toBe(String(rangeBytes + 10));
    expect(declared.body.length).toBe(rangeBytes + 10);
    const hidden = await withFault({ kind: 'long-body', extraBytes: 10, declared: false });
    expect(hidden.headers['content-length']).toBe(String(rangeBytes));
    expect(hidden.body.length).toBe(rangeBytes + 10);
  });

  test('wrong range: in head and body, in the head, in the body', async () => {
    const shifted = contentAt(key, 1, 4096, rangeBytes);
    const both = await withFault({ kind: 'wrong-range', shiftBytes: 4096 });
    expect(both.headers['content-range']).toMatch(/^bytes 4096-/);
    expect(both.body.equals(shifted)).toBe(true);
    const head = await withFault({ kind: 'wrong-range', shiftBytes: 4096, where: 'head' });
    expect(head.headers['content-range']).toMatch(/^bytes 4096-/);
    expect(head.body.equals(right)).toBe(true);
    const body = await withFault({ kind: 'wrong-range', shiftBytes: 4096, where: 'body' });
    expect(body.headers['content-range']).toMatch(/^bytes 0-/);
    expect(body.body.equals(shifted)).toBe(true);
  });

  test('whole body for a range', async () => {
    const heard = await withFault({ kind: 'whole-body' });
    expect(heard.status).toBe(200);
    expect(heard.headers['content-range']).toBeUndefined();
    expect(heard.body.length).toBe(8 * 2 ** 20);
  });

  test('one corrupt byte, and no sign of it', async () => {
    const heard = await withFault({ kind: 'corrupt', atByte: 200_000 });
    expect(heard.status).toBe(206);
    const wrong = [...heard.body.keys()].filter((at) => heard.body[at] !== right[at]);
    expect(wrong).toEqual([200_000]);
  });

  test('the object changes, and vanishes', async () => {
    const before = await request();
    const changed = await withFault({ kind: 'change' });
    expect(changed.headers.etag).not.toBe(before.headers.etag);
    expect(changed.body.equals(contentAt(key, 2, 0, rangeBytes))).toBe(true);
    const gone = await withFault({ kind: 'vanish' });
    expect(gone.status).toBe(404);
    expect(gone.body.toString()).toContain('<Code>NoSuchKey</Code>');
    expect((await request()).status).toBe(404);
  });

  test('stall: nothing at all, then nothing after byte k, then the rest after a while', async () => {
    const id = origin.setFault({ fault: { kind: 'stall', afterBytes: 777 }, times: 1 });
    const halted = await request({ until: 777 });
    expect(halted.body.equals(right.subarray(0, 777))).toBe(true);
    expect(origin.fired(id)).toBe(1);
    const resumed = await withFault({ kind: 'stall', afterBytes: 777, forMs: 20 });
    expect(resumed.body.equals(right)).toBe(true);
  });

  test('latency, drip, chunked and redirect', async () => {
    expect((await withFault({ kind: 'latency', delayMs: 10 })).body.equals(right)).toBe(true);
    expect((await withFault({ kind: 'drip', bytesPerSecond: 3_000_000 })).body.equals(right)).toBe(true);
    const chunked = await withFault({ kind: 'chunked' });
    expect(chunked.headers).toMatchObject({ 'transfer-encoding': 'chunked' });
    expect(chunked.headers['content-length']).toBeUndefined();
    const moved = await withFault({ kind: 'redirect', status: 307 });
    expect(moved).toMatchObject({ status: 307, headers: { location: `${origin.endpoint}/demo/${key}` } });
    expect(moved.body.toString()).toContain('<Code>TemporaryRedirect</Code>');
    const far = await withFault({ kind: 'redirect', status: 301, location: 'http://elsewhere/' });
    expect(far).toMatchObject({ status: 301, headers: { location: 'http://elsewhere/' } });
  });

  test('listings can fail too, when a rule says so', async () => {
    const id = origin.setFault({ fault: { kind: 'status', status: 503 }, operation: ['ListObjectsV2'], times: 1 });
    expect((await request()).status).toBe(206);
    expect((await request({ path: '/demo/?list-type=2' })).status).toBe(503);
    expect((await request({ path: '/demo/?list-type=2' })).status).toBe(200);
    expect(origin.fired(id)).toBe(1);
  });

  test('cleared rules are silent and keep their counts', async () => {
    const id = origin.setFault({ fault: { kind: 'status', status: 500 } });
    expect((await request()).status).toBe(500);
    origin.clearFaults();
    expect((await request()).status).toBe(206);
    expect(origin.fired(id)).toBe(1);
    expect(origin.faults()[0]).toMatchObject({ matched: 1, fired: 1 });
  });
});

describe('which requests a rule is for', () => {
  const fault: Fault = { kind: 'status', status: 500 };
  const firings = (rule: Omit<FaultRule, 'fault'>, subjects: readonly { key: string; rangeStart?: number }[]) => {
    const book = new FaultBook();
    book.set({ ...rule, fault });
    return subjects.map(
      ({ key: name, rangeStart }) => book.pick({ operation: 'GetObject', key: name, rangeStart }) !== undefined,
    );
  };
  const six = Array.from({ length: 6 }, () => ({ key: 'a' }));

  test('key, pattern and start of the range', () => {
    const subjects = [{ key: 'x/a.bin' }, { key: 'x/b.bin', rangeStart: 100 }, { key: 'y', rangeStart: 200 }];
    expect(firings({ key: 'y' }, subjects)).toEqual([false, false, true]);
    expect(firings({ keyPattern: '^x/.*\\.bin$' }, subjects)).toEqual([true, true, false]);
    expect(firings({ rangeFrom: { from: 100, to: 200 } }, subjects)).toEqual([false, true, false]);
  });

  test('skip, every, times', () => {
    expect(firings({ skip: 2, times: 1 }, six)).toEqual([false, false, true, false, false, false]);
    expect(firings({ every: 3 }, six)).toEqual([false, false, true, false, false, true]);
    expect(firings({ times: 2 }, six)).toEqual([true, true, false, false, false, false]);
  });

  test('probability follows its seed', () => {
    const many = Array.from({ length: 400 }, () => ({ key: 'a' }));
    const fired = firings({ probability: 0.25, seed: 9 }, many);
    expect(firings({ probability: 0.25, seed: 9 }, many)).toEqual(fired);
    expect(firings({ probability: 0.25, seed: 10 }, many)).not.toEqual(fired);
    const count = fired.filter(Boolean).length;
    expect(count).toBeGreaterThan(60);
    expect(count).toBeLessThan(140);
  });

  test('the first rule that fires wins', () => {
    const book = new FaultBook();
    book.set({ fault, times: 1 });
    book.set({ fault: { kind: 'vanish' } });
    const subject = { operation: 'GetObject', key: 'a', rangeStart: undefined } as const;
    expect([book.pick(subject)?.kind, book.pick(subject)?.kind]).toEqual(['status', 'vanish']);
  });
});

describe('what is remembered', () => {
  test('the log is bounded, the counters are not', async () => {
    await origin.close();
    origin = await startOrigin({ objects: smallDataset, logLimit: 2 });
    for (let at = 0; at < 3; at += 1) await request({ range: `bytes=${at}-${at}` });
    expect(origin.requests.map(({ range }) => range)).toEqual(['bytes=1-1', 'bytes=2-2']);
    expect(origin.stats()).toMatchObject({ requests: 3, bytesSent: 3, byStatus: { 206: 3 }, bytesByKey: { [key]: 3 } });
    origin.resetStats();
    expect(origin.stats()).toMatchObject({ requests: 0, bytesSent: 0, byStatus: {} });
  });

  test('bytes are known by who asked for them, those of an answer under way too', async () => {
    origin.setKnobs({ bytesPerSecond: 4 });
    const answer = request({ range: 'bytes=0-99' }).catch(() => undefined);
    await expect.poll(() => origin.stats().bytesByClient['127.0.0.1'], { timeout: 10_000 }).toBeGreaterThan(0);
    expect(origin.stats()).toMatchObject({ inFlight: 1, bytesSent: 0 });
    origin.dropConnections();
    await answer;
  });

  test('a pace holds its rate whatever the sizes of the pieces', () => {
    const pace = new Pace(1000, 0);
    let nowMs = 0;
    for (const bytes of [10, 500, 90, 400, 1000]) nowMs += pace.book(bytes, nowMs);
    // 2,000 bytes at 1,000 a second; what was saved up before counts for at most a tenth of a second.
    expect(nowMs).toBeGreaterThanOrEqual(1900);
    expect(nowMs).toBeLessThanOrEqual(2001);
  });

  test('another rate holds for an answer under way, whose bytes stay what they are', async () => {
    origin.setKnobs({ bytesPerSecond: 20_000 });
    const began = performance.now();
    const answer = request();
    await expect.poll(() => origin.stats().bytesByClient['127.0.0.1'], { timeout: 10_000 }).toBeGreaterThan(0);
    origin.setKnobs({ bytesPerSecond: 400_000_000 });
    expect((await answer).body.equals(right)).toBe(true);
    // By the first rate it would last so many milliseconds.
    expect(performance.now() - began).toBeLessThan((right.length / 20_000) * 1000);
    origin.setKnobs({ bytesPerSecond: 0 });
  });

  test('rate caps slow down, and change no byte', async () => {
    origin.setKnobs({ bytesPerSecond: 4_000_000, connectionBytesPerSecond: 3_000_000, latencyMs: 1 });
    expect((await request()).body.equals(right)).toBe(true);
    origin.setKnobs({ bytesPerSecond: 0, connectionBytesPerSecond: 0, latencyMs: 0 });
    expect((await request()).body.equals(right)).toBe(true);
  });
});
