/** Which certificate a verb shows, and what it says of one that it cannot show. */
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { certificateOf } from '../../../src/cli/client-certificate.ts';
import { runCli } from '../../../src/cli/run.ts';
import { type Certificate, makeAuthority } from '../../support/certificate.ts';
import { temporaryFolder } from '../../support/files.ts';
import { makeWorld } from './world.ts';

const folder = temporaryFolder('client-certificate');
const at = (name: string): string => join(folder.path, name);
const https = 'https://localhost:1';
const authority = makeAuthority('people');
const [alice, other, own] = ['alice', 'other', 'own'].map((name) => authority.sign(name)) as [
  Certificate,
  Certificate,
  Certificate,
];
const encrypted = '-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n';

beforeAll(() => {
  mkdirSync(folder.path, { recursive: true });
  const files = {
    'alice.pem': alice.cert,
    'alice.key': alice.key,
    'both.pem': alice.cert + alice.key,
    'other.key': other.key,
    'text.pem': 'nothing\n',
    'secret.key': encrypted,
    'server.pem': own.cert + own.key,
    strangers: makeAuthority('strangers').cert,
    ca: authority.cert,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(at(name), text);
});
afterAll(() => folder.remove());

const files = (cert: string, key?: string) => ({ cert: at(cert), ...(key !== undefined && { key: at(key) }) });
const problem = (flags: object, env = {}, coordinator = https, nowMs = Date.now()): string => {
  try {
    return `it is shown: ${certificateOf(flags, env, coordinator, nowMs)?.cert !== undefined}`;
  } catch (error) {
    return (error as Error).message.replaceAll(`${folder.path}/`, '');
  }
};

test('from flags, from one file with both, from the environment, and flags count more', () => {
  const shown = { cert: alice.cert, key: alice.key };
  expect(certificateOf(files('alice.pem', 'alice.key'), {}, https)).toEqual(shown);
  const both = { cert: alice.cert + alice.key, key: alice.cert + alice.key };
  expect(certificateOf(files('both.pem'), {}, https)).toEqual(both);
  const env = { PRIMED_CERT_FILE: at('none.pem') };
  expect(certificateOf(files('alice.pem', 'alice.key'), env, https)).toEqual(shown);
  expect(certificateOf({}, { PRIMED_CERT_FILE: at('both.pem'), PRIMED_KEY_FILE: '' }, ' HTTPS://host')).toEqual(both);
  // Each file for itself, as the help says.
  expect(certificateOf({ cert: at('alice.pem') }, { PRIMED_KEY_FILE: at('alice.key') }, https)).toEqual(shown);
  const other = { PRIMED_CERT_FILE: at('alice.pem'), PRIMED_KEY_FILE: at('other.key') };
  expect(certificateOf({ key: at('alice.key') }, other, https)).toEqual(shown);
  expect(certificateOf({}, {}, https)).toBeUndefined();
  expect(certificateOf({}, { PRIMED_KEY_FILE: at('alice.key') }, https)).toBeUndefined();
  // Of every command, also of one that asks a daemon without TLS.
  expect(certificateOf({}, env, 'http://localhost:1')).toBeUndefined();
});

test('what is wrong is said with what to do', () => {
  expect(problem({ key: at('alice.key') })).toBe('--key: needs --cert or PRIMED_CERT_FILE beside it');
  expect(problem(files('both.pem'), {}, 'localhost:1')).toContain(
    '--cert: is shown over TLS only, and localhost:1 has',
  );
  expect(problem(files('none.pem'))).toBe('--cert: there is no file none.pem');
  expect(problem(files('text.pem'))).toMatch(/^--cert: text\.pem has no certificate in PEM/);
  expect(problem(files('alice.pem'))).toBe('--cert: alice.pem has no key in it; name the file of its key by --key');
  expect(problem(files('alice.pem', 'none.key'))).toBe('--key: there is no file none.key');
  expect(problem(files('alice.pem', '.'))).toMatch(/^--key: cannot be read: EISDIR/);
  expect(problem(files('alice.pem', 'other.key'))).toMatch(/^--key: other\.key is not the key of alice\.pem/);
  expect(problem(files('alice.pem', 'secret.key'))).toMatch(/^--key: secret\.key has a passphrase.*openssl pkey/);
  const otherKey = { PRIMED_KEY_FILE: at('other.key') };
  expect(problem(files('alice.pem'), otherKey)).toMatch(/^PRIMED_KEY_FILE: other\.key is not the key of alice\.pem/);
  const alicePem = { PRIMED_CERT_FILE: at('alice.pem') };
  expect(problem({ key: at('other.key') }, alicePem)).toMatch(/^--key: other\.key is not the key of alice\.pem/);
  expect(problem({ key: at('alice.key') }, alicePem, 'localhost:1')).toMatch(/^--key: is shown over TLS only/);
  const later = Date.now() + 3 * 86_400_000;
  expect(problem(files('both.pem'), {}, https, later)).toMatch(/^--cert: both\.pem has expired \(.*put a new one/);
  expect(problem({}, { PRIMED_CERT_FILE: at('alice.pem') })).toContain('PRIMED_CERT_FILE: alice.pem has no key in it');
  expect(problem({}, { PRIMED_CERT_FILE: at('alice.pem'), PRIMED_KEY_FILE: at('no') })).toContain('PRIMED_KEY_FILE: ');
});

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return `https://localhost:${(server.address() as AddressInfo).port}`;
}
const env = { PRIMED_TLS_CA_FILE: at('ca'), PRIMED_API_TOKEN: 'of-the-environment' };
const tls = { ...own, ca: authority.cert, requestCert: true };

test('a verb shows it, and then no token of the environment', async () => {
  const seen: unknown[] = [];
  const server = createServer({ ...tls, rejectUnauthorized: true }, (request, response) => {
    const { subject } = (request.socket as TLSSocket).getPeerCertificate();
    seen.push([subject.CN, request.headers.authorization]);
    response.setHeader('connection', 'close').end('[]');
  });
  const io = makeWorld({ env });
  const coordinator = await listen(server);
  const shows = ['--cert', at('alice.pem'), '--key', at('alice.key')];
  expect([await runCli(['worker', 'list', '--coordinator', coordinator, ...shows], io), io.err()]).toEqual([0, '']);
  const second = makeWorld({ env: { ...env, PRIMED_CERT_FILE: at('both.pem'), PRIMED_COORDINATOR: coordinator } });
  expect([await runCli(['worker', 'list'], second), second.err()]).toEqual([0, '']);
  expect(seen).toEqual([
    ['alice', undefined],
    ['alice', 'Bearer of-the-environment'],
  ]);
});

test('a server that accepts no other says so in its handshake', async () => {
  const io = makeWorld({ env });
  const order = ['worker', 'list', '--coordinator', await demanding(), '--cert', at('both.pem')];
  expect(await runCli(order, io)).toBe(3);
  expect(io.err()).toMatch(/\(alert unknown ca: it asks for a client certificate.*--cert or PRIMED_CERT_FILE\)/);
});

/**
 * OpenSSL's own server, which sends alerts; Node's ends the connection. With TLS 1.3 a client has sent its request by then, and may
 * see the end of the connection first. @returns its URL
 */
async function demanding(): Promise<string> {
  const own = ['-cert', at('server.pem'), '-key', at('server.pem'), '-CAfile', at('strangers')];
  const order = ['s_server', '-accept', '127.0.0.1:0', ...own, '-Verify', '1', '-verify_return_error', '-tls1_2'];
  const server = spawn('openssl', order, { stdio: ['pipe', 'pipe', 'ignore'] });
  onTestFinished(() => void server.kill('SIGKILL'));
  for await (const line of createInterface(server.stdout)) {
    const port = /^ACCEPT .*:(\d+)$/.exec(line)?.[1];
    if (port !== undefined) return `https://127.0.0.1:${port}`;
  }
  throw new Error('openssl listens nowhere');
}
