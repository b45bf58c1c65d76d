/** A copy of what the other worker still fetches: it follows, part by part. */
import type { AddressInfo } from 'node:net';
import Fastify from 'fastify';
import { describe, expect, it, vi } from 'vitest';
import type { ManifestEntry } from '../../../src/core/types.ts';
import { MiB } from '../../../src/core/units.ts';
import { peerData } from '../../../src/server/peer-data.ts';
import { peerFollow } from '../../../src/server/peer-follow.ts';
import { memoryLog } from '../../support/store-fixture.ts';
import {
  a,
  b,
  big,
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
  servers,
  token,
} from './copies-scene.ts';

openTwo();

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
