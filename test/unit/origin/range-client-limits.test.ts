/** Limits of sockets and requests, cancelling, and reading no more than was granted. */
import { afterEach, describe, expect, test } from 'vitest';
import {
  closeOpened,
  expectExactly,
  fetchRange,
  laneOf,
  openClient,
  request,
  right,
  type Step,
  serveRaw,
  whole,
  wholeBytes,
} from './raw-server.ts';

afterEach(closeOpened);

describe('limits', () => {
  test('requests wait in order for a socket', async () => {
    const held: (() => void)[] = [];
    const hold: Step = (asked) => held.push(() => right(asked));
    const { client, server } = await openClient([hold], { maxSockets: 4 });
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
    const { client, server } = await openClient([right], { maxSockets: 1 });
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

  test('another worker is asked with its token, is not held back by grants, and is forgotten with its sockets', async () => {
    const { client, server } = await openClient([right], { grant: () => 0 });
    const peer = await serveRaw([right]);
    const asked = { signed: false, pathPrefix: '/internal/v1/data', peer: { bearerToken: 'the-token' } };
    client.addOrigin(laneOf(peer.port, { originIndex: -1, ...asked }));
    const key = 's3://bucket/a b';
    const fetched = await fetchRange(client, request(0, 10, { originIndex: -1, key }));
    expectExactly(fetched, 0, 10);
    expect(peer.requests[0]!.text).toContain('GET /internal/v1/data/s3%3A//bucket/a%20b HTTP/1.1\r\n');
    expect(peer.requests[0]!.text).toContain('\r\nAuthorization: Bearer the-token\r\n');
    const [socket] = peer.sockets;
    client.removeOrigin(-1);
    if (!socket!.destroyed) await new Promise((resolve) => socket!.once('close', resolve));
    expect([client.sockets, server.requests]).toEqual([0, []]);
    await client.close();
    await peer.close();
  });

  test('an origin that is reached in another way: what is on a socket ends there, and no other request goes over it', async () => {
    const held: (() => void)[] = [];
    const { client, server } = await openClient([right, (asked) => held.push(() => right(asked))], { maxSockets: 4 });
    const second = await serveRaw([right]);
    await fetchRange(client, request(0, 10));
    const underWay = fetchRange(client, request(1, 10));
    await expect.poll(() => held.length).toBe(1);
    client.addOrigin(laneOf(second.port));
    expectExactly(await fetchRange(client, request(2, 10)), 2, 10);
    held[0]!();
    expectExactly(await underWay, 1, 10);
    await expect.poll(() => server.sockets.every(({ destroyed }) => destroyed)).toBe(true);
    expectExactly(await fetchRange(client, request(3, 10)), 3, 10);
    expect([server.requests.length, second.requests.length, client.sockets]).toEqual([2, 2, 1]);
    await client.close();
    await second.close();
  });

  test('other timeouts hold for what is under way, shorter ones and longer ones', async () => {
    const { client } = await openClient([() => undefined]);
    client.setTimeouts({ connectMs: 600_000, firstByteMs: 600_000, stallMs: 600_000 });
    const waits = fetchRange(client, request(0, 10));
    await expect.poll(() => client.active).toBe(1);
    client.setTimeouts({ connectMs: 5000, firstByteMs: 50, stallMs: 5000 });
    expect((await waits).result.failure?.cause).toBe('first-byte-timeout');
    await client.close();
  });

  test('cancel drops a run, queued and in flight, and leaves others alone', async () => {
    const held: (() => void)[] = [];
    const { client } = await openClient([(asked) => held.push(() => right(asked))], { maxSockets: 2 });
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
    const { client } = await openClient([right]);
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
    const { client, server } = await openClient([() => undefined]);
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
    const grant = ({ run }: { run: number }, wanted: number): number => {
      expect(run).toBe(1);
      expect(wanted).toBeGreaterThan(0);
      asked += 1;
      if (asked % 3 === 0) budget += 7001; // refusals in between
      const now = Math.min(budget, wanted);
      budget -= now;
      granted += now;
      return now;
    };
    const { client } = await openClient([right], { grant, paceRetryMs: 1 });
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
    const { client, server } = await openClient([right], { grant: () => 0, paceRetryMs: 1 });
    const waiting = fetchRange(client, request());
    await expect.poll(() => server.sockets.length).toBe(1);
    client.cancel(1);
    expect((await waiting).result.failure?.cause).toBe('cancelled');
    expect(server.requests.length).toBe(0);
  });
});
