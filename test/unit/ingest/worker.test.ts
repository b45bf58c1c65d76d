import { truncateSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { nothingInTurn } from '../../../src/core/in-turn.ts';
import { ledgerDifference, type ManifestEntry, type RunId } from '../../../src/core/types.ts';
import { KiB, MiB } from '../../../src/core/units.ts';
import type { ObjectSpec } from '../../../src/demo/origin/objects.ts';
import type { FileOutcome } from '../../../src/ingest/types.ts';
import { expectContent, smallDataset } from '../../support/origin.ts';
import { overwrite } from '../../support/rot.ts';
import { type Bench, openBench } from './bench.ts';

let bench: Bench;
beforeAll(async () => {
  bench = await openBench({ objects: [], wholeHashMaxBytes: 64 * MiB });
});
afterAll(() => bench?.close());
beforeEach(async () => {
  await bench.store.remove('s3://demo/' as ManifestEntry['path']);
  bench.origin.clearFaults();
  bench.origin.resetStats();
  bench.observed.limits.length = 0;
  bench.observed.retries.length = 0;
});

let places = 0;
/** Objects under a prefix of their own, and their manifest. */
async function placed(objects: readonly ObjectSpec[]): Promise<{ specs: ObjectSpec[]; entries: ManifestEntry[] }> {
  places += 1;
  const prefix = `p${places}/`;
  const specs = objects.map((object) => ({ ...object, key: prefix + object.key }));
  for (const spec of specs) bench.origin.add(spec);
  return { specs, entries: await bench.list(prefix) };
}

const loadAll = (run: RunId, entries: readonly ManifestEntry[]): Promise<FileOutcome[]> =>
  Promise.all(entries.map((entry) => bench.worker.load(run, entry)));

async function expectCached(specs: readonly ObjectSpec[]): Promise<void> {
  for (const spec of specs) {
    const file = bench.store.open(`s3://demo/${spec.key}` as ManifestEntry['path']);
    const pieces: Uint8Array[] = [];
    for await (const piece of file.read({ offset: 0, length: spec.sizeBytes })) pieces.push(Buffer.from(piece));
    file.close();
    expectContent(Buffer.concat(pieces), spec);
  }
}

async function balanced(run: RunId): Promise<void> {
  await bench.worker.endRun(run);
  expect(ledgerDifference(bench.store.ledger(run))).toBe(0);
}

const small = (count: number): ObjectSpec[] =>
  Array.from({ length: count }, (_, i) => ({ key: `small-${String(i).padStart(3, '0')}`, sizeBytes: 10 * KiB + i }));
const large: ObjectSpec = { key: 'large', sizeBytes: 40 * MiB + 77 };

describe('a run', () => {
  it('makes every byte durable, whatever the sizes, and its ledger balances', async () => {
    const { specs, entries } = await placed(smallDataset);
    const run = bench.start();
    const outcomes = await loadAll(run, entries);
    expect(outcomes.map((outcome) => outcome.result)).toEqual(entries.map(() => 'loaded'));
    await expectCached(specs);
    await balanced(run);
    const { cachedBytes, originBytes } = bench.store.ledger(run);
    expect(cachedBytes).toBe(specs.reduce((sum, spec) => sum + spec.sizeBytes, 0));
    expect(originBytes).toBe(cachedBytes);
  });

  it('does not let one silent object hold back the others of its write unit', async () => {
    const { specs, entries } = await placed(small(64));
    const silent = specs[10] as ObjectSpec;
    const fault = bench.origin.setFault({ fault: { kind: 'stall', afterBytes: 100 }, key: silent.key });
    const run = bench.start();
    const outcomes = entries.map((entry) => bench.worker.load(run, entry));
    const others = await Promise.all(outcomes.filter((_, i) => entries[i]?.path.endsWith(silent.key) === false));
    expect(others.every((outcome) => outcome.result === 'loaded')).toBe(true);
    expect(bench.origin.fired(fault)).toBe(1);
    await bench.worker.stopRun(run);
    expect(
      (await Promise.all(outcomes)).map((outcome) => outcome.result).filter((result) => result === 'stopped'),
    ).toHaveLength(1);
    await expectCached(specs.filter((spec) => spec !== silent));
    await balanced(run);
    expect(bench.store.ledger(run).discardedBytes.stopped).toBeGreaterThan(0);
  });

  it('says how many requests are under way, and what they have to receive', async () => {
    const { specs, entries } = await placed([
      { key: 'nearly', sizeBytes: 2 * MiB },
      { key: 'hardly', sizeBytes: MiB },
    ]);
    const [nearly, hardly] = specs.map(({ key }) => key) as [string, string];
    const faults = [
      bench.origin.setFault({ fault: { kind: 'stall', afterBytes: 2 * MiB - 100 }, key: nearly }),
      bench.origin.setFault({ fault: { kind: 'stall', afterBytes: 1000 }, key: hardly }),
    ];
    const run = bench.start();
    const outcomes = entries.map((entry) => bench.worker.load(run, entry));
    await vi.waitFor(
      () => {
        expect(faults.map((fault) => bench.origin.fired(fault))).toEqual([1, 1]);
        expect(bench.worker.progress(run)).toMatchObject({
          requestsInFlight: 2,
          turn: { bytes: MiB - 1000, ofBytes: MiB - 900, waiting: 0 },
        });
      },
      { timeout: 20_000 },
    );
    await bench.worker.stopRun(run);
    await Promise.all(outcomes);
    expect(bench.worker.progress(run)).toMatchObject({ requestsInFlight: 0, turn: nothingInTurn });
    await balanced(run);
  });

  it('that was stopped goes on without fetching a durable part again', async () => {
    const { specs, entries } = await placed([large, ...small(20)]);
    // all parts of the large object but its last stand still: the small ones and that part become durable
    const rangeFrom = { from: 0, to: 40 * MiB };
    const key = specs[0]?.key as string;
    const fault = bench.origin.setFault({ fault: { kind: 'stall', afterBytes: 5000 }, key, rangeFrom });
    const first = bench.start();
    const outcomes = entries.map((entry) => bench.worker.load(first, entry));
    await Promise.all(outcomes.filter((_, i) => entries[i]?.path.includes('small')));
    expect(bench.origin.fired(fault)).toBe(5);
    await bench.worker.stopRun(first);
    await balanced(first);
    bench.origin.clearFaults();
    bench.origin.resetStats();
    const second = bench.start({ load: first as never });
    const again = await loadAll(second, entries);
    expect(again.map((outcome) => outcome.result).sort()).toEqual(['loaded', ...small(20).map(() => 'skipped')].sort());
    expect(bench.origin.requests.filter((one) => one.key.includes('small'))).toEqual([]);
    await expectCached(specs);
    await balanced(second);
    const both = bench.store.ledger(first).cachedBytes + bench.store.ledger(second).cachedBytes;
    expect(both).toBe(specs.reduce((sum, spec) => sum + spec.sizeBytes, 0));
  });
});

describe('an object that changes under the load', () => {
  it('is loaded whole at its new version', async () => {
    const { specs, entries } = await placed([large]);
    const key = specs[0]?.key as string;
    const fault = bench.origin.setFault({ fault: { kind: 'change', sizeBytes: 30 * MiB }, key, skip: 2, times: 1 });
    const run = bench.start();
    const [outcome] = await loadAll(run, entries);
    expect(bench.origin.fired(fault)).toBe(1);
    expect(outcome).toMatchObject({ result: 'loaded', loadedBytes: 30 * MiB, version: { sizeBytes: 30 * MiB } });
    await expectCached([{ key, sizeBytes: 30 * MiB, version: 2 }]);
    await balanced(run);
    expect(bench.store.ledger(run).cachedBytes).toBe(30 * MiB);
    expect(bench.store.ledger(run).discardedBytes.changed).toBeGreaterThan(0);
  });

  it('fails by name where the policy says so, or where it never stands still', async () => {
    const { specs, entries } = await placed([large]);
    const key = specs[0]?.key as string;
    const fault = bench.origin.setFault({ fault: { kind: 'change' }, key, skip: 1 });
    const strict = bench.start({ onChange: 'fail' });
    const [failed] = await loadAll(strict, entries);
    expect(failed).toMatchObject({ result: 'failed', error: { code: 'ORIGIN_CHANGED' } });
    await balanced(strict);
    const patient = bench.start();
    const [restless] = await loadAll(patient, await bench.list(key.replace('large', '')));
    expect(restless).toMatchObject({ result: 'failed', error: { code: 'ORIGIN_CHANGED' } });
    expect(restless?.error?.message).toContain(key);
    expect(bench.origin.fired(fault)).toBeGreaterThan(3);
    await balanced(patient);
  });

  it('that vanishes is a failure that names it', async () => {
    const { specs, entries } = await placed([large, { key: 'stays', sizeBytes: 5000 }]);
    const key = specs[0]?.key as string;
    const fault = bench.origin.setFault({ fault: { kind: 'vanish' }, key, skip: 1, times: 1 });
    const run = bench.start();
    const outcomes = await loadAll(run, entries);
    expect(bench.origin.fired(fault)).toBe(1);
    expect(outcomes[0]).toMatchObject({ result: 'failed', error: { code: 'ORIGIN_NOT_FOUND' } });
    expect(outcomes[0]?.error?.message).toContain(key);
    expect(outcomes[1]?.result).toBe('loaded');
    await balanced(run);
  });
});

describe('an origin in trouble', () => {
  it('that throttles slows the whole worker down, and the load still ends right', async () => {
    const { specs, entries } = await placed(small(100));
    const fault = bench.origin.setFault({ fault: { kind: 'status', status: 503 }, keyPattern: '^p', times: 5 });
    const run = bench.start();
    const outcomes = await loadAll(run, entries);
    expect(bench.origin.fired(fault)).toBe(5);
    expect(outcomes.every((outcome) => outcome.result === 'loaded')).toBe(true);
    expect(Math.min(...bench.observed.limits)).toBeLessThanOrEqual(8);
    expect(bench.observed.retries).toEqual(Array.from({ length: 5 }, () => 'throttled'));
    await expectCached(specs);
    await balanced(run);
  });

  it('fails the file after a bounded number of requests, with what the origin said', async () => {
    const { specs, entries } = await placed([{ key: 'poison', sizeBytes: 5000 }, ...small(10)]);
    const key = specs[0]?.key as string;
    const fault = bench.origin.setFault({ fault: { kind: 'status', status: 500 }, key });
    const run = bench.start();
    const outcomes = await loadAll(run, entries);
    expect(bench.origin.fired(fault)).toBe(3);
    const failed = outcomes.filter((outcome) => outcome.result === 'failed');
    expect(failed).toHaveLength(1);
    expect(failed[0]?.error).toMatchObject({ code: 'ORIGIN_SERVER_ERROR' });
    expect(failed[0]?.error?.message).toMatch(/poison.*HTTP 500.*InternalError.*request id .+after 3 attempts/);
    expect(outcomes.filter((outcome) => outcome.result === 'loaded')).toHaveLength(10);
    await balanced(run);
  });
});

describe('verification', () => {
  it('finds a page that has changed on the SSD, and names its place', async () => {
    const { specs, entries } = await placed([large, ...small(5)]);
    const run = bench.start();
    await loadAll(run, entries);
    const victim = entries.find((entry) => entry.path.endsWith('large')) as ManifestEntry;
    const file = bench.store.open(victim.path);
    const page = [...file.pages()][17];
    file.close();
    overwrite(bench.store.files[0]!.path, page!.extents[0]!.offset + 1234, Buffer.from('flipped'));
    const outcomes = await Promise.all(entries.map((entry) => bench.worker.verify(run, entry)));
    for (const outcome of outcomes) expect(outcome.ok).toBe(outcome.path !== victim.path);
    const bad = outcomes.find((outcome) => !outcome.ok);
    expect(bad).toMatchObject({ badPages: 1, error: { code: 'STORE_CORRUPT' } });
    expect(bad?.error?.message).toMatch(/large.*page 17/);
    expect(bench.observed.badPages).toBe(1);
    expect(specs).toHaveLength(6);
    await balanced(run);
  });

  it('tells of a page that the operating system does not give', async () => {
    const { entries } = await placed([large]);
    const run = bench.start();
    await loadAll(run, entries);
    const { path: place, sizeBytes } = bench.store.files[0]!;
    const file = bench.store.open(entries[0]!.path);
    truncateSync(place, Math.max(...[...file.pages()].flatMap(({ extents }) => extents.map(({ offset }) => offset))));
    file.close();
    const outcome = await bench.worker.verify(run, entries[0]!);
    // What is lost no other test asks for.
    truncateSync(place, sizeBytes);
    expect(outcome).toMatchObject({ ok: false, error: { code: 'STORE_IO' } });
    expect(bench.observed.failedReads).toBe(1);
    await balanced(run);
  });

  it('digests files that share a slot, and files that would straddle two', async () => {
    const sizes = [3 * MiB + 5, 5 * MiB, 2 * MiB - 1, 7 * MiB + 1, 8 * MiB, MiB, 6 * MiB + 77, 4097];
    const { entries } = await placed(sizes.map((sizeBytes, i) => ({ key: `medium-${i}`, sizeBytes })));
    const run = bench.start();
    await loadAll(run, entries);
    const outcomes = await Promise.all(entries.map((entry) => bench.worker.verify(run, entry)));
    expect(outcomes.map((outcome) => outcome.wholeObject)).toEqual(sizes.map(() => 'matched'));
    await balanced(run);
  });

  it('compares whole objects with what the origin says of them', async () => {
    const { specs, entries } = await placed([large, ...small(5)]);
    const fault = bench.origin.setFault({
      fault: { kind: 'corrupt', atByte: 4000 },
      key: specs[3]?.key as string,
      times: 1,
    });
    const other = bench.origin.setFault({
      fault: { kind: 'corrupt', atByte: 4000 },
      key: specs[0]?.key as string,
      times: 1,
    });
    const run = bench.start();
    const loaded = await loadAll(run, entries);
    expect(loaded.every((outcome) => outcome.result === 'loaded')).toBe(true);
    expect([bench.origin.fired(fault), bench.origin.fired(other)]).toEqual([1, 1]);
    const outcomes = await Promise.all(entries.map((entry) => bench.worker.verify(run, entry)));
    const wrong = outcomes.filter((outcome) => outcome.wholeObject === 'mismatched').map((outcome) => outcome.path);
    expect(wrong.sort()).toEqual([specs[0], specs[3]].map((spec) => `s3://demo/${spec?.key}`).sort());
    expect(outcomes.filter((outcome) => outcome.ok && outcome.wholeObject === 'matched')).toHaveLength(4);
    await balanced(run);
  });
});
