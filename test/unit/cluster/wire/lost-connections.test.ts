/** What a control link does when the way to the worker is cut, or bytes vanish on it: each call is done once, and answered once. */
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { emptyProgress } from '../../../../src/cluster/fleet-run.ts';
import { controlPath, header, packDown, subprotocols } from '../../../../src/cluster/wire/protocol.ts';
import type { PeerList } from '../../../../src/core/peers.ts';
import type { RunId, WorkerId } from '../../../../src/core/types.ts';
import { alert, codeOf, how, run, segmentAt, spec, until, WireStage } from './stage.ts';

let stage: WireStage;
afterEach(() => stage.close());

test('a load that is pending when the connection is cut is done once and answered once', async () => {
  stage = await new WireStage().open();
  const link = await stage.begun();
  let answers = 0;
  const loads = [1, 2].map(async (number) => {
    const outcome = await link.load(run, segmentAt(number), how);
    answers += 1;
    return outcome;
  });
  await until(() => stage.worker.loads.length === 2);
  stage.proxy.cut();
  await until(() => stage.proxy.connections === 2);
  // A later call was heard: what was repeated before it has been heard, too.
  await link.setBandwidth(run, 1);
  expect(stage.worker.loads).toHaveLength(2);
  for (const one of stage.worker.loads) one.resolve();
  expect(await Promise.all(loads)).toEqual([
    { result: 'loaded', loadedBytes: 1001, skippedBytes: 0 },
    { result: 'loaded', loadedBytes: 1002, skippedBytes: 0 },
  ]);
  await link.setBandwidth(run, 2);
  expect([answers, stage.worker.loads.length, stage.worker.count('startRun')]).toEqual([2, 2, 1]);
  expect(stage.log.having('is down')).toHaveLength(1);
});

test('results of a time without a connection arrive after it', async () => {
  stage = await new WireStage().open();
  const link = await stage.begun();
  const load = link.load(run, segmentAt(1), how);
  const reserved = codeOf(link.reserveMore(run, 10));
  await until(() => stage.worker.loads.length === 1 && stage.worker.reserved.get(run) === 10);
  await reserved;
  stage.proxy.refusing = true;
  stage.proxy.cut();
  await until(() => stage.workerLog.having('is down').length === 1);
  stage.worker.loads[0]!.resolve({ result: 'later', loadedBytes: 3 });
  const asked = link.load(run, segmentAt(2), how);
  const more = link.reserveMore(run, 5);
  stage.proxy.refusing = false;
  expect(await load).toEqual({ result: 'later', loadedBytes: 3, skippedBytes: 0 });
  await more;
  expect(stage.worker.reserved.get(run)).toBe(15);
  await until(() => stage.worker.loads.length === 2);
  stage.worker.loads[1]!.resolve();
  expect((await asked).result).toBe('loaded');
  expect(stage.worker.loads).toHaveLength(2);
});

test('a question of a plan waits for a connection, for so long, and no longer than there is hope', async () => {
  stage = await new WireStage().open();
  stage.proxy.refusing = true;
  const order = { bytes: 0, keeps: [], named: 0 };
  const waits = stage.link();
  const answer = waits.room(order);
  const late = codeOf(stage.link({ connectLimitMs: 30 }).room(order));
  expect(await late).toMatch(/^WORKER_LOST: .* had no connection to it at .* for 30ms/);
  const ends = stage.link();
  const lost = codeOf(ends.missing({ load: spec.load, reuse: 'any' }, []));
  ends.lost();
  expect(await lost).toMatch(/^WORKER_LOST: .* its registration has ended/);
  expect([stage.proxy.connections, stage.worker.count('room')]).toEqual([0, 0]);
  stage.proxy.refusing = false;
  expect(await answer).toMatchObject({ capacityBytes: 100 });
});

test('results that vanish on the way are sent again, and nothing is done twice', async () => {
  stage = await new WireStage().open({ timing: alert });
  const link = await stage.begun({ timing: alert });
  const loads = [1, 2, 3].map((number) => link.load(run, segmentAt(number), how));
  await until(() => stage.worker.loads.length === 3);
  stage.proxy.swallow({ down: true });
  const reserved = link.reserveMore(run, 10);
  stage.worker.loads[0]!.resolve();
  stage.worker.loads[1]!.resolve({ loadedBytes: 5 });
  await until(() => stage.worker.reserved.get(run) === 10 && stage.proxy.swallowedBytes > 0);
  // The link finds out by itself that it hears nothing.
  await until(() => stage.log.having('is down').length === 1);
  stage.proxy.swallow({});
  expect((await loads[0]!).loadedBytes).toBe(1001);
  expect((await loads[1]!).loadedBytes).toBe(5);
  await reserved;
  stage.worker.loads[2]!.resolve();
  await loads[2];
  expect([stage.worker.loads.length, stage.worker.reserved.get(run)]).toEqual([3, 10]);
});

test('calls that vanish on the way are said again', async () => {
  stage = await new WireStage().open({ timing: alert });
  const link = await stage.begun({ timing: alert });
  stage.proxy.swallow({ up: true });
  const loads = [1, 2].map((number) => link.load(run, segmentAt(number), how));
  await until(() => stage.proxy.swallowedBytes > 0);
  await until(() => stage.workerLog.having('is down').length === 1);
  expect(stage.worker.loads).toEqual([]);
  stage.proxy.swallow({});
  await until(() => stage.worker.loads.length === 2);
  for (const one of stage.worker.loads) one.resolve();
  expect(await Promise.all(loads)).toHaveLength(2);
  expect(stage.worker.loads).toHaveLength(2);
});

test('thousands of loads over a connection that is cut again and again are each done once', async () => {
  stage = await new WireStage().open();
  const link = await stage.begun();
  stage.worker.prompt = true;
  const total = 5000;
  let ended = 0;
  let next = 0;
  const one = async (): Promise<void> => {
    while (next < total) {
      next += 1;
      const number = next;
      const { loadedBytes } = await link.load(run, segmentAt(number), how);
      expect(loadedBytes).toBe(1000 + number);
      ended += 1;
    }
  };
  const all = Promise.all(Array.from({ length: 50 }, one));
  for (let cuts = 1; cuts <= 10; cuts += 1) {
    const mark = Math.min(total, ended + 200);
    await until(() => ended >= mark);
    stage.proxy.cut();
    await until(() => stage.proxy.connections > cuts);
  }
  await all;
  expect(ended).toBe(total);
  expect(stage.worker.loads).toHaveLength(total);
});

test('the end of a link rejects what is pending and what comes later, and leaves no connection', async () => {
  stage = await new WireStage().open();
  const link = await stage.begun();
  const pending = codeOf(link.load(run, segmentAt(1), how));
  const reserving = codeOf(link.reserveMore(run, 1));
  await until(() => stage.worker.loads.length === 1);
  link.lost();
  expect(await pending).toMatch(/^WORKER_LOST: Worker 'worker-1' at http:/);
  expect(await reserving).toMatch(/^WORKER_LOST|^none/);
  expect(await codeOf(link.endRun(run))).toMatch(/^WORKER_LOST/);
  await until(() => stage.workerLog.having('is down').length === 1);
  expect(stage.proxy.connections).toBe(1);
});

test('a link that never connected can be ended', async () => {
  stage = await new WireStage().open();
  stage.proxy.refusing = true;
  const link = stage.link();
  const started = codeOf(link.startRun(spec));
  await until(() => stage.log.having('is down').length === 1);
  link.lost();
  expect(await started).toMatch(/^WORKER_LOST/);
});

test('runs of a coordinator that is away for longer than the lease are stopped, and given back their room', async () => {
  stage = await new WireStage().open();
  stage.leaseMs = 50;
  const link = await stage.begun();
  await link.reserveMore(run, 100);
  const load = codeOf(link.load(run, segmentAt(1), how));
  await until(() => stage.worker.loads.length === 1);
  link.lost();
  await load;
  await until(() => stage.worker.count('endRun') === 1);
  expect(stage.worker.calls.slice(-2)).toEqual([
    ['stopRun', run],
    ['endRun', run],
  ]);
  expect(stage.worker.reserved.has(run)).toBe(false);
  expect(stage.workerLog.having('away for longer than the lease').map(({ facts }) => facts.runs)).toEqual([[run]]);
});

test('a coordinator that is away for less than the lease finds its runs as they were', async () => {
  stage = await new WireStage().open();
  const link = await stage.begun();
  await link.reserveMore(run, 100);
  stage.proxy.cut();
  await link.setBandwidth(run, 1);
  expect(stage.worker.calls).toEqual([
    ['startRun', spec],
    ['reserveMore', run, 100],
    ['setBandwidth', run, 1],
  ]);
  expect(stage.proxy.connections).toBe(2);
});

test('a coordinator that comes back after the lease begins its runs again, with their room, and goes on', async () => {
  stage = await new WireStage().open();
  stage.leaseMs = 50;
  const link = await stage.begun();
  await Promise.all([link.reserveMore(run, 60), link.reserveMore(run, 40)]);
  await link.setBandwidth(run, 1000);
  const load = link.load(run, segmentAt(1), how);
  await until(() => stage.worker.loads.length === 1);
  stage.proxy.refusing = true;
  stage.proxy.cut();
  await until(() => stage.worker.count('endRun') === 1);
  stage.proxy.refusing = false;
  // The first was dropped with the run; it is not what the coordinator asked to stop.
  await until(() => stage.worker.loads.length === 2);
  stage.worker.loads[1]!.resolve({ loadedBytes: 9 });
  expect((await load).loadedBytes).toBe(9);
  await link.reserveMore(run, 1);
  expect(stage.worker.calls.slice(-3)).toEqual([
    ['startRun', { ...spec, bandwidthBytesPerSecond: 1000 }],
    ['reserveMore', run, 100],
    ['reserveMore', run, 1],
  ]);
});

test('a second link of the same coordinator replaces the first, and takes its runs over', async () => {
  stage = await new WireStage().open();
  const first = await stage.begun({ random: () => 1 });
  await first.reserveMore(run, 100);
  const load = codeOf(first.load(run, segmentAt(1), how));
  await until(() => stage.worker.loads.length === 1);
  const second = stage.link();
  const begun = second.startRun(spec);
  first.lost();
  await begun;
  expect(await load).toMatch(/^WORKER_LOST/);
  expect(stage.worker.calls.slice(2)).toEqual([
    ['stopRun', run],
    ['endRun', run],
    ['startRun', spec],
  ]);
  const again = second.load(run, segmentAt(1), how);
  await until(() => stage.worker.loads.length === 2);
  stage.worker.loads[1]!.resolve();
  expect((await again).result).toBe('loaded');
});

test.each(['session-1', 'session-2'])(
  'late messages of a connection that %s replaced are not heard',
  async (session) => {
    stage = await new WireStage().open();
    const client = (port: number, session: string): WebSocket =>
      new WebSocket(`ws://127.0.0.1:${port}${controlPath}`, [...subprotocols], {
        headers: { [header.epoch]: '7', [header.coordinator]: 'coordinator-1', [header.session]: session },
      });
    const file = segmentAt(1).file;
    const load = (number: number) =>
      packDown(0, [[1, run, [number], ['', [file.path], ['e'], [1], [1], null], null, null, null, null]]);
    const hello = packDown(0, [[0, [], [[spec, 0, false]]]]);
    const other = { ...spec, run: 'run-2' as RunId };
    const sockets: Socket[] = [];
    stage.server.on('connection', (socket) => sockets.push(socket));
    const old = client(stage.proxy.port, 'session-1');
    await once(old, 'open');
    old.send(hello);
    await until(() => stage.worker.count('startRun') === 1);
    // It does not hear that it is replaced, and speaks on.
    stage.proxy.swallow({ down: true });
    const now = client(stage.port, session);
    await once(now, 'open');
    now.send(hello);
    const readBytes = sockets[0]!.bytesRead;
    const late = [load(1), packDown(0, [[2, 2, 'startRun', other]])];
    for (const frame of late) old.send(frame);
    const lateBytes = late.reduce((sum, { length }) => sum + length, 0);
    await until(() => sockets[0]!.bytesRead >= readBytes + lateBytes);
    expect(stage.worker.loads).toEqual([]);
    expect(stage.worker.calls).not.toContainEqual(['startRun', other]);
    now.send(load(2));
    await until(() => stage.worker.loads.length === 1);
    const next = client(stage.port, session);
    expect((await once(now, 'close'))[0]).toBe(4000);
    next.terminate();
    now.terminate();
    old.terminate();
  },
);

test('a worker that shuts down leaves its runs to whoever closes it', async () => {
  stage = await new WireStage().open();
  await stage.begun();
  stage.control.close();
  await until(() => stage.log.having('is down').length === 1);
  // A line of the worker's log would say that it counts the lease.
  await new Promise((resolve) => setImmediate(resolve));
  expect(stage.workerLog.having('is down')).toEqual([]);
  expect(stage.worker.calls).toEqual([['startRun', spec]]);
});

test('progress is told anew over a new connection', async () => {
  stage = await new WireStage().open();
  const figures = { ...emptyProgress(), receivedBytes: 5 };
  stage.worker.figures.set(run, figures);
  const link = await stage.begun();
  await until(() => link.progress(run).receivedBytes === 5);
  stage.proxy.refusing = true;
  stage.proxy.cut();
  stage.worker.figures.set(run, { ...figures, receivedBytes: 6 });
  await until(() => stage.workerLog.having('is down').length === 1);
  expect(link.progress(run)).toEqual(figures);
  stage.proxy.refusing = false;
  await until(() => link.progress(run).receivedBytes === 6);
});

test('who the live workers are is told anew over each connection, and of what was missed only the last', async () => {
  stage = await new WireStage().open();
  const link = stage.link();
  const list = (version: number): PeerList => ({
    from: 'coordinator-1',
    version,
    peers: [{ id: 'w' as WorkerId, url: 'http://w:1', takes: version > 1 }],
  });
  const heard = () => stage.worker.calls.flatMap(([method, told]) => (method === 'setPeers' ? [told] : []));
  await link.setPeers(list(1));
  expect(heard()).toEqual([list(1)]);
  stage.proxy.cut();
  await until(() => heard().length === 2);
  expect(heard()).toEqual([list(1), list(1)]);
  stage.proxy.refusing = true;
  stage.proxy.cut();
  const told = [2, 3, 4].map((version) => link.setPeers(list(version)));
  stage.proxy.refusing = false;
  await Promise.all(told);
  expect(heard().slice(2).at(-1)).toEqual(list(4));
  expect(heard()).not.toContainEqual(list(3));
});
