/** A cluster whose tokens are exchanged while it runs: everything between its nodes goes on with the new ones. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { PrimedClient } from '../../src/client/client.ts';
import { MiB } from '../../src/core/units.ts';
import type { EmbeddedOrigin } from '../../src/demo/origin/api.ts';
import { run } from '../support/cli.ts';
import { type Daemon, executable, startDaemon } from '../support/daemon.ts';
import { temporaryFolder } from '../support/files.ts';
import { originEnvironment, startTestOrigin } from '../support/origin.ts';

const objects = [
  { key: 'before/file.bin', sizeBytes: 9 * MiB + 5 },
  { key: 'after/file.bin', sizeBytes: 9 * MiB + 6 },
];
const folder = temporaryFolder('cluster-tokens');
const file = join(folder.path, 'primed.toml');
let origin: EmbeddedOrigin;
const nodes: Record<string, Daemon> = {};

function order(role: 'coordinator' | 'worker', id: string) {
  return {
    role,
    dataDir: join(folder.path, id),
    storeSize: role === 'worker' ? '128MB' : null,
    args: ['--config', file],
    env: {
      ...originEnvironment(origin),
      PRIMED_CLUSTER_ID: id,
      ...(role === 'worker' ? { PRIMED_COORDINATOR: nodes.coordinator!.api } : {}),
    },
  };
}

function writeTokens(generation: string): void {
  writeFileSync(join(folder.path, 'api'), `api-${generation}\n`);
  writeFileSync(join(folder.path, 'cluster'), `cluster-${generation}\n`);
}

/** The same without a token, and with the one of before, of what is for nodes alone. */
async function statuses(daemon: Daemon, target: string, method: string): Promise<number[]> {
  const given = ['cluster-one', 'cluster-two'].map(async (token) => {
    const answer = await fetch(`${daemon.api}${target}`, { method, headers: { authorization: `Bearer ${token}` } });
    await answer.arrayBuffer();
    return answer.status;
  });
  return Promise.all(given);
}

async function loadOnBoth(token: string, path: string): Promise<void> {
  const client = new PrimedClient({ coordinator: nodes.coordinator!.api, token });
  try {
    // A worker counts as soon as the coordinator has a link to it.
    await vi.waitFor(() => client.submit({ path }, { replicas: '2' }), { timeout: 20_000 });
    await expect.poll(async () => (await client.progress(path)).mJobState, { timeout: 30_000 }).toBe('SUCCEEDED');
    expect(await client.stat(path)).toMatchObject({ replicas: [{ replicas: 2 }] });
  } finally {
    await client.close();
  }
}

beforeAll(async () => {
  origin = await startTestOrigin({ objects });
  writeFileSync(
    file,
    'api_token_file = "api"\n[cluster]\ntoken_file = "cluster"\nlease = "2s"\n[job]\nsegment_size = "4MB"',
  );
  writeTokens('one');
  nodes.coordinator = await startDaemon(order('coordinator', 'coordinator'));
  for (const id of ['w1', 'w2']) nodes[id] = await startDaemon(order('worker', id));
});
afterAll(async () => {
  await Promise.all(Object.values(nodes).map((daemon) => daemon.kill()));
  await origin?.close();
  folder.remove();
});

it('loads and copies with the tokens of its files', () => loadOnBoth('api-one', 's3://demo/before/'));

it('the command line finds its token in a file as well', async () => {
  const env = { PRIMED_COORDINATOR: nodes.coordinator!.api };
  const list = [executable, 'job', 'list'];
  const PRIMED_API_TOKEN_FILE = join(folder.path, 'api');
  expect(await run(process.execPath, list, { ...env, PRIMED_API_TOKEN_FILE })).toMatchObject({ code: 0 });
  expect(await run(process.execPath, list, env)).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('no token'),
  });
});

it('takes other ones at SIGHUP, lets nobody in with those of before, and copies from worker to worker', async () => {
  writeTokens('two');
  for (const { pid } of Object.values(nodes)) process.kill(pid, 'SIGHUP');
  for (const daemon of Object.values(nodes))
    await expect.poll(() => daemon.log(), { timeout: 20_000 }).toMatch(/"changed":\["api_token","cluster\.token"\]/);
  expect(await statuses(nodes.coordinator!, '/internal/v1/workers/x', 'PUT')).toEqual([401, 400]);
  expect((await statuses(nodes.w1!, '/internal/v1/stat/x', 'GET'))[0]).toBe(401);
  // New connections all around: one worker is another process, and what it copies is asked for with the new token.
  await nodes.w2!.terminate();
  nodes.w2 = await startDaemon({ ...order('worker', 'w2'), ports: nodes.w2!.ports });
  await loadOnBoth('api-two', 's3://demo/after/');
  expect(origin.stats().bytesByKey['after/file.bin']).toBe(objects[1]!.sizeBytes);
});
