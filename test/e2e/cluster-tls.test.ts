/** A cluster whose nodes know each other by certificates, and what those get who have none, or another CA's. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request as httpsRequest } from 'node:https';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { PrimedClient } from '../../src/client/client.ts';
import { MiB } from '../../src/core/units.ts';
import type { EmbeddedOrigin } from '../../src/demo/origin/api.ts';
import { type Certificate, makeAuthority } from '../support/certificate.ts';
import { run } from '../support/cli.ts';
import { type Daemon, executable, spawnDaemon, startDaemon } from '../support/daemon.ts';
import { temporaryFolder } from '../support/files.ts';
import { expectContent, originEnvironment, startTestOrigin } from '../support/origin.ts';
import { revocationList } from '../support/revocation.ts';

const cluster = makeAuthority('cluster');
const strangers = makeAuthority('stranger');
const stranger = strangers.sign('stranger');
const objects = [
  { key: 'data/cut.bin', sizeBytes: 10 * MiB + 77 },
  { key: 'data/small.bin', sizeBytes: 5_000 },
];
/** As many as it takes for each worker to be copied from by the other. */
const six = (dir: string) =>
  Array.from({ length: 6 }, (_, index) => ({ key: `${dir}/${index}.bin`, sizeBytes: 5 * MiB + index }));
const [earlier, later] = [six('earlier'), six('later')];
const path = 's3://demo/data/';
const folder = temporaryFolder('cluster-tls');
let origin: EmbeddedOrigin;
let coordinator: Daemon;
let workers: Daemon[];
let client: PrimedClient;

function files(name: string, { cert, key }: Certificate): Record<string, string> {
  const dir = join(folder.path, `pem-${name}`);
  mkdirSync(dir);
  const all = { cert, key, ca: cluster.cert, lists: revocationList(cluster) };
  for (const [file, text] of Object.entries(all)) writeFileSync(join(dir, file), text);
  return filesAt(name);
}

function filesAt(name: string): Record<string, string> {
  const dir = join(folder.path, `pem-${name}`);
  return {
    PRIMED_TLS_CERT_FILE: join(dir, 'cert'),
    PRIMED_TLS_KEY_FILE: join(dir, 'key'),
    PRIMED_TLS_CA_FILE: join(dir, 'ca'),
    PRIMED_TLS_CRL_FILE: join(dir, 'lists'),
    PRIMED_TLS_NODES: 'mtls',
  };
}

function order(role: 'coordinator' | 'worker', id: string, env: Record<string, string>) {
  return {
    role,
    dataDir: join(folder.path, id),
    storeSize: role === 'worker' ? '128MB' : null,
    ca: cluster.cert,
    env: {
      ...originEnvironment(origin),
      PRIMED_JOB_SEGMENT_SIZE: '4MB',
      PRIMED_CLUSTER_LEASE: '2s',
      PRIMED_CLUSTER_ID: id,
      ...(role === 'worker' ? { PRIMED_COORDINATOR: coordinator.api } : {}),
      ...env,
    },
  };
}

beforeAll(async () => {
  origin = await startTestOrigin({ objects: [...objects, ...earlier, ...later] });
  coordinator = await startDaemon(order('coordinator', 'coordinator', files('coordinator', cluster.sign('c'))));
  workers = await Promise.all(['w1', 'w2'].map((id) => startDaemon(order('worker', id, files(id, cluster.sign(id))))));
  client = new PrimedClient({ coordinator: coordinator.api, tls: { ca: cluster.cert } });
  await vi.waitFor(
    async () => expect((await client.workers()).filter(({ state }) => state === 'LIVE')).toHaveLength(2),
    { timeout: 20_000 },
  );
});

afterAll(async () => {
  await client?.close();
  await Promise.all([coordinator, ...(workers ?? [])].map((daemon) => daemon?.kill()));
  await origin?.close();
  folder.remove();
});

async function livingOf(people: PrimedClient): Promise<string[]> {
  const all = await people.workers();
  return all.filter(({ state }) => state === 'LIVE').map(({ id }) => id);
}

/** Status of a request that shows `shown`, if anything, over a connection of its own. */
function statusOf(
  to: Daemon,
  target: string,
  {
    shown,
    method = 'GET',
    headers = {},
    ca = cluster.cert,
  }: { shown?: Certificate; method?: string; headers?: Record<string, string>; ca?: string },
): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = httpsRequest(
      `${to.api}${target}`,
      { method, headers, ca, agent: false, ...(shown && { cert: shown.cert, key: shown.key }) },
      (answer) => {
        answer.resume();
        resolve(answer.statusCode!);
      },
    );
    asked.on('error', reject);
    asked.end();
  });
}

it('loads over TLS, copies between workers over TLS, and reads the origin once', async () => {
  await client.submit({ path }, { replicas: '2' });
  await expect.poll(async () => (await client.progress(path)).mJobState, { timeout: 30_000 }).toBe('SUCCEEDED');
  const bytes = objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const fetched = Object.values(origin.stats().bytesByKey).reduce((sum, some) => sum + some, 0);
  expect(fetched).toBe(bytes);
  expect((await client.workers()).map(({ tls }) => tls)).toEqual([true, true]);
  // The coordinator asks the workers, and reads what they have, by its certificate.
  expect(await client.stat(path)).toMatchObject({ cachedBytes: bytes, replicas: [{ replicas: 2, bytes }] });
  for (const object of objects) {
    const pieces: Buffer[] = [];
    for await (const piece of client.cat(`s3://demo/${object.key}`)) pieces.push(piece);
    expectContent(Buffer.concat(pieces), object);
  }
});

it('a segment of several parts is copied as it arrives, over TLS', async () => {
  const key = 'followed/one.bin';
  const sizeBytes = 32 * MiB;
  origin.add({ key, sizeBytes });
  const silent = origin.setFault({ fault: { kind: 'stall' }, key, rangeFrom: { from: 24 * MiB, to: sizeBytes } });
  const followed = 's3://demo/followed/';
  await client.submit({ path: followed }, { replicas: '2', segmentSize: '32MB' });
  const peerBytes = async () => ((await client.progress(followed)).ledger as { peerBytes: number }).peerBytes;
  await expect.poll(peerBytes, { timeout: 60_000, interval: 50 }).toBe(24 * MiB);
  expect(origin.fired(silent)).toBeGreaterThan(0);
  origin.clearFaults();
  origin.dropConnections();
  await expect.poll(async () => (await client.progress(followed)).mJobState, { timeout: 60_000 }).toBe('SUCCEEDED');
  expect(await peerBytes()).toBe(sizeBytes);
});

it('what is between nodes answers 401 without a certificate, and with one of another CA', async () => {
  const data = `/internal/v1/data/${encodeURIComponent(`${path}small.bin`)}`;
  const upgrade = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==' };
  const asked = [
    { to: coordinator, target: '/internal/v1/workers/w9?instance=x&epoch=1', method: 'DELETE' },
    { to: workers[0]!, target: data },
    { to: workers[0]!, target: data.replace('/data/', '/stat/') },
    { to: workers[0]!, target: '/internal/v1/list?root=s3://demo/' },
    { to: workers[0]!, target: '/internal/v1/control', headers: { ...upgrade, 'sec-websocket-version': '13' } },
  ];
  for (const { to, target, ...how } of asked) {
    expect([target, await statusOf(to, target, how)]).toEqual([target, 401]);
    expect([target, await statusOf(to, target, { ...how, shown: stranger })]).toEqual([target, 401]);
  }
  // Let in, and asked for no version.
  expect(await statusOf(workers[0]!, data, { shown: cluster.sign('node') })).toBe(412);
});

it('a resumed session of somebody without a certificate is not let in either', async () => {
  const port = workers[0]!.ports.http;
  const target = `/internal/v1/data/${encodeURIComponent(`${path}small.bin`)}`;
  const ask = (session?: Buffer): Promise<{ status: string; ticket: Buffer; reused: boolean }> =>
    new Promise((resolve, reject) => {
      // A resumed session brings no new ticket.
      let ticket = session;
      let status = '';
      const socket: TLSSocket = connect({ port, host: '127.0.0.1', ca: cluster.cert, ...(session && { session }) });
      const done = (): void => {
        if (ticket === undefined || status === '') return;
        resolve({ status, ticket, reused: socket.isSessionReused() });
        socket.destroy();
      };
      socket.on('session', (got) => {
        ticket = got;
        done();
      });
      socket.once('data', (bytes) => {
        status = bytes.toString('latin1').slice(9, 12);
        done();
      });
      socket.on('error', reject);
      socket.write(`GET ${target} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    });
  const first = await ask();
  expect([first.status, first.reused]).toEqual(['401', false]);
  const second = await ask(first.ticket);
  expect([second.status, second.reused]).toEqual(['401', true]);
});

it('people need no certificate, and the command line trusts the CA that it is told', async () => {
  const env = { PRIMED_COORDINATOR: coordinator.api };
  const { PRIMED_TLS_CA_FILE } = files('people', stranger) as { PRIMED_TLS_CA_FILE: string };
  const list = [executable, 'job', 'list'];
  const trusting = await run(process.execPath, list, { ...env, PRIMED_TLS_CA_FILE });
  expect([trusting.code, trusting.stdout]).toEqual([0, expect.stringContaining(path)]);
  const other = await run(process.execPath, list, env);
  expect([other.code, other.stderr]).toEqual([3, expect.stringContaining('certificate')]);
});

it('a worker with a certificate of another CA does not become a member, and says why', async () => {
  const env = files('w3', stranger);
  // It knows that CA, and nobody else does.
  writeFileSync(env.PRIMED_TLS_CA_FILE!, cluster.cert + strangers.cert);
  const worker = await spawnDaemon(order('worker', 'w3', env));
  await expect
    .poll(() => worker.log(), { timeout: 20_000 })
    .toMatch(/UNAUTHENTICATED.*client certificate is not accepted/);
  expect((await client.workers()).map(({ id }) => id)).not.toContain('w3');
  await worker.kill();
});

it('takes another CA while it runs: first known beside the old one, then signing all nodes, then alone', async () => {
  const next = makeAuthority('next');
  const nodes = { coordinator, w1: workers[0]!, w2: workers[1]! };
  /** Resolves when every node has read its files; they are looked at every few seconds. */
  const replaced = async (filesOf: (name: string) => Record<string, string>, times: number): Promise<void> => {
    for (const name of Object.keys(nodes))
      for (const [file, text] of Object.entries(filesOf(name)))
        writeFileSync(join(folder.path, `pem-${name}`, file), text);
    for (const node of Object.values(nodes))
      await expect.poll(() => node.log().match(/certificates were replaced/g)?.length, { timeout: 30_000 }).toBe(times);
  };
  // So that each of them knows the other by what it showed before.
  await client.submit({ path: 's3://demo/earlier/' }, { replicas: '2' });
  await expect
    .poll(async () => (await client.progress('s3://demo/earlier/')).mJobState, { timeout: 30_000 })
    .toBe('SUCCEEDED');
  await replaced(() => ({ ca: cluster.cert + next.cert }), 1);
  await replaced((name) => next.sign(name) as unknown as Record<string, string>, 2);
  await replaced(() => ({ ca: next.cert, lists: revocationList(next) }), 3);
  const people = new PrimedClient({ coordinator: coordinator.api, tls: { ca: next.cert } });
  try {
    // A worker that comes anew is let in, linked, copied from and followed: all of it over new connections.
    await nodes.w2.terminate();
    await vi.waitFor(async () => expect(await livingOf(people)).toEqual(['w1']), { timeout: 20_000 });
    const again = order('worker', 'w2', filesAt('w2'));
    workers[1] = await startDaemon({ ...again, ca: next.cert, ports: nodes.w2.ports });
    await vi.waitFor(async () => expect(await livingOf(people)).toEqual(['w1', 'w2']), { timeout: 20_000 });
    // It counts as soon as the coordinator has a link to it.
    await vi.waitFor(() => people.submit({ path: 's3://demo/later/' }, { replicas: '2' }), { timeout: 20_000 });
    await expect
      .poll(async () => (await people.progress('s3://demo/later/')).mJobState, { timeout: 30_000 })
      .toBe('SUCCEEDED');
    const bytes = later.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const fetched = later.reduce((sum, { key }) => sum + (origin.stats().bytesByKey[key] ?? 0), 0);
    expect(fetched).toBe(bytes);
    expect(await people.stat('s3://demo/later/')).toMatchObject({ replicas: [{ replicas: 2, bytes }] });
    expect(
      await statusOf(coordinator, '/internal/v1/workers/x', { method: 'PUT', shown: cluster.sign('x'), ca: next.cert }),
    ).toBe(401);
    // Whose certificate is revoked is a member for as long as its lease lasts.
    const revoked = [readFileSync(join(folder.path, 'pem-w2', 'cert'), 'utf8')];
    const lists = revocationList(next, { revoked });
    for (const name of ['coordinator', 'w1']) writeFileSync(join(folder.path, `pem-${name}`, 'lists'), lists);
    await vi.waitFor(async () => expect(await livingOf(people)).toEqual(['w1']), { timeout: 20_000 });
    await expect.poll(() => workers[1]!.log(), { timeout: 20_000 }).toMatch(/is not accepted \(it has been revoked\)/);
  } finally {
    await people.close();
  }
});

it.each([
  ['of another CA', stranger, /PRIMED_TLS_CERT_FILE: the certificate is not signed by the CA in tls\.ca_file/],
  [
    'with the key of another one',
    { cert: cluster.sign('a').cert, key: cluster.sign('b').key },
    /PRIMED_TLS_KEY_FILE: .*is not the key of/,
  ],
])('a certificate %s ends the start by name', async (what, shown, reason) => {
  const id = what.replaceAll(' ', '-');
  const daemon = await spawnDaemon(order('coordinator', id, files(id, shown)));
  const { code } = await daemon.exited;
  expect(code).toBe(78);
  expect(daemon.log()).toMatch(reason);
});
