/** Who may speak to etcd: users with passwords, tokens that end, certificates of both sides. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { expect, onTestFinished, test } from 'vitest';
import { makeAuthority, type SignedFiles } from '../support/authority.ts';
import { clientOf, type EtcdServer, type EtcdServerOptions, serverFor } from '../support/etcd.ts';
import { temporaryFolder } from '../support/files.ts';

const eventually = { timeout: 30_000, interval: 10 };

const root = ['--user=root:toor'];
const ann = { username: 'ann', password: 'secret' };

/** With a user `ann`, who may do everything below /mine/. */
async function guardedServer(options: EtcdServerOptions = {}): Promise<EtcdServer> {
  const server = await serverFor(options);
  server.ctl('user', 'add', 'root:toor');
  server.ctl('user', 'grant-role', 'root', 'root');
  server.ctl('role', 'add', 'mine');
  server.ctl('role', 'grant-permission', 'mine', '--prefix=true', 'readwrite', '/mine/');
  server.ctl('user', 'add', 'ann:secret');
  server.ctl('user', 'grant-role', 'ann', 'mine');
  server.ctl('auth', 'enable');
  return server;
}

async function expectRefused(call: Promise<unknown>, reason: RegExp): Promise<void> {
  const message = expect.stringMatching(reason);
  await expect(call).rejects.toMatchObject({ code: 'ETCD_REFUSED', status: 'PERMISSION_DENIED', message });
}

test('a user does what it may, and is told what it may not', async () => {
  const { endpoints } = await guardedServer();
  const etcd = clientOf(endpoints, ann);
  await etcd.put('/mine/x', '1');
  const lease = await etcd.grantLease(2_000);
  await etcd.txn({
    compare: [{ key: '/mine/x', exists: true }],
    success: [{ put: '/mine/y', value: '2', lease: lease.id }],
  });
  await lease.revoke();
  expect((await etcd.range('/mine/')).entries.map(({ key }) => key)).toEqual(['/mine/x']);
  await expectRefused(etcd.get('/other'), /permission denied/);
  await expectRefused(etcd.put('/other', '1'), /permission denied/);
  await expectRefused(clientOf(endpoints).get('/mine/x'), /wants a user with a password/);
  await expectRefused(clientOf(endpoints, { ...ann, password: 'wrong' }).get('/mine/x'), /authentication failed/);
  const problems: unknown[] = [];
  const watch = etcd.watchPrefix({
    prefix: '/other/',
    fromRevision: 1,
    onReset: () => {},
    onEvents: () => {},
    onHealth: (problem) => problems.push(problem),
  });
  await expect.poll(() => problems, eventually).toMatchObject([{ code: 'ETCD_REFUSED' }]);
  watch.close();
});

test('tokens that etcd has forgotten, or that users made stale, are fetched anew', async () => {
  const server = await guardedServer();
  const etcd = clientOf(server.endpoints, ann);
  const values: string[] = [];
  const problems: unknown[] = [];
  let read = 0;
  etcd.watchPrefix({
    prefix: '/mine/',
    onReset: () => {
      read += 1;
    },
    onEvents: (events) => {
      for (const event of events) if (event.type === 'put') values.push(event.entry.value.toString());
    },
    onHealth: (problem) => problems.push(problem),
  });
  await expect.poll(() => read, eventually).toBe(1);
  await etcd.put('/mine/x', '1');
  await expect.poll(() => values, eventually).toContain('1');
  // etcd keeps tokens in memory.
  await server.members[0]!.stop();
  await server.members[0]!.start();
  await etcd.put('/mine/x', '2');
  await expect.poll(() => values, eventually).toContain('2');
  // Any change of a user makes all tokens stale.
  server.ctl(...root, 'user', 'add', 'bob:x');
  await etcd.put('/mine/x', '3');
  await expect.poll(() => values, eventually).toEqual(['1', '2', '3']);
  // What is not permitted any more is not; permitted again, the watch goes on by itself.
  server.ctl(...root, 'user', 'revoke-role', 'ann', 'mine');
  await expectRefused(etcd.put('/mine/x', '4'), /permission denied/);
  await expect.poll(() => problems.at(-1), eventually).toMatchObject({ code: 'ETCD_REFUSED' });
  server.ctl(...root, 'user', 'grant-role', 'ann', 'mine');
  await etcd.put('/mine/x', '5');
  await expect.poll(() => values.at(-1), eventually).toBe('5');
  await expect.poll(() => problems.at(-1), eventually).toBeUndefined();
});

test('a token that expires is fetched anew', async () => {
  const server = await guardedServer({ args: ['--auth-token-ttl=1'] });
  const etcd = clientOf(server.endpoints, ann);
  await etcd.put('/mine/x', '0');
  // Longer than a token lives.
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  await etcd.put('/mine/x', '1');
  expect((await etcd.get('/mine/x'))?.value.toString()).toBe('1');
});

test('an etcd that asks for no password takes everybody, also when it begins to ask', async () => {
  const server = await serverFor();
  const etcd = clientOf(server.endpoints, ann);
  await etcd.put('/mine/x', '1');
  server.ctl('user', 'add', 'root:toor');
  server.ctl('user', 'grant-role', 'root', 'root');
  server.ctl('user', 'add', 'ann:secret');
  server.ctl('user', 'grant-role', 'ann', 'root');
  server.ctl('auth', 'enable');
  expect((await etcd.get('/mine/x'))?.value.toString()).toBe('1');
});

test('TLS: the server is known by its authority, and clients by theirs where it asks for that', async () => {
  const folder = temporaryFolder('etcd-tls');
  onTestFinished(() => folder.remove());
  const ours = makeAuthority(folder.path, 'ours');
  const theirs = makeAuthority(folder.path, 'theirs');
  const pem = ({ caFile, certFile, keyFile }: SignedFiles) => ({
    ca: readFileSync(caFile, 'utf8'),
    cert: readFileSync(certFile, 'utf8'),
    key: readFileSync(keyFile, 'utf8'),
  });
  const { endpoints } = await serverFor({ tls: { ...ours.sign(''), clientCerts: true } });
  const good = pem(ours.sign('node'));
  const etcd = clientOf(endpoints, { tls: good });
  await etcd.put('/x', '1');
  const values: string[] = [];
  etcd.watchPrefix({
    prefix: '/x',
    onReset: (entries) => values.push(...entries.map(({ value }) => value.toString())),
    onEvents: () => values.push('event'),
  });
  await expect.poll(() => values, eventually).toEqual(['1']);
  await etcd.put('/x', '2');
  await expect.poll(() => values, eventually).toEqual(['1', 'event']);
  const failing = (tls: Partial<typeof good>) => expect(clientOf(endpoints, { tls }).get('/x')).rejects;
  await failing({}).toMatchObject({ code: 'ETCD_UNAVAILABLE', message: expect.stringMatching(/certificate/) });
  await failing({ ...good, ca: readFileSync(theirs.caFile, 'utf8') }).toMatchObject({
    code: 'ETCD_UNAVAILABLE',
    message: expect.stringMatching(/certificate/),
  });
  await failing({ ca: good.ca }).toMatchObject({ code: 'ETCD_UNAVAILABLE' });
  await failing({ ...pem(theirs.sign('node')), ca: good.ca }).toMatchObject({ code: 'ETCD_UNAVAILABLE' });
  // Certificates that are replaced in place count for the next connection.
  const replaced = { ...good, ...pem(theirs.sign('node')), ca: good.ca };
  const client = clientOf(endpoints, { tls: replaced });
  await expect(client.get('/x')).rejects.toMatchObject({ code: 'ETCD_UNAVAILABLE' });
  Object.assign(replaced, good);
  expect(await client.get('/x')).toBeDefined();
});

test('a certificate with a name is no user: where etcd would take it for one, it says so', async () => {
  const folder = temporaryFolder('etcd-tls');
  onTestFinished(() => folder.remove());
  const ours = makeAuthority(folder.path, 'ours');
  const { endpoints } = await guardedServer({ tls: { ...ours.sign(''), clientCerts: true } });
  const clientWith = (name: string) => {
    const { certFile, keyFile } = ours.sign(name);
    const [ca, cert, key] = [ours.caFile, certFile, keyFile].map((file) => readFileSync(file, 'utf8')) as [
      string,
      string,
      string,
    ];
    return clientOf(endpoints, { ...ann, tls: { ca, cert, key } });
  };
  await expectRefused(clientWith('ann').get('/mine/x'), /CommonName/);
  await clientWith('').put('/mine/x', '1');
});

test('what answers and is not etcd is told from one', async () => {
  const server = createServer((_request, response) => response.writeHead(404).end('<html>nothing here</html>'));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  const { port } = server.address() as { port: number };
  await expect(clientOf([`http://127.0.0.1:${port}`]).put('/x', '1')).rejects.toMatchObject({
    code: 'ETCD_UNAVAILABLE',
    message: expect.stringMatching(/404.*not etcd, or its gateway is off/),
    facts: { maybeDone: false },
  });
});

test('TLS with a user and a password, of a server that asks for no certificate', async () => {
  const folder = temporaryFolder('etcd-tls');
  onTestFinished(() => folder.remove());
  const ours = makeAuthority(folder.path, 'ours');
  const { endpoints } = await guardedServer({ tls: ours.sign('') });
  const etcd = clientOf(endpoints, { ...ann, tls: { ca: readFileSync(ours.caFile, 'utf8') } });
  await etcd.put('/mine/x', '1');
  expect((await etcd.get('/mine/x'))?.value.toString()).toBe('1');
});
