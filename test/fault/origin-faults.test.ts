/**
 * Faults of the origin, met by the real binary: each ends in right bytes, or in a failure that names the file, the
 * reason and what the origin said; each proves that it happened, and that the extra requests stayed within bounds.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import type { Fault } from '../../src/demo/origin/faults.ts';
import type { ObjectSpec } from '../../src/demo/origin/objects.ts';
import { check, ended, loaded, submit } from '../support/api.ts';
import { rawRequest } from '../support/raw-http.ts';
import { openScene, type Scene } from '../support/scene.ts';

const maxAttempts = 4;
let scene: Scene;
let api: string;
let places = 0;

beforeAll(async () => {
  scene = await openScene({
    origin: { objects: [] },
    daemon: {
      storeSize: '2GB',
      env: {
        PRIMED_INGEST_MAX_ATTEMPTS: String(maxAttempts),
        PRIMED_INGEST_RETRY_BASE: '10ms',
        PRIMED_INGEST_RETRY_MAX: '100ms',
        PRIMED_INGEST_FIRST_BYTE_TIMEOUT: '700ms',
        PRIMED_INGEST_STALL_TIMEOUT: '700ms',
      },
    },
  });
  api = scene.daemon.api;
});
afterAll(() => scene?.close());

/** A new folder at the origin: one file of many parts, one of a single part, and some small ones. */
function dataset(): { path: string; objects: ObjectSpec[]; large: ObjectSpec; small: ObjectSpec } {
  places += 1;
  const prefix = `place-${places}/`;
  const large = { key: `${prefix}large.bin`, sizeBytes: 20 * MiB + 77 };
  const small = { key: `${prefix}small-0.bin`, sizeBytes: 40 * KiB };
  const others = [1, 2, 3].map((n) => ({ key: `${prefix}small-${n}.bin`, sizeBytes: 40 * KiB + n }));
  const objects = [large, small, { key: `${prefix}medium.bin`, sizeBytes: 3 * MiB + 5 }, ...others];
  for (const one of objects) scene.origin.add(one);
  scene.origin.clearFaults();
  scene.origin.resetStats();
  return { path: `s3://demo/${prefix}`, objects, large, small };
}

const getsOf = (key: string) => scene.origin.requests.filter((one) => one.operation === 'GetObject' && one.key === key);
const bytesOf = (objects: readonly ObjectSpec[]) => objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);

/** Neither a byte of it, nor a success without one. */
async function expectNotServed(key: string): Promise<void> {
  const answer = await rawRequest(scene.daemon.ports.s3, `/demo/${key}`);
  expect([404, 503]).toContain(answer.status);
}

const passing: [string, Fault][] = [
  ['500', { kind: 'status', status: 500 }],
  ['503 SlowDown', { kind: 'status', status: 503 }],
  ['429', { kind: 'status', status: 429 }],
  ['503 with Retry-After', { kind: 'status', status: 503, retryAfterSeconds: 1 }],
  ['a reset before the answer', { kind: 'reset' }],
  ['a reset after the head', { kind: 'reset', afterBytes: 0 }],
  ['a reset after one byte', { kind: 'reset', afterBytes: 1 }],
  ['a reset in the middle', { kind: 'reset', afterBytes: 30_001 }],
  ['a body that ends early', { kind: 'short-body', afterBytes: 12_345 }],
  ['a body that is declared too long', { kind: 'long-body', extraBytes: 10 }],
  ['bytes behind the end of the body', { kind: 'long-body', extraBytes: 10, declared: false }],
  ['silence before the answer', { kind: 'stall' }],
  ['silence in the body', { kind: 'stall', afterBytes: 5000 }],
  ['a slow drip', { kind: 'drip', bytesPerSecond: 200 * KiB }],
  ['a chunked body', { kind: 'chunked' }],
  ['a redirect', { kind: 'redirect', status: 307 }],
];

/** These need a request for a range to be one: small files are asked for whole. */
const ofRanges: [string, Fault][] = [
  ['another range', { kind: 'wrong-range', shiftBytes: 1 }],
  ['another range in the head', { kind: 'wrong-range', shiftBytes: 4096, where: 'head' }],
  ['the whole body for a range', { kind: 'whole-body' }],
];
const met = [
  ...passing.map(([name, fault]) => ['small', name, fault] as const),
  ...[...passing, ...ofRanges].map(([name, fault]) => ['large', name, fault] as const),
];

describe('a fault that passes ends in right bytes', () => {
  it.each(met)('on a %s file: %s', async (which, _name, fault) => {
    const { path, objects, [which]: target } = dataset();
    // A dripping answer to a whole part would last 40 s, and not be slow to anybody.
    const limited = which === 'large' && fault.kind === 'drip' ? { ...fault, bytesPerSecond: 8 * MiB } : fault;
    const rule = scene.origin.setFault({ fault: limited, key: target.key, times: 2 });
    const report = await loaded(api, path);
    expect(scene.origin.fired(rule)).toBeGreaterThan(0);
    expect(report).toMatchObject({ loadedFiles: objects.length, mLoadedByteCount: bytesOf(objects) });
    expect(report.ledger).toMatchObject({ cachedBytes: bytesOf(objects), inFlightBytes: 0 });
    await scene.readBack(objects);
    // Every part once, and each fault costs at most a few requests more (the general way asks once itself).
    const parts = Math.ceil(target.sizeBytes / (8 * MiB));
    expect(getsOf(target.key).length).toBeLessThanOrEqual(parts + 2 * scene.origin.fired(rule) + 2);
  });
});

describe('a fault that stays ends in a failure by name, and the other files are loaded', () => {
  it.each<[string, Fault, RegExp]>([
    ['500', { kind: 'status', status: 500 }, /500/],
    ['a reset', { kind: 'reset', afterBytes: 100 }, /reset|closed|connection/i],
    ['a short body', { kind: 'short-body', afterBytes: 100 }, /short|closed|ended|bytes/i],
    ['silence', { kind: 'stall', afterBytes: 10 }, /stopped|nothing|stall/i],
    ['403', { kind: 'status', status: 403, code: 'AccessDenied' }, /403.*AccessDenied|AccessDenied.*403/],
    ['404', { kind: 'status', status: 404, code: 'NoSuchKey' }, /404|NoSuchKey/],
  ])('%s', async (_name, fault, reason) => {
    const { path, objects, small } = dataset();
    const rule = scene.origin.setFault({ fault, key: small.key });
    await submit(api, path);
    const report = await ended(api, path);
    expect(scene.origin.fired(rule)).toBeGreaterThan(0);
    expect(report).toMatchObject({ mJobState: 'FAILED', mFailedFileCount: 1, loadedFiles: objects.length - 1 });
    expect(report.mFailedFilesWithReasons).toEqual({ [`s3://demo/${small.key}`]: expect.stringMatching(reason) });
    expect(report.ledger.inFlightBytes).toBe(0);
    // Twice: the general way may ask for each attempt again.
    expect(getsOf(small.key).length).toBeLessThanOrEqual(2 * maxAttempts);
    const others = objects.filter((one) => one !== small);
    await scene.readBack(others);
    expect(report.mLoadedByteCount).toBe(bytesOf(others));
    expect(await check(api, path)).toMatchObject({ ok: true, checkedFiles: others.length });
    await expectNotServed(small.key);

    scene.origin.clearFaults();
    expect(await loaded(api, path, { skipIfExists: true })).toMatchObject({
      loadedFiles: 1,
      mSkippedByteCount: bytesOf(others),
    });
    await scene.readBack(objects);
  });
});

describe('an object that changes during the load', () => {
  it.each([
    ['large', 30 * MiB + 3],
    ['large', 2 * MiB],
    ['small', 90 * KiB],
  ] as const)('%s becomes the new version, whole (%i bytes)', async (which, sizeBytes) => {
    const { path, objects, [which]: target } = dataset();
    const skip = which === 'large' ? 1 : 0;
    const rule = scene.origin.setFault({ fault: { kind: 'change', sizeBytes }, key: target.key, skip, times: 1 });
    const report = await loaded(api, path);
    expect(scene.origin.fired(rule)).toBe(1);
    expect(report.ledger.inFlightBytes).toBe(0);
    await scene.readBack(objects.map((one) => (one === target ? { ...one, version: 2, sizeBytes } : one)));
  });

  it('again and again: the load gives up by name, and serves none of the versions in part', async () => {
    const { path, large } = dataset();
    const rule = scene.origin.setFault({ fault: { kind: 'change' }, key: large.key, every: 2 });
    await submit(api, path);
    const report = await ended(api, path);
    expect(scene.origin.fired(rule)).toBeGreaterThan(1);
    expect(report).toMatchObject({ mJobState: 'FAILED', mFailedFileCount: 1 });
    expect(report.mFailedFilesWithReasons[`s3://demo/${large.key}`]).toMatch(/change/i);
    expect(report.ledger.inFlightBytes).toBe(0);
    await expectNotServed(large.key);
  });

  it('vanishes: the failure names it', async () => {
    const { path, large, objects } = dataset();
    const rule = scene.origin.setFault({ fault: { kind: 'vanish' }, key: large.key, skip: 1, times: 1 });
    await submit(api, path);
    const report = await ended(api, path);
    expect(scene.origin.fired(rule)).toBe(1);
    expect(report).toMatchObject({ mJobState: 'FAILED', mFailedFileCount: 1, loadedFiles: objects.length - 1 });
    expect(report.mFailedFilesWithReasons[`s3://demo/${large.key}`]).toMatch(/404|NoSuchKey|no such|not found/i);
  });
});

describe('the listing', () => {
  it('that fails for a while goes on', async () => {
    const { path, objects } = dataset();
    const rule = scene.origin.setFault({
      fault: { kind: 'status', status: 503 },
      operation: 'ListObjectsV2',
      times: 2,
    });
    expect(await loaded(api, path)).toMatchObject({ loadedFiles: objects.length });
    expect(scene.origin.fired(rule)).toBe(2);
  });

  it('that is refused fails the job with status, code and request id', async () => {
    const { path } = dataset();
    const rule = scene.origin.setFault({
      fault: { kind: 'status', status: 403, code: 'AccessDenied' },
      operation: '*',
    });
    expect((await submit(api, path)).status).toBe(200);
    const report = await ended(api, path);
    scene.origin.clearFaults();
    expect(scene.origin.fired(rule)).toBeGreaterThan(0);
    expect(report.mJobState).toBe('FAILED');
    expect(report.reason).toMatch(/^ORIGIN_DENIED: .*HTTP 403, code AccessDenied, request id /);
    expect(scene.origin.requests.map(({ requestId }) => requestId)).toContain(
      /request id ([^)]+)\)/.exec(report.reason)?.[1],
    );
  });
});

it('all of them in one load, two on each file, end in right bytes', async () => {
  const { path, objects } = dataset();
  for (let n = 0; n < 60; n += 1)
    objects.push({ key: `${path.slice('s3://demo/'.length)}more-${n}.bin`, sizeBytes: 1000 + 333 * n });
  for (const one of objects.slice(-60)) scene.origin.add(one);
  const kinds = passing.map(([, fault]) => fault).filter(({ kind }) => kind !== 'drip');
  // Each once, so that no part meets as many as it has attempts: success is the only right end. The first request for a
  // file meets the first of its two; the second waits for whoever asks again.
  const [first, second] = [1, 6].map((step) =>
    objects.map(({ key }, index) =>
      scene.origin.setFault({ fault: kinds[(index * step) % kinds.length]!, key, times: 1 }),
    ),
  );
  const report = await loaded(api, path);
  expect(first!.map((rule) => scene.origin.fired(rule))).toEqual(objects.map(() => 1));
  expect(second!.filter((rule) => scene.origin.fired(rule) === 1).length).toBeGreaterThan(objects.length / 2);
  expect(report).toMatchObject({ loadedFiles: objects.length, mLoadedByteCount: bytesOf(objects) });
  expect(report.ledger).toMatchObject({ cachedBytes: bytesOf(objects), inFlightBytes: 0 });
  await scene.readBack(objects);
  expect(await check(api, path)).toMatchObject({ ok: true, checkedFiles: objects.length });
});
