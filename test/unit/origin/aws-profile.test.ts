import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { credentialProviderOf } from '../../../src/origin/aws.ts';
import { endpointOfProfile } from '../../../src/origin/aws-profile.ts';
import { temporaryFolder } from '../../support/files.ts';

let folder: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  folder = temporaryFolder('profile');
  vi.stubEnv('AWS_CONFIG_FILE', join(folder.path, 'config'));
  vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', join(folder.path, 'credentials'));
  for (const name of ['AWS_ENDPOINT_URL', 'AWS_ENDPOINT_URL_S3', 'AWS_IGNORE_CONFIGURED_ENDPOINT_URLS'])
    vi.stubEnv(name, '');
  writeFileSync(
    join(folder.path, 'config'),
    `[default]
endpoint_url = http://default
[profile plain]
endpoint_url = http://plain
[profile served]
endpoint_url = http://other-services
services = mine
[profile unserved]
services = nowhere
[profile ignoring]
endpoint_url = http://ignored
ignore_configured_endpoint_urls = true
[profile amazon]
region = eu-west-1
[services mine]
s3 =
  endpoint_url = http://of-s3
dynamodb =
  endpoint_url = http://of-dynamodb
`,
  );
  writeFileSync(
    join(folder.path, 'credentials'),
    '[default]\naws_access_key_id = D\naws_secret_access_key = DS\n[plain]\naws_access_key_id = A\naws_secret_access_key = S\n',
  );
});
afterEach(() => {
  vi.unstubAllEnvs();
  folder.remove();
});

test.each([
  ['plain', 'http://plain'],
  ['served', 'http://of-s3'],
  ['ignoring', undefined],
  ['amazon', undefined],
  ['never-heard-of', undefined],
  [undefined, undefined],
])('the endpoint of profile %s is %s, never that of another profile', async (profile, endpoint) => {
  expect(await endpointOfProfile(profile)).toBe(endpoint);
});

test('the environment goes before the profile, the variable of S3 before the general one', async () => {
  vi.stubEnv('AWS_ENDPOINT_URL', 'http://general');
  expect(await endpointOfProfile('plain')).toBe('http://general');
  vi.stubEnv('AWS_ENDPOINT_URL_S3', 'http://for-s3');
  expect(await endpointOfProfile('plain')).toBe('http://for-s3');
  vi.stubEnv('AWS_IGNORE_CONFIGURED_ENDPOINT_URLS', 'true');
  expect(await endpointOfProfile('plain')).toBeUndefined();
});

test('a services section that is not there is an error that names both', async () => {
  await expect(endpointOfProfile('unserved')).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringMatching(/profile unserved .* services section nowhere/),
  });
});

test('credentials of a profile are those of the profile, or none', async () => {
  expect(await credentialProviderOf({ prefix: 's3://', profile: 'plain' })()).toMatchObject({ accessKeyId: 'A' });
  await expect(credentialProviderOf({ prefix: 's3://', profile: 'amazon' })()).rejects.toThrow(/amazon/);
});

test.each([
  ['access key id', { accessKeyId: 'A\r\nx: y' }],
  ['access key id', { accessKeyId: 'A ' }],
])('an %s that no header carries is refused: %o', async (name, { accessKeyId }) => {
  const provider = credentialProviderOf({ prefix: 's3://', accessKeyId, secretAccessKey: 'S' });
  await expect(provider()).rejects.toThrow(name);
});
