/** What a look at the machine shows, and what a configuration looks like on it. */

import { lookup } from 'node:dns/promises';
import { mkdirSync, mkdtempSync, rmSync, statfsSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Role } from '../../../src/config/config.ts';
import { defaultBudget, leastBudgetBytes } from '../../../src/config/defaults.ts';
import { acceptConfig, readConfig } from '../../../src/config/load.ts';
import { checkMachine } from '../../../src/config/machine.ts';
import { linkBytesPerSecond } from '../../../src/config/network.ts';
import { showConfig } from '../../../src/config/show.ts';
import { problemsWithOwn, readTlsFiles } from '../../../src/config/tls-files.ts';
import { GiB, MiB } from '../../../src/core/units.ts';
import { certificateFor, makeAuthority, signedBy } from '../../support/certificate.ts';
import { revocationList } from '../../support/revocation.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'primed-machine-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const listens = 'api.listen = "127.0.0.1:0"\nworker.http_listen = "127.0.0.1:0"\nworker.s3_listen = "127.0.0.1:0"\n';

async function checked(
  lines: string,
  { role = 'standalone', ports = undefined as 'error' | 'found' | undefined } = {},
) {
  const file = join(folder, 'primed.toml');
  writeFileSync(file, `${listens}${lines}`);
  const draft = readConfig({ role: role as Role, env: {}, flags: {}, file });
  await checkMachine(draft, role as Role, ports);
  const short = (line: string): string => line.replaceAll(`${folder}/`, '');
  return { draft, errors: draft.errors.map(short), found: draft.found.map(short) };
}

test('folders that cannot be, and stores that do not fit, are all named with their lines', async () => {
  writeFileSync(join(folder, 'a file'), '');
  const { bavail, bsize } = statfsSync(folder);
  const half = Math.ceil((bavail * bsize * 0.6) / MiB);
  const { errors } = await checked(`data_dir = "a file/below"
[[worker.store]]
dir = "one/that/can be made"
size = "1GB"
[[worker.store]]
dir = "a file"
size = "1GB"`);
  expect(errors).toEqual([
    expect.stringMatching(/^primed\.toml:4: data_dir: something above a file\/below is not a folder/),
    expect.stringMatching(/^primed\.toml:9: worker\.store\[1\]\.dir: a file is not a folder/),
  ]);
  const large = await checked(`data_dir = "data"
[[worker.store]]
dir = "one"
size = "${half}MB"
[[worker.store]]
dir = "two"
size = "${half}MB"`);
  expect(large.errors).toEqual([
    expect.stringMatching(
      /^primed\.toml:7: worker\.store\[0\]\.size: .* together with worker\.store\[1\]\.size is more than the .* that the disk of two has free$/,
    ),
  ]);
});

test('a store that exists keeps its size where the configuration says a share, and asks for no room', async () => {
  mkdirSync(join(folder, 'one'));
  writeFileSync(join(folder, 'one', 'store.dat'), Buffer.alloc(MiB));
  const { draft, errors } = await checked(
    'data_dir = "data"\n[[worker.store]]\ndir = "one"\nsize = "100%"\n[[worker.store]]\ndir = "two"\nsize = "0.1%"',
  );
  expect(errors).toEqual([]);
  const { blocks, bsize } = statfsSync(folder);
  const sizes = acceptConfig(draft, 'standalone').worker.stores.map(({ sizeBytes }) => sizeBytes);
  expect(sizes[0]).toBe(MiB);
  expect(sizes[1]! / ((blocks * bsize) / 1000)).toBeCloseTo(1, 2);
});

test('certificates: missing, no PEM, another key, expired, and what is right', async () => {
  const { cert, key } = makeAuthority('ca').sign('node');
  const other = makeAuthority('ca').sign('other');
  for (const [name, text] of Object.entries({ cert, key, other: other.key, text: 'no PEM' }))
    writeFileSync(join(folder, name), text);
  const tls = (lines: string) => checked(`data_dir = "data"\n[tls]\n${lines}`, { role: 'coordinator' });
  expect((await tls('cert_file = "cert"\nkey_file = "key"')).found).toContainEqual(
    expect.stringMatching(/^tls\.cert_file: cert is valid for \d more days, and tls\.key_file is its key$/),
  );
  expect((await tls('cert_file = "cert"\nkey_file = "other"\nca_file = "text"')).errors).toEqual([
    expect.stringMatching(/^primed\.toml:8: tls\.ca_file: text has no certificates in PEM/),
    expect.stringMatching(/^primed\.toml:7: tls\.key_file: other is not the key of cert/),
  ]);
  expect(
    (await tls('cert_file = "none"\nkey_file = "key"\n[[ufs]]\nprefix = "s3://"\nca_file = "none"')).errors,
  ).toEqual([
    'primed.toml:6: tls.cert_file: there is no file none',
    'primed.toml:10: ufs[0].ca_file: there is no file none',
  ]);
  const dayMs = 86_400_000;
  const files = { certFile: join(folder, 'cert'), keyFile: join(folder, 'key') };
  const problems = (atMs: number) => readTlsFiles(files, atMs).problems.map(({ problem }) => problem);
  expect(problems(Date.now() + 3 * dayMs)).toEqual([expect.stringMatching(/has expired \(.*GMT\)/)]);
  expect(problems(Date.now() - dayMs)).toEqual([expect.stringMatching(/begins to be valid only at/)]);
});

test('certificates that other nodes would refuse: of another CA, for another host, and a CA that has ended', async () => {
  const [ca, other] = [makeAuthority('ca'), makeAuthority('other')];
  const node = ca.sign('node');
  for (const [name, text] of Object.entries({ cert: node.cert, key: node.key, ca: ca.cert, other: other.cert }))
    writeFileSync(join(folder, name), text);
  const of = (caFile: string, lines: string, role = 'worker') =>
    checked(
      `data_dir = "data"\napi_token = "t"\ncluster.coordinator = "https://127.0.0.1"\n${lines}\n[tls]\ncert_file = "cert"\nkey_file = "key"\nca_file = "${caFile}"\nnodes = "mtls"`,
      { role },
    );
  expect((await of('ca', '')).errors).toEqual([]);
  expect((await of('other', '')).errors).toEqual([
    expect.stringMatching(/^primed\.toml:9: tls\.cert_file: the certificate is not signed by the CA in tls\.ca_file/),
  ]);
  expect((await of('ca', 'cluster.host = "node7"')).errors).toEqual([
    expect.stringMatching(
      /^primed\.toml:9: tls\.cert_file: the certificate is not for node7, by which other nodes call/,
    ),
  ]);
  // Workers call it by what their `cluster.coordinator` says.
  expect((await of('ca', 'cluster.host = "node7"', 'coordinator')).errors).toEqual([]);
  const { problems } = readTlsFiles({ caFile: join(folder, 'ca') }, Date.now() + 3 * 86_400_000);
  expect(problems).toEqual([
    { setting: 'ca_file', problem: expect.stringMatching(/^nothing in .*ca is valid any more;/) },
  ]);
});

test('a certificate is signed by what is trusted, also by another one that stands behind it', async () => {
  const root = makeAuthority('root');
  const between = root.sign('between');
  const leaf = signedBy(between, 'leaf');
  const node = { role: 'worker', backend: 'embedded', host: '127.0.0.1', nodes: 'mtls' } as const;
  const problems = (cert: string) => problemsWithOwn({ cert, ca: root.cert }, node);
  expect(problems(leaf.cert + between.cert)).toEqual([]);
  expect(problems(leaf.cert)).toEqual([{ setting: 'cert_file', problem: expect.stringContaining('is not signed by') }]);
  expect(problems(root.cert)).toEqual([]);
});

test('a certificate is for those hosts that connections of other nodes accept it for', () => {
  const { cert } = certificateFor('DNS:*.example.org,IP:10.0.0.1');
  const problems = (host: string) =>
    problemsWithOwn({ cert }, { role: 'worker', backend: 'embedded', host, nodes: 'token' }).length;
  expect(['node7.example.org', 'node_7.example.org', 'node7.example.org.', '10.0.0.1'].map(problems)).toEqual([
    0, 0, 0, 0,
  ]);
  expect(['example.org', 'a.b.example.org', '10.0.0.2'].map(problems)).toEqual([1, 1, 1]);
});

test('a CA with a certificate that is damaged is named, and one of another form has no age', async () => {
  const { cert } = makeAuthority('ca');
  const files = {
    damaged: `${cert}-----BEGIN CERTIFICATE-----\nMIIB!\n-----END CERTIFICATE-----\n`,
    trusted: cert.replaceAll(' CERTIFICATE-', ' TRUSTED CERTIFICATE-'),
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  const errors = async (name: string) =>
    (
      await checked(
        `data_dir = "data"\n[tls]\nca_file = "${name}"\nclient_ca_file = "${name}"\nnodes = "mtls"\n[[ufs]]\nprefix = "s3://"\nca_file = "${name}"`,
        { role: 'coordinator' },
      )
    ).errors.filter((line) => !line.includes(' needs '));
  const damaged = 'damaged has a certificate that cannot be read (';
  expect(await errors('damaged')).toEqual([
    expect.stringContaining(`primed.toml:6: tls.ca_file: ${damaged}`),
    expect.stringContaining(`primed.toml:7: tls.client_ca_file: ${damaged}`),
    expect.stringContaining(`primed.toml:11: ufs[0].ca_file: ${damaged}`),
  ]);
  expect(await errors('trusted')).toEqual([]);
});

test('a folder that two stores have by two names is one error, before anything is made', async () => {
  mkdirSync(join(folder, 'one'));
  symlinkSync(join(folder, 'one'), join(folder, 'two'));
  const { errors } = await checked(
    'data_dir = "data"\n[[worker.store]]\ndir = "one"\nsize = "16MB"\n[[worker.store]]\ndir = "two"\nsize = "16MB"',
  );
  expect(errors).toEqual([
    'primed.toml:9: worker.store[1].dir: is the folder of worker.store[0] as well, one; each store has its own',
  ]);
});

test('lists of revoked certificates: what they say, those that have ended, and what is none of a CA', async () => {
  const [nodes, people] = [makeAuthority('nodes'), makeAuthority('people')];
  const lists = (text: string) => {
    const files = { ca: nodes.cert, people: people.cert, ...nodes.sign('node'), lists: text };
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
    const own = 'ca_file = "ca"\nclient_ca_file = "people"\ncert_file = "cert"\nkey_file = "key"\n';
    return checked(`api_token = "a"\ndata_dir = "data"\n[tls]\n${own}crl_file = "lists"`, { role: 'coordinator' });
  };
  const both = revocationList(nodes) + revocationList(people, { revoked: [people.sign('alice').cert], seconds: -60 });
  const { errors, found } = await lists(both);
  expect(errors).toEqual([]);
  expect(found.filter((line) => line.includes('crl_file'))).toEqual([
    expect.stringMatching(/^tls\.crl_file: the list of nodes revokes 0 certificates, until 20\d\d-/),
    expect.stringMatching(/^WARNING: tls\.crl_file: the list of people revokes 1 certificates, and has ended \(20/),
  ]);
  const others = {
    nothing: 'has no list in PEM',
    [`${both}${revocationList(makeAuthority('others'))}`]: 'a list of "others"',
  };
  for (const [text, problem] of Object.entries(others))
    expect((await lists(text)).errors).toEqual([expect.stringContaining(problem)]);
  const cut = '-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n';
  expect((await lists(cut)).errors).toEqual([expect.stringContaining('has a list that cannot be read')]);
});

test('ports: taken, on a foreign address, the same twice; a check says what is in use and goes on', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => taken.once('listening', resolve));
  const port = (taken.address() as { port: number }).port;
  const lines = `data_dir = "data"\ninsecure = true\n`;
  const given = (api: string, http: string) => {
    writeFileSync(
      join(folder, 'primed.toml'),
      `${lines}api.listen = "${api}"\nworker.http_listen = "${http}"\nworker.s3_listen = "127.0.0.1:0"`,
    );
    return readConfig({ role: 'standalone', env: {}, flags: {}, file: join(folder, 'primed.toml') });
  };
  const draft = given(`127.0.0.1:${port}`, '192.0.2.1:0');
  await checkMachine(draft, 'standalone', 'error');
  expect(draft.errors).toEqual([
    expect.stringMatching(/:3: api\.listen: .* another process uses the port \(EADDRINUSE\); `ss -ltnp sport = :\d+`/),
    expect.stringMatching(/:4: worker\.http_listen: .* no interface of this machine has the address \(EADDRNOTAVAIL\)/),
  ]);
  const soft = given(`127.0.0.1:${port}`, '127.0.0.1:0');
  await checkMachine(soft, 'standalone', 'found');
  expect(soft.errors).toEqual([]);
  expect(soft.found).toContainEqual(expect.stringMatching(/^api\.listen: .* is in use now/));
  const twice = given('127.0.0.1:1023', '127.0.0.1:1023');
  await checkMachine(twice, 'coordinator', 'error');
  expect(twice.errors.filter((line) => line.includes('as well'))).toEqual([]);
  await checkMachine(twice, 'standalone', 'error');
  expect(twice.errors).toContainEqual(
    expect.stringMatching(/:4: worker\.http_listen: .* is the address of api\.listen as well/),
  );
  taken.close();
});

test('the same port twice is one error, however its address is written, also for a check beside a daemon', async () => {
  const errors = async (api: string, http: string): Promise<string[]> => {
    const toml = `data_dir = "data"\ninsecure = true\napi.listen = "${api}"\nworker.http_listen = "${http}"\n`;
    writeFileSync(join(folder, 'primed.toml'), `${toml}worker.s3_listen = "127.0.0.1:0"`);
    const draft = readConfig({ role: 'standalone', env: {}, flags: {}, file: join(folder, 'primed.toml') });
    await checkMachine(draft, 'standalone', 'found');
    return draft.errors;
  };
  const free = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => free.once('listening', resolve));
  const { port } = free.address() as { port: number };
  await new Promise((resolve) => free.close(resolve));
  const twice = [expect.stringMatching(/:4: worker\.http_listen: .* is the address of api\.listen as well/)];
  const { address: local, family } = await lookup('localhost');
  const written = family === 6 ? `[${local}]` : local;
  expect(await errors(`${written}:${port}`, `localhost:${port}`)).toEqual(twice);
  expect(await errors(`127.0.0.1:${port}`, `0.0.0.0:${port}`)).toEqual(twice);
  expect(await errors(`[::]:${port}`, `127.0.0.1:${port}`)).toEqual(twice);
  expect(await errors(`127.0.0.1:${port}`, `127.0.0.2:${port}`)).toEqual([]);
  expect(await errors('127.0.0.1:0', '127.0.0.1:0')).toEqual([]);
});

test('the default budget grows with the memory, and always holds the slots of the default lanes', () => {
  expect(defaultBudget(24 * GiB, 1)).toBe(768 * MiB);
  expect(defaultBudget(8 * GiB, 4)).toBe(512 * MiB);
  expect(defaultBudget(512 * GiB, 8)).toBe(4 * GiB);
  expect(defaultBudget(GiB, 1)).toBe(256 * MiB);
  for (const lanes of [1, 2, 4, 8])
    for (const memory of [GiB / 8, GiB, 64 * GiB])
      expect(defaultBudget(memory, lanes)).toBeGreaterThanOrEqual(leastBudgetBytes(lanes, 8 * MiB));
});

test('the default budget grows with the network, as far as the memory allows', () => {
  const gigabit = 125_000_000;
  expect(defaultBudget(64 * GiB, 8, 10 * gigabit)).toBe(defaultBudget(64 * GiB, 8));
  expect(defaultBudget(512 * GiB, 8, 25 * gigabit)).toBe(4 * GiB);
  expect(defaultBudget(16 * GiB, 8, 25 * gigabit)).toBe(Math.ceil((25 * gigabit) / 3 / MiB) * MiB);
  expect(defaultBudget(32 * GiB, 8, 100 * gigabit)).toBe(Math.ceil((100 * gigabit) / 3 / MiB) * MiB);
  expect(defaultBudget(16 * GiB, 8, 100 * gigabit)).toBe(2 * GiB);
  expect(defaultBudget(2048 * GiB, 8, 800 * gigabit)).toBe(16 * GiB);
});

test('the network is as fast as all cards that are up and say it', () => {
  const card = (name: string, files: Record<string, string>, hardware = true): void => {
    mkdirSync(join(folder, 'net', name, ...(hardware ? ['device'] : [])), { recursive: true });
    for (const [file, text] of Object.entries(files)) writeFileSync(join(folder, 'net', name, file), text);
  };
  const net = join(folder, 'net');
  expect(linkBytesPerSecond(net)).toBeUndefined();
  card('lo', { operstate: 'unknown\n' }, false);
  card('virtual0', { operstate: 'up\n', speed: '-1\n' });
  expect(linkBytesPerSecond(net)).toBeUndefined();
  card('eth0', { operstate: 'up\n', speed: '25000\n' });
  card('eth1', { operstate: 'up\n', speed: '25000\n' });
  card('eth2', { operstate: 'down\n', speed: '100000\n' });
  card('bond0', { operstate: 'up\n', speed: '50000\n' }, false);
  card('eth3', { operstate: 'up\n' });
  expect(linkBytesPerSecond(net)).toBe(50_000 * 125_000);
});

test('shown is every setting, with where it comes from, and no secret', async () => {
  writeFileSync(join(folder, 'token'), 'hush-hush');
  const { draft } = await checked(
    'data_dir = "data"\napi_token_file = "token"\nworker.lanes = 2\nworker.store_size = "1%"\n[[s3.key]]\naccess_key_id = "key1"\nsecret_access_key = "hush"',
  );
  expect(draft.errors).toEqual([]);
  const shown = showConfig(draft, 'worker');
  const row = (key: string) => shown.find((one) => one.key === key);
  const file = join(folder, 'primed.toml');
  expect(row('worker.lanes')).toMatchObject({ value: 2, from: `${file}:6`, kind: 'file', line: 6 });
  expect(row('worker.store_size')).toMatchObject({ text: expect.stringMatching(/B \(1%\)$/), kind: 'file' });
  expect(row('worker.store_size')!.value).toBeGreaterThan(MiB);
  expect(row('worker.memory_budget')).toMatchObject({ kind: 'computed', value: expect.any(Number) });
  expect(row('worker.part_size')).toMatchObject({ kind: 'default', from: 'default', text: '8.00MB' });
  expect(row('cluster.zone')).toMatchObject({ kind: 'unset', value: null });
  expect(row('cluster.id')).toMatchObject({ kind: 'computed', value: '127.0.0.1' });
  expect(row('api_token')).toMatchObject({ secret: true, value: null, text: '(hidden)', from: `${file}:5` });
  expect(row('cluster.token')).toMatchObject({ secret: true, value: null, text: '(hidden)', kind: 'computed' });
  expect(row('s3.key[0].access_key_id')).toMatchObject({ value: 'key1' });
  expect(JSON.stringify(shown)).not.toContain('hush');
  expect(shown.map(({ key }) => key)).toEqual([...new Set(shown.map(({ key }) => key))]);
});
