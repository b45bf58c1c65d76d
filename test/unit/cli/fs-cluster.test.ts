/** What the verbs show of a cluster: who has what, what is missing, and who did not answer. */
import type { AddressInfo } from 'node:net';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runCli } from '../../../src/cli/run.ts';
import type { FsSource } from '../../../src/cluster/reading/fs-source.ts';
import { MiB } from '../../../src/core/units.ts';
import { installErrorHandler } from '../../../src/server/errors.ts';
import { fsApi } from '../../../src/server/fs-api.ts';
import { MemoryFiles } from '../../support/memory-files.ts';
import { silent } from '../../support/silent.ts';
import { makeWorld } from './world.ts';

const unanswered = [{ id: 'w3', reason: 'lost' }];
const file = {
  path: 's3://b/f',
  type: 'file' as const,
  state: 'partial',
  sizeBytes: 16 * MiB,
  cachedBytes: 12 * MiB,
  missingBytes: 4 * MiB,
  etag: 'e',
  lastModified: '2026-01-02T03:04:05.000Z',
  missing: [{ offset: 12 * MiB, length: 4 * MiB }],
  segments: [
    { index: 0, offset: 0, length: 8 * MiB, workers: ['w1', 'w2'] },
    { index: 1, offset: 8 * MiB, length: 8 * MiB, workers: [], partly: ['w1'] },
  ],
};
const figures = {
  ...{ files: 1, bytes: 16 * MiB, cachedFiles: 0, cachedBytes: 12 * MiB, missingBytes: 4 * MiB },
  replicas: [
    { replicas: 0, bytes: 4 * MiB },
    { replicas: 1, bytes: 4 * MiB },
    { replicas: 2, bytes: 8 * MiB },
  ],
  workers: [{ id: 'w1', files: 1, cachedBytes: 12 * MiB }],
};
const source: FsSource = {
  files: new MemoryFiles().alone,
  ls: async ({ path }) => ({ path, entries: [file], unanswered }),
  stat: async (path) =>
    path.endsWith('/')
      ? { path, type: 'directory', ...figures, unanswered }
      : { path, type: 'file', ...figures, unanswered, file },
  check: async (path) => async () => ({
    ...{ path, ok: false, checkedFiles: 2, checkedBytes: 5 * MiB, badPageCount: 1, uncheckedFiles: 0, goneFiles: 0 },
    badPages: [
      { worker: 'w2', path, page: 3, offset: 3 * MiB, lengthBytes: MiB, code: 'STORE_CORRUPT', message: 'bad' },
    ],
    unanswered,
  }),
};

let app: FastifyInstance;
let url: string;
beforeEach(async () => {
  app = Fastify({ forceCloseConnections: true });
  installErrorHandler(app, silent);
  app.register(fsApi, { source, log: { debug() {}, info() {}, warn() {}, error() {} } });
  await app.listen({ host: '127.0.0.1', port: 0 });
  url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`;
});
afterEach(() => app.close());

async function run(...args: string[]) {
  const io = makeWorld({ env: { PRIMED_COORDINATOR: url } });
  return { code: await runCli(args, io), out: io.out(), err: io.err() };
}

test('stat of a file says how often its bytes are there, what is nowhere, and where each segment lies', async () => {
  const { code, out } = await run('fs', 'stat', 's3://b/f');
  expect([code, out.split('\n')]).toEqual([
    0,
    expect.arrayContaining([
      'Bytes cached:  12.00MB of 16.00MB (75%)',
      'Missing:       4096.00KB',
      'On 1 worker:   4096.00KB',
      'On 2 workers:  8.00MB',
      `Missing:       bytes ${12 * MiB} to ${16 * MiB - 1}`,
      'Segment 0:     w1, w2',
      'Segment 1:     w1 (part)',
      'Worker w3:     NOT COUNTED: lost',
    ]),
  ]);
  const json = JSON.parse((await run('fs', 'stat', 's3://b/f', '--format', 'JSON')).out);
  expect(json).toMatchObject({ ...figures, unanswered, file });
});

test('stat of a directory says what each worker has', async () => {
  const { out } = await run('fs', 'stat', 's3://b/');
  expect(out).toContain('Worker w1:     12.00MB of 1 files\n');
  expect(out).toContain('Worker w3:     NOT COUNTED: lost\n');
});

test('ls and check name who did not answer', async () => {
  const listed = await run('fs', 'ls', 's3://b/');
  expect(listed.out).toBe('   16.00MB  75%        2026-01-02T03:04:05.000Z  s3://b/f\n');
  expect(listed.err).toContain("Worker 'w3' did not answer");
  const checked = await run('fs', 'check', 's3://b/');
  expect(checked.code).toBe(1);
  expect(checked.out).toContain('\tw2: s3://b/: page 3 (bytes');
  expect(checked.out).toContain("worker 'w3' did not answer, and its pages were not checked: lost");
});
