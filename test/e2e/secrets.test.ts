/** Secrets that were planted everywhere come out nowhere: not in logs, metrics, answers, errors, nor in what verbs print. */
import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { EmbeddedOrigin } from '../../src/demo/origin/api.ts';
import { call, type Json } from '../support/api.ts';
import { run } from '../support/cli.ts';
import { type Daemon, executable, startDaemon } from '../support/daemon.ts';
import { temporaryFolder } from '../support/files.ts';
import { originEnvironment, startTestOrigin, testCredentials } from '../support/origin.ts';

const planted = {
  api: 'planted-api-token-5c1f',
  submit: 'planted-submit-token-77aa',
  second: 'planted-second-token-12e9',
  cluster: 'planted-cluster-token-90b2',
  s3: 'planted/s3+secret=31e8',
  wrong: 'planted-wrong-origin-secret-44d0',
  guessed: 'planted-guessed-token-0f0f',
};
const folder = temporaryFolder('secrets');
const file = join(folder.path, 'primed.toml');
let origin: EmbeddedOrigin;
let daemon: Daemon;

beforeAll(async () => {
  origin = await startTestOrigin();
  writeFileSync(
    file,
    `api_token = "${planted.api}"
log.level = "debug"
[cluster]
token = "${planted.cluster}"
[[token]]
name = "pipeline"
role = "submit"
token = "${planted.submit}"
[[s3.key]]
access_key_id = "reader"
secret_access_key = "${planted.s3}"
[[ufs]]
prefix = "s3://other/"
endpoint = "${origin.endpoint}"
region = "us-east-1"
access_key_id = "${testCredentials.accessKeyId}"
secret_access_key = "${planted.wrong}"
`,
  );
  const env = { ...originEnvironment(origin), PRIMED_CONFIG: file };
  daemon = await startDaemon({ dataDir: join(folder.path, 'data'), storeSize: '256MB', env });
});
afterAll(async () => {
  await daemon?.kill();
  await origin?.close();
  folder.remove();
});

it('in a run with loads that succeed and fail, refusals, reloads and every way to look', async () => {
  const said: string[] = [];
  const ask = async (token: string, method: string, target: string, body?: object): Promise<Json> => {
    const answer = await call(daemon.api, method, target, body, { authorization: `Bearer ${token}` });
    said.push(answer.text);
    return answer;
  };
  const verb = async (token: string, ...words: string[]): Promise<number | null> => {
    const env = { PRIMED_COORDINATOR: daemon.api, PRIMED_API_TOKEN: token, PRIMED_CONFIG: file };
    const { code, stdout, stderr } = await run(process.execPath, [executable, ...words], env);
    said.push(stdout, stderr);
    return code;
  };
  expect(await verb(planted.submit, 'job', 'load', 's3://demo/data/sub/')).toBe(0);
  expect(await verb(planted.submit, 'job', 'load', 's3://other/x')).toBe(1);
  expect(await verb(planted.submit, 'job', 'free', 's3://demo/data/sub/')).toBe(1);
  expect(await verb(planted.guessed, 'job', 'list')).toBe(1);
  expect(await verb(planted.api, 'job', 'history', '--format', 'json')).toBe(0);
  expect(await verb('', 'config', 'show', '--format', 'json')).toBe(0);
  expect(await verb('', 'config', 'check')).toBe(0);
  await verb('', 'doctor', 's3://other/');
  for (const target of ['/metrics', '/openapi.json', '/api/v1/ufs', '/api/v1/master/list_job'])
    expect((await ask(planted.api, 'GET', target)).status).toBe(200);
  await ask(planted.api, 'GET', '/api/v1/master/progress_job/load?path=s3://other/x&verbose=true');
  expect((await ask(planted.submit, 'POST', '/api/v1/master/submit_job/free', { path: 's3://demo/' })).status).toBe(
    403,
  );
  const second = `[[token]]\nname = "pipeline-2"\nrole = "submit"\ntoken = "${planted.second}"\n`;
  appendFileSync(file, second);
  process.kill(daemon.pid, 'SIGHUP');
  await expect.poll(() => daemon.log(), { timeout: 20_000 }).toContain('the configuration was read again');
  // Both count, so that one can be exchanged for the other.
  for (const token of [planted.submit, planted.second])
    expect((await ask(token, 'GET', '/api/v1/master/list_job')).status).toBe(200);
  await daemon.terminate();

  const log = daemon.log();
  // What was planted has been used, or else its absence would say nothing.
  expect(log).toMatch(/"event":"audit","action":"submit load","who":"pipeline".*"result":"done"/);
  expect(log).toMatch(/"event":"audit","action":"submit free","who":"pipeline".*"result":"refused","status":403/);
  const everything = [log, ...said].join('\n');
  expect(everything.length).toBeGreaterThan(20_000);
  expect(Object.entries(planted).filter(([, secret]) => everything.includes(secret))).toEqual([]);
  expect(everything).not.toContain(testCredentials.secretAccessKey);
}, 90_000);
