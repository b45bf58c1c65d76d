/** `[cluster.etcd]`: what the program gets of it, and what is refused by name. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Role } from '../../../src/config/config.ts';
import { describeSources } from '../../../src/config/load.ts';
import { PrimedError } from '../../../src/core/errors.ts';
import { loadConfig } from '../../support/config.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'primed-config-'));
  for (const name of ['ca', 'cert', 'key']) writeFileSync(join(folder, name), '');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let files = 0;
function load(lines: string, { role = 'worker', env = {} }: { role?: Role; env?: Record<string, string> } = {}) {
  const file = join(folder, `config-${files++}.toml`);
  writeFileSync(file, lines);
  return loadConfig({ role, env, flags: { data: folder }, file });
}

/** The lines of the refusal, each without the path of the file. */
function errorsOf(...given: Parameters<typeof load>): string[] {
  try {
    load(...given);
  } catch (error) {
    if (!(error instanceof PrimedError)) throw error;
    const [, ...lines] = error.message.split('\n');
    return lines.map((line) => line.trim().replace(/^\S*\.toml:\d+: /, ''));
  }
  throw new Error('the configuration was accepted');
}

const etcd = (lines: string, top = ''): string =>
  `${top}\n[cluster]\nbackend = "etcd"\n[cluster.etcd]\nendpoints = "http://127.0.0.1:2379"\n${lines}`;

test('the backend etcd has endpoints, and keys of its own', () => {
  expect(load(etcd('')).cluster).toMatchObject({
    backend: 'etcd',
    name: 'DefaultAlluxioCluster',
    etcd: { endpoints: ['http://127.0.0.1:2379'], prefix: '/primed/DefaultAlluxioCluster/', timeoutMs: 5_000 },
  });
  const all = `[cluster]
backend = "etcd"
name = "lab"
host = "c1"
[cluster.etcd]
endpoints = "https://a:2379, https://b:2379"
prefix = "/x/y/"
username = "u"
password = "p"
ca_file = "ca"
cert_file = "cert"
key_file = "key"
timeout = "2s"
coordinator_lease = "8s"`;
  const config = load(all, { role: 'coordinator' });
  expect(config.cluster.etcd).toEqual({
    endpoints: ['https://a:2379', 'https://b:2379'],
    prefix: '/x/y/lab/',
    username: 'u',
    password: 'p',
    caFile: join(folder, 'ca'),
    certFile: join(folder, 'cert'),
    keyFile: join(folder, 'key'),
    timeoutMs: 2_000,
    coordinatorLeaseMs: 8_000,
  });
  expect(JSON.stringify(describeSources(config))).not.toContain('"p"');
  expect(load('', { role: 'coordinator' }).cluster.etcd).toBeUndefined();
});

test('what does not go together is refused by name', () => {
  expect(errorsOf('[cluster]\nbackend = "etcd"')).toEqual(['cluster.backend: etcd needs cluster.etcd.endpoints']);
  expect(errorsOf('[cluster]\nname = "x"\n[cluster.etcd]\nendpoints = "http://a:1"\ntimeout = "1s"')).toEqual([
    'cluster.etcd.endpoints: is for cluster.backend = "etcd" only',
    'cluster.etcd.timeout: is for cluster.backend = "etcd" only',
    'cluster.name: is for cluster.backend = "etcd" only',
  ]);
  expect(errorsOf(etcd(''), { role: 'standalone' })).toEqual([
    'cluster.backend: etcd is for coordinators and workers that run apart; standalone is both in one',
  ]);
  expect(errorsOf(etcd('username = "u"\ncert_file = "cert"').replace('http:', 'https:'))).toEqual([
    'cluster.etcd.username: needs cluster.etcd.password beside it',
    'cluster.etcd.cert_file: needs cluster.etcd.key_file beside it',
  ]);
  expect(errorsOf(etcd('password = "p"\nkey_file = "none"').replace('http:', 'https:'))).toEqual([
    'cluster.etcd.password: needs cluster.etcd.username beside it',
    'cluster.etcd.key_file: needs cluster.etcd.cert_file beside it',
  ]);
  expect(errorsOf(etcd('ca_file = "ca"'))).toEqual([
    'cluster.etcd.ca_file: is of no use for http://127.0.0.1:2379; write https://',
  ]);
  expect(errorsOf(etcd('prefix = "primed"'))[0]).toMatch(/^cluster\.etcd\.prefix: must be a path such as \/primed/);
  expect(errorsOf(etcd('prefix = "/"'))[0]).toMatch(/^cluster\.etcd\.prefix: must be a path/);
  expect(errorsOf(etcd('prefix = "/ServiceDiscovery/x"'))[0]).toMatch(/clients of Alluxio read everything below/);
  expect(errorsOf(etcd('', '[cluster]').replace('[cluster]\n[cluster]', '[cluster]\nname = "a/b"'))[0]).toMatch(
    /^cluster\.name/,
  );
});

test('endpoints are addresses of etcd', () => {
  const refused = (endpoints: string, top = '') =>
    errorsOf(etcd('', top).replace('http://127.0.0.1:2379', endpoints), { role: 'coordinator' });
  for (const wrong of ['a:2379', 'ftp://a', 'http://a:1/x', 'http://u:p@a:1', 'http://a:1, b'])
    expect(refused(wrong)).toEqual([
      expect.stringMatching(/^cluster\.etcd\.endpoints: ".*" is not http:\/\/HOST:PORT/),
    ]);
  expect(refused(' , ')).toEqual(['cluster.etcd.endpoints: etcd needs cluster.etcd.endpoints']);
  const secret = etcd('username = "u"\npassword = "p"')
    .replace('127.0.0.1', '10.0.0.1')
    .replace('backend', 'host = "c1"\nbackend');
  expect(errorsOf(secret, { role: 'coordinator' })).toEqual([
    'cluster.etcd.endpoints: http://10.0.0.1:2379 would get the password in clear text; write https://, or set insecure = true',
  ]);
  expect(load(`insecure = true\n${secret}`, { role: 'coordinator' }).cluster.etcd?.password).toBe('p');
});

test('a coordinator on etcd has an address that others reach', () => {
  const far = etcd('').replace('127.0.0.1', '10.0.0.1');
  const role = 'coordinator';
  expect(errorsOf(far, { role })).toEqual([
    expect.stringMatching(/^api\.listen: .*10\.0\.0\.1 .* cannot reach 127\.0\.0\.1:19999/),
  ]);
  expect(load(far, { role, env: { PRIMED_CLUSTER_HOST: 'c1' } }).cluster.host).toBe('c1');
  expect(load(etcd(''), { role }).cluster.host).toBe('127.0.0.1');
  const open = (listen: string) =>
    load(far, { role, env: { PRIMED_API_LISTEN: listen, PRIMED_INSECURE: 'true' } }).cluster.host;
  expect([open('10.0.0.7:1'), open('0.0.0.0:1'), open('[::]:1')]).toEqual(['10.0.0.7', hostname(), hostname()]);
  expect(errorsOf(etcd(''), { role, env: { PRIMED_CLUSTER_HOST: 'c 1' } })).toEqual([
    expect.stringMatching(/cluster\.host|PRIMED_CLUSTER_HOST/),
  ]);
});

test('a worker on etcd has no coordinator to name, and an address that others reach', () => {
  const named = etcd('').replace('backend', 'coordinator = "http://head:1"\nbackend');
  expect(errorsOf(named)).toEqual([expect.stringMatching(/^cluster\.coordinator: is of no use/)]);
  expect(load(etcd(''), { env: { PRIMED_COORDINATOR: 'head:1' } }).cluster.backend).toBe('etcd');
  const far = etcd('').replace('127.0.0.1', '10.0.0.1');
  expect(errorsOf(far)).toEqual([
    expect.stringMatching(/^worker\.http_listen: .*10\.0\.0\.1 .* cannot reach 127\.0\.0\.1:28080/),
  ]);
  expect(load(far, { env: { PRIMED_CLUSTER_HOST: 'w1' } }).cluster.id).toBe('w1');
});
