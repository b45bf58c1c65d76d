/** Two workers and one origin: what one of them has, the other copies from it. */
import { openSync, writeSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { type ByteRange, ledgerDifference, type ManifestEntry, type RunId } from '../../../src/core/types.ts';
import { KiB, MiB } from '../../../src/core/units.ts';
import type { ObjectSpec } from '../../../src/demo/origin/objects.ts';
import { type PeerDataOptions, peerData } from '../../../src/server/peer-data.ts';
import { type PeerFollowOptions, peerFollow } from '../../../src/server/peer-follow.ts';
import type { OpenFile } from '../../../src/store/types.ts';
import { expectContent, smallDataset } from '../../support/origin.ts';
import { memoryLog } from '../../support/store-fixture.ts';
import { type Bench, openBench } from './bench.ts';

const token = 'the-token-of-the-cluster';
const partBytes = 8 * MiB;
const big: ObjectSpec = { key: 'big', sizeBytes: 80 * MiB + 77 };

let a: Bench;
let b: Bench;
const servers: { close(): Promise<unknown> }[] = [];
let served = 0;

beforeAll(async () => {
  a = await openBench({ objects: [], wholeHashMaxBytes: 128 * MiB }, 512 * MiB, { peerAccess: { token } });
  b = await openBench({}, 512 * MiB, { origin: a.origin, peerAccess: { token } });
});
afterAll(async () => {
  await b?.close();
  await a?.close();
});
beforeEach(async () => {
  for (const { store } of [a, b]) await store.remove('s3://demo/' as ManifestEntry['path']);
  a.origin.clearFaults();
  a.origin.resetStats();
  served = 0;
  b.observed.limits.length = 0;
  b.observed.retries.length = 0;
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

interface Served {
  readonly url: string;
  readonly app: FastifyInstance;
  readonly log: ReturnType<typeof memoryLog>;
}

/** The port of worker A. */
async function serve(more: Partial<PeerDataOptions> = {}, follow: Partial<PeerFollowOptions> = {}): Promise<Served> {
  const app = Fastify({ forceCloseConnections: true });
  const log = memoryLog();
  const onServed = (bytes: number): void => {
    served += bytes;
  };
  app.register(peerFollow, {
    ...{ store: a.store, landings: a.worker.landings, log, clusterToken: token },
    ...follow,
  });
  app.register(peerData, { store: a.store, log, clusterToken: token, closeGraceMs: 0, onServed, ...more });
  await app.listen({ host: '127.0.0.1', port: 0 });
  servers.push(app);
  return { url: `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`, app, log };
}

/** A port that answers whatever `answer` says. */
async function pretend(answer: Parameters<typeof createServer>[1]): Promise<{ url: string; server: Server }> {
  const server = createServer(answer as never);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  servers.push({
    close: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

/** A port that nobody answers on. */
async function nobody(): Promise<string> {
  const { url } = await pretend(() => {});
  await servers.pop()!.close();
  return url;
}

let places = 0;
async function placed(...objects: readonly ObjectSpec[]): Promise<{ specs: ObjectSpec[]; entries: ManifestEntry[] }> {
  places += 1;
  const specs = objects.map((object) => ({ ...object, key: `c${places}/${object.key}` }));
  for (const spec of specs) a.origin.add(spec);
  const entries = new Map((await a.list(`c${places}/`)).map((entry) => [entry.path as string, entry]));
  a.origin.resetStats();
  return { specs, entries: specs.map(({ key }) => entries.get(`s3://demo/${key}`)!) };
}

async function loadedByA(entries: readonly ManifestEntry[], range?: ByteRange): Promise<RunId> {
  const run = a.start();
  for (const entry of entries) {
    const outcome = await a.worker.load(run, entry, range === undefined ? {} : { range });
    expect(outcome).toMatchObject({ result: 'loaded' });
  }
  return run;
}

/** The run has ended, and its books balance. */
async function ended(bench: Bench, run: RunId): Promise<ReturnType<Bench['store']['ledger']>> {
  await bench.worker.endRun(run);
  const ledger = bench.store.ledger(run);
  expect(ledgerDifference(ledger)).toBe(0);
  return ledger;
}

async function expectHeld(
  bench: Bench,
  spec: ObjectSpec,
  range = { offset: 0, length: spec.sizeBytes },
): Promise<void> {
  const file = bench.store.open(`s3://demo/${spec.key}` as ManifestEntry['path']);
  const pieces: Uint8Array[] = [];
  for await (const piece of file.read(range)) pieces.push(Buffer.from(piece));
  file.close();
  expectContent(Buffer.concat(pieces), spec, range.offset, range.length);
}

const sentByOrigin = (): number => a.origin.stats().bytesSent;
const bytesOf = (specs: readonly ObjectSpec[]): number => specs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);

describe('a copy', () => {
  it('is the same bytes, and each byte leaves the origin once', async () => {
    const { specs, entries } = await placed(...smallDataset);
    const runOfA = await loadedByA(entries);
    const { url } = await serve();
    const run = b.start();
    const outcomes = await Promise.all(entries.map((entry) => b.worker.load(run, entry, { source: { url } })));
    expect(outcomes.map(({ result }) => result)).toEqual(entries.map(() => 'loaded'));
    for (const spec of specs) await expectHeld(b, spec);
    const bytes = bytesOf(specs);
    expect(sentByOrigin()).toBe(bytes);
    expect(served).toBe(bytes);
    expect(b.worker.progress(run)).toMatchObject({ receivedBytes: 0, durableBytes: bytes });
    expect(await ended(b, run)).toMatchObject({ originBytes: 0, peerBytes: bytes, cachedBytes: bytes });
    expect(await ended(a, runOfA)).toMatchObject({ originBytes: bytes, peerBytes: 0, cachedBytes: bytes });
  });

  it('of a range is made of what the other worker has not published yet', async () => {
    const { specs, entries } = await placed(big);
    const [entry] = entries as [ManifestEntry];
    const [spec] = specs as [ObjectSpec];
    const range = { offset: 64 * MiB, length: spec.sizeBytes - 64 * MiB };
    const runOfA = await loadedByA(entries, range);
    expect(a.store.stat(entry.path)).toMatchObject({ state: 'loading' });
    const { url } = await serve();
    const run = b.start();
    expect(await b.worker.load(run, entry, { range, source: { url } })).toMatchObject({
      result: 'loaded',
      loadedBytes: range.length,
    });
    for (const bench of [a, b]) await bench.worker.publish(entry);
    for (const bench of [a, b]) await expectHeld(bench, spec, range);
    expect(sentByOrigin()).toBe(range.length);
    expect(await ended(b, run)).toMatchObject({ originBytes: 0, peerBytes: range.length });
    await ended(a, runOfA);
  });

  it('is not held back by the limit on reads from the origin, nor by an origin that asks for patience', async () => {
    const { entries } = await placed(big, { key: 'limited', sizeBytes: 16 * MiB }, { key: 'throttled', sizeBytes: 5 });
    const [entry, limited, throttled] = entries as [ManifestEntry, ManifestEntry, ManifestEntry];
    await ended(a, await loadedByA([entry]));
    const { url } = await serve();
    const fault = a.origin.setFault({
      fault: { kind: 'status', status: 503, retryAfterSeconds: 600 },
      key: throttled.path.slice('s3://demo/'.length),
    });
    // A worker of its own: what the origin asked for is kept by it, whatever the run.
    const c = await openBench({}, 512 * MiB, { origin: a.origin, peerAccess: { token } });
    try {
      const run = c.start({ bandwidthBytesPerSecond: 64 * KiB });
      const other = c.start();
      const slow = [c.worker.load(run, limited)];
      await vi.waitFor(() => expect(c.worker.progress(run).receivedBytes).toBeGreaterThan(0), { timeout: 10_000 });
      slow.push(c.worker.load(other, throttled));
      await vi.waitFor(() => expect(c.worker.progress(other).retries).toBe(1), { timeout: 10_000 });
      expect(a.origin.fired(fault)).toBe(1);
      const copy = c.worker.load(run, entry, { source: { url } });
      expect((await Promise.race([copy, ...slow])).path).toBe(entry.path);
      expect(await copy).toMatchObject({ result: 'loaded', loadedBytes: big.sizeBytes });
      for (const one of [run, other]) await c.worker.stopRun(one);
      await Promise.all(slow);
      for (const one of [run, other]) await ended(c, one);
    } finally {
      await c.close();
    }
  });
});

/** A source and its follower begin; resolves when both have two parts, and the origin is silent about the others. */
async function followed(entry: ManifestEntry) {
  const { url } = await serve();
  const fault = a.origin.setFault({
    fault: { kind: 'stall' },
    rangeFrom: { from: 2 * partBytes, to: Number.POSITIVE_INFINITY },
  });
  const runs = { a: a.start(), b: b.start() };
  const fetched = a.worker.load(runs.a, entry);
  const copied = b.worker.load(runs.b, entry, { source: { url, follow: true } });
  await vi.waitFor(() => expect(b.worker.progress(runs.b).durableBytes).toBe(2 * partBytes), { timeout: 20_000 });
  expect(a.worker.progress(runs.a).durableBytes).toBe(2 * partBytes);
  expect(a.origin.fired(fault)).toBeGreaterThan(0);
  const goOn = (): void => {
    a.origin.clearFaults();
    a.origin.dropConnections();
  };
  return { runs, fetched, copied, goOn };
}

describe('a copy that follows its source', () => {
  it('has bytes while the source still fetches, and asks the origin for none', async () => {
    const { specs, entries } = await placed(big);
    const [entry] = entries as [ManifestEntry];
    const { runs, fetched, copied, goOn } = await followed(entry);
    goOn();
    expect(await copied).toMatchObject({ result: 'loaded', loadedBytes: entry.sizeBytes });
    expect(await fetched).toMatchObject({ result: 'loaded', loadedBytes: entry.sizeBytes });
    await expectHeld(b, specs[0]!);
    expect(sentByOrigin()).toBe(entry.sizeBytes);
    expect(await ended(b, runs.b)).toMatchObject({ originBytes: 0, peerBytes: entry.sizeBytes });
    await ended(a, runs.a);
  });

  it('may be there first', async () => {
    const { entries } = await placed(big);
    const [entry] = entries as [ManifestEntry];
    const { url } = await serve();
    const range = { offset: 64 * MiB, length: entry.sizeBytes - 64 * MiB };
    const run = b.start();
    const copied = b.worker.load(run, entry, { range, source: { url, follow: true } });
    await vi.waitFor(() => expect(a.worker.landings.listeners).toBe(1), { timeout: 10_000 });
    const runOfA = await loadedByA(entries, range);
    expect(await copied).toMatchObject({ result: 'loaded', loadedBytes: range.length });
    await vi.waitFor(() => expect(a.worker.landings.listeners).toBe(0), { timeout: 10_000 });
    await ended(b, run);
    await ended(a, runOfA);
  });

  it('of each other end both, when each waits for what the other has not begun', async () => {
    const { entries } = await placed(
      ...Array.from({ length: 10 }, (_, i) => ({ key: `f${i}`, sizeBytes: 12 * MiB + i })),
    );
    const ofB = Fastify({ forceCloseConnections: true });
    servers.push(ofB);
    const common = { store: b.store, log: memoryLog(), clusterToken: token };
    ofB.register(peerFollow, { ...common, landings: b.worker.landings });
    ofB.register(peerData, common);
    await ofB.listen({ host: '127.0.0.1', port: 0 });
    const urls = [(await serve()).url, `http://127.0.0.1:${(ofB.server.address() as AddressInfo).port}`];
    const benches = [a, b];
    const runs = benches.map((bench) => bench.start());
    const copies = entries.map((entry, i) =>
      benches[i % 2]!.worker.load(runs[i % 2]!, entry, { source: { url: urls[1 - (i % 2)]!, follow: true } }),
    );
    await vi.waitFor(() => expect(a.worker.landings.listeners + b.worker.landings.listeners).toBe(10), {
      timeout: 10_000,
    });
    const fetches = entries.map((entry, i) => benches[1 - (i % 2)]!.worker.load(runs[1 - (i % 2)]!, entry));
    const outcomes = await Promise.all([...copies, ...fetches]);
    expect(new Set(outcomes.map(({ result }) => result))).toEqual(new Set(['loaded']));
    expect(sentByOrigin()).toBe(entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
    await ended(a, runs[0]!);
    await ended(b, runs[1]!);
  });

  it('keeps what has come when the source gives up, and says why', async () => {
    const { specs, entries } = await placed(big);
    const [entry] = entries as [ManifestEntry];
    const { runs, fetched, copied, goOn } = await followed(entry);
    await a.worker.stopRun(runs.a);
    goOn();
    expect(await fetched).toMatchObject({ result: 'stopped' });
    const outcome = await copied;
    expect(outcome).toMatchObject({ result: 'failed', error: { code: 'PEER_FAILED' } });
    expect(outcome.error?.message).toContain('its load on this worker has ended');
    expect(outcome.loadedBytes).toBe(2 * partBytes);
    const rest = await b.worker.load(runs.b, entry);
    expect(rest).toMatchObject({ result: 'loaded', loadedBytes: entry.sizeBytes, skippedBytes: 0 });
    const originBytes = entry.sizeBytes - outcome.loadedBytes;
    await expectHeld(b, specs[0]!);
    await ended(a, runs.a);
    expect((await ended(b, runs.b)).originBytes).toBe(originBytes);
  });

  const nonsense = (lines: string) =>
    pretend((_request, response) => {
      response.writeHead(200).write(lines);
    });
  it.each([
    ['nobody loads it there', () => serve({}, { signOfLifeMs: 100, beginLimitMs: 300 }), 'nobody loads the segment'],
    ['the source falls silent', () => nonsense('[]\n'), 'imeout'],
    ['the source says what makes no sense', () => nonsense('[[-1,0]]\n'), 'makes no sense'],
    ['the source says all, and has not told of it', () => nonsense('"all"\n'), 'has not told of every byte'],
    ['the tokens differ', () => serve({}, { clusterToken: 'another' }), 'HTTP 401'],
    ['the source is gone', async () => ({ url: await nobody() }), 'ECONNREFUSED'],
    ['its address is none', async () => ({ url: 'ftp://host' }), 'not the address of a worker'],
  ])('fails when %s', async (_what, source, why) => {
    const { entries } = await placed({ key: 'odd', sizeBytes: 20 * MiB });
    const { url } = await source();
    const run = b.start();
    const { result, error } = await b.worker.load(run, entries[0]!, { source: { url, follow: true } });
    expect([result, error?.code]).toEqual(['failed', 'PEER_FAILED']);
    expect(error?.message).toContain(why);
    expect(sentByOrigin()).toBe(0);
    await ended(b, run);
  });

  it('does not keep a run from stopping', async () => {
    const { entries } = await placed(big);
    const { url } = await nonsense('[]\n');
    const run = b.start();
    const copy = b.worker.load(run, entries[0]!, { source: { url, follow: true } });
    await b.worker.stopRun(run);
    expect(await copy).toMatchObject({ result: 'stopped' });
    await ended(b, run);
  });
});

describe('a worker that does not give what it was to give', () => {
  it('ends the copy soon, with its address in the message, and the origin is not asked', async () => {
    const { entries } = await placed(big);
    const { url } = await serve();
    const run = b.start();
    const { result, error } = await b.worker.load(run, entries[0]!, { source: { url } });
    expect([result, error?.code]).toEqual(['failed', 'PEER_FAILED']);
    for (const part of [url, entries[0]!.path, 'HTTP 404', 'not all of']) expect(error?.message).toContain(part);
    expect([sentByOrigin(), served, b.worker.progress(run).retries]).toEqual([0, 0, 0]);
    await ended(b, run);
  });

  it('is no silence of the origin, and costs the run nothing of its retries', async () => {
    const { specs, entries } = await placed(
      ...Array.from({ length: 200 }, (_, i) => ({ key: `file-${i}`, sizeBytes: 5000 + i })),
    );
    const source = { url: await nobody() };
    const run = b.start();
    const failed = await Promise.all(entries.map((entry) => b.worker.load(run, entry, { source })));
    expect(new Set(failed.map(({ error }) => error?.code))).toEqual(new Set(['PEER_FAILED']));
    expect(failed[0]!.error?.message).toContain('after 2 attempts');
    expect(b.observed.retries).toEqual([]);
    // The budget of the run is 200 retries at least, and 200 copies have been tried again.
    const fault = a.origin.setFault({ fault: { kind: 'status', status: 500 }, times: 50 });
    const outcomes = await Promise.all(entries.map((entry) => b.worker.load(run, entry)));
    expect(outcomes.filter(({ result }) => result !== 'loaded')).toEqual([]);
    expect(a.origin.fired(fault)).toBe(50);
    await expectHeld(b, specs[100]!);
    expect(await ended(b, run)).toMatchObject({ originBytes: bytesOf(specs), peerBytes: 0 });
  });

  it('in the middle: what has arrived stays, and the rest comes from the origin', async () => {
    const { specs, entries } = await placed(big);
    const [entry] = entries as [ManifestEntry];
    await ended(a, await loadedByA(entries));
    const givenBytes = 2 * partBytes;
    let release = (): void => {};
    const stuck = new Promise<void>((resolve) => {
      release = resolve;
    });
    // Behind the first two parts, every answer stops after a page.
    const openVersion: PeerDataOptions['store']['openVersion'] = (wanted, range) => {
      const file = a.store.openVersion(wanted, range)!;
      const read = async function* (asked: ByteRange): AsyncIterable<Uint8Array> {
        for await (const piece of file.read(asked)) {
          yield piece;
          if (asked.offset >= givenBytes) await stuck;
        }
      };
      return {
        record: file.record,
        pages: (ranges) => file.pages(ranges),
        close: () => file.close(),
        read,
      } as OpenFile;
    };
    const { stat, statLoading } = { stat: a.store.stat.bind(a.store), statLoading: a.store.statLoading.bind(a.store) };
    const { url, app } = await serve({ store: { openVersion, stat, statLoading } });
    const run = b.start();
    const copy = b.worker.load(run, entry, { source: { url } });
    await vi.waitFor(() => expect(b.worker.progress(run).durableBytes).toBe(givenBytes), { timeout: 10_000 });
    app.server.closeAllConnections();
    app.server.close();
    release();
    expect(await copy).toMatchObject({ result: 'failed', loadedBytes: givenBytes, error: { code: 'PEER_FAILED' } });
    a.origin.resetStats();
    expect(await b.worker.load(run, entry)).toMatchObject({
      result: 'loaded',
      loadedBytes: entry.sizeBytes,
      skippedBytes: 0,
    });
    expect(sentByOrigin()).toBe(entry.sizeBytes - givenBytes);
    await expectHeld(b, specs[0]!);
    const { peerBytes, originBytes, cachedBytes, discardedBytes } = await ended(b, run);
    expect([originBytes, cachedBytes]).toEqual([entry.sizeBytes - givenBytes, entry.sizeBytes]);
    expect(peerBytes).toBe(givenBytes + discardedBytes.failed);
    expect(discardedBytes.failed).toBeGreaterThan(0);
  });

  it.each([
    ['the first page of a part', 0],
    ['a later page of a part', 3 * MiB],
  ])('for a flipped bit in %s: it is not served, and the copy fails by that name', async (_what, at) => {
    const { entries } = await placed({ key: 'damaged', sizeBytes: 20 * MiB });
    const [entry] = entries as [ManifestEntry];
    await ended(a, await loadedByA(entries));
    const file = a.store.open(entry.path);
    const [page] = file.pages([{ offset: at, length: MiB }]);
    const { extents } = page!;
    file.close();
    writeSync(
      openSync(a.store.files[extents[0]!.store]!.path, 'r+'),
      Buffer.of(0xa5, 0x5a),
      0,
      2,
      extents[0]!.offset + 100,
    );
    const { url, log } = await serve();
    const run = b.start();
    const { result, error } = await b.worker.load(run, entry, { source: { url } });
    expect([result, error?.code]).toEqual(['failed', 'PEER_CORRUPT']);
    expect(error?.message).toContain('does not have its checksum');
    expect(JSON.stringify(log.lines)).toContain('does not have its checksum');
    await ended(b, run);
    expect(b.store.stat(entry.path)).toBeUndefined();
  });

  it('for it has another version: that says nothing of the origin', async () => {
    const { specs, entries } = await placed({ key: 'changed', sizeBytes: 3 * MiB });
    await ended(a, await loadedByA(entries));
    a.origin.bump({ key: specs[0]!.key });
    const entry = await a.head(entries[0]!.path);
    expect(entry.etag).not.toBe(entries[0]!.etag);
    const { url } = await serve();
    const run = b.start();
    for (const range of [undefined, { offset: 0, length: MiB }]) {
      const { result, error } = await b.worker.load(run, entry, { source: { url }, ...(range && { range }) });
      expect([result, error?.code]).toEqual(['failed', 'PEER_FAILED']);
      expect(error?.message).toContain('HTTP 412');
    }
    await ended(b, run);
  });

  it('for the tokens differ', async () => {
    const { entries } = await placed({ key: 'secret', sizeBytes: 3 * MiB });
    await ended(a, await loadedByA(entries));
    const { url } = await serve({ clusterToken: 'another' });
    const run = b.start();
    const { error } = await b.worker.load(run, entries[0]!, { source: { url } });
    expect(error).toMatchObject({ code: 'PEER_FAILED', message: expect.stringContaining('HTTP 401') });
    expect(served).toBe(0);
    await ended(b, run);
  });

  it('for it is too busy, is asked again for a while, and the origin is asked no slower', async () => {
    const { entries } = await placed({ key: 'busy', sizeBytes: 5000 });
    const asked: number[] = [];
    const { url } = await pretend((_request, response) => {
      asked.push(performance.now());
      response.writeHead(503, { 'content-length': 0 }).end();
    });
    const run = b.start();
    const { error } = await b.worker.load(run, entries[0]!, { source: { url } });
    expect(error).toMatchObject({ code: 'PEER_FAILED', message: expect.stringContaining('HTTP 503') });
    expect(asked.length).toBeGreaterThan(2);
    expect(b.observed.limits).toEqual([]);
    await ended(b, run);
  });

  it.each([
    ['a chunked body', 'Transfer-Encoding: chunked'],
    ['another ETag', 'the object changed: ETag "x"'],
    ['silence', 'no answer within the time limit'],
    ['a redirect', 'unexpected status 307'],
  ])('but answers with %s, is not asked by the AWS SDK', async (what, why) => {
    const { entries } = await placed({ key: 'odd', sizeBytes: 5000 });
    const agents: (string | undefined)[] = [];
    const { url } = await pretend((request, response) => {
      agents.push(request.headers['user-agent']);
      if (what === 'a chunked body')
        response.writeHead(200, { etag: `"${entries[0]!.etag}"` }).write(Buffer.alloc(5000));
      if (what === 'another ETag')
        response.writeHead(200, { etag: '"x"', 'content-length': 5000 }).end(Buffer.alloc(5000));
      if (what === 'a redirect') response.writeHead(307, { location: '/', 'content-length': 0 }).end();
    });
    const run = b.start();
    const { error } = await b.worker.load(run, entries[0]!, { source: { url } });
    expect(error).toMatchObject({ code: 'PEER_FAILED', message: expect.stringContaining(why) });
    expect(new Set(agents)).toEqual(new Set(['primed']));
    expect(agents.length).toBeLessThanOrEqual(2);
    expect(sentByOrigin()).toBe(0);
    await ended(b, run);
  });

  it.each(['not a url', 'ftp://host', ''])('is none when its address is "%s"', async (url) => {
    const { entries } = await placed({ key: 'lost', sizeBytes: 5000 });
    const run = b.start();
    const { error } = await b.worker.load(run, entries[0]!, { source: { url } });
    expect(error).toMatchObject({
      code: 'PEER_FAILED',
      message: expect.stringContaining('not the address of a worker'),
    });
    await ended(b, run);
  });

  it('does not keep a run from stopping', async () => {
    const { entries } = await placed(big);
    const { url } = await pretend(() => {});
    const run = b.start();
    const copy = b.worker.load(run, entries[0]!, { source: { url } });
    await vi.waitFor(() => expect(b.worker.progress(run).partsInFlight).toBeGreaterThan(0), { timeout: 10_000 });
    await b.worker.stopRun(run);
    expect(await copy).toMatchObject({ result: 'stopped' });
    await ended(b, run);
  });
});
