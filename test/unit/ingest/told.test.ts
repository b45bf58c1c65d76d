/** What a worker tells of its files: attempts that failed, how it went on, and of what goes well nothing. */
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { ManifestEntry, RunId } from '../../../src/core/types.ts';
import { KiB, MiB } from '../../../src/core/units.ts';
import { type Bench, openBench } from './bench.ts';

let bench: Bench;
beforeAll(async () => {
  bench = await openBench({ objects: [] });
});
afterAll(() => bench?.close());
beforeEach(() => {
  bench.origin.clearFaults();
  bench.origin.resetStats();
  bench.told.events.length = 0;
  bench.told.well = 0;
});

let places = 0;
async function placed(...sizes: number[]): Promise<ManifestEntry[]> {
  places += 1;
  for (const [at, sizeBytes] of sizes.entries()) bench.origin.add({ key: `p${places}/${at}`, sizeBytes });
  return bench.list(`p${places}/`);
}

const keyOf = ({ path }: ManifestEntry): string => path.replace('s3://demo/', '');
const idsOf = (entry: ManifestEntry): string[] =>
  bench.origin.requests
    .filter((one) => one.operation === 'GetObject' && one.key === keyOf(entry))
    .map((one) => one.requestId);

async function load(run: RunId, entries: readonly ManifestEntry[]): Promise<string[]> {
  return (await Promise.all(entries.map((entry) => bench.worker.load(run, entry)))).map(({ result }) => result);
}

it('of files that are loaded at once only the count', async () => {
  const entries = await placed(...Array<number>(50).fill(10 * KiB), 20 * MiB);
  const run = bench.start();
  expect(await load(run, entries)).toEqual(entries.map(() => 'loaded'));
  await bench.worker.endRun(run);
  expect(bench.told).toEqual({ events: [], well: 51 });
});

it('of a part that failed its attempts, and the one that brought it, each as the origin answered', async () => {
  const entries = await placed(...Array<number>(20).fill(10 * KiB));
  const victim = entries[7]!;
  const fault = bench.origin.setFault({ fault: { kind: 'status', status: 500 }, key: keyOf(victim), times: 2 });
  const run = bench.start();
  expect(await load(run, entries)).toEqual(entries.map(() => 'loaded'));
  await bench.worker.endRun(run);
  expect(bench.origin.fired(fault)).toBe(2);
  const ids = idsOf(victim);
  const said = { kind: 'attempt', path: victim.path, job: run, etag: victim.etag, offset: 0, length: 10 * KiB };
  const failed = { ...said, result: 'server', httpStatus: 500, s3Code: 'InternalError', next: 'again' };
  expect(bench.told.events).toEqual([
    { ...failed, attempt: 1, requestId: ids[0], ...anyOf('message', 'durationMs', 'delayMs') },
    { ...failed, attempt: 2, requestId: ids[1], ...anyOf('message', 'durationMs', 'delayMs') },
    { ...said, attempt: 3, result: 'arrived', httpStatus: 200, requestId: ids[2], ...anyOf('durationMs') },
    { kind: 'loaded', path: victim.path, job: run, etag: victim.etag },
  ]);
  expect(bench.told.well).toBe(19);
});

it('of one part of many only that part', async () => {
  const [entry] = await placed(20 * MiB + 5);
  const rangeFrom = { from: 8 * MiB, to: 8 * MiB + 1 };
  const fault = bench.origin.setFault({
    fault: { kind: 'status', status: 503 },
    rangeFrom,
    key: keyOf(entry!),
    times: 1,
  });
  const run = bench.start();
  expect(await load(run, [entry!])).toEqual(['loaded']);
  await bench.worker.endRun(run);
  expect(bench.origin.fired(fault)).toBe(1);
  expect(bench.told.events).toMatchObject([
    { offset: 8 * MiB, length: 8 * MiB, result: 'throttled', attempt: 1 },
    { offset: 8 * MiB, result: 'arrived', attempt: 2, httpStatus: 206 },
    { kind: 'loaded' },
  ]);
});

it('of a file that is given up the last attempt and the reason; of an object that changed, that', async () => {
  const [denied, changed] = await placed(10 * KiB, 3 * MiB);
  const refuses = bench.origin.setFault({ fault: { kind: 'status', status: 403 }, key: keyOf(denied!) });
  const changes = bench.origin.setFault({ fault: { kind: 'change' }, key: keyOf(changed!), times: 1 });
  const run = bench.start();
  expect(await load(run, [denied!, changed!])).toEqual(['failed', 'loaded']);
  await bench.worker.endRun(run);
  expect([refuses, changes].map((id) => bench.origin.fired(id))).toEqual([1, 1]);
  const of = ({ path }: ManifestEntry) => bench.told.events.filter((event) => event.path === path);
  expect(of(denied!)).toMatchObject([
    { kind: 'attempt', result: 'denied', httpStatus: 403, next: 'given-up', requestId: idsOf(denied!)[0] },
    {
      kind: 'given-up',
      code: 'ORIGIN_DENIED',
      message: expect.stringMatching(new RegExp(`^bytes 0-.*${idsOf(denied!)[0]!}`)),
    },
  ]);
  expect(of(changed!)).toMatchObject([
    { kind: 'attempt', result: 'changed', httpStatus: 412, next: 'loaded-anew' },
    { kind: 'loaded' },
  ]);
});

it('of what is freed one event for its path, and none of a dry run', async () => {
  const entries = await placed(10 * KiB, 10 * KiB, 10 * KiB);
  const run = bench.start();
  await load(run, entries);
  await bench.worker.endRun(run);
  const path = `s3://demo/p${places}/` as ManifestEntry['path'];
  await bench.worker.free({ path, dryRun: true, stopLoads: false }, 'dry' as RunId);
  await bench.worker.free({ path, stopLoads: true }, 'wet' as RunId);
  await bench.worker.free({ path, stopLoads: true }, 'again' as RunId);
  expect(bench.told.events).toEqual([{ kind: 'gone', reason: 'freed', path, run: 'wet', files: 3, bytes: 30 * KiB }]);
});

function anyOf(...names: string[]): Record<string, unknown> {
  return Object.fromEntries(names.map((name) => [name, expect.anything()]));
}
