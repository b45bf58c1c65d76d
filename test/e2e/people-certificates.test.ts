/** People and programs that show a certificate: made by openssl, told apart from those of nodes, with the role of their subject. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { run } from '../support/cli.ts';
import { type Daemon, executable, startDaemon } from '../support/daemon.ts';
import { temporaryFolder } from '../support/files.ts';
import { revocationList } from '../support/revocation.ts';

const folder = temporaryFolder('people-certificates');
const at = (name: string): string => join(folder.path, name);
const soon = { timeout: 20_000, interval: 20 };
const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
let daemon: Daemon;

function issue(name: string, { subject = `/CN=${name}`, by = '', ca = false, san = '', keyId = '' }): void {
  const signed = by === '' ? [] : ['-CA', at(`${by}.pem`), '-CAkey', at(`${by}.key`)];
  const more = [
    ...['-addext', `basicConstraints=critical,CA:${ca ? 'TRUE' : 'FALSE'}`],
    ...(san === '' ? [] : ['-addext', `subjectAltName=${san}`]),
    ...(keyId === '' ? [] : ['-addext', `subjectKeyIdentifier=${keyId}`, '-addext', 'authorityKeyIdentifier=none']),
  ];
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      ...curve,
      '-subj',
      subject,
      ...signed,
      ...more,
      '-keyout',
      at(`${name}.key`),
      '-out',
      at(`${name}.pem`),
    ],
    { stdio: 'ignore' },
  );
}

function keyIdOf(name: string): string {
  const order = ['x509', '-in', at(`${name}.pem`), '-noout', '-ext', 'subjectKeyIdentifier'];
  return execFileSync('openssl', order, { encoding: 'utf8' }).trim().split('\n').at(-1)!.trim();
}

const pemOf = (name: string): string => readFileSync(at(`${name}.pem`), 'utf8');

/** Of a CA, of those that it has revoked. @param seconds until it ends */
function listOf(ca: string, revoked: readonly string[] = [], seconds = 3600): string {
  const authority = { cert: pemOf(ca), key: readFileSync(at(`${ca}.key`), 'utf8') };
  return revocationList(authority, { revoked: revoked.map(pemOf), seconds });
}
const lists = (...texts: readonly string[]): void => writeFileSync(at('lists.pem'), texts.join(''));
const configCheck = (file: string) =>
  run(process.execPath, [executable, 'config', 'check', '--role', 'coordinator', '--config', at(file)]);

interface Ask {
  /** Whose certificate is shown, with what is sent beside it. */
  readonly as?: string;
  readonly chain?: readonly string[];
  readonly method?: 'GET' | 'POST' | 'PUT';
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
}

async function ask(target: string, { as, chain = [], method = 'GET', body, headers = {} }: Ask = {}) {
  const cert =
    as === undefined ? undefined : [as, ...chain].map((one) => readFileSync(at(`${one}.pem`), 'utf8')).join('');
  const shows = as === undefined ? {} : { cert, key: readFileSync(at(`${as}.key`), 'utf8') };
  const dispatcher = new Agent({ connect: { ca: readFileSync(at('nodes.pem'), 'utf8'), ...shows } });
  try {
    const answer = await request(`${daemon.api}${target}`, {
      ...{ dispatcher, method },
      headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: answer.statusCode, text: await answer.body.text() };
  } finally {
    await dispatcher.close();
  }
}
const statusOf = async (target: string, order: Ask): Promise<number> => (await ask(target, order)).status;
const pins = { method: 'PUT', body: { path: 's3://demo/a/' } } as const;
const audited = (): { who: string; action: string; result: string }[] =>
  daemon
    .log()
    .split('\n')
    .filter((line) => line.includes('"event":"audit"'))
    .map((line) => JSON.parse(line));

function write(roles: Readonly<Record<string, string>>): void {
  const entries = Object.entries(roles).map(
    ([subject, role]) => `[[certificate]]\nsubject = "${subject}"\nrole = "${role}"`,
  );
  writeFileSync(
    at('primed.toml'),
    `api_token = "the-token"
[tls]
cert_file = "node.pem"
key_file = "node.key"
ca_file = "nodes.pem"
client_ca_file = "people.pem"
crl_file = "lists.pem"
nodes = "mtls"
${entries.join('\n')}
`,
  );
}

beforeAll(async () => {
  mkdirSync(folder.path, { recursive: true });
  for (const ca of ['nodes', 'people', 'strangers']) issue(ca, { ca: true });
  issue('node', { by: 'nodes', san: 'DNS:localhost,IP:127.0.0.1' });
  issue('alice', { by: 'people' });
  issue('bob', { subject: '/O=example', by: 'people', san: 'email:bob@example.org' });
  issue('mallory', { by: 'people' });
  issue('stranger', { subject: '/CN=alice', by: 'strangers' });
  issue('team', { by: 'people', ca: true });
  issue('carol', { by: 'team' });
  // What calls itself as the CA of people does, with its key's id, and says that the CA of nodes has signed it: names and ids lead
  // from alice to nodes, and signatures do not.
  issue('false', { subject: '/CN=nodes', ca: true });
  issue('forged', { subject: '/CN=people', by: 'false', ca: true, keyId: keyIdOf('people') });
  lists(listOf('people'));
  write({ 'CN=alice': 'read', 'email:bob@example.org': 'admin', 'CN=carol': 'submit' });
  daemon = await startDaemon({
    ...{ dataDir: at('data'), storeSize: null, role: 'coordinator', args: ['--config', at('primed.toml')] },
    ca: readFileSync(at('nodes.pem'), 'utf8'),
  });
});
afterAll(async () => {
  await daemon?.kill();
  folder.remove();
});

it('the subject says the role: by common name, by alternative name, through a CA in between', async () => {
  expect(await statusOf('/api/v1/workers', {})).toBe(401);
  expect(await statusOf('/api/v1/workers', { as: 'alice' })).toBe(200);
  expect(await ask('/api/v1/pins', { as: 'alice', ...pins })).toMatchObject({
    ...{ status: 403, text: expect.stringContaining("The certificate 'CN=alice' has the role read") },
  });
  expect(await statusOf('/api/v1/pins', { as: 'bob', ...pins })).toBe(200);
  expect(await statusOf('/api/v1/fs/check?path=s3://demo/a/', { as: 'carol', chain: ['team'], method: 'POST' })).toBe(
    404,
  );
  // A token counts more.
  const headers = { authorization: 'Bearer the-token' };
  expect(await statusOf('/api/v1/pins', { as: 'alice', ...pins, headers })).toBe(200);
  expect(await statusOf('/api/v1/workers', { as: 'alice', headers: { authorization: 'Bearer wrong' } })).toBe(401);
});

it('the command line shows it, and says what is wrong with one that is not accepted', async () => {
  const cli = (as: string, ...words: string[]) => {
    const shows = ['--coordinator', daemon.api, '--cert', at(`${as}.pem`), '--key', at(`${as}.key`)];
    const env = { PRIMED_TLS_CA_FILE: at('nodes.pem'), PRIMED_API_TOKEN: 'wrong' };
    return run(process.execPath, [executable, ...words, ...shows], env);
  };
  const [right, mayNot, strange, ofNodes] = await Promise.all([
    cli('alice', 'worker', 'list'),
    cli('alice', 'fs', 'pin', 's3://demo/a/'),
    cli('stranger', 'worker', 'list'),
    cli('node', 'worker', 'list'),
  ]);
  expect(right).toMatchObject({ code: 0, stderr: '' });
  expect(mayNot.stderr).toContain("'CN=alice' has the role read");
  expect([strange.code, strange.stderr]).toEqual([1, expect.stringMatching(/no CA has signed it.*--cert/)]);
  expect(ofNodes.stderr).toContain('another CA has signed it than tls.client_ca_file');
});

it('who is not named has no role; whom another CA has signed, or none, shows nothing', async () => {
  expect(await ask('/api/v1/workers', { as: 'mallory' })).toMatchObject({
    ...{ status: 403, text: expect.stringContaining("The certificate 'CN=mallory' has no role") },
  });
  for (const as of ['stranger', 'node']) expect([as, await statusOf('/api/v1/workers', { as })]).toEqual([as, 401]);
});

it('nobody of the people is a node, with whatever is sent beside the certificate', async () => {
  const target = '/internal/v1/workers/w1';
  const body = { method: 'PUT', body: {} } as const;
  for (const order of [{ as: 'alice' }, { as: 'bob' }, { as: 'alice', chain: ['forged', 'nodes'] }, {}])
    expect(await statusOf(target, { ...order, ...body })).toBe(401);
  // It is let in, and has said nothing that could be understood.
  expect(await statusOf(target, { as: 'node', ...body })).toBe(400);
});

it('a page of another site has a browser show the certificate in vain', async () => {
  for (const method of ['GET', 'POST'] as const) {
    const headers = { 'sec-fetch-site': 'cross-site' };
    expect(await statusOf('/api/v1/workers', { as: 'bob', method, headers })).toBe(403);
  }
});

it('the audit log names the subject', () => {
  expect(audited()).toEqual(
    expect.arrayContaining([
      expect.objectContaining({ who: 'CN=alice', action: 'pin', result: 'refused' }),
      expect.objectContaining({ who: 'email:bob@example.org', action: 'pin', result: 'done' }),
      expect.objectContaining({ who: 'api_token', action: 'pin', result: 'done' }),
    ]),
  );
});

it('the CA of nodes is none of people, and the configuration that says so is refused', async () => {
  const toml = readFileSync(at('primed.toml'), 'utf8').replace(
    'client_ca_file = "people.pem"',
    'client_ca_file = "nodes.pem"',
  );
  writeFileSync(at('wrong.toml'), toml);
  const said = await configCheck('wrong.toml');
  expect([said.code, said.stderr]).toEqual([78, expect.stringContaining('people need a CA of their own')]);
});

it('who is revoked is let go of without a signal, at once or within seconds, and is told why', async () => {
  const dispatcher = new Agent({
    connect: { ca: pemOf('nodes'), cert: pemOf('alice'), key: readFileSync(at('alice.key')) },
  });
  const kept = (path: string) => request(`${daemon.api}${path}`, { dispatcher });
  try {
    const stream = await kept('/api/v1/console/feed');
    const ended = stream.body.dump({ limit: 1e9 }).catch(() => undefined);
    expect(stream.statusCode).toBe(200);
    lists(listOf('people', ['alice', 'team']));
    await expect.poll(() => daemon.log(), soon).toMatch(/"revoked":2,.*lists of revoked certificates hold/);
    const refused = await kept('/api/v1/workers');
    expect([refused.statusCode, refused.headers.connection]).toEqual([401, 'close']);
    expect(await refused.body.text()).toContain('its client certificate is not accepted (it has been revoked)');
    await ended;
  } finally {
    await dispatcher.destroy();
  }
  const carol = await ask('/api/v1/workers', { as: 'carol', chain: ['team'] });
  expect([carol.status, carol.text]).toEqual([401, expect.stringContaining('in between (CN=team) has been revoked')]);
  expect(await statusOf('/api/v1/workers', { as: 'bob' })).toBe(200);
  // Of a token, whose certificate is of no importance.
  expect(await statusOf('/api/v1/workers', { as: 'alice', headers: { authorization: 'Bearer the-token' } })).toBe(200);
  expect(await statusOf('/internal/v1/workers/w1', { as: 'node', method: 'PUT', body: {} })).toBe(400);
});

it('a list that has ended lets nobody of its CA in, and the log and a metric say so; of nodes too', async () => {
  lists(listOf('people', [], -60), listOf('nodes', ['node']));
  process.kill(daemon.pid, 'SIGHUP');
  await expect.poll(() => statusOf('/api/v1/workers', { as: 'bob' }), soon).toBe(401);
  expect(daemon.log()).toMatch(/"level":"error".*"ca":"people".*a list of revoked certificates has ended: every/);
  const headers = { authorization: 'Bearer the-token' };
  const { text } = await ask('/metrics', { headers });
  const endsMs = Number(/_expiry_timestamp_seconds\{use="crl"\} ([\d.e+]+)/.exec(text)?.[1]) * 1000;
  expect(Math.abs(endsMs - Date.now())).toBeLessThan(1_000_000);
  expect(endsMs).toBeLessThan(Date.now());
  const node = await ask('/internal/v1/workers/w1', { as: 'node', method: 'PUT', body: {} });
  expect([node.status, node.text]).toEqual([401, expect.stringContaining('is not accepted (it has been revoked)')]);
  const checked = await configCheck('primed.toml');
  expect([checked.code, checked.stdout]).toEqual([0, expect.stringMatching(/WARNING: tls\.crl_file: .* has ended/)]);
});

it('what is no list, or of a CA that nobody knows, is refused, and the lists before hold', async () => {
  for (const [text, why] of [
    ['nothing', 'has no list in PEM'],
    [listOf('strangers'), 'which no CA of tls.client_ca_file or tls.ca_file has signed'],
  ] as const) {
    lists(text);
    const checked = await configCheck('primed.toml');
    expect([checked.code, checked.stderr]).toEqual([78, expect.stringContaining(why)]);
  }
  const before = daemon.log().length;
  process.kill(daemon.pid, 'SIGHUP');
  await expect.poll(() => daemon.log().slice(before), soon).toContain('cannot be used; the one before holds');
  expect(await statusOf('/api/v1/workers', { as: 'bob' })).toBe(401);
  lists(listOf('people'));
});

it('a reload gives another role', async () => {
  write({ 'CN=mallory': 'read' });
  process.kill(daemon.pid, 'SIGHUP');
  await expect.poll(() => statusOf('/api/v1/workers', { as: 'mallory' }), soon).toBe(200);
  expect(await statusOf('/api/v1/workers', { as: 'alice' })).toBe(403);
});
