/** Coordinator and workers as processes of their own, which meet in a real etcd: what its loss costs, and what it does not. */
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { parseRegistered } from '../../src/core/member-entries.ts';
import { workerIdentity } from '../../src/core/ring.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import { call, ended, loaded, progress, submit } from '../support/api.ts';
import { makeAuthority } from '../support/authority.ts';
import { primed } from '../support/cli.ts';
import { type Cluster, openCluster, placesOf, readBack, untilLive, workersOf } from '../support/cluster.ts';
import { spawnDaemon, startDaemon } from '../support/daemon.ts';
import { type EtcdServer, startEtcd } from '../support/etcd.ts';
import { temporaryFolder } from '../support/files.ts';
import { listedBy, originEnvironment } from '../support/origin.ts';

const objects = [
  { key: 'data/large.bin', sizeBytes: 12 * MiB + 4097 },
  ...Array.from({ length: 160 }, (_, n) => ({ key: `data/small-${n}.bin`, sizeBytes: 384 * KiB + n })),
];
const totalBytes = objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
const path = 's3://demo/data/';
const leaseMs = 2_000;
const eventually = { timeout: 60_000, interval: 50 };

let etcd: EtcdServer | undefined;
let cluster: Cluster | undefined;
afterEach(async () => {
  await cluster?.close();
  await etcd?.close();
  cluster = undefined;
  etcd = undefined;
});

async function clusterOn(
  server: EtcdServer,
  workers: readonly string[],
  more: Readonly<Record<string, string>> = {},
): Promise<Cluster> {
  return openCluster({ origin: { objects }, workers, env: { ...settingsOn(server), ...more } });
}

function settingsOn(server: EtcdServer): Record<string, string> {
  return {
    PRIMED_CLUSTER_BACKEND: 'etcd',
    PRIMED_CLUSTER_NAME: 'lab',
    PRIMED_CLUSTER_ETCD_ENDPOINTS: server.endpoints.join(','),
    PRIMED_CLUSTER_ETCD_TIMEOUT: '2s',
    // So few that a slow origin is silent to none of them for long.
    PRIMED_WORKER_SOCKETS_PER_LANE: '4',
  };
}

/** Keys and values below a prefix, as etcdctl shows them. */
function entriesBelow(server: EtcdServer, prefix: string): [string, string][] {
  const { kvs = [] } = JSON.parse(server.ctl('get', '--prefix', prefix, '-w', 'json')) as {
    kvs?: { key: string; value?: string }[];
  };
  const text = (base64 = '') => Buffer.from(base64, 'base64').toString();
  return kvs.map(({ key, value }) => [text(key), text(value)]);
}

const rows = async (of: Cluster) =>
  (await (await fetch(`${of.coordinator.api}/api/v1/workers`)).json()) as {
    id: string;
    state: string;
    epoch: number;
  }[];
const readiness = (api: string) => call(api, 'GET', '/health/ready');

/** Submits a load that lasts for half a minute unless it is let go, and resolves when some of it is durable. */
async function beginLoad({ origin, coordinator }: Cluster): Promise<void> {
  origin.setKnobs({ bytesPerSecond: 2 * MiB });
  expect((await submit(coordinator.api, path)).status).toBe(200);
  await expect
    .poll(async () => (await progress(coordinator.api, path)).json().ledger.cachedBytes, eventually)
    .toBeGreaterThan(totalBytes / 32);
  await stillRuns(coordinator.api);
}

async function stillRuns(api: string): Promise<void> {
  const { mJobState, ledger } = (await progress(api, path)).json();
  expect(mJobState).toBe('RUNNING');
  expect(ledger.cachedBytes).toBeLessThan(totalBytes);
}

test('two workers and a coordinator meet in etcd, and all that is said of workers holds there too', async () => {
  etcd = await startEtcd();
  cluster = await clusterOn(etcd, ['w1', 'w2']);
  const { api } = cluster.coordinator;
  expect(await loaded(api, path, { replicas: '2' })).toMatchObject({
    mJobState: 'SUCCEEDED',
    ledger: { originBytes: totalBytes, peerBytes: totalBytes, inFlightBytes: 0 },
  });

  // What others read, and what is ours.
  const ports = Object.fromEntries(
    [...cluster.workers].map(
      ([
        id,
        {
          ports: { http },
        },
      ]) => [id, http],
    ),
  );
  expect(entriesBelow(etcd, '/ServiceDiscovery/')).toEqual(
    ['w1', 'w2'].map((id) => [
      `/ServiceDiscovery/lab/${id}`,
      `{"Identity":{"version":1,"identifier":"${Buffer.from(workerIdentity(id).identifier).toString('hex')}"},` +
        '"WorkerNetAddress":{"Host":"127.0.0.1","ContainerHost":"","RpcPort":29999,"DataPort":29997,"SecureRpcPort":0,' +
        `"NettyDataPort":29997,"WebPort":30000,"DomainSocketPath":"","HttpServerPort":${ports[id]}}}`,
    ]),
  );
  const ours = entriesBelow(etcd, '/primed/lab/workers/members/');
  expect(ours.map(([key]) => key)).toEqual(['w1', 'w2'].map((id) => `/primed/lab/workers/members/${id}`));
  for (const [, value] of ours) expect(parseRegistered(value)).toMatchObject({ host: '127.0.0.1', leaseMs });

  // The verbs, and the calls.
  const cli = (...args: string[]) => primed(api, ['worker', ...args]);
  expect((await cli('drain', 'w1')).code).toBe(0);
  expect((await cli('list')).stdout).toMatch(/w1 .*DRAINING/);
  expect((await call(api, 'POST', '/api/v1/workers/w1/undrain')).json()).toMatchObject({ id: 'w1', state: 'LIVE' });
  expect((await cli('drain', 'w9')).code).toBe(1);

  // A worker that does not know of etcd is told, and is no member.
  const folder = temporaryFolder('stranger');
  const stranger = await spawnDaemon({
    role: 'worker',
    dataDir: join(folder.path, 'w3'),
    storeSize: '64MB',
    env: { PRIMED_COORDINATOR: api, PRIMED_CLUSTER_ID: 'w3' },
  });
  try {
    await expect.poll(() => stranger.log(), eventually).toMatch(/Workers of this cluster register in etcd/);
  } finally {
    await stranger.kill();
    folder.remove();
  }

  // One that is killed is lost with its lease; one that ends says so.
  const killedMs = performance.now();
  await cluster.kill('w2');
  await expect
    .poll(async () => (await workersOf(cluster!)).find(({ id }) => id === 'w2')?.state, eventually)
    .toBe('LOST');
  expect(performance.now() - killedMs).toBeLessThan(leaseMs + 2_000);
  expect((await cli('remove', 'w2')).code).toBe(0);
  expect((await rows(cluster)).map(({ id }) => id)).toEqual(['w1']);
  await cluster.workers.get('w1')!.terminate();
  cluster.workers.delete('w1');
  await expect.poll(async () => (await rows(cluster!)).map(({ state }) => state), eventually).toEqual(['LOST']);
  expect(entriesBelow(etcd, '/ServiceDiscovery/')).toEqual([]);
  expect(entriesBelow(etcd, '/primed/lab/workers/').map(([key]) => key)).toEqual(['/primed/lab/workers/known/w1']);
});

test('etcd stops in the middle of a load, for longer than a lease, and comes back: nothing is lost', async () => {
  etcd = await startEtcd();
  cluster = await clusterOn(etcd, ['w1', 'w2']);
  const { api } = cluster.coordinator;
  const before = await rows(cluster);
  await beginLoad(cluster);
  await etcd.members[0]!.stop();
  const stoppedMs = performance.now();
  await expect
    .poll(async () => (await readiness(api)).json(), eventually)
    .toEqual({ status: 'not ready', reason: 'etcd is not reached; the log says why' });
  expect((await call(api, 'POST', '/api/v1/workers/w1/drain')).json()).toMatchObject({ code: 'ETCD_UNAVAILABLE' });
  expect((await call(api, 'POST', '/api/v1/workers/w1/drain')).status).toBe(503);
  await expect.poll(() => performance.now() - stoppedMs, eventually).toBeGreaterThan(2 * leaseMs);
  expect(await rows(cluster)).toMatchObject(before.map(({ id, epoch }) => ({ id, epoch, state: 'LIVE' })));
  await etcd.members[0]!.start();
  await expect.poll(async () => (await readiness(api)).status, eventually).toBe(200);
  for (const { api: worker } of cluster.workers.values())
    await expect.poll(async () => (await readiness(worker)).status, eventually).toBe(200);
  await stillRuns(api);
  cluster.origin.setKnobs({ bytesPerSecond: 0 });
  const report = await ended(api, path);
  expect(report).toMatchObject({ mJobState: 'SUCCEEDED', mLoadedByteCount: totalBytes, ledger: { inFlightBytes: 0 } });
  // Nobody was taken for lost: nothing was fetched twice but what was in flight when the load paused.
  const { stopped } = report.ledger.discardedBytes;
  expect(report.ledger).toMatchObject({ originBytes: totalBytes + stopped, discardedBytes: { lost: 0 } });
  expect(await rows(cluster)).toMatchObject(before.map(({ id, epoch }) => ({ id, epoch, state: 'LIVE' })));
  for (const id of ['w1', 'w2']) await readBack(cluster, id);
});

test('one of three members is killed in the middle of a load, and then a worker is: both are made good', async () => {
  etcd = await startEtcd({ members: 3 });
  cluster = await clusterOn(etcd, ['w1', 'w2', 'w3']);
  const { api } = cluster.coordinator;
  const before = await rows(cluster);
  await beginLoad(cluster);
  // All begin with the first endpoint.
  await etcd.members[0]!.kill();
  const killedMs = performance.now();
  await expect.poll(() => performance.now() - killedMs, eventually).toBeGreaterThan(2 * leaseMs);
  expect(await rows(cluster)).toMatchObject(before.map(({ id, epoch }) => ({ id, epoch, state: 'LIVE' })));
  await stillRuns(api);
  await cluster.kill('w2');
  cluster.origin.setKnobs({ bytesPerSecond: 0 });
  const report = await ended(api, path);
  expect(report).toMatchObject({ mJobState: 'SUCCEEDED', mLoadedByteCount: totalBytes, ledger: { inFlightBytes: 0 } });
  expect(report.ledger.discardedBytes.lost).toBeGreaterThan(0);
  const places = await placesOf(cluster, await listedBy(cluster.origin, 'data/'));
  expect(places.filter((ids) => ids.length === 0)).toEqual([]);
  for (const id of cluster.workers.keys()) await readBack(cluster, id);
  await cluster.start('w2');
  await untilLive(cluster, ['w1', 'w2', 'w3']);
});

test('over TLS, with certificates of both sides, as a user that may do nothing else', async () => {
  const folder = temporaryFolder('etcd-tls');
  try {
    const authority = makeAuthority(folder.path, 'ca');
    etcd = await startEtcd({ tls: { ...authority.sign(''), clientCerts: true } });
    // As docs/OPERATIONS.md says.
    etcd.ctl('user', 'add', 'root:toor');
    etcd.ctl('user', 'grant-role', 'root', 'root');
    etcd.ctl('role', 'add', 'primed');
    for (const prefix of ['/primed/lab/', '/ServiceDiscovery/lab/'])
      etcd.ctl('role', 'grant-permission', 'primed', '--prefix=true', 'readwrite', prefix);
    etcd.ctl('user', 'add', 'primed:secret');
    etcd.ctl('user', 'grant-role', 'primed', 'primed');
    etcd.ctl('auth', 'enable');
    const { caFile, certFile, keyFile } = authority.sign('');
    cluster = await clusterOn(etcd, ['w1', 'w2'], {
      PRIMED_CLUSTER_ETCD_CA_FILE: caFile,
      PRIMED_CLUSTER_ETCD_CERT_FILE: certFile,
      PRIMED_CLUSTER_ETCD_KEY_FILE: keyFile,
      PRIMED_CLUSTER_ETCD_USERNAME: 'primed',
      PRIMED_CLUSTER_ETCD_PASSWORD: 'secret',
    });
    const { api } = cluster.coordinator;
    expect(await loaded(api, path)).toMatchObject({ mLoadedByteCount: totalBytes });
    expect((await primed(api, ['worker', 'drain', 'w1'])).code).toBe(0);
    await cluster.workers.get('w1')!.terminate();
    cluster.workers.delete('w1');
    await expect
      .poll(async () => (await rows(cluster!)).map(({ id, state }) => [id, state]), eventually)
      .toEqual([
        ['w1', 'LOST'],
        ['w2', 'LIVE'],
      ]);
    expect((await primed(api, ['worker', 'remove', 'w1'])).code).toBe(0);
    for (const daemon of [cluster.coordinator, ...cluster.workers.values()])
      expect(daemon.log()).not.toMatch(/secret|ETCD_REFUSED/);
  } finally {
    folder.remove();
  }
});

test('nodes that start while etcd is away say so, and go on when it is there', async () => {
  etcd = await startEtcd();
  await etcd.members[0]!.stop();
  const folder = temporaryFolder('early');
  const env = {
    PRIMED_CLUSTER_BACKEND: 'etcd',
    PRIMED_CLUSTER_ETCD_ENDPOINTS: etcd.endpoints[0]!,
    PRIMED_CLUSTER_LEASE: '2s',
    PRIMED_CLUSTER_ID: 'w1',
  };
  const coordinator = await spawnDaemon({ role: 'coordinator', dataDir: join(folder.path, 'c'), storeSize: null, env });
  const worker = await spawnDaemon({ role: 'worker', dataDir: join(folder.path, 'w'), storeSize: '64MB', env });
  try {
    const reason = async (api: string) => (await readiness(api)).json().reason;
    await expect
      .poll(() => reason(coordinator.api).catch(String), eventually)
      .toBe('etcd is not reached; the log says why');
    await expect
      .poll(() => reason(worker.api).catch(String), eventually)
      .toBe('not registered in etcd; the log says why');
    expect(coordinator.log()).toMatch(/etcd is not heard/);
    expect(worker.log()).toMatch(/etcd is lost; it tries on/);
    await etcd.members[0]!.start();
    for (const { api } of [coordinator, worker])
      await expect.poll(async () => (await readiness(api)).status, eventually).toBe(200);
    await expect
      .poll(async () => (await call(coordinator.api, 'GET', '/api/v1/workers')).json(), eventually)
      .toMatchObject([{ id: 'w1', state: 'LIVE' }]);
  } finally {
    await Promise.all([coordinator.kill(), worker.kill()]);
    folder.remove();
  }
});

test('a worker with another cluster.token is listed as refused, with the reason, and gets nothing until that is mended', async () => {
  etcd = await startEtcd();
  const token = { PRIMED_CLUSTER_TOKEN: 'token-of-the-cluster-0123456789' };
  cluster = await clusterOn(etcd, ['w1'], token);
  const { api } = cluster.coordinator;
  const order = {
    ...{ role: 'worker' as const, dataDir: cluster.dataDir('w2'), storeSize: '512MB' },
    env: {
      ...originEnvironment(cluster.origin),
      ...settingsOn(etcd),
      PRIMED_CLUSTER_LEASE: '2s',
      PRIMED_CLUSTER_ID: 'w2',
    },
  };
  const wrong = await startDaemon({
    ...order,
    env: { ...order.env, PRIMED_CLUSTER_TOKEN: 'another-token-0123456789' },
  });
  cluster.workers.set('w2', wrong);
  const refused = {
    id: 'w2',
    state: 'REFUSED',
    reason: expect.stringMatching(/wrong token.*cluster\.token of worker 'w2'/),
  };
  await expect.poll(async () => (await rows(cluster!))[1], eventually).toMatchObject(refused);
  expect((await primed(api, ['worker', 'list'])).stdout).toMatch(/w2 +REFUSED.*\nw2: .*wrong token/s);
  expect((await submit(api, path, { replicas: '2' })).status).toBe(400);
  expect(await loaded(api, path)).toMatchObject({ mJobState: 'SUCCEEDED', ledger: { originBytes: totalBytes } });
  await cluster.kill('w2');
  cluster.workers.set('w2', await startDaemon({ ...order, ports: wrong.ports, env: { ...order.env, ...token } }));
  await untilLive(cluster, ['w2']);
  expect(await loaded(api, path, { replicas: '2', skipIfExists: 'true' })).toMatchObject({ mJobState: 'SUCCEEDED' });
});
