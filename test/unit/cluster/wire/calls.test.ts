/** What crosses the control link arrives as it was said, and as often. */
import { afterEach, beforeEach, expect, test } from 'vitest';
import { emptyProgress } from '../../../../src/cluster/fleet-run.ts';
import { inFlight } from '../../../../src/cluster/wire/protocol.ts';
import type { WorkerId, WorkerLink } from '../../../../src/cluster/worker-link.ts';
import { PrimedError } from '../../../../src/core/errors.ts';
import type { LoadId, RunId, UfsPath } from '../../../../src/core/types.ts';
import { cachedOf } from './scripted-link.ts';
import { codeOf, how, run, segmentAt, spec, until, WireStage } from './stage.ts';

let stage: WireStage;
beforeEach(async () => {
  stage = await new WireStage().open();
});
afterEach(() => stage.close());

test('every call arrives with its arguments, and its answer comes back', async () => {
  const { worker } = stage;
  const link = stage.link();
  const figures = { ...emptyProgress(), receivedBytes: 2 ** 40 + 1, durableBytes: 12, retries: 3 };
  worker.figures.set(run, figures);
  const files = [segmentAt(1).file, segmentAt(2, { versionId: 'v"2"' }).file];
  const [file] = files as [(typeof files)[0]];
  const segments = [0, 2, 5].map((index) => ({ file, index, offset: index * 2 ** 33, length: 2 ** 33 }));
  const limited = { ...spec, bandwidthBytesPerSecond: 2 ** 35 };

  await link.startRun(limited);
  await link.reserveMore(run, 2 ** 41);
  await link.reserveMore(run, -4096);
  await link.makeRoom(run, files);
  expect(await link.cached(spec, segments)).toEqual([
    { complete: true, bytes: 2 ** 33, ours: true, own: true, ownBytes: 2 ** 33 },
    { complete: true, bytes: 2 ** 33, ours: false, own: false, ownBytes: 0 },
    { complete: false, bytes: 2 ** 33, ours: false, own: true, ownBytes: 2 ** 33 },
  ]);
  const missing = await link.missing({ load: spec.load, reuse: 'any' }, segments);
  expect(missing.map(({ bytes, heads }) => [bytes, heads])).toEqual(segments.map((one) => [one.length, one.index % 2]));
  const order = { bytes: 2 ** 41, keeps: [file.path], named: 3 };
  const evicted = { files: 1, bytes: 2, paths: ['s3://b/k'], counted: true };
  expect(await link.room(order)).toEqual({ partBytes: 8, capacityBytes: 100, freeBytes: 10, fits: true, evicted });
  await link.publish(run, file);
  await link.stateChecksums(run, file, { crc64nvme: 'AAAAAAAAAAA=' });
  await link.abandon(run, file, 'changed');
  await link.loadMetadata(run, files);
  expect(await link.verify(run, file, segments, 'crc32c')).toEqual({
    path: file.path,
    ok: true,
    checkedBytes: 3 * 2 ** 33,
    badPages: 0,
    wholeObject: 'matched',
    sums: segments.map(({ offset, length }) => ({ offset, length, sum: `crc32c ${offset}` })),
  });
  expect(await link.free({ path: file.path, stopLoads: true }, spec)).toEqual({
    files: 3,
    bytes: 300,
    next: file.path,
  });
  const last = { path: file.path, after: file.path, dryRun: true, stopLoads: false };
  expect(await link.free(last, spec)).toEqual({ files: 3, bytes: 300 });
  await link.setBandwidth(run, 1000);
  await link.setBandwidth(run, undefined);
  await link.stopRun(run);
  expect(await link.endRun(run)).toEqual(figures);

  expect(worker.calls).toEqual([
    ['startRun', limited],
    ['reserveMore', run, 2 ** 41],
    ['reserveMore', run, -4096],
    ['makeRoom', run, files],
    ['cached', { run, load: spec.load }, segments],
    ['missing', { load: spec.load, reuse: 'any' }, segments],
    ['room', order],
    ['publish', run, file],
    ['stateChecksums', run, file, { crc64nvme: 'AAAAAAAAAAA=' }],
    ['abandon', run, file, 'changed'],
    ['loadMetadata', run, files],
    ['verify', run, file, segments, 'crc32c'],
    ['free', { path: file.path, dryRun: false, stopLoads: true }],
    ['free', last],
    ['setBandwidth', run, 1000],
    ['setBandwidth', run, undefined],
    ['stopRun', run],
    ['endRun', run],
  ]);
});

test('loads of one turn of the loop arrive each with its own file, cut, haste, source and whether it is followed', async () => {
  const link = await stage.begun();
  const source = { worker: 'worker-2' as WorkerId, url: 'http://10.0.0.2:19999' };
  const asked = [
    { segment: segmentAt(1), how: { hasty: true, followed: true as const } },
    { segment: segmentAt(2, { index: 3, offset: 192, length: 64, versionId: 'x' }), how: { hasty: false, source } },
    { segment: segmentAt(3, { versionId: 'y' }), how: { hasty: true, source } },
    { segment: segmentAt(4), how },
  ];
  const outcomes = Promise.all(asked.map((one) => link.load(run, one.segment, one.how)));
  await until(() => stage.worker.loads.length === 4);
  expect(stage.worker.loads.map(({ run: of, segment, how }) => ({ of, segment, how }))).toEqual(
    asked.map((one) => ({ of: run, ...one })),
  );

  const { path: _, ...same } = asked[0]!.segment.file;
  const other = { etag: 'new', sizeBytes: 5, lastModifiedMs: 6, versionId: 'z' };
  const error = { code: 'ORIGIN_LOST', message: 'the origin is gone' } as const;
  stage.worker.loads[3]!.resolve({ result: 'failed', loadedBytes: 7, error });
  stage.worker.loads[2]!.resolve({ version: other });
  stage.worker.loads[1]!.resolve({ result: 'skipped', loadedBytes: 0, skippedBytes: 64 });
  stage.worker.loads[0]!.resolve({ version: same });
  expect(await outcomes).toEqual([
    { result: 'loaded', loadedBytes: 1001, skippedBytes: 0, version: asked[0]!.segment.file },
    { result: 'skipped', loadedBytes: 0, skippedBytes: 64 },
    { result: 'loaded', loadedBytes: 1003, skippedBytes: 0, version: other },
    { result: 'failed', loadedBytes: 7, skippedBytes: 0, error },
  ]);
});

test('paths whose characters are cut apart by a common start arrive whole', async () => {
  const link = await stage.begun();
  // Both begin with the first half of a surrogate pair.
  const paths = ['s3://b/\u{1F600}', 's3://b/\u{1F601}', 's3://b/'] as UfsPath[];
  await link.makeRoom(
    run,
    paths.slice(0, 2).map((path) => ({ ...segmentAt(1).file, path })),
  );
  await link.makeRoom(
    run,
    paths.map((path) => ({ ...segmentAt(1).file, path })),
  );
  const arrived = stage.worker.calls.filter(([name]) => name === 'makeRoom').map(([, , files]) => files);
  expect(arrived).toMatchObject([paths.slice(0, 2).map((path) => ({ path })), paths.map((path) => ({ path }))]);
});

test('a question about more segments than a frame takes is answered in their order', async () => {
  const link = await stage.begun();
  const long = 'k'.repeat(4000);
  const segments = Array.from({ length: 10_000 }, (_, index) => {
    const { file } = segmentAt(index);
    return { file: { ...file, path: `${file.path}${long}` as UfsPath }, index, offset: 0, length: index };
  });
  const cached = await link.cached(spec, segments);
  expect(cached).toEqual(segments.map(cachedOf));
  expect(stage.worker.count('cached')).toBeGreaterThan(1);
  expect(stage.proxy.connections).toBe(1);
}, 120_000);

test('errors keep their code, those that are none of the catalogue become INTERNAL', async () => {
  const link = await stage.begun();
  const refusing = (method: keyof WorkerLink, error: unknown): void => {
    stage.worker.before.set(method, () => Promise.reject(error));
  };
  refusing('reserveMore', new PrimedError('STORE_NO_ROOM', 'worker-1 needs 5 bytes, and 4 are free'));
  expect(await codeOf(link.reserveMore(run, 5))).toBe('STORE_NO_ROOM: worker-1 needs 5 bytes, and 4 are free');
  refusing('publish', new TypeError('not so'));
  expect(await codeOf(link.publish(run, segmentAt(1).file))).toBe('INTERNAL: not so');
  const load = codeOf(link.load(run, segmentAt(1), how));
  await until(() => stage.worker.loads.length === 1);
  stage.worker.loads[0]!.reject(new PrimedError('STORE_IO', 'x'.repeat(100_000)));
  expect(await load).toMatch(/^STORE_IO: (?=.{2048}$)x+ \.\.\. x+$/);
});

test('reservations made at once add up, and one that is refused does not count', async () => {
  const link = await stage.begun();
  await link.reserveMore(run, 10);
  stage.worker.before.set('reserveMore', () => Promise.reject(new PrimedError('STORE_NO_ROOM', 'full')));
  const both = await Promise.allSettled([link.reserveMore(run, 100), link.reserveMore(run, 5)]);
  expect(both.map(({ status }) => status)).toEqual(['rejected', 'fulfilled']);
  expect(stage.worker.reserved.get(run)).toBe(15);
  await Promise.all([link.reserveMore(run, 7), link.reserveMore(run, 8)]);
  expect(stage.worker.reserved.get(run)).toBe(30);
});

test('a run that was not started, or has ended, is refused by its name', async () => {
  const link = await stage.begun();
  const other = 'run-2' as RunId;
  const { file } = segmentAt(1);
  expect(await codeOf(link.load(other, segmentAt(1), how))).toMatch(/^RUN_UNKNOWN: Run run-2 .* 'worker-1'/);
  expect(await codeOf(link.publish(other, file))).toMatch(/^RUN_UNKNOWN: Run run-2 /);
  expect(await codeOf(link.reserveMore(other, 1))).toMatch(/^RUN_UNKNOWN: Run run-2 /);
  await link.endRun(run);
  expect(await codeOf(link.load(run, segmentAt(1), how))).toMatch(/^RUN_UNKNOWN: Run run-1 /);
  expect(stage.worker.loads).toEqual([]);
  // What an end is for has been reached already.
  await link.stopRun(run);
  expect(await link.endRun(run)).toEqual(emptyProgress());
  expect(stage.worker.count('endRun')).toBe(1);
});

test('a run that is to end before it has begun, and is begun again, ends and has begun', async () => {
  const link = stage.link();
  // In one frame, as after a time without a connection.
  await Promise.all([link.startRun(spec), link.stopRun(run), link.endRun(run), link.startRun(spec)]);
  await link.publish(run, segmentAt(1).file);
  const calls = stage.worker.calls.map(([method]) => method);
  expect(calls).toEqual(['startRun', 'stopRun', 'endRun', 'startRun', 'publish']);
});

test('a load of a segment that is being loaded joins it; of another version, or another run, it does not', async () => {
  const link = await stage.begun();
  const second = 'run-2' as RunId;
  await link.startRun({ ...spec, run: second, load: 'load-2' as LoadId });
  const { file } = segmentAt(1);
  const changed = { ...segmentAt(1), file: { ...file, etag: 'other' } };
  const loads = [
    link.load(run, segmentAt(1), how),
    link.load(run, segmentAt(1), how),
    link.load(run, changed, how),
    link.load(second, segmentAt(1), how),
  ];
  await link.setBandwidth(run, 1);
  expect(stage.worker.loads.map((one) => [one.run, one.segment.file.etag])).toEqual([
    [run, file.etag],
    [run, 'other'],
    [second, file.etag],
  ]);
  for (const one of stage.worker.loads) one.resolve();
  expect(await Promise.all(loads)).toHaveLength(4);
  const again = link.load(run, segmentAt(1), how);
  await until(() => stage.worker.loads.length === 4);
  stage.worker.loads[3]!.resolve();
  expect((await again).result).toBe('loaded');
});

test('progress is what the worker last said of a run', async () => {
  const link = await stage.begun();
  expect(link.progress(run)).toEqual(emptyProgress());
  for (const receivedBytes of [1, 2]) {
    const figures = { ...emptyProgress(), receivedBytes };
    stage.worker.figures.set(run, figures);
    await until(() => link.progress(run).receivedBytes === receivedBytes);
    expect(link.progress(run)).toEqual(figures);
  }
  expect(link.progress('run-2' as RunId)).toEqual(emptyProgress());
});

test('as many loads are at the worker as may be in flight, and what controls the run overtakes those that wait', async () => {
  const { worker } = stage;
  const link = await stage.begun();
  const total = 10_000;
  const loads = Array.from(
    { length: total },
    async (_, number) => (await link.load(run, segmentAt(number), how)).result,
  );
  await until(() => worker.loads.length >= inFlight.load);
  await link.setBandwidth(run, 5);
  expect(worker.loads).toHaveLength(inFlight.load);
  let most = 0;
  for (let next = 0; next < total; next += 1) {
    await until(() => worker.loads.length > next);
    most = Math.max(most, worker.loads.length - next);
    worker.loads[next]!.resolve();
  }
  expect(new Set(await Promise.all(loads))).toEqual(new Set(['loaded']));
  expect(worker.loads).toHaveLength(total);
  expect(most).toBe(inFlight.load);
  expect(stage.proxy.connections).toBe(1);
}, 120_000);
