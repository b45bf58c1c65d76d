/** The threads of the S3 port, started as the daemon starts them. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, get as getPlain } from 'node:http';
import { get as getOverTls, Agent as TlsAgent } from 'node:https';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ServerTls } from '../../../src/core/node-tls.ts';
import type { ManifestEntry } from '../../../src/core/types.ts';
import { KiB, MiB } from '../../../src/core/units.ts';
import { borrowersOf } from '../../../src/serving/borrowers.ts';
import { openServing, type Serving } from '../../../src/serving/pool.ts';
import { openLocalStore } from '../../../src/store/open.ts';
import { SharedReads } from '../../../src/store/shared-reads.ts';
import type { Store } from '../../../src/store/types.ts';
import { servingLayout } from '../../../src/telemetry/serving-columns.ts';
import { makeSharedCounters } from '../../../src/telemetry/shared-counters.ts';
import { makeCertificate } from '../../support/certificate.ts';
import { contentOf, entry, type Fixture, loadObject, makeFixture } from '../../support/store-fixture.ts';

const cacheBytes = 16 * MiB;
const base = { readThrough: 'never', maxAgeMs: undefined } as const;
let fixture: Fixture;
let store: Store;
let serving: Serving;
let lost: Error[];
let failures: unknown[];

async function open(tls?: ServerTls): Promise<void> {
  const reads = new SharedReads(1);
  store = await openLocalStore({ ...fixture.options, otherReads: reads });
  serving = await openServing({
    ...(tls && { tls }),
    listen: { host: '127.0.0.1', port: 0 },
    threads: 1,
    cacheBytes,
    engine: 'threads',
    access: { keys: [], anonymous: true },
    domains: [],
    reading: { base, origins: [], rules: [] },
    indexDir: fixture.options.indexDir,
    storePaths: store.files.map((file) => file.path),
    counters: makeSharedCounters(servingLayout, 2),
    reads,
    mainPath: `\0nobody-${randomBytes(8).toString('hex')}`,
    inside: 'x',
    log: { ...fixture.options.log, error: (facts: unknown) => void failures.push(facts) },
    onTouched: () => undefined,
    onLost: (error) => void lost.push(error),
  });
}

/** The bytes of a range, read on a connection of its own that stays open. */
async function bytesOf(agent: Agent, object: ManifestEntry, from: number, to: number): Promise<Buffer> {
  const get = agent instanceof TlsAgent ? getOverTls : getPlain;
  const [answer] = await once(
    get({
      ...{ agent, host: '127.0.0.1', port: serving.port, path: object.path.slice('s3:/'.length) },
      headers: { range: `bytes=${from}-${to - 1}` },
    }),
    'response',
  );
  expect(answer.statusCode).toBe(206);
  return buffer(answer);
}

/** More connections than pages are lent to, and more bytes than the cache has room for; each range twice, from the disk and from memory. */
async function readAll(agent: () => Agent): Promise<void> {
  const object = entry('object', 24 * MiB + 77);
  await loadObject(store, object);
  const content = contentOf(object);
  const agents = Array.from({ length: borrowersOf(cacheBytes, 1) + 4 }, agent);
  for (const [from, to] of [
    [0, 1],
    [MiB - 5, MiB + 9000],
    [3 * MiB + 7, 3 * MiB + 7 + 64 * KiB],
    [MiB - 6, 23 * MiB],
    [24 * MiB - 1, 24 * MiB + 77],
  ] as const) {
    for (let time = 0; time < 2; time += 1) {
      const answers = await Promise.all(agents.map((one) => bytesOf(one, object, from, to)));
      for (const bytes of answers) expect(bytes.equals(content.subarray(from, to))).toBe(true);
    }
  }
  for (const one of agents) one.destroy();
}

beforeEach(() => {
  fixture = makeFixture();
  [lost, failures] = [[], []];
});
afterEach(async () => {
  await serving.close();
  await store.close();
  fixture.remove();
});

test('a thread answers what is whole here by itself, and closes without a word', async () => {
  await open();
  await readAll(() => new Agent({ keepAlive: true, maxSockets: 1 }));
  await serving.close();
  expect(lost).toEqual([]);
});

test('so it does over TLS, where it writes copies', async () => {
  const { cert, key } = makeCertificate();
  await open({ cert, key });
  await readAll(() => new TlsAgent({ keepAlive: true, maxSockets: 1, rejectUnauthorized: false }));
});

test('a thread that ends by itself is told, with its number and why', async () => {
  await open();
  serving.setReading({} as never);
  await expect.poll(() => lost.length, { timeout: 20_000 }).toBe(1);
  expect(lost[0]!.message).toBe('serving thread 0 ended with code 1');
  expect(failures).toEqual([{ thread: 0, error: expect.stringContaining('TypeError') }]);
});
