/** What a worker gives other workers to copy: as a lane asks for it, and as others might. */
import type { AddressInfo } from 'node:net';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MiB } from '../../../src/core/units.ts';
import { bearerAuth } from '../../../src/server/auth.ts';
import { installErrorHandler } from '../../../src/server/errors.ts';
import { type PeerDataOptions, peerData } from '../../../src/server/peer-data.ts';
import type { Begun, Store } from '../../../src/store/types.ts';
import { type RawAnswer, rawRequest } from '../../support/raw-http.ts';
import { silent } from '../../support/silent.ts';
import {
  contentOf,
  entry,
  type Fixture,
  load,
  loadObject,
  makeFixture,
  memoryLog,
  run,
  writePart,
} from '../../support/store-fixture.ts';

let fixture: Fixture;
let store: Store;
let app: FastifyInstance;
let port: number;
let served: number[];

async function serve(more: Partial<PeerDataOptions> = {}): Promise<void> {
  app = Fastify({ forceCloseConnections: true });
  installErrorHandler(app, silent);
  app.register(bearerAuth, { token: 'token-of-the-api' });
  const onServed = (bytes: number): unknown => served.push(bytes);
  app.register(peerData, { store, log: memoryLog(), clusterToken: 'token-of-the-cluster', onServed, ...more });
  await app.listen({ host: '127.0.0.1', port: 0 });
  port = (app.server.address() as AddressInfo).port;
}

beforeEach(async () => {
  fixture = makeFixture();
  store = await fixture.open();
  served = [];
});
afterEach(async () => {
  await app.close();
  await store.close();
  fixture.remove();
});

/** As a lane writes it. */
function target(name: string): string {
  return `/internal/v1/data/${encodeURIComponent(`s3://bucket/${name}`).replaceAll('%2F', '/')}`;
}

function ask(at: string, headers: Record<string, string> = {}): Promise<RawAnswer> {
  return rawRequest(port, at, { headers: { authorization: 'Bearer token-of-the-cluster', ...headers } });
}

function begin(object: ReturnType<typeof entry>, etc: { load?: string } = {}): Begun {
  const loadId = (etc.load ?? load) as typeof load;
  return store.beginFile({ run, load: loadId, entry: object, reuse: 'load', partBytes: 8 * MiB });
}

const version = { 'if-match': '"v1"' };

describe('what is asked for as a lane does', () => {
  const object = entry('dir/a', 3 * MiB + 100);

  it('is answered with exactly those bytes, a length and an ETag', async () => {
    await loadObject(store, object);
    await serve();
    const whole = await ask(target('dir/a'), version);
    expect([whole.status, whole.headers['content-length'], whole.headers.etag]).toEqual([
      200,
      String(object.sizeBytes),
      '"v1"',
    ]);
    expect(whole.headers).not.toHaveProperty('transfer-encoding');
    expect(whole.headers['content-type']).toBe('application/octet-stream');
    expect(whole.body.equals(contentOf(object))).toBe(true);
    const part = await ask(target('dir/a'), { ...version, range: `bytes=1000-${2 * MiB}` });
    expect(part.status).toBe(206);
    expect(part.headers['content-range']).toBe(`bytes 1000-${2 * MiB}/${object.sizeBytes}`);
    expect(part.body.equals(contentOf(object).subarray(1000, 2 * MiB + 1))).toBe(true);
    expect(served).toEqual([object.sizeBytes, part.body.length]);
  });

  it('is 412 where another version is, and 404 where none is', async () => {
    await loadObject(store, object);
    await store.putMetadata(load, [entry('dir/known', 5)]);
    await serve();
    const other = await ask(target('dir/a'), { 'if-match': '"v2"' });
    expect([other.status, other.body.toString()]).toEqual([412, expect.stringContaining('another ETag: v1')]);
    for (const name of ['dir/b', 'dir/known']) {
      const answer = await ask(target(name), version);
      expect([answer.status, answer.body.toString()]).toEqual([404, expect.stringContaining('<Code>FILE_NOT_CACHED')]);
    }
    expect((await ask(`${target('dir/a')}?versionId=x`, version)).status).toBe(200);
    expect(served).toHaveLength(1);
  });

  it('is given as far as it is durable while the file loads, and is 404 beyond', async () => {
    const { fileId } = begin(object);
    await serve();
    expect((await ask(target('dir/a'), { ...version, range: 'bytes=0-99' })).status).toBe(404);
    await store.land(run, [writePart(store, { fileId, entry: object, range: { offset: MiB, length: MiB } })]);
    const there = await ask(target('dir/a'), { ...version, range: `bytes=${MiB + 1}-${2 * MiB - 1}` });
    expect(there.status).toBe(206);
    expect(there.body.equals(contentOf(object).subarray(MiB + 1, 2 * MiB))).toBe(true);
    for (const range of [`bytes=${MiB - 1}-${MiB}`, `bytes=${MiB}-${2 * MiB}`, `bytes=0-${object.sizeBytes - 1}`]) {
      expect((await ask(target('dir/a'), { ...version, range })).status, range).toBe(404);
    }
    expect((await ask(target('dir/a'), version)).status).toBe(404);
  });

  it('is given of the version that loads where an earlier one is visible, and the other way round', async () => {
    const newer = { ...object, etag: 'v2' };
    await loadObject(store, object);
    const { fileId } = begin(newer);
    await store.land(run, [writePart(store, { fileId, entry: newer, range: { offset: 0, length: MiB } })]);
    await serve();
    for (const one of [object, newer]) {
      const answer = await ask(target('dir/a'), { 'if-match': `"${one.etag}"`, range: 'bytes=0-4999' });
      expect(answer.body.equals(contentOf(one).subarray(0, 5000)), one.etag).toBe(true);
    }
    expect((await ask(target('dir/a'), { 'if-match': '"v2"', range: `bytes=0-${MiB}` })).status).toBe(404);
  });

  it('is given of segments that are visible', async () => {
    const range = { offset: 0, length: 2 * MiB };
    const begun = store.beginFile({ run, load, entry: object, reuse: 'load', partBytes: 8 * MiB, range });
    await store.land(run, [writePart(store, { fileId: begun.fileId, entry: object, range })]);
    await store.show(object);
    expect(store.stat(object.path)?.state).toBe('partial');
    await serve();
    const answer = await ask(target('dir/a'), { ...version, range: `bytes=0-${2 * MiB - 1}` });
    expect(answer.body.equals(contentOf(object).subarray(0, 2 * MiB))).toBe(true);
    expect((await ask(target('dir/a'), { ...version, range: `bytes=0-${2 * MiB}` })).status).toBe(404);
  });

  it('is 416 behind the end, and 400 when it is nothing that a lane asks for', async () => {
    await loadObject(store, object);
    await serve();
    expect((await ask(target('dir/a'), { ...version, range: `bytes=0-${object.sizeBytes}` })).status).toBe(416);
    for (const range of ['bytes=5-4', 'bytes=-5', 'bytes=5-', 'bytes=0-1,3-4', 'pages=0-1']) {
      expect((await ask(target('dir/a'), { ...version, range })).status, range).toBe(400);
    }
    expect((await ask(target('dir/a'), { 'if-match': 'W/v1' })).status).toBe(400);
    expect(served).toEqual([]);
  });
});

describe('a path', () => {
  it('is decoded once and is what it says, or is 404', async () => {
    const names = ['../up', 'a/../b', './c', 'd//e', 'f%2Fg', 'größe 数据', 'plus+and space', 'question?x=1#y;z'];
    for (const name of names) await loadObject(store, entry(name, 100));
    await loadObject(store, entry('b', 100));
    await serve();
    for (const name of names) {
      const { status, body } = await ask(target(name), version);
      expect([name, status, body.equals(contentOf(entry(name, 100)))]).toEqual([name, 200, true]);
    }
    const data = '/internal/v1/data';
    const encoded = await ask(`${data}/s3%3A%2F%2Fbucket%2Fb`, version);
    expect(encoded.body.equals(contentOf(entry('b', 100)))).toBe(true);
    for (const trick of [
      `${data}/s3%3A//bucket/x/../b`,
      `${data}/x/../s3%3A//bucket/b`,
      `${data}/../data/s3%3A//bucket/b`,
      `${data}//s3%3A//bucket/b`,
      `${data}/s3%3A//bucket/b%00`,
      `${data}/s3%3A//bucket/%2562`,
      `${data}/s3%3A//bucket/b/`,
      `${data}/s3%3A/bucket/b`,
      `${data}/s3%3A//bucket/${'b'.repeat(3000)}`,
      `${data}/`,
      `${data}`,
    ]) {
      expect([trick, (await ask(trick, version)).status]).toEqual([
        trick,
        expect.toSatisfy((s) => s === 404 || s === 401),
      ]);
    }
    const below = `${data}/s3%3A//bucket`;
    for (const malformed of [`${below}/%c3%28`, `${below}/%zz`, `${below}/gr\xf6\xdfe`]) {
      expect([malformed, (await ask(malformed, version)).status]).toEqual([
        malformed,
        expect.toSatisfy((s) => s >= 400 && s < 500),
      ]);
    }
    expect(served).toEqual([...names.map(() => 100), 100]);
  });
});

describe('the token of the cluster', () => {
  it('is asked for, and that of the API is another', async () => {
    await loadObject(store, entry('a', 100));
    await serve();
    for (const authorization of [
      '',
      'Bearer token-of-the-api',
      'Basic token-of-the-cluster',
      'Bearer token-of-the-cluster2',
    ]) {
      const answer = await ask(target('a'), { ...version, authorization });
      expect([authorization, answer.status]).toEqual([authorization, 401]);
      expect(answer.body.toString()).toContain('cluster.token');
    }
    expect(served).toEqual([]);
  });

  it('is not asked for where there is none', async () => {
    await loadObject(store, entry('a', 100));
    app = Fastify({ forceCloseConnections: true });
    app.register(peerData, { store, log: memoryLog() });
    await app.listen({ host: '127.0.0.1', port: 0 });
    port = (app.server.address() as AddressInfo).port;
    expect((await rawRequest(port, target('a'), { headers: version })).status).toBe(200);
  });
});

describe('a worker that gives to many', () => {
  it('answers 503 to those whose turn does not come, and does not look at their file', async () => {
    const object = entry('a', 100);
    await loadObject(store, object);
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    let opened = 0;
    const openVersion: Store['openVersion'] = (wanted, range) => {
      opened += 1;
      const file = store.openVersion(wanted, range)!;
      const read = async function* (): AsyncIterable<Uint8Array> {
        await held;
        yield* file.read({ offset: 0, length: 100 });
      };
      return { record: file.record, read, pages: (ranges) => file.pages(ranges), close: () => file.close() };
    };
    const rest = { stat: (at: never) => store.stat(at), statLoading: (at: never) => store.statLoading(at) };
    await serve({ store: { openVersion, ...rest }, maxBodies: 2, turnWaitMs: 50 });
    const first = [ask(target('a'), version), ask(target('a'), version)];
    await expect.poll(() => opened).toBe(2);
    const third = await ask(target('a'), version);
    expect([third.status, third.body.toString()]).toEqual([503, expect.stringContaining('<Code>TOO_BUSY')]);
    expect(opened).toBe(2);
    release();
    expect((await Promise.all(first)).map(({ status }) => status)).toEqual([200, 200]);
    expect((await ask(target('a'), version)).status).toBe(200);
  });
});
