/** The story of a file, by real processes: attempts as the origin counted them, what went and why, and what a kill leaves of it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import type { ObjectSpec } from '../../src/demo/origin/objects.ts';
import { ended, fs, type Json, loaded, submit } from '../support/api.ts';
import { primed } from '../support/cli.ts';
import { type Cluster, openCluster } from '../support/cluster.ts';

const several = (folder: string): ObjectSpec[] =>
  Array.from({ length: 20 }, (_, at) => ({ key: `${folder}/${at}.bin`, sizeBytes: 4 * MiB }));
const troubled: ObjectSpec[] = ['slow-down', 'reset', 'denied', 'well'].map((name) => ({
  key: `troubled/${name}`,
  sizeBytes: 40 * KiB,
}));

let cluster: Cluster;
let api: string;
afterAll(() => cluster?.close());

async function why(key: string): Promise<Json> {
  return (await fs(api, 'why', `s3://demo/${key}`)).json();
}

/** Everything here is slow where the machine is. */
const patience = { timeout: 20_000, interval: 50 };

const kindsOf = ({ story }: Json): string[] => story.map(({ kind }: Json) => kind);
const attemptsIn = ({ story }: Json): Json[] =>
  story.filter(({ kind }: Json) => kind === 'attempt' || kind === 'arrived');
const gets = (key: string) =>
  cluster.origin.requests.filter((one) => one.operation === 'GetObject' && one.key === key).map((one) => one.requestId);

it('each attempt is told with its status and the request id of the origin, also after a kill', {
  timeout: 120_000,
}, async () => {
  cluster = await openCluster({
    origin: { objects: [...troubled, ...several('a'), ...several('b')] },
    workers: ['w1', 'w2'],
    storeSize: '64MB',
    env: { PRIMED_INGEST_RETRY_BASE: '10ms', PRIMED_INGEST_RETRY_MAX: '50ms' },
  });
  api = cluster.coordinator.api;
  const slow = cluster.origin.setFault({ fault: { kind: 'status', status: 503 }, key: 'troubled/slow-down', times: 2 });
  const reset = cluster.origin.setFault({ fault: { kind: 'reset', afterBytes: 99 }, key: 'troubled/reset', times: 1 });
  const denied = cluster.origin.setFault({ fault: { kind: 'status', status: 403 }, key: 'troubled/denied' });
  const { jobId } = (await submit(api, 's3://demo/troubled/')).json();
  expect(await ended(api, 's3://demo/troubled/')).toMatchObject({ mJobState: 'FAILED', mFailedFileCount: 1 });
  expect([slow, reset].map((id) => cluster.origin.fired(id))).toEqual([2, 1]);
  expect(cluster.origin.fired(denied)).toBeGreaterThan(0);

  const [first, second, third] = gets('troubled/slow-down');
  const told = await why('troubled/slow-down');
  expect(attemptsIn(told)).toMatchObject([
    {
      kind: 'attempt',
      attempt: 1,
      result: 'throttled',
      httpStatus: 503,
      s3Code: 'SlowDown',
      requestId: first,
      next: 'again',
    },
    { kind: 'attempt', attempt: 2, httpStatus: 503, requestId: second, offset: 0, length: 40 * KiB, job: jobId },
    { kind: 'arrived', attempt: 3, httpStatus: 200, requestId: third },
  ]);
  expect(kindsOf(told)[0]).toBe('load');
  expect(told.now).toMatchObject({ state: 'complete' });
  const { worker } = attemptsIn(told)[0];
  expect(['w1', 'w2']).toContain(worker);
  expect(told.now.placement).toEqual([{ index: 0, workers: [worker] }]);
  expect(attemptsIn(await why('troubled/reset')).map(({ result }: Json) => result)).toEqual([
    expect.stringMatching(/^(reset|short)$/),
    'arrived',
  ]);
  const refused = await why('troubled/denied');
  expect(refused.now.text).toContain(gets('troubled/denied').at(-1));
  expect(attemptsIn(refused).at(-1)).toMatchObject({ httpStatus: 403, s3Code: 'AccessDenied', next: 'given-up' });
  expect(attemptsIn(await why('troubled/well'))).toEqual([]);
  const asked = ['why', 's3://demo/troubled/slow-down'];
  expect(JSON.parse((await primed(api, [...asked, '--format', 'json'])).stdout)).toEqual(told);
  const text = (await primed(api, asked)).stdout;
  expect(text).toMatch(
    new RegExp(
      `attempt 2 of load ${jobId} to get bytes 0-40959 of version \\w+ from the origin FAILED \\(HTTP 503, SlowDown`,
    ),
  );

  const journal = join(cluster.dataDir(worker), 'history', 'attempts');
  await expect.poll(() => readFileSync(journal, 'utf8'), patience).toContain(third);
  await cluster.kill(worker);
  await expect
    .poll(async () => (await why('troubled/slow-down')).now.unanswered, patience)
    .toMatchObject([{ id: worker }]);
  await cluster.start(worker);
  await expect.poll(async () => (await why('troubled/slow-down')).now.unanswered, patience).toBeUndefined();
  const after = await why('troubled/slow-down');
  expect(attemptsIn(after)).toEqual(attemptsIn(told));
  expect(after.story.filter(({ kind }: Json) => kind === 'gap')).toMatchObject([{ worker, why: 'crash' }]);
});

it('of a file that is gone it is told for whom it went, or who freed it', { timeout: 120_000 }, async () => {
  await loaded(api, 's3://demo/a/');
  const { jobId } = await loaded(api, 's3://demo/b/');
  const left = (await fs(api, 'ls', 's3://demo/a/')).json().entries.map(({ path }: Json) => path);
  const gone = several('a').find(({ key }) => !left.includes(`s3://demo/${key}`));
  const evicted = await why(gone!.key);
  expect(evicted.story.filter(({ kind }: Json) => kind === 'evicted')).toMatchObject([{ reason: 'space', job: jobId }]);
  expect(evicted.now).toMatchObject({ state: 'absent' });
  expect(evicted.now.text).toMatch(new RegExp(` on w[12]: evicted .* to make room for load ${jobId}\\.$`));

  const freed = JSON.parse(
    (await primed(api, ['job', 'free', '--path', 's3://demo/b/', '--submit', '--format', 'json'])).stdout,
  );
  const how = async (): Promise<string> => (await why('b/0.bin')).now.text;
  await expect.poll(how, patience).toContain(`freed by free ${freed.jobId}`);
  expect((await why('b/nothing')).now.text).toContain('freed by');
  expect((await why('c/0.bin')).now.text).toContain('never asked for');
});
