/** The S3 port with keys, asked by clients that nobody here wrote: aws-cli, curl, rclone, s3cmd. */
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { EmbeddedOrigin } from '../../src/demo/origin/api.ts';
import { loaded } from '../support/api.ts';
import { run, runBytes } from '../support/cli.ts';
import type { Daemon } from '../support/daemon.ts';
import { openPlace, type Place } from '../support/node.ts';
import { originEnvironment, startTestOrigin } from '../support/origin.ts';

const all = { id: 'AKIDEVERYTHING', secret: 'secret/of+everything' };
const some = { id: 'AKIDSOME', secret: 'secret-of-some' };
const objects = [
  { key: 'open/größe + plus.bin', sizeBytes: 70_000 },
  { key: 'closed/b.bin', sizeBytes: 5_000 },
];
let origin: EmbeddedOrigin;
let place: Place;
let daemon: Daemon;

beforeAll(async () => {
  origin = await startTestOrigin({ objects });
  place = openPlace('s3-keys');
  const key = ({ id, secret }: typeof all, more = '') =>
    `[[s3.key]]\naccess_key_id = "${id}"\nsecret_access_key = "${secret}"\n${more}\n`;
  const toml = `[s3]\ndomains = "s3.localhost"\n${key(all)}${key(some, 'prefixes = "s3://demo/open/"')}`;
  daemon = await place.start(toml, { env: originEnvironment(origin) });
  await loaded(daemon.api, 's3://demo/');
});
afterAll(async () => {
  await place?.close();
  await origin?.close();
});

const awsEnvironment = ({ id, secret }: typeof all) => ({
  ...{ AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret, AWS_DEFAULT_REGION: 'mars-1' },
  ...{ AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null', PATH: '/usr/bin:/bin' },
});
const aws = (who: typeof all, ...words: string[]) =>
  run('/usr/bin/aws', ['--endpoint-url', daemon.s3, ...words], awsEnvironment(who));

it('aws-cli lists and copies with a key, and is refused with a wrong secret, in the words of S3', async () => {
  const listed = await aws(all, 's3', 'ls', '--recursive', 's3://demo/');
  expect([listed.code, listed.stdout]).toEqual([
    0,
    expect.stringMatching(/closed\/b\.bin[\s\S]*open\/größe \+ plus\.bin/),
  ]);
  const copy = join(place.path, 'copy');
  expect((await aws(all, 's3', 'cp', `s3://demo/${objects[0]!.key}`, copy)).code).toBe(0);
  const wrong = await aws({ ...all, secret: 'other' }, 's3api', 'list-objects-v2', '--bucket', 'demo');
  expect([wrong.code !== 0, wrong.stderr]).toEqual([true, expect.stringContaining('SignatureDoesNotMatch')]);
  const unknown = await aws({ id: 'AKIDNOBODY', secret: 'x' }, 's3api', 'list-objects-v2', '--bucket', 'demo');
  expect(unknown.stderr).toContain('InvalidAccessKeyId');
});

it('a key reads below its prefixes, and is told nothing of the rest', async () => {
  expect((await aws(some, 's3', 'ls', 's3://demo/open/')).code).toBe(0);
  expect((await aws(some, 's3api', 'head-object', '--bucket', 'demo', '--key', objects[0]!.key)).code).toBe(0);
  for (const words of [
    ['list-objects-v2', '--bucket', 'demo'],
    ['list-objects-v2', '--bucket', 'demo', '--prefix', 'closed/'],
    ['get-object', '--bucket', 'demo', '--key', 'closed/b.bin', '/dev/null'],
    ['get-object', '--bucket', 'demo', '--key', 'closed/none.bin', '/dev/null'],
    ['get-object', '--bucket', 'demo', '--key', 'open/../closed/b.bin', '/dev/null'],
  ]) {
    const { code, stderr } = await aws(some, 's3api', ...words);
    const isKeyOfItsOwn = words.includes('open/../closed/b.bin');
    expect([words.at(-2), code === 0]).toEqual([words.at(-2), false]);
    expect(stderr).toMatch(isKeyOfItsOwn ? /NoSuchKey/ : /AccessDenied/);
  }
});

it('a presigned link works without a key until it is touched, and an unsigned request does not', async () => {
  const link = (await aws(all, 's3', 'presign', `s3://demo/${objects[1]!.key}`, '--expires-in', '60')).stdout.trim();
  const got = await runBytes('/usr/bin/curl', ['-sS', '--fail', link]);
  expect([got.code, got.stdout.length]).toEqual([0, 5_000]);
  const status = async (url: string) =>
    (await run('/usr/bin/curl', ['-sS', '-o', '/dev/null', '-w', '%{http_code}', url])).stdout;
  expect(await status(link.replace('closed/b', 'closed/c'))).toBe('403');
  expect(await status(`${daemon.s3}/demo/closed/b.bin`)).toBe('403');
});

it('curl signs too, also for a bucket in the host', async () => {
  const { port } = new URL(daemon.s3);
  const sign = ['--aws-sigv4', 'aws:amz:here-1:s3', '--user', `${all.id}:${all.secret}`, '-sS'];
  const host = `demo.s3.localhost:${port}`;
  const resolve = ['--resolve', `demo.s3.localhost:${port}:127.0.0.1`];
  // This curl signs no payload hash by itself, which S3 asks for.
  const hash = ['-H', `x-amz-content-sha256: ${createHash('sha256').digest('hex')}`];
  for (const url of [`${daemon.s3}/demo/closed/b.bin`, `http://${host}/closed/b.bin`]) {
    const { code, stdout } = await runBytes('/usr/bin/curl', [...sign, ...hash, ...resolve, '--fail', url]);
    expect([url, code, stdout.length]).toEqual([url, 0, 5_000]);
  }
});

it('rclone and s3cmd list and read with a key', async () => {
  const configuration = join(place.path, 'rclone.conf');
  writeFileSync(
    configuration,
    `[p]\ntype = s3\nprovider = Other\nendpoint = ${daemon.s3}\naccess_key_id = ${all.id}\nsecret_access_key = ${all.secret}\n`,
  );
  const rclone = (...words: string[]) => run('/usr/bin/rclone', ['--config', configuration, ...words]);
  expect((await rclone('lsf', '-R', '--files-only', 'p:demo')).stdout.split('\n').filter(Boolean).toSorted()).toEqual(
    objects.map(({ key }) => key).toSorted(),
  );
  expect((await rclone('copy', 'p:demo/open', join(place.path, 'rclone'))).code).toBe(0);
  const { host } = new URL(daemon.s3);
  const s3cmd = ['--no-ssl', `--host=${host}`, `--host-bucket=${host}`, `--access_key=${all.id}`];
  const words = [...s3cmd, `--secret_key=${all.secret}`, '--config=/dev/null', 'ls', '-r', 's3://demo/'];
  expect((await run('/usr/bin/s3cmd', words)).stdout).toMatch(/closed\/b\.bin/);
});
