/** How origins are reached, how long they may take and what a store gives up: changed by SIGHUP, and used at once, by loads under way too. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import type { EmbeddedOrigin } from '../../src/demo/origin/api.ts';
import { ended, loaded, progress, submit } from '../support/api.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { temporaryFolder } from '../support/files.ts';
import { startTestOrigin, testCredentials } from '../support/origin.ts';

const other = { accessKeyId: 'AKIDOTHER', secretAccessKey: 'the-other-secret' };
const objects = ['a', 'b', 'c', 'd', 'e'].flatMap((folder) =>
  Array.from({ length: 3 }, (_, n) => ({ key: `${folder}/${n}.bin`, sizeBytes: 3 * MiB })),
);
const folder = temporaryFolder('reload-origins');
const file = join(folder.path, 'primed.toml');
const soon = { timeout: 20_000, interval: 20 };
let first: EmbeddedOrigin;
let second: EmbeddedOrigin;
let daemon: Daemon;
let signals = 0;
const moved = {
  keys: other,
  region: 'eu-central-1',
  get origin() {
    return second;
  },
};

interface Settings {
  readonly origin?: EmbeddedOrigin;
  readonly keys?: typeof other;
  readonly region?: string;
  readonly firstByte?: string;
  readonly eviction?: string;
}

function write({
  origin = first,
  keys = testCredentials,
  region = 'us-east-1',
  firstByte = '10m',
  eviction = 'none',
}: Settings): void {
  writeFileSync(
    file,
    `[ingest]
first_byte_timeout = "${firstByte}"
max_attempts = 1
[store]
eviction = "${eviction}"
removed_limit = "${eviction === 'none' ? '30m' : '1m'}"
[[ufs]]
prefix = "s3://demo/"
endpoint = "${origin.endpoint}"
region = "${region}"
access_key_id = "${keys.accessKeyId}"
secret_access_key = "${keys.secretAccessKey}"
`,
  );
}

/** Resolves with the line in which the daemon has said what it changed. */
async function reload(settings: Settings): Promise<string> {
  write(settings);
  signals += 1;
  process.kill(daemon.pid, 'SIGHUP');
  const said = () =>
    daemon
      .log()
      .split('\n')
      .filter((line) => line.includes('the configuration was read again'));
  await expect.poll(() => said().length, soon).toBe(signals);
  expect(daemon.log()).not.toContain('needs a restart');
  return said().at(-1)!;
}

const pathOf = (name: string): string => `s3://demo/${name}/`;
const gets = (origin: EmbeddedOrigin): number =>
  origin.requestLog().filter(({ operation }) => operation === 'GetObject').length;

/** The report of a load that fails. */
async function failed(name: string): Promise<string> {
  expect((await submit(daemon.api, pathOf(name))).status).toBe(200);
  const report = await ended(daemon.api, pathOf(name));
  expect(report.mJobState).toBe('FAILED');
  return JSON.stringify(report);
}

beforeAll(async () => {
  mkdirSync(folder.path, { recursive: true });
  first = await startTestOrigin({ objects });
  second = await startTestOrigin({ objects, credentials: [other] });
  write({ keys: other });
  daemon = await startDaemon({ dataDir: join(folder.path, 'data'), storeSize: '32MB', args: ['--config', file] });
});
afterAll(async () => {
  await daemon?.kill();
  await first?.close();
  await second?.close();
  folder.remove();
});

it('credentials that were wrong are exchanged, and the next load uses them', async () => {
  await failed('a');
  expect(await reload({})).toMatch(/"changed":\[.*"ufs\[0\]\.secret_access_key"/);
  for (const { secretAccessKey } of [other, testCredentials]) expect(daemon.log()).not.toContain(secretAccessKey);
  await loaded(daemon.api, pathOf('a'));
  expect(gets(first)).toBe(3);
});

it('an origin moves to another endpoint, with other keys and another region', async () => {
  await reload(moved);
  await loaded(daemon.api, pathOf('b'));
  expect([gets(first), gets(second)]).toEqual([3, 3]);
});

it('a load under way ends by the time limit that came while it waited', async () => {
  const silent = second.setFault({ key: 'c/0.bin', fault: { kind: 'stall' } });
  expect((await submit(daemon.api, pathOf('c'))).status).toBe(200);
  await expect.poll(() => second.fired(silent), soon).toBe(1);
  expect((await progress(daemon.api, pathOf('c'))).json().mJobState).toBe('RUNNING');
  await reload({ ...moved, firstByte: '200ms' });
  const report = await ended(daemon.api, pathOf('c'));
  expect(report.mJobState).toBe('FAILED');
  expect(JSON.stringify(report)).toMatch(/no answer within the time limit/);
});

it('what a store gives up for a load', async () => {
  expect(await failed('d')).toMatch(/nothing is evicted/);
  expect(await reload({ ...moved, eviction: 'lru' })).toMatch(/"store\.eviction"/);
  await loaded(daemon.api, pathOf('e'));
});
