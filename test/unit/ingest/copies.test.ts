/** Two workers and one origin: what one of them has, the other copies from it, and what becomes of it when that one does not give it. */
import { describe, expect, it, vi } from 'vitest';
import type { ByteRange, ManifestEntry } from '../../../src/core/types.ts';
import { KiB, MiB } from '../../../src/core/units.ts';
import type { ObjectSpec } from '../../../src/demo/origin/objects.ts';
import type { PeerDataOptions } from '../../../src/server/peer-data.ts';
import type { OpenFile } from '../../../src/store/types.ts';
import { smallDataset } from '../../support/origin.ts';
import { overwrite } from '../../support/rot.ts';
import { openBench } from './bench.ts';
import {
  a,
  b,
  big,
  bytesOf,
  ended,
  expectHeld,
  loadedByA,
  nobody,
  openTwo,
  partBytes,
  placed,
  pretend,
  sentByOrigin,
  serve,
  served,
  token,
} from './copies-scene.ts';

openTwo();

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

  it('that cannot be reached is waited for once, for all copies from it, until it answers again', async () => {
    const { specs, entries } = await placed(
      ...Array.from({ length: 60 }, (_, i) => ({ key: `file-${i}`, sizeBytes: 5000 + i })),
    );
    await ended(a, await loadedByA(entries));
    const away = new Set<string>();
    const said: string[] = [];
    const c = await openBench({}, 512 * MiB, {
      ...{ origin: a.origin, peerAccess: { token } },
      peerReach: {
        avoids: (url) => away.has(url),
        failed: (url, why) => {
          away.add(url);
          said.push(`failed ${url} ${why}`);
        },
        answered: (url) => void said.push(`answered ${url}`),
      },
    });
    try {
      const url = await nobody();
      const run = c.start();
      const load = (one: ManifestEntry) => c.worker.load(run, one, { source: { url } });
      const first = await Promise.all(entries.slice(0, 30).map(load));
      expect(new Set(first.map(({ error }) => error?.code))).toEqual(new Set(['PEER_FAILED']));
      expect(said).toContainEqual(expect.stringContaining('ECONNREFUSED'));
      const { retries } = c.worker.progress(run);
      expect(retries).toBeGreaterThan(0);
      const rest = await Promise.all(entries.slice(30).map(load));
      expect(new Set(rest.map(({ error }) => error?.message.includes('could not be reached a moment ago')))).toEqual(
        new Set([true]),
      );
      expect(c.worker.progress(run).retries).toBe(retries);
      // Another one is asked all the same, and what has answered is known.
      said.length = 0;
      const { url: other } = await serve();
      const outcomes = await Promise.all(entries.map((one) => c.worker.load(run, one, { source: { url: other } })));
      expect(outcomes.filter(({ result }) => result !== 'loaded')).toEqual([]);
      expect(said).toContain(`answered ${other}`);
      for (const spec of specs.slice(0, 2)) await expectHeld(c, spec);
      await ended(c, run);
    } finally {
      await c.close();
    }
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
    overwrite(a.store.files[extents[0]!.store]!.path, extents[0]!.offset + 100, Buffer.of(0xa5, 0x5a));
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
