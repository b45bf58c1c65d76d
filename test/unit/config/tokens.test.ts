/** `[[token]]`: names, roles and secrets of the REST API. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { readConfig } from '../../../src/config/load.ts';
import { showConfig } from '../../../src/config/show.ts';
import { loadConfig } from '../../support/config.ts';

function file(toml: string): string {
  const dir = mkdtempSync(join(tmpdir(), 'primed-tokens-'));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  writeFileSync(join(dir, 'reader'), 'hush-reader\n');
  writeFileSync(join(dir, 'primed.toml'), toml);
  return join(dir, 'primed.toml');
}
const input = (toml: string) => ({ role: 'standalone', flags: {}, env: {}, file: file(toml) }) as const;
const reader = '[[token]]\nname = "reader"\nrole = "read"\ntoken_file = "reader"\n';

test('each has a name, a role and a secret, which may lie in a file and is not shown', () => {
  const given = input(`api_token = "hush"\n${reader}`);
  expect(loadConfig(given).tokens).toEqual([{ name: 'reader', role: 'read', token: 'hush-reader' }]);
  expect(JSON.stringify(showConfig(readConfig(given), 'standalone'))).not.toContain('hush');
});

test.each([
  ['beside no api_token', reader, 'counts only beside an api_token'],
  ['without a secret', 'api_token = "a"\n[[token]]\nname = "x"\nrole = "read"', 'has no token'],
  ['with the secret of another', `api_token = "hush-reader"\n${reader}`, 'has the same token as api_token'],
  ['with the name of another', `api_token = "a"\n${reader}${reader}`, 'is the name of another token'],
  ['with a role that is none', 'api_token = "a"\n[[token]]\nname = "x"\nrole = "boss"\ntoken = "b"', 'token[0].role'],
])('one %s is refused', (_name, toml, message) => {
  const { errors } = readConfig(input(toml));
  expect(errors).toEqual(expect.arrayContaining([expect.stringContaining(message)]));
  expect(errors.join()).not.toContain('hush');
});

const person = '[[certificate]]\nsubject = "CN=alice"\nrole = "read"\n';
const asked = 'api_token = "a"\n[tls]\ncert_file = "c"\nkey_file = "k"\nclient_ca_file = "p"\n';

test.each([
  ['beside no CA that signs it', `api_token = "a"\n${person}`, 'counts only beside tls.client_ca_file'],
  ['beside no api_token', `${asked.replace('api_token = "a"\n', '')}${person}`, 'counts only beside an api_token'],
  ['twice', `${asked}${person}${person}`, 'is there twice'],
  ['without a kind of name', `${asked}${person.replace('CN=', '')}`, 'certificate[0].subject'],
  ['that is revoked by the list of nobody', '[tls]\ncrl_file = "l"', 'tls.crl_file: counts only beside tls.client_ca'],
  ['where the ports speak no TLS', 'api_token = "a"\n[tls]\nclient_ca_file = "p"', 'needs tls.cert_file'],
])('a certificate %s is refused', (_, toml, said) => {
  expect(readConfig(input(toml)).errors.join('\n')).toContain(said);
});
