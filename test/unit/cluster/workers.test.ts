/** Workers and their coordinator over real sockets: who is a member, and what becomes of it when one of them is away. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { open } from 'lmdb';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type LeaseObserver, openRegistrar, type Registrar } from '../../../src/cluster/registrar.ts';
import { openRegistry } from '../../../src/cluster/registry.ts';
import type { WorkerRow } from '../../../src/core/membership.ts';
import { clusterProtocol, protocolsHeader } from '../../../src/core/protocol.ts';
import type { WorkerId } from '../../../src/core/types.ts';
import { call } from '../../support/api.ts';
import { type CoordinatorOrder, startWorkersCoordinator, type WorkersCoordinator } from '../../support/coordinator.ts';
import { memoryLog } from '../../support/store-fixture.ts';

const leaseMs = 600;
const eventually = { timeout: 20_000, interval: 10 };

let dir: string;
const cleanups: (() => unknown)[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'primed-workers-'));
});
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
  rmSync(dir, { recursive: true, force: true });
});

async function coordinator(order: Partial<CoordinatorOrder> = {}): Promise<WorkersCoordinator> {
  const made = await startWorkersCoordinator({ dir: join(dir, 'workers'), leaseMs, ...order });
  cleanups.push(made.close);
  return made;
}

interface TestWorker {
  readonly registrar: Registrar;
  readonly log: ReturnType<typeof memoryLog>;
  readonly epochs: (number | undefined)[];
  files: number;
}

function worker(
  url: string,
  id: string,
  given: {
    httpPort?: number;
    token?: string;
    zone?: string;
    observe?: LeaseObserver;
    holdBack?: () => string | undefined;
  } = {},
): TestWorker {
  const { httpPort = 28_080, token, zone, observe, holdBack } = given;
  const log = memoryLog();
  const epochs: (number | undefined)[] = [];
  const made = { log, epochs, files: 1 } as TestWorker & { registrar: Registrar };
  const registrar = openRegistrar({
    coordinator: url,
    id: id as WorkerId,
    address: { host: '127.0.0.1', httpPort, s3Port: 29_998, version: 'test', ...(zone === undefined ? {} : { zone }) },
    figures: () => ({ capacityBytes: 1000, freeBytes: 600, files: made.files }),
    log,
    ...(token === undefined ? {} : { token }),
    ...(observe === undefined ? {} : { observe }),
    ...(holdBack === undefined ? {} : { holdBack }),
  });
  registrar.onEpoch((epoch) => epochs.push(epoch));
  cleanups.push(() => registrar.close());
  return Object.assign(made, { registrar });
}

const rowOf = ({ registry }: WorkersCoordinator, id: string): WorkerRow | undefined =>
  registry.workers().find((row) => row.id === id);

/** A cable that can be pulled. */
async function relay(port: number): Promise<{ url: string; pull(): void; plug(): void }> {
  let plugged = true;
  const sockets = new Set<Socket>();
  const server = createServer((from) => {
    if (!plugged) {
      from.destroy();
      return;
    }
    const to = connect(port, '127.0.0.1');
    for (const [one, other] of [
      [from, to],
      [to, from],
    ] as const) {
      sockets.add(one);
      one.on('error', () => other.destroy()).on('close', () => sockets.delete(one) && other.destroy());
      one.pipe(other);
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const pull = (): void => {
    plugged = false;
    for (const socket of sockets) socket.destroy();
  };
  cleanups.push(() => {
    pull();
    return new Promise((resolve) => server.close(resolve));
  });
  const bound = server.address() as { port: number };
  return { url: `http://127.0.0.1:${bound.port}`, pull, plug: () => (plugged = true) };
}

const body = (more: object = {}) => ({
  instance: '00000000-0000-4000-8000-000000000001',
  protocol: clusterProtocol.oldest,
  version: 'test',
  host: '127.0.0.1',
  httpPort: 28_080,
  s3Port: 29_998,
  capacityBytes: 1000,
  freeBytes: 600,
  files: 1,
  ...more,
});

test('a worker registers, keeps its epoch over renewals, and is lost at once after its goodbye', async () => {
  const node = await coordinator();
  const one = worker(node.url, 'w1', { zone: 'rack-7' });
  await expect.poll(() => one.registrar.epoch(), eventually).toBe(1);
  const registered = rowOf(node, 'w1')!;
  expect(registered).toMatchObject({ state: 'LIVE', zone: 'rack-7', httpPort: 28_080, files: 1, drains: false });
  let changes = 0;
  node.registry.onChange(() => (changes += 1));
  one.files = 5;
  await expect.poll(() => rowOf(node, 'w1')?.files, eventually).toBe(5);
  await expect.poll(() => rowOf(node, 'w1')!.lastSeenMs - registered.lastSeenMs, eventually).toBeGreaterThan(leaseMs);
  expect([rowOf(node, 'w1')?.epoch, one.epochs, changes]).toEqual([1, [1], 0]);
  await one.registrar.close();
  expect([rowOf(node, 'w1')?.state, changes]).toEqual(['LOST', 1]);
});

test('a worker is listed from when those hear of it who place segments, and not before', async () => {
  const { registry } = await coordinator();
  const listed = () => registry.workers().map(({ id, state, drains }) => ({ id, state, drains }));
  let told = listed();
  registry.onChange(() => {
    told = listed();
  });
  const { instance, ...report } = body();
  const writes = [
    () => registry.register({ id: 'w1' as WorkerId, instance, report }),
    () => registry.drain('w1' as WorkerId),
    () => registry.remove('w1' as WorkerId),
  ];
  for (const write of writes) {
    const [before, done] = [told, write()];
    // It is on its way to the disk: nobody has been told.
    expect([listed(), told]).toEqual([before, before]);
    await done;
    expect(told).not.toEqual(before);
    expect(listed()).toEqual(told);
  }
});

test('two workers of one id: the second is refused, by the address of the first, until that one has left', async () => {
  const node = await coordinator();
  const one = worker(node.url, 'w1', { httpPort: 1001 });
  await expect.poll(() => one.registrar.epoch(), eventually).toBe(1);
  const two = worker(node.url, 'w1', { httpPort: 1002 });
  const conflict = /Worker 'w1' at 127\.0\.0\.1:1002 is refused: 127\.0\.0\.1:1001 is registered/;
  await expect.poll(() => two.registrar.problem(), eventually).toMatch(conflict);
  const heardMs = rowOf(node, 'w1')!.lastSeenMs;
  await expect.poll(() => rowOf(node, 'w1')!.lastSeenMs - heardMs, eventually).toBeGreaterThan(3 * leaseMs);
  const refused = node.log.lines.filter(({ message }) => message === 'a worker is refused');
  expect(refused).toMatchObject([{ facts: { worker: 'w1', code: 'WORKER_CONFLICT' } }]);
  expect(two.log.lines.filter(({ level }) => level === 'warn')).toHaveLength(1);
  expect([one.epochs, two.epochs, rowOf(node, 'w1')?.httpPort]).toEqual([[1], [], 1001]);
  await one.registrar.close();
  await expect.poll(() => two.registrar.epoch(), eventually).toBe(2);
  expect([two.registrar.problem(), rowOf(node, 'w1')?.httpPort]).toEqual([undefined, 1002]);
});

test('a worker out of reach is lost when its lease ends, and comes back with a new epoch', async () => {
  const node = await coordinator();
  const cable = await relay(node.port);
  const [one, two] = [worker(cable.url, 'w1', { httpPort: 1001 }), worker(node.url, 'w2', { httpPort: 1002 })];
  await expect.poll(() => [one, two].every(({ registrar }) => registrar.epoch() !== undefined), eventually).toBe(true);
  const [before] = one.epochs;
  let changes = 0;
  node.registry.onChange(() => (changes += 1));
  cable.pull();
  await expect.poll(() => rowOf(node, 'w1')?.state, eventually).toBe('LOST');
  expect([changes, rowOf(node, 'w2')?.state]).toEqual([1, 'LIVE']);
  const lost = node.log.lines.filter(({ message }) => message.startsWith('a worker is lost'));
  expect(lost).toMatchObject([{ level: 'warn', facts: { worker: 'w1', leaseMs } }]);
  expect(one.registrar.epoch()).toBe(before);
  cable.plug();
  await expect.poll(() => rowOf(node, 'w1')?.state, eventually).toBe('LIVE');
  await expect.poll(() => one.epochs, eventually).toEqual([before, undefined, 3]);
  const said = one.log.lines.map(({ message }) => message);
  expect(said.filter((message) => message.startsWith('the coordinator is lost'))).toHaveLength(1);
  expect(said.filter((message) => message === 'the coordinator is back')).toHaveLength(1);
  expect(two.epochs).toEqual([rowOf(node, 'w2')?.epoch]);
});

test('what becomes of the calls of a worker is told: accepted, without an answer, refused, registered again', async () => {
  const node = await coordinator();
  const cable = await relay(node.port);
  const seen = { accepted: 0, refused: 0, unanswered: 0, registered: 0 };
  const observe: LeaseObserver = { renewed: (result) => (seen[result] += 1), registered: () => (seen.registered += 1) };
  const { epochs } = worker(cable.url, 'a', { observe });
  await expect.poll(() => seen.accepted, eventually).toBeGreaterThan(2);
  expect(seen).toMatchObject({ refused: 0, registered: 1 });
  cable.pull();
  await expect.poll(() => seen.unanswered, eventually).toBeGreaterThan(0);
  await expect.poll(() => rowOf(node, 'a')?.state, eventually).toBe('LOST');
  cable.plug();
  await expect.poll(() => epochs.length, eventually).toBe(3);
  expect(seen.registered).toBe(2);
  expect(seen.refused).toBeGreaterThan(0);
});

test('a process that starts anew at the same address takes over at once, and the one before it is stale', async () => {
  const node = await coordinator({ leaseMs: 60_000 });
  const target = '/internal/v1/workers/w1';
  const [before, after] = [body(), body({ instance: '00000000-0000-4000-8000-000000000002' })];
  expect((await call(node.url, 'PUT', target, before)).json()).toEqual({ epoch: 1, leaseMs: 60_000 });
  expect((await call(node.url, 'PUT', target, after)).json()).toEqual({ epoch: 2, leaseMs: 60_000 });
  const late = await call(node.url, 'PUT', target, { ...before, epoch: 1, files: 77 });
  expect([late.status, late.json()]).toMatchObject([409, { statusCode: 'FAILED_PRECONDITION', code: 'WORKER_STALE' }]);
  const lateGoodbye = await call(node.url, 'DELETE', `${target}?instance=${before.instance}&epoch=1`);
  expect(lateGoodbye.json()).toMatchObject({ code: 'WORKER_STALE' });
  expect(rowOf(node, 'w1')).toMatchObject({ state: 'LIVE', epoch: 2, files: 1 });
  const unknown = await call(node.url, 'PUT', '/internal/v1/workers/w9', { ...before, epoch: 1 });
  expect([unknown.status, unknown.json()]).toMatchObject([404, { code: 'WORKER_UNKNOWN' }]);
});

test('a restart of the coordinator keeps who drains, and gives higher epochs', async () => {
  const order = { dir: join(dir, 'workers') };
  const before = await coordinator(order);
  const [one, two] = [worker(before.url, 'w1', { httpPort: 1001 }), worker(before.url, 'w2', { httpPort: 1002 })];
  await expect.poll(() => [one, two].every(({ registrar }) => registrar.epoch() !== undefined), eventually).toBe(true);
  const highest = Math.max(...before.registry.workers().map(({ epoch }) => epoch));
  const drained = await call(before.url, 'POST', '/api/v1/workers/w1/drain');
  expect(drained.json()).toMatchObject({ id: 'w1', state: 'DRAINING', drains: true });
  await before.close();
  const after = await coordinator({ ...order, port: before.port });
  await expect.poll(() => after.registry.workers().map(({ state }) => state), eventually).toEqual(['DRAINING', 'LIVE']);
  for (const { epoch } of after.registry.workers()) expect(epoch).toBeGreaterThan(highest);
  await expect.poll(() => one.epochs.at(-1), eventually).toBe(rowOf(after, 'w1')?.epoch);
  expect((await call(after.url, 'POST', '/api/v1/workers/w1/undrain')).json()).toMatchObject({ state: 'LIVE' });
});

test('a worker that was removed is forgotten, its drain too, and may come back', async () => {
  const node = await coordinator();
  const one = worker(node.url, 'w1');
  await expect.poll(() => one.registrar.epoch(), eventually).toBe(1);
  await call(node.url, 'POST', '/api/v1/workers/w1/drain');
  expect((await call(node.url, 'DELETE', '/api/v1/workers/w1')).json()).toEqual({ id: 'w1', state: 'REMOVED' });
  // It may be back by now.
  expect(node.registry.workers().filter(({ epoch }) => epoch === 1)).toEqual([]);
  await expect.poll(() => rowOf(node, 'w1'), eventually).toMatchObject({ epoch: 2, state: 'LIVE' });
  await expect.poll(() => one.epochs, eventually).toEqual([1, undefined, 2]);
  // At once, without the patience that is for trouble.
  expect(one.log.lines.filter(({ message }) => /^the coordinator/.test(message))).toEqual([]);
  const none = await call(node.url, 'DELETE', '/api/v1/workers/w2');
  expect([none.status, none.json()]).toMatchObject([404, { code: 'WORKER_UNKNOWN' }]);
});

test('what was answered is known to the process after a crash', async () => {
  const node = await coordinator({ leaseMs: 60_000 });
  await call(node.url, 'PUT', '/internal/v1/workers/w1', body());
  await call(node.url, 'POST', '/api/v1/workers/w1/drain');
  // Not closed: what a crash would leave behind.
  const copy = join(dir, 'copy');
  mkdirSync(copy);
  copyFileSync(join(dir, 'workers', 'data.mdb'), join(copy, 'data.mdb'));
  const after = await coordinator({ dir: copy });
  expect(rowOf(after, 'w1')).toMatchObject({ state: 'LOST', drains: true, epoch: 1, httpPort: 28_080 });
  const answer = await call(after.url, 'PUT', '/internal/v1/workers/w1', body());
  expect(answer.json()).toMatchObject({ epoch: 2 });
});

test('a database of another format is refused, and left as it is', async () => {
  const path = join(dir, 'workers');
  const other = open({ path, maxDbs: 2 });
  await other.openDB({ name: 'meta', encoding: 'msgpack' }).put('format', 99);
  await other.close();
  const options = { dir: path, leaseMs, clock: { monotonicMs: () => 0, wallMs: () => 0 }, log: memoryLog() };
  expect(() => openRegistry(options)).toThrow(expect.objectContaining({ code: 'STORE_VERSION' }));
});

test('time in which the coordinator itself stood still ends no lease', async () => {
  let nowMs = 0;
  const clock = { monotonicMs: () => nowMs, wallMs: () => 1_700_000_000_000 + nowMs };
  const node = await coordinator({ leaseMs: 60_000, clock });
  await call(node.url, 'PUT', '/internal/v1/workers/w1', body());
  nowMs += 600_000;
  const renewed = await call(node.url, 'PUT', '/internal/v1/workers/w1', body({ epoch: 1 }));
  expect([renewed.status, rowOf(node, 'w1')?.state]).toEqual([200, 'LIVE']);
  // The same time in steps in which it did listen.
  for (let step = 0; step < 13; step += 1) {
    nowMs += 5_000;
    await call(node.url, 'PUT', '/internal/v1/workers/w2', body({ httpPort: 1002 }));
  }
  expect(rowOf(node, 'w1')?.state).toBe('LOST');
});

test('another version of the protocol is refused with both versions, and logged once', async () => {
  const node = await coordinator();
  const strange = body({ protocol: 7, version: '9.9.9', shape: 'another' });
  for (let i = 0; i < 3; i += 1) {
    const answer = await call(node.url, 'PUT', '/internal/v1/workers/w1', strange);
    expect([answer.status, answer.json()]).toMatchObject([
      409,
      {
        code: 'WORKER_REFUSED',
        message: expect.stringMatching(
          /^Worker 'w1' \(primed 9\.9\.9\) speaks version 7 .*, and this coordinator \(primed test\) speaks versions 3 to 4 .*one version apart\. Bring this coordinator to a newer primed/,
        ),
      },
    ]);
  }
  const said = () => node.log.lines.filter(({ message }) => message === 'a worker is refused').length;
  expect([node.registry.workers(), said()]).toEqual([[], 1]);
  const noText = { toString: null };
  const nameless = await call(node.url, 'PUT', '/internal/v1/workers/w1', {
    ...strange,
    version: noText,
    host: noText,
  });
  expect([nameless.status, said()]).toEqual([409, 2]);
  // Mended, and broken again: that is news.
  await call(node.url, 'PUT', '/internal/v1/workers/w1', body());
  await call(node.url, 'PUT', '/internal/v1/workers/w1', strange);
  expect(said()).toBe(3);
});

test('a worker one version behind, or ahead, is a member; two versions are refused; what only it knows is ignored', async () => {
  const node = await coordinator();
  const { oldest, newest } = clusterProtocol;
  const put = async (id: string, httpPort: number, range: [number, number] | undefined, more: object = {}) => {
    const headers: Record<string, string> = range === undefined ? {} : { [protocolsHeader]: range.join('-') };
    const said = body({ httpPort, protocol: range?.[0] ?? oldest, ...more });
    return (await call(node.url, 'PUT', `/internal/v1/workers/${id}`, said, headers)).status;
  };
  // One that says no range understands what its body says.
  expect(await put('behind', 1001, undefined)).toBe(200);
  expect(await put('ahead', 1002, [newest, newest + 1], { mood: 'good' })).toBe(200);
  expect(await put('far-ahead', 1003, [newest + 1, newest + 2])).toBe(409);
  expect(await put('far-behind', 1004, [oldest - 2, oldest - 1])).toBe(409);
  const rows = node.registry.workers();
  expect(rows.map(({ id, protocol, newestProtocol }) => [id, protocol, newestProtocol])).toEqual([
    ['ahead', newest, newest + 1],
    ['behind', oldest, oldest],
  ]);
  expect(rows[0]).not.toHaveProperty('mood');
});

test('workers need the token of the cluster, and people that of the port', async () => {
  const node = await coordinator({ apiToken: 'people', clusterToken: 'machines' });
  const wrong = worker(node.url, 'w1', { httpPort: 1001, token: 'people' });
  await expect.poll(() => wrong.registrar.problem(), eventually).toMatch(/a wrong token; .* cluster\.token/);
  const right = worker(node.url, 'w2', { httpPort: 1002, token: 'machines' });
  await expect.poll(() => right.registrar.epoch(), eventually).toBe(1);
  const asked = (authorization?: string) =>
    call(node.url, 'GET', '/api/v1/workers', undefined, authorization === undefined ? {} : { authorization });
  expect((await asked('Bearer machines')).status).toBe(401);
  expect((await asked()).json()).toMatchObject({ code: 'UNAUTHENTICATED' });
  expect((await asked('Bearer people')).json()).toMatchObject([{ id: 'w2', state: 'LIVE' }]);
  for (const method of ['PUT', 'DELETE']) {
    const answer = await call(node.url, method, '/internal/v1/workers/w3', method === 'PUT' ? body() : undefined);
    expect([method, answer.status]).toEqual([method, 401]);
  }
  const refused = node.log.lines.filter(({ message }) => message === 'a worker is refused');
  expect(refused).toMatchObject([{ facts: { code: 'UNAUTHENTICATED' } }]);
});

test.each<[string, string, object, string]>([
  ['an id that is no name', 'a%20b', {}, 'id'],
  ['a port that is none', 'w1', { httpPort: 0 }, 'httpPort'],
  ['a host with a path', 'w1', { host: 'h/../x' }, 'host'],
  ['a negative figure', 'w1', { freeBytes: -1 }, 'freeBytes'],
  ['a missing field', 'w1', { instance: undefined }, 'instance'],
])('a registration with %s is 400, naming it', async (_, id, more, message) => {
  const node = await coordinator();
  const answer = await call(node.url, 'PUT', `/internal/v1/workers/${id}`, body(more));
  expect([answer.status, answer.json()]).toEqual([
    400,
    { statusCode: 'INVALID_ARGUMENT', message: expect.stringContaining(message), code: 'REQUEST_INVALID' },
  ]);
  expect(node.registry.workers()).toEqual([]);
});

test('a body beyond the limit is 413', async () => {
  const node = await coordinator();
  const answer = await call(node.url, 'PUT', '/internal/v1/workers/w1', body({ zone: 'z'.repeat(10_000) }));
  expect([answer.status, answer.json().statusCode]).toEqual([413, 'PAYLOAD_TOO_LARGE']);
});

test('what is no coordinator is asked again with patience, and a coordinator that comes later is found', async () => {
  const node = await coordinator();
  await node.close();
  const one = worker(node.url, 'w1');
  await expect.poll(() => one.registrar.problem(), eventually).toMatch(/cannot be reached/);
  const later = await coordinator({ port: node.port });
  await expect.poll(() => one.registrar.epoch(), eventually).toBe(1);
  expect(rowOf(later, 'w1')?.state).toBe('LIVE');
  await expect(one.registrar.close()).resolves.toBeUndefined();
});

test('a worker that must not be a member leaves at once, says why, and comes back under a new epoch', async () => {
  const node = await coordinator();
  let reason: string | undefined;
  const one = worker(node.url, 'w1', { holdBack: () => reason });
  await expect.poll(() => rowOf(node, 'w1')?.state, eventually).toBe('LIVE');
  await expect.poll(() => one.registrar.epoch(), eventually).toBeDefined();
  const before = one.registrar.epoch()!;
  reason = 'its disk hangs';
  await expect.poll(() => rowOf(node, 'w1')?.state, eventually).not.toBe('LIVE');
  expect([one.registrar.epoch(), one.registrar.problem()]).toEqual([undefined, reason]);
  reason = undefined;
  await expect.poll(() => one.registrar.epoch(), eventually).toBeGreaterThan(before);
  expect(rowOf(node, 'w1')?.state).toBe('LIVE');
});
