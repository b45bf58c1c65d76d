/** `primed doctor` on a node that is well, and on one where real things are broken. */
import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { freePort } from '../../bench/support/process.ts';
import type { Finding } from '../../src/core/finding.ts';
import type { EmbeddedOrigin } from '../../src/demo/origin/api.ts';
import { IndexDb } from '../../src/store/index-db.ts';
import { pathKey } from '../../src/store/records.ts';
import { loaded } from '../support/api.ts';
import { makeCertificate } from '../support/certificate.ts';
import { run } from '../support/cli.ts';
import { executable, startDaemon } from '../support/daemon.ts';
import { temporaryFolder } from '../support/files.ts';
import { smallDataset, startTestOrigin, testCredentials } from '../support/origin.ts';
import { overwrite } from '../support/rot.ts';

const folder = temporaryFolder('doctor');
const file = join(folder.path, 'primed.toml');
const data = join(folder.path, 'data');
let origin: EmbeddedOrigin;
let ports: { api: number; http: number; s3: number };

beforeAll(async () => {
  origin = await startTestOrigin();
  ports = { api: await freePort(), http: await freePort(), s3: await freePort() };
});
afterAll(async () => {
  await origin?.close();
  folder.remove();
});

function write(changes: { secret?: string; more?: string } = {}): void {
  const { secret = testCredentials.secretAccessKey, more = '' } = changes;
  writeFileSync(
    file,
    `data_dir = "${data}"
api.listen = "127.0.0.1:${ports.api}"
[worker]
http_listen = "127.0.0.1:${ports.http}"
s3_listen = "127.0.0.1:${ports.s3}"
store_size = "64MB"
${more}
[[ufs]]
prefix = "s3://${origin.bucket}/"
endpoint = "${origin.endpoint}"
region = "us-east-1"
access_key_id = "${testCredentials.accessKeyId}"
secret_access_key = "${secret}"
`,
  );
}

async function doctor(
  ...more: string[]
): Promise<{ code: number | null; find: (check: string) => Finding | undefined; text: string }> {
  const said = await run(process.execPath, [executable, 'doctor', '--config', file, '--format', 'json', ...more]);
  const { findings } = JSON.parse(said.stdout) as { findings: Finding[] };
  return { code: said.code, find: (check) => findings.find((one) => one.check.startsWith(check)), text: said.stdout };
}

test('a node whose daemon runs is well; stopped and broken, each fault is named with its remedy', async () => {
  write();
  const daemon = await startDaemon({
    ...{ dataDir: data, storeSize: '64MB', ports },
    env: { PRIMED_CONFIG: file },
  });
  const path = `s3://${origin.bucket}/${smallDataset[3]!.key}`;
  await loaded(daemon.api, path);
  const well = await doctor('--deep');
  await daemon.terminate();
  expect(well.text).not.toContain('"fail"');
  expect(well.code).toBe(0);
  expect(well.find('daemon')?.what).toBe('runs');
  expect(well.find('api.listen')?.what).toContain('in use by the daemon');
  expect(well.find('origin s3://')).toMatchObject({ level: 'ok' });
  expect(well.find('clock against 127.0.0.1')).toMatchObject({ level: 'ok' });

  // Only of a worker that is stopped, and then with one fault by name.
  expect(well.find('index, all of it')).toMatchObject({
    ...{ level: 'warn', what: `was not walked: process ${daemon.pid} has it open` },
    remedy: expect.stringContaining('stop the worker'),
  });
  const whole = await doctor('--deep');
  expect(whole.find('index, all of it')).toMatchObject({
    ...{ level: 'ok', what: expect.stringMatching(/^fits together: 1 files, 1 blocks, 1 extents; 4096B of/) },
  });
  const index = new IndexDb(join(data, 'index'));
  await index.commit(() => void index.files.remove(pathKey(path)));
  await index.close();
  const spoilt = await doctor('--deep');
  expect([spoilt.code, (await doctor()).find('index, all of it')]).toEqual([1, undefined]);
  expect(spoilt.find('index, all of it: queue')).toMatchObject({ level: 'fail', what: expect.stringContaining(path) });

  const store = join(data, 'store', 'store.dat');
  truncateSync(store, 32 << 20);
  const squatter = await listenAt(ports.api);
  write({ secret: 'this-is-another-secret' });
  const broken = await doctor();
  squatter.close();
  expect(broken.code).toBe(1);
  expect(broken.find('daemon')?.what).toBe('does not run');
  expect(broken.find('api.listen')).toMatchObject({
    level: 'fail',
    what: expect.stringContaining('not by this daemon'),
  });
  expect(broken.find('worker.http_listen')).toMatchObject({ level: 'ok' });
  expect(broken.find('store')).toMatchObject({
    level: 'fail',
    what: expect.stringContaining('its head says 67108864'),
  });
  expect(broken.find('origin s3://')).toMatchObject({ level: 'fail', what: expect.stringMatching(/^credentials: /) });
  for (const secret of ['this-is-another-secret', testCredentials.secretAccessKey]) {
    expect(broken.text).not.toContain(secret);
    expect(well.text).not.toContain(secret);
  }

  const databases = [
    ['index', 'load the data again'],
    ['jobs', 'what is cached stays'],
    ['pins', 'primed fs pin'],
  ] as const;
  const fileOf = (name: string): string => join(data, name, 'data.mdb');
  for (const [name] of databases) {
    expect(broken.find(name)).toMatchObject({ level: 'ok', what: expect.stringContaining('is whole') });
    truncateSync(fileOf(name), 4096 * Math.floor(readFileSync(fileOf(name)).length / 8192));
  }
  const cut = await doctor('--deep');
  for (const [name, words] of databases) {
    expect(cut.find(name)).toMatchObject({
      ...{ level: 'fail', what: expect.stringContaining(fileOf(name)), remedy: expect.stringContaining(words) },
    });
  }
  expect(cut.find('index, all of it')).toMatchObject({ level: 'fail' });

  overwrite(store, 100, Buffer.from('scribble'));
  expect((await doctor()).find('store')).toMatchObject({ level: 'fail', what: expect.stringContaining('damaged') });
}, 60_000);

test('errors of the configuration are findings beside all others; whom they are about is not asked', async () => {
  write({ more: 'lanes = "many"' });
  const said = await doctor();
  expect(said.code).toBe(1);
  expect(said.find('configuration')).toMatchObject({ level: 'fail', what: expect.stringContaining('lanes') });
  expect(said.find('Node')).toMatchObject({ level: 'ok' });
  expect(said.find('worker.s3_listen')).toMatchObject({ level: 'ok' });
  expect(said.find('origin s3://')).toMatchObject({ level: 'ok' });
  origin.resetStats();
  write({ more: '' });
  writeFileSync(file, readFileSync(file, 'utf8').replace(/endpoint = .*/, 'endpoint = "no url"'));
  const unasked = await doctor();
  expect(unasked.find('configuration')).toMatchObject({
    level: 'fail',
    what: expect.stringContaining('ufs[0].endpoint'),
  });
  expect(unasked.find('origins')).toMatchObject({ level: 'warn', what: expect.stringContaining('not asked') });
  expect(unasked.find('memory')).toBeDefined();
  expect(origin.stats().requests).toBe(0);
});

test('a configuration that cannot work is the finding: no rights, no folder, an expired certificate', async () => {
  const { cert, key } = makeCertificate();
  const [certFile, keyFile] = [join(folder.path, 'cert.pem'), join(folder.path, 'key.pem')];
  writeFileSync(certFile, cert);
  writeFileSync(keyFile, key);
  execFileSync('openssl', ['x509', '-in', certFile, '-signkey', keyFile, '-days', '-1', '-out', certFile], {
    stdio: 'ignore',
  });
  write({ more: '[tls]\ncert_file = "cert.pem"\nkey_file = "key.pem"' });
  const expired = await doctor();
  expect(expired).toMatchObject({ code: 1 });
  expect(expired.find('configuration')).toMatchObject({ level: 'fail', what: expect.stringContaining('has expired') });
  writeFileSync(file, `data_dir = "${file}/below"\n`);
  expect((await doctor()).find('configuration')).toMatchObject({
    ...{ level: 'fail', what: expect.stringContaining('ENOTDIR'), remedy: expect.any(String) },
  });
  const closed = join(folder.path, 'closed');
  mkdirSync(closed);
  chmodSync(closed, 0o555);
  const asNobody = process.getuid?.() === 0 ? ['setpriv', '--reuid=65534', '--clear-groups'] : [];
  const [program, ...words] = [...asNobody, process.execPath, executable, 'doctor', '--data', join(closed, 'data')];
  const said = await run(program!, words);
  expect(said.code).toBe(1);
  expect(said.stdout).toMatch(/FAIL {2}configuration: --data: the user of the daemon .* may not write to .*EACCES/);
});

function listenAt(port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy()).once('error', reject);
    server.listen({ host: '127.0.0.1', port }, () => resolve(server));
  });
}
