/** The threads of the S3 port, started as the daemon starts them. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { Agent, get as getPlain } from 'node:http';
import { get as getOverTls, Agent as TlsAgent } from 'node:https';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ServerTls } from '../../../src/core/node-tls.ts';
import type { ReadRules } from '../../../src/core/read-policy.ts';
import type { ManifestEntry, ObjectVersion, UfsPath } from '../../../src/core/types.ts';
import { KiB, MiB } from '../../../src/core/units.ts';
import { borrowersOf } from '../../../src/serving/borrowers.ts';
import { openServing, type Serving, type ServingOptions } from '../../../src/serving/pool.ts';
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

interface Opening {
  readonly reading?: ReadRules;
  readonly current?: ServingOptions['current'];
}

async function open(tls?: ServerTls, more: Opening = {}): Promise<void> {
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
    reading: more.reading ?? { base, origins: [], rules: [] },
    indexDir: fixture.options.indexDir,
    storePaths: store.files.map((file) => file.path),
    counters: makeSharedCounters(servingLayout, 2),
    reads,
    mainPath: `\0nobody-${randomBytes(8).toString('hex')}`,
    inside: 'x',
    log: { ...fixture.options.log, error: (facts: unknown) => void failures.push(facts) },
    current: more.current ?? (() => Promise.reject(new Error('nobody is asked'))),
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

test('of what is written through a thread answers the version that the origin has after the request has come, and no other', async () => {
  const object = entry('written', 70 * KiB);
  const asked: UfsPath[] = [];
  let has: () => Promise<ObjectVersion | undefined>;
  const prefix = object.path.slice(0, object.path.lastIndexOf('/') + 1);
  await open(undefined, {
    reading: {
      base: { readThrough: 'always', maxAgeMs: undefined },
      origins: [{ prefix, writes: true }],
      rules: [],
    },
    current: (path) => {
      asked.push(path);
      return has();
    },
  });
  const statusOf = async (method: string): Promise<number> => {
    const answer = await fetch(`http://127.0.0.1:${serving.port}${object.path.slice('s3:/'.length)}`, { method });
    const body = Buffer.from(await answer.arrayBuffer());
    if (answer.status === 200 && method === 'GET') expect(body.equals(contentOf(object))).toBe(true);
    return answer.status;
  };
  // Nobody is where requests are passed on to: those are 503.
  has = () => Promise.resolve(object);
  expect(await statusOf('GET')).toBe(503);
  expect(asked).toEqual([]);
  await loadObject(store, object);
  const said: [typeof has, number][] = [
    [() => Promise.resolve(object), 200],
    [() => Promise.resolve({ ...object, etag: 'another' }), 503],
    [() => Promise.resolve({ ...object, sizeBytes: object.sizeBytes + 1 }), 503],
    [() => Promise.resolve(undefined), 503],
    [() => Promise.reject(new Error('the origin is away')), 503],
    [() => Promise.resolve(object), 200],
  ];
  for (const [what, status] of said) {
    has = what;
    for (const method of ['GET', 'HEAD']) expect(await statusOf(method)).toBe(status);
  }
  expect(asked).toEqual(Array(said.length * 2).fill(object.path));
});

test('a thread that ends by itself is told, with its number and why', async () => {
  await open();
  serving.setReading({} as never);
  await expect.poll(() => lost.length, { timeout: 20_000 }).toBe(1);
  expect(lost[0]!.message).toBe('serving thread 0 ended with code 1');
  expect(failures).toEqual([{ thread: 0, error: expect.stringContaining('TypeError') }]);
});
