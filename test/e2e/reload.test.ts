/** A daemon that reads its configuration again while it works, and certificates that are replaced under it. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect, type TLSSocket } from 'node:tls';
import { GetObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { Agent, request } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { plainEnvironment } from '../../bench/support/process.ts';
import { firstEndMs } from '../../src/certificate-ends.ts';
import { MiB } from '../../src/core/units.ts';
import type { EmbeddedOrigin } from '../../src/demo/origin/api.ts';
import { type Authority, makeAuthority } from '../support/certificate.ts';
import { type Daemon, executable, startDaemon } from '../support/daemon.ts';
import { temporaryFolder } from '../support/files.ts';
import { originEnvironment, startTestOrigin } from '../support/origin.ts';

const objects = Array.from({ length: 40 }, (_, index) => ({ key: `data/${index}.bin`, sizeBytes: MiB }));
const path = 's3://demo/data/';
const folder = temporaryFolder('reload');
const at = (name: string): string => join(folder.path, name);
const soon = { timeout: 20_000, interval: 20 };
const first: Authority = makeAuthority('first');
const second: Authority = makeAuthority('second');
const both = first.cert + second.cert;
let origin: EmbeddedOrigin;
let daemon: Daemon;
let signals = 0;

function write(toml: string, tls = ''): void {
  writeFileSync(
    at('primed.toml'),
    `api_token_file = "token"\n[tls]\ncert_file = "cert.pem"\nkey_file = "key.pem"\n${tls}\n${toml}`,
  );
}

function certify(authority: Authority): void {
  const { cert, key } = authority.sign('node');
  writeFileSync(at('cert.pem'), cert);
  writeFileSync(at('key.pem'), key);
}

/** Sends SIGHUP, and waits until the daemon has said what became of it. */
async function reload(): Promise<void> {
  signals += 1;
  process.kill(daemon.pid, 'SIGHUP');
  await expect.poll(() => daemon.log().match(/the configuration was read again/g)?.length ?? 0, soon).toBe(signals);
}

async function ask(
  target: string,
  { token = 'one', ca = both, method = 'GET' as const, body = undefined as unknown } = {},
) {
  const dispatcher = new Agent({ connect: { ca } });
  try {
    const answer = await request(`${daemon.api}${target}`, {
      ...{ dispatcher, method, headers: { authorization: `Bearer ${token}` } },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.body.text();
    const isJson = answer.headers['content-type']?.includes('json') === true;
    return { status: answer.statusCode, text, body: (isJson ? JSON.parse(text) : {}) as Record<string, unknown> };
  } finally {
    await dispatcher.close();
  }
}

const submit = (options: object) =>
  ask('/api/v1/master/submit_job/load', { method: 'POST' as never, body: { path, options } });
const stateOf = async () =>
  (await ask(`/api/v1/master/progress_job/load?path=${encodeURIComponent(path)}&format=JSON`)).body;

/** The value of a metric that is shown once. */
async function metric(name: string, token: string): Promise<number> {
  const { text } = await ask('/metrics', { token });
  const line = text.split('\n').find((one) => one.startsWith(`${name} `));
  return Number(line?.slice(name.length));
}

/** A connection of its own, and who has signed the certificate that the port showed it. */
function dial(port: number): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', ca: both }, () => resolve(socket));
    socket.once('error', reject);
  });
}

async function issuerAt(port: number): Promise<string> {
  const socket = await dial(port);
  const { CN } = socket.getPeerCertificate().issuer;
  socket.destroy();
  return String(CN);
}

beforeAll(async () => {
  mkdirSync(folder.path, { recursive: true });
  origin = await startTestOrigin({ objects });
  writeFileSync(at('token'), 'one\n');
  certify(first);
  write('[[ufs]]\nprefix = "s3://demo"\nmax_bandwidth = "2MB"\n[log]\nlevel = "warn"');
  daemon = await startDaemon({
    dataDir: at('data'),
    storeSize: '128MB',
    args: ['--config', at('primed.toml')],
    env: originEnvironment(origin),
    ca: both,
  });
});
afterAll(async () => {
  await daemon?.kill();
  await origin?.close();
  folder.remove();
});

describe('SIGHUP while a load runs', () => {
  let open: TLSSocket;

  it('changes the level of the log, the certificates and limits; connections stay, and so does the load', async () => {
    expect(daemon.log()).not.toContain('"level":"info"');
    expect((await submit({})).status).toBe(200);
    open = await dial(daemon.ports.api);
    certify(second);
    write('[worker]\nlanes = 7\n[[ufs]]\nprefix = "s3://demo"\nmax_bandwidth = "1GB"\n[log]\nlevel = "info"');
    expect(await stateOf()).toMatchObject({ mJobState: 'RUNNING' });
    await reload();
    expect(daemon.log()).toMatch(
      /"changed":\["ufs\[0\]\.max_bandwidth","log\.level"\]|"changed":\["log\.level","ufs\[0\]\.max_bandwidth"\]/,
    );
    // The line after the one that was waited for.
    await expect
      .poll(() => daemon.log(), soon)
      .toMatch(/"settings":\["worker\.lanes"\].*what else has changed needs a restart/);
    // The threads of the S3 port are told, and hear it in their turn.
    for (const port of Object.values(daemon.ports)) await expect.poll(() => issuerAt(port), soon).toBe('second');
    expect((await ask('/api/v1/ufs')).body).toMatchObject([{ bytesPerSecond: 1024 * MiB }]);
    // With the limit of before it would take 20 s.
    await expect.poll(async () => (await stateOf()).mJobState, { timeout: 12_000 }).toBe('SUCCEEDED');
  });

  it('a connection that was open goes on with the certificate that it has', async () => {
    const answered = new Promise<string>((resolve) => open.once('data', (piece) => resolve(String(piece))));
    open.write('GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n');
    expect(await answered).toMatch(/^HTTP\/1\.1 200/);
    expect(open.getPeerCertificate().issuer.CN).toBe('first');
    open.destroy();
  });
});

it('a configuration with errors changes nothing, and all of them are logged', async () => {
  writeFileSync(at('token'), 'two\n');
  write('[log]\nlevel = "loud"\n[job]\nmax_active = 0');
  await reload();
  const said = daemon
    .log()
    .split('\n')
    .find((line) => line.includes('cannot be used; the one before holds'));
  const { level, reason } = JSON.parse(said!) as { level: string; reason: string };
  expect(level).toBe('error');
  expect(reason).toMatch(/2 errors:\n.*primed\.toml:\d+: log\.level: .*\n.*primed\.toml:\d+: job\.max_active: /);
  expect((await ask('/api/v1/ufs')).status).toBe(200);
  expect(await metric('primed_config_refused', 'one')).toBe(1);
});

it('tokens and keys of the S3 port are exchanged', async () => {
  write('[[s3.key]]\naccess_key_id = "key1"\nsecret_access_key = "s1"\n[log]\nlevel = "info"');
  await reload();
  expect((await ask('/api/v1/ufs', { token: 'one' })).status).toBe(401);
  expect((await ask('/api/v1/ufs', { token: 'two' })).status).toBe(200);
  expect(daemon.log()).not.toMatch(/"(one|two)"/);
  expect(await metric('primed_config_refused', 'two')).toBe(0);
  const read = async (secretAccessKey: string): Promise<number | undefined> => {
    const client = new S3Client({
      ...{ endpoint: daemon.s3, region: 'us-east-1', forcePathStyle: true, maxAttempts: 1 },
      credentials: { accessKeyId: 'key1', secretAccessKey },
      requestHandler: { httpsAgent: { ca: both } },
    });
    try {
      const answer = await client.send(new GetObjectCommand({ Bucket: 'demo', Key: objects[0]!.key }));
      await answer.Body!.transformToByteArray();
      return answer.$metadata.httpStatusCode;
    } catch (error) {
      return (error as { $metadata: { httpStatusCode?: number } }).$metadata.httpStatusCode;
    } finally {
      client.destroy();
    }
  };
  const answers = async (): Promise<unknown[]> => [await read('s1'), await read('s2')];
  await expect.poll(answers, soon).toEqual([200, 403]);
  write('[[s3.key]]\naccess_key_id = "key1"\nsecret_access_key = "s2"\n[log]\nlevel = "info"');
  await reload();
  await expect.poll(answers, soon).toEqual([403, 200]);
});

it('rules of the store hold for what is cached, and what needs a restart is named each time', async () => {
  const rule = '[log]\nlevel = "info"\n[worker]\nlanes = 7\n[[store.rule]]\nprefix = "s3://demo/data/"\nttl = "1s"';
  const listed = async () =>
    (await ask(`/api/v1/fs/stat?path=${encodeURIComponent(path)}`, { token: 'two' })).body.files;
  expect(await listed()).toBe(objects.length);
  write(rule);
  await reload();
  expect(daemon.log()).toContain('"store.rule[0].ttl"');
  await expect.poll(listed, soon).not.toBe(objects.length);
  // Once in the first test of all, and once now.
  const named = () => daemon.log().match(/"worker\.lanes"[^\n]*what else has changed needs a restart/g)?.length ?? 0;
  await expect.poll(named, soon).toBe(2);
  write(`${rule}\n# as before`);
  await reload();
  await expect.poll(named, soon).toBe(3);
  write('[log]\nlevel = "info"');
  await reload();
});

describe('certificates that are replaced without a signal', () => {
  it('are refused where the key is another one, and used when it has come', async () => {
    // Of another length, so that its end is not that of the one before.
    const { cert, key } = first.sign('node', 5);
    writeFileSync(at('cert.pem'), cert);
    await expect
      .poll(() => daemon.log(), soon)
      .toMatch(/tls\.key_file: .* is not the key of .*certificates have changed and cannot be used; those before hold/);
    expect(await issuerAt(daemon.ports.s3)).toBe('second');
    writeFileSync(at('key.pem'), key);
    await expect.poll(() => issuerAt(daemon.ports.s3), soon).toBe('first');
    expect(await issuerAt(daemon.ports.api)).toBe('first');
    const ends = 'primed_certificate_expiry_timestamp_seconds{use="node"}';
    expect(await metric(ends, 'two')).toBe(firstEndMs(cert)! / 1000);
  });

  it('do not end the daemon when they are gone', async () => {
    rmSync(at('cert.pem'));
    await expect.poll(() => daemon.log(), soon).toMatch(/tls\.cert_file: there is no file/);
    expect(await issuerAt(daemon.ports.api)).toBe('first');
  });
});

it('SIGUSR2 means nothing, and SIGTERM ends the daemon as ever', async () => {
  process.kill(daemon.pid, 'SIGUSR2');
  await expect.poll(() => daemon.log(), soon).toMatch(/SIGUSR2 means nothing/);
  expect((await ask('/health/ready', { token: 'two' })).status).toBe(200);
  expect(await daemon.terminate()).toEqual({ code: 0, signal: null });
});

it('in a terminal SIGHUP reads again too, and closing the terminal ends the daemon', async () => {
  const order = ['standalone', '--data', at('terminal'), '--store-size', '64MB', '--api', '127.0.0.1:0'];
  const words = [process.execPath, executable, ...order, '--http', '127.0.0.1:0', '--s3', '127.0.0.1:0'];
  const terminal = spawn('script', ['-qec', `exec ${words.join(' ')}`, '/dev/null'], {
    env: plainEnvironment({ AWS_EC2_METADATA_DISABLED: 'true' }),
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let shown = '';
  terminal.stdout.setEncoding('utf8').on('data', (piece: string) => {
    shown += piece;
  });
  await expect.poll(() => shown, soon).toContain('"msg":"ready"');
  const pid = Number(readFileSync(`/proc/${terminal.pid}/task/${terminal.pid}/children`, 'utf8').trim());
  process.kill(pid, 'SIGHUP');
  await expect.poll(() => shown, soon).toContain('the configuration was read again');
  terminal.kill('SIGKILL');
  await expect.poll(() => existsSync(`/proc/${pid}`), soon).toBe(false);
});
