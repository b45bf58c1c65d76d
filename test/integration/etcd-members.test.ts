/** Workers and coordinators that meet in a real etcd: who is a member, and what becomes of it when something is away. */
import { expect, onTestFinished, test } from 'vitest';
import type { Etcd } from '../../src/cluster/etcd/index.ts';
import { openEtcdRegistrar } from '../../src/cluster/etcd-registrar.ts';
import { type EtcdRegistry, openEtcdRegistry } from '../../src/cluster/etcd-registry.ts';
import type { Registrar } from '../../src/cluster/registrar.ts';
import { discoveryKey } from '../../src/core/member-entries.ts';
import { mostLostKept, type WorkerRow } from '../../src/core/membership.ts';
import { clusterProtocol } from '../../src/core/protocol.ts';
import { workerIdentity } from '../../src/core/ring.ts';
import type { WorkerId } from '../../src/core/types.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { clientOf, type EtcdServer, serverFor } from '../support/etcd.ts';
import { type QuietProxy, startQuietProxy } from '../support/quiet-proxy.ts';
import { memoryLog } from '../support/store-fixture.ts';

const eventually = { timeout: 30_000, interval: 20 };
const leaseMs = 2_000;
const prefix = '/primed/lab/workers/';
const cluster = 'lab';

async function proxyOf(server: EtcdServer): Promise<QuietProxy> {
  const proxy = await startQuietProxy(server.endpoints[0]!);
  onTestFinished(() => proxy.close());
  return proxy;
}

interface Coordinator {
  readonly registry: EtcdRegistry;
  readonly log: ReturnType<typeof memoryLog>;
  changes: number;
}

function coordinator(endpoints: readonly string[]): Coordinator {
  const log = memoryLog();
  const etcd = clientOf(endpoints);
  const registry = openEtcdRegistry({ etcd, prefix, cluster, leaseMs, timeoutMs: 2_000, clock: systemClock, log });
  const made: Coordinator = { registry, log, changes: 0 };
  registry.onChange(() => {
    made.changes += 1;
  });
  onTestFinished(() => registry.close());
  return made;
}

interface TestWorker {
  readonly registrar: Registrar;
  readonly etcd: Etcd;
  readonly log: ReturnType<typeof memoryLog>;
  readonly epochs: (number | undefined)[];
  files: number;
}

function worker(
  endpoints: readonly string[],
  id: string,
  given: { httpPort?: number; zone?: string; holdBack?: () => string | undefined } = {},
): TestWorker {
  const { httpPort = 28_080, zone, holdBack } = given;
  const log = memoryLog();
  const etcd = clientOf(endpoints);
  const epochs: (number | undefined)[] = [];
  const made = { etcd, log, epochs, files: 1 } as unknown as TestWorker;
  const registrar = openEtcdRegistrar({
    etcd,
    prefix,
    cluster,
    leaseMs,
    clock: systemClock,
    log,
    id: id as WorkerId,
    address: { host: '127.0.0.1', httpPort, s3Port: 29_998, version: 'test', ...(zone === undefined ? {} : { zone }) },
    figures: () => ({ capacityBytes: 1000, freeBytes: 600, files: made.files }),
    ...(holdBack === undefined ? {} : { holdBack }),
  });
  registrar.onEpoch((epoch) => epochs.push(epoch));
  onTestFinished(() => registrar.close());
  return Object.assign(made, { registrar });
}

/** As if the process were gone, without a goodbye. */
function vanish({ etcd }: TestWorker): Promise<void> {
  return etcd.close();
}

const rowOf = ({ registry }: Coordinator, id: string): WorkerRow | undefined =>
  registry.workers().find((row) => row.id === id);
const states = ({ registry }: Coordinator): Record<string, string> =>
  Object.fromEntries(registry.workers().map(({ id, state }) => [id, state]));
/** The epoch of a worker; a coordinator may hear of it before the worker does. */
async function epochOf({ registrar }: TestWorker): Promise<number> {
  await expect.poll(() => registrar.epoch(), eventually).toBeDefined();
  return registrar.epoch()!;
}

const factOf = ({ facts }: { facts: object }, name: string): unknown => (facts as Record<string, unknown>)[name];
const code = (name: string) => expect.objectContaining({ code: name });

test('workers are known to every coordinator, with an epoch that etcd gave, until they say goodbye', async () => {
  const { endpoints } = await serverFor();
  const [a, b] = [coordinator(endpoints), coordinator(endpoints)];
  const one = worker(endpoints, 'w1', { zone: 'r1' });
  const two = worker(endpoints, 'w2', { httpPort: 28_081 });
  for (const node of [a, b]) await expect.poll(() => states(node), eventually).toEqual({ w1: 'LIVE', w2: 'LIVE' });
  expect(rowOf(a, 'w1')).toMatchObject({
    host: '127.0.0.1',
    httpPort: 28_080,
    s3Port: 29_998,
    zone: 'r1',
    version: 'test',
    protocol: clusterProtocol.oldest,
    epoch: await epochOf(one),
    capacityBytes: 1000,
    freeBytes: 600,
    files: 1,
    drains: false,
  });
  expect(await epochOf(one)).not.toBe(await epochOf(two));
  expect(one.registrar.problem()).toBeUndefined();
  await two.registrar.close();
  for (const node of [a, b]) await expect.poll(() => states(node), eventually).toEqual({ w1: 'LIVE', w2: 'LOST' });
  const late = coordinator(endpoints);
  await late.registry.loaded;
  expect(states(late)).toEqual({ w1: 'LIVE', w2: 'LOST' });
  expect(late.changes).toBe(1);
});

test('a worker that vanishes is lost within its lease and 2 s, and takes its epoch with it', async () => {
  const { endpoints } = await serverFor();
  const node = coordinator(endpoints);
  const gone = worker(endpoints, 'w1');
  await expect.poll(() => states(node), eventually).toEqual({ w1: 'LIVE' });
  const epoch = await epochOf(gone);
  await vanish(gone);
  const vanishedMs = performance.now();
  await expect.poll(() => states(node), eventually).toEqual({ w1: 'LOST' });
  expect(performance.now() - vanishedMs).toBeLessThan(leaseMs + 2_000);
  expect(node.log.lines.map(({ message }) => message)).toContain(
    'a worker is lost: it has left, or its lease has ended',
  );
  const back = worker(endpoints, 'w1');
  await expect.poll(() => back.registrar.epoch() ?? 0, eventually).toBeGreaterThan(epoch);
  await expect.poll(() => states(node), eventually).toEqual({ w1: 'LIVE' });
});

test('one id at two addresses: the second is refused, told where the first is, and takes over when that is gone', async () => {
  const { endpoints } = await serverFor();
  const node = coordinator(endpoints);
  const first = worker(endpoints, 'w1');
  await epochOf(first);
  const second = worker(endpoints, 'w1', { httpPort: 28_081 });
  await expect
    .poll(() => second.registrar.problem(), eventually)
    .toMatch(/Worker 'w1' at 127\.0\.0\.1:28081 is refused: 127\.0\.0\.1:28080 is registered/);
  expect(second.registrar.epoch()).toBeUndefined();
  expect(second.log.lines.filter((line) => factOf(line, 'code') === 'WORKER_CONFLICT')).toHaveLength(1);
  await first.registrar.close();
  await epochOf(second);
  await expect.poll(() => rowOf(node, 'w1'), eventually).toMatchObject({ state: 'LIVE', httpPort: 28_081 });
});

test('a registration at an address takes the place of who was there, at once; who lost it registers anew elsewhere', async () => {
  const { endpoints } = await serverFor();
  const node = coordinator(endpoints);
  const old = worker(endpoints, 'w1');
  await expect.poll(() => states(node), eventually).toEqual({ w1: 'LIVE' });
  const before = await epochOf(old);
  const same = worker(endpoints, 'w1');
  expect(await epochOf(same)).toBeGreaterThan(before);
  await vanish(old);
  const other = worker(endpoints, 'w2');
  await epochOf(other);
  await expect.poll(() => states(node), eventually).toEqual({ w1: 'LOST', w2: 'LIVE' });
  expect(await clientOf(endpoints).get(discoveryKey(cluster, 'w1' as WorkerId))).toBeUndefined();
  // Two processes that both live and think that they have the address: each takes it from the other, and none is silent.
  await expect.poll(() => same.epochs, eventually).toContain(undefined);
  expect(same.log.lines.map(({ message }) => message)).toContain('the registration has ended');
});

test('drained, undrained and removed by any coordinator, as all others see; over the loss of the worker', async () => {
  const { endpoints } = await serverFor();
  const [a, b] = [coordinator(endpoints), coordinator(endpoints)];
  const one = worker(endpoints, 'w1');
  await expect.poll(() => states(a), eventually).toEqual({ w1: 'LIVE' });
  expect(await a.registry.drain('w1' as WorkerId)).toMatchObject({ id: 'w1', state: 'DRAINING', drains: true });
  expect(states(a)).toEqual({ w1: 'DRAINING' });
  await expect.poll(() => states(b), eventually).toEqual({ w1: 'DRAINING' });
  await one.registrar.close();
  await expect.poll(() => states(b), eventually).toEqual({ w1: 'LOST' });
  expect(rowOf(b, 'w1')?.drains).toBe(true);
  const back = worker(endpoints, 'w1');
  await expect.poll(() => states(b), eventually).toEqual({ w1: 'DRAINING' });
  expect(await b.registry.undrain('w1' as WorkerId)).toMatchObject({ state: 'LIVE' });
  expect(await b.registry.undrain('w1' as WorkerId)).toMatchObject({ state: 'LIVE' });
  await expect.poll(() => states(a), eventually).toEqual({ w1: 'LIVE' });
  const epoch = await epochOf(back);
  await a.registry.remove('w1' as WorkerId);
  expect(states(a)).toEqual({});
  // One that lives comes back by itself, under a new epoch.
  await expect.poll(() => rowOf(b, 'w1')?.epoch ?? 0, eventually).toBeGreaterThan(epoch);
  await back.registrar.close();
  await expect.poll(() => states(a), eventually).toEqual({ w1: 'LOST' });
  await b.registry.remove('w1' as WorkerId);
  await expect.poll(() => states(a), eventually).toEqual({});
  for (const call of ['drain', 'undrain', 'remove'] as const)
    await expect(a.registry[call]('w1' as WorkerId)).rejects.toEqual(code('WORKER_UNKNOWN'));
});

test('clients of Alluxio read what they expect, for as long as the worker lives', async () => {
  const { endpoints } = await serverFor();
  const one = worker(endpoints, 'w1');
  const etcd = clientOf(endpoints);
  await epochOf(one);
  const { entries } = await etcd.range('/ServiceDiscovery/lab/');
  expect(entries.map(({ key, value }) => [key, value.toString()])).toEqual([
    [
      '/ServiceDiscovery/lab/w1',
      `{"Identity":{"version":1,"identifier":"${Buffer.from(workerIdentity('w1').identifier).toString('hex')}"},` +
        '"WorkerNetAddress":{"Host":"127.0.0.1","ContainerHost":"","RpcPort":29999,"DataPort":29997,"SecureRpcPort":0,' +
        '"NettyDataPort":29997,"WebPort":30000,"DomainSocketPath":"","HttpServerPort":28080}}',
    ],
  ]);
  await one.registrar.close();
  await expect.poll(async () => (await etcd.range('/ServiceDiscovery/lab/')).entries, eventually).toEqual([]);
});

test('etcd is away for longer than a lease: nobody is lost, nothing is decided, and the epochs are the same afterwards', async () => {
  const server = await serverFor();
  const node = coordinator(server.endpoints);
  const one = worker(server.endpoints, 'w1');
  await expect.poll(() => states(node), eventually).toEqual({ w1: 'LIVE' });
  const { epoch } = rowOf(node, 'w1')!;
  await server.members[0]!.stop();
  await expect.poll(() => node.registry.problem(), eventually).toMatch(/etcd cannot be reached/);
  const stoppedMs = performance.now();
  await expect
    .poll(() => one.log.lines.map(({ message }) => message), eventually)
    .toContain('etcd is lost; it tries on');
  await expect.poll(() => performance.now() - stoppedMs, eventually).toBeGreaterThan(2 * leaseMs);
  expect(states(node)).toEqual({ w1: 'LIVE' });
  expect(one.registrar.epoch()).toBe(epoch);
  expect(one.registrar.problem()).toMatch(/etcd cannot be reached/);
  for (const call of ['drain', 'undrain', 'remove'] as const)
    await expect(node.registry[call]('w1' as WorkerId)).rejects.toEqual(code('ETCD_UNAVAILABLE'));
  const newcomer = worker(server.endpoints, 'w2', { httpPort: 28_081 });
  await expect.poll(() => newcomer.registrar.problem(), eventually).toMatch(/etcd cannot be reached/);
  await server.members[0]!.start();
  await expect.poll(() => states(node), eventually).toEqual({ w1: 'LIVE', w2: 'LIVE' });
  await expect.poll(() => one.registrar.problem(), eventually).toBeUndefined();
  await expect.poll(() => node.registry.problem(), eventually).toBeUndefined();
  // For two more leases: what was taken up is kept.
  const backMs = performance.now();
  await expect.poll(() => performance.now() - backMs, eventually).toBeGreaterThan(2 * leaseMs);
  expect(rowOf(node, 'w1')).toMatchObject({ epoch, state: 'LIVE' });
  expect(one.epochs).toEqual([epoch]);
  expect(await node.registry.drain('w1' as WorkerId)).toMatchObject({ state: 'DRAINING' });
});

test('a worker that etcd does not hear is lost, and comes back by itself under a new epoch', async () => {
  const server = await serverFor();
  const node = coordinator(server.endpoints);
  const proxy = await proxyOf(server);
  const one = worker([proxy.url], 'w1');
  await expect.poll(() => states(node), eventually).toEqual({ w1: 'LIVE' });
  const epoch = await epochOf(one);
  proxy.refuse(true);
  await expect.poll(() => states(node), eventually).toEqual({ w1: 'LOST' });
  expect(one.registrar.epoch()).toBe(epoch);
  proxy.refuse(false);
  await expect.poll(() => states(node), eventually).toEqual({ w1: 'LIVE' });
  await expect.poll(() => one.epochs, eventually).toEqual([epoch, undefined, rowOf(node, 'w1')!.epoch]);
  expect(one.registrar.epoch()).toBeGreaterThan(epoch);
});

test('one member of three is killed: all goes on', async () => {
  const server = await serverFor({ members: 3 });
  const node = coordinator(server.endpoints);
  const one = worker(server.endpoints, 'w1');
  await expect.poll(() => states(node), eventually).toEqual({ w1: 'LIVE' });
  const { epoch } = rowOf(node, 'w1')!;
  await server.members[0]!.kill();
  const two = worker(server.endpoints, 'w2', { httpPort: 28_081 });
  await expect.poll(() => states(node), eventually).toEqual({ w1: 'LIVE', w2: 'LIVE' });
  expect(rowOf(node, 'w1')?.epoch).toBe(epoch);
  await two.registrar.close();
  await expect.poll(() => states(node), eventually).toEqual({ w1: 'LIVE', w2: 'LOST' });
  expect(one.epochs).toEqual([epoch]);
});

test('figures follow, at a bounded rate, and are no news', async () => {
  const { endpoints } = await serverFor();
  const node = coordinator(endpoints);
  const one = worker(endpoints, 'w1');
  await expect.poll(() => states(node), eventually).toEqual({ w1: 'LIVE' });
  const { changes } = node;
  one.files = 7;
  await expect.poll(() => rowOf(node, 'w1')?.files, eventually).toBe(7);
  expect(node.changes).toBe(changes);
});

test('what others write below the prefix is ignored, and said once; another version of the protocol is refused', async () => {
  const { endpoints } = await serverFor();
  const node = coordinator(endpoints);
  const one = worker(endpoints, 'w1');
  await expect.poll(() => states(node), eventually).toEqual({ w1: 'LIVE' });
  const etcd = clientOf(endpoints);
  for (let turn = 0; turn < 3; turn++) {
    await etcd.put(`${prefix}members/w9`, 'rubbish');
    await etcd.put(`${prefix}known/w9`, '{"host":1}');
    await etcd.put(`${prefix}what/w9`, '');
    await etcd.put(`${prefix}known/no id`, '{}');
  }
  const registered = JSON.parse((await etcd.get(`${prefix}members/w1`))!.value.toString());
  const unknown = clusterProtocol.newest + 1;
  const strange = JSON.stringify({ ...registered, httpPort: 1, protocol: unknown, newestProtocol: unknown });
  await etcd.txn({
    compare: [],
    success: [
      { put: `${prefix}known/w8`, value: strange },
      { put: `${prefix}members/w8`, value: strange },
    ],
  });
  await expect.poll(() => states(node), eventually).toEqual({ w1: 'LIVE', w8: 'LOST' });
  const said = node.log.lines.filter(({ message }) => /none that primed understands/.test(message));
  expect(said.map((line) => factOf(line, 'key')).sort()).toEqual(
    ['known/no id', 'known/w9', 'members/w9', 'what/w9'].map((key) => prefix + key),
  );
  expect(node.log.lines.filter((line) => factOf(line, 'code') === 'WORKER_REFUSED')).toMatchObject([
    { facts: { worker: 'w8', protocol: unknown } },
  ]);
  expect(one.registrar.problem()).toBeUndefined();
});

test('lost workers beyond those that are kept are forgotten, the oldest first', async () => {
  const { endpoints } = await serverFor();
  const etcd = clientOf(endpoints);
  const one = worker(endpoints, 'w1');
  await epochOf(one);
  const value = (await etcd.get(`${prefix}members/w1`))!.value;
  const many = Array.from({ length: mostLostKept + 3 }, (_, index) => `x${String(index).padStart(4, '0')}`);
  for (let at = 0; at < many.length; at += 100) {
    const success = many.slice(at, at + 100).map((id) => ({ put: `${prefix}known/${id}`, value }));
    await etcd.txn({ compare: [], success });
  }
  // The first of all is drained, and so stays.
  await etcd.put(`${prefix}drains/x0000`, '');
  const node = coordinator(endpoints);
  await expect.poll(() => node.registry.workers().length, eventually).toBe(mostLostKept + 1);
  expect(states(node)).toMatchObject({ w1: 'LIVE', x0000: 'LOST' });
});

test('a worker that must not be a member leaves at once, says why, and comes back under a new epoch', async () => {
  const { endpoints } = await serverFor();
  const node = coordinator(endpoints);
  let reason: string | undefined;
  const one = worker(endpoints, 'w1', { holdBack: () => reason });
  await expect.poll(() => states(node), eventually).toEqual({ w1: 'LIVE' });
  const before = await epochOf(one);
  reason = 'its disk hangs';
  await expect.poll(() => states(node).w1, eventually).not.toBe('LIVE');
  expect([one.registrar.epoch(), one.registrar.problem()]).toEqual([undefined, reason]);
  reason = undefined;
  await expect.poll(() => states(node).w1, eventually).toBe('LIVE');
  expect(await epochOf(one)).toBeGreaterThan(before);
});
