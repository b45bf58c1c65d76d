/** Reading through others, over real stores and sockets: who is asked, which version is given, and what silence means. */
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ClusterFiles } from '../../../../src/cluster/reading/files.ts';
import { KnownPeers } from '../../../../src/cluster/reading/known-peers.ts';
import { OriginReads } from '../../../../src/cluster/reading/origin/reads.ts';
import { PeerClient } from '../../../../src/cluster/reading/peer-client.ts';
import { PrimedError } from '../../../../src/core/errors.ts';
import { ReadPolicies } from '../../../../src/core/read-policy.ts';
import type { ByteRange, LoadId, ManifestEntry, WorkerId } from '../../../../src/core/types.ts';
import { KiB, MiB } from '../../../../src/core/units.ts';
import { contentOf, entry, loadObject } from '../../../support/store-fixture.ts';
import { openReading, type ReadingStage, readFrom, segmentBytes, token } from './stage.ts';

let stage: ReadingStage;
beforeEach(async () => {
  stage = await openReading('a', 'b', 'c');
});
afterEach(() => stage.close());

/** Megabytes that differ would be shown byte by byte. */
const printOf = (bytes: Buffer | undefined) =>
  bytes && `${bytes.length} ${createHash('md5').update(bytes).digest('hex')}`;
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'none',
    (error: unknown) => (error instanceof PrimedError ? error.code : String(error)),
  );
/** Segments where the ring has them, on so many workers. */
const byRing = (file: ManifestEntry, replicas: number) => (segment: { index: number }) =>
  stage.owners(file.path, segment.index).slice(0, replicas);
const order = (more = {}) => ({ root: 's3://bucket/', prefix: '', delimiter: '', after: '', maxKeys: 1000, ...more });
const asked = (kind: string) =>
  [...stage.workers.values()].map(
    (one) => one.asked.filter((target) => target.startsWith(`/internal/v1/${kind}`)).length,
  );

describe('a file', () => {
  it('that is cut is read through every worker, whole and in ranges', async () => {
    const file = entry('cut', 9 * MiB + 77);
    await stage.put(file, byRing(file, 1));
    const bytes = contentOf(file);
    for (const { files } of stage.workers.values()) {
      expect(printOf(await readFrom(files, file.path))).toBe(printOf(bytes));
      const range = { offset: segmentBytes - 3, length: segmentBytes + 10 };
      expect(printOf(await readFrom(files, file.path, range))).toBe(
        printOf(bytes.subarray(range.offset, range.offset + range.length)),
      );
      expect((await (await files.find(file.path))!.settled()).state).toBe('complete');
    }
    expect(printOf(await readFrom(stage.outside(), file.path))).toBe(printOf(bytes));
  });

  it('that is whole here is read without asking anybody', async () => {
    const file = entry('here', 3 * MiB);
    await loadObject(stage.worker('a').store, file);
    expect(printOf(await readFrom(stage.worker('a').files, file.path))).toBe(printOf(contentOf(file)));
    expect([...asked('stat'), ...asked('data')]).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it('where the ring has it costs one question and one request; elsewhere everybody is asked', async () => {
    const file = entry('small', 16 * KiB);
    const [owner, other] = stage.owners(file.path, 0) as [string, string];
    await loadObject(stage.worker(owner).store, file);
    expect(printOf(await readFrom(stage.outside(), file.path))).toBe(printOf(contentOf(file)));
    expect(asked('stat').reduce((sum, count) => sum + count)).toBe(1);
    expect(asked('data').reduce((sum, count) => sum + count)).toBe(1);
    await stage.worker(owner).store.remove(file.path);
    await loadObject(stage.worker(other).store, file);
    stage.forgetAsked();
    expect(printOf(await readFrom(stage.outside(), file.path))).toBe(printOf(contentOf(file)));
    expect(asked('stat')).toEqual([1, 1, 1]);
  });

  it('of which nobody has all says what is missing, and gives what is there', async () => {
    const file = entry('torn', 6 * MiB);
    await stage.put(file, ({ index }) => (index === 1 ? [] : ['a']));
    for (const id of ['a', 'b']) {
      const { files } = stage.worker(id);
      await expect(readFrom(files, file.path)).rejects.toThrow(
        /4194304 of 6291456 bytes.*bytes 2097152 to 4194303 are on no/,
      );
      expect(printOf(await readFrom(files, file.path, { offset: 0, length: 100 }))).toBe(
        printOf(contentOf(file).subarray(0, 100)),
      );
      expect((await (await files.find(file.path))!.settled()).state).toBe('partial');
    }
  });

  it('that is unknown is unknown, and one whose load goes on is loading', async () => {
    const file = entry('soon', 4 * MiB);
    await stage.put(file, ({ index }) => (index === 0 ? ['b'] : []), { show: [] });
    const { files } = stage.worker('a');
    expect(await files.find(entry('none', 1).path)).toBeUndefined();
    expect((await files.find(file.path))!.file).toMatchObject({ state: 'loading', cachedBytes: segmentBytes });
  });

  it('is known by its metadata, and read where somebody has the bytes all the same', async () => {
    const file = entry('meta', MiB);
    await stage.worker('a').store.putMetadata('l' as LoadId, [file]);
    expect((await stage.worker('a').files.find(file.path))!.file.state).toBe('metadata');
    expect(await codeOf(readFrom(stage.worker('a').files, file.path))).toBe('FILE_NOT_CACHED');
    await loadObject(stage.worker('b').store, file);
    expect(printOf(await readFrom(stage.worker('a').files, file.path))).toBe(printOf(contentOf(file)));
  });
});

describe('of two versions', () => {
  const old = entry('doc', 5 * MiB, 'v1');
  const fresh = { ...entry('doc', 6 * MiB + 9, 'v2'), lastModifiedMs: old.lastModifiedMs + 1000 };

  it('the old one is given until the new one is shown, and then the new one, also where that is still hidden', async () => {
    await stage.put(old, byRing(old, 1));
    await stage.put(fresh, byRing(fresh, 1), { show: [] });
    const outside = stage.outside();
    expect(printOf(await readFrom(outside, old.path))).toBe(printOf(contentOf(old)));
    // Where it is shown the old one goes; the others have the rest of the new one, hidden.
    const [first] = stage.owners(fresh.path, 0) as [string];
    await stage.worker(first).store.show(fresh);
    for (const { files } of stage.workers.values())
      expect(printOf(await readFrom(files, old.path))).toBe(printOf(contentOf(fresh)));
    expect(printOf(await readFrom(outside, old.path))).toBe(printOf(contentOf(fresh)));
    const { files } = await outside.list(order());
    expect(files.map(({ record }) => [record.etag, record.sizeBytes])).toEqual([['v2', fresh.sizeBytes]]);
  });

  it('an answer that has begun stays with its own', async () => {
    await stage.put(old, ({ index }) => (index === 0 ? ['a'] : ['b']));
    const found = await stage.worker('c').files.find(old.path);
    const opened = found!.open();
    const whole = { offset: 0, length: old.sizeBytes };
    expect(await opened.prepare(whole)).toBe(true);
    await stage.put(fresh, () => ['b']);
    await expect(
      (async () => {
        for await (const _ of opened.read(whole));
      })(),
    ).rejects.toThrow();
    // One that has not begun looks again.
    expect(printOf(await readFrom(stage.worker('c').files, old.path))).toBe(printOf(contentOf(fresh)));
  });
});

describe('a list', () => {
  it('has each file once, in pages, and leaves out what nobody has whole', async () => {
    const cut = entry('dir/cut', 5 * MiB);
    await stage.put(cut, byRing(cut, 2));
    const torn = entry('dir/torn', 4 * MiB);
    await stage.put(torn, ({ index }) => (index === 0 ? ['a'] : []));
    for (const [name, ids] of [
      ['x', 'abc'],
      ['y', 'b'],
      ['dir/z', 'ca'],
    ] as const)
      for (const id of ids) await loadObject(stage.worker(id).store, entry(name, 1000));
    await stage.worker('c').store.putMetadata('l' as LoadId, [entry('meta', 7)]);
    const names = ['dir/cut', 'dir/z', 'meta', 'x', 'y'];
    for (const files of [stage.worker('b').files, stage.outside()]) {
      const page = await files.list(order());
      expect(page.files.map(({ key }) => key)).toEqual(names);
      expect(page.files[0]!.record).toMatchObject({ sizeBytes: cut.sizeBytes, state: 'complete' });
      const seen: string[] = [];
      for (let after: string | undefined = ''; after !== undefined; ) {
        const part: Awaited<ReturnType<typeof files.list>> = await files.list(order({ after, maxKeys: 2 }));
        seen.push(...part.files.map(({ key }) => key));
        after = part.next;
      }
      expect(seen).toEqual(names);
      const level = await files.list(order({ delimiter: '/' }));
      expect([level.commonPrefixes, level.files.map(({ key }) => key)]).toEqual([['dir/'], ['meta', 'x', 'y']]);
      expect([await files.knows('s3://bucket/'), await files.knows('s3://other/')]).toEqual([true, false]);
    }
  });
});

describe('a worker that has heard of nobody', () => {
  it('gives what it has whole, and denies nothing', async () => {
    const { store, log } = stage.worker('a');
    const client = new PeerClient();
    const files = new ClusterFiles({ store, peers: new KnownPeers('a' as WorkerId), client, log });
    const file = entry('mine', 1000);
    await loadObject(store, file);
    expect(printOf(await readFrom(files, file.path))).toBe(printOf(contentOf(file)));
    expect(await codeOf(readFrom(files, entry('other', 1).path))).toBe('PEER_FAILED');
    expect(await codeOf(files.list(order()))).toBe('PEER_FAILED');
    expect(await files.knows('s3://bucket/')).toBe(true);
    expect(await codeOf(files.knows('s3://other/'))).toBe('PEER_FAILED');
    await client.close();
  });

  /** Worker a as it has just started, with an origin that has the file; what is fetched there is written down. */
  const justStarted = (file: ManifestEntry, limitMs: number) => {
    const { store, log } = stage.worker('a');
    const fetched: string[] = [];
    const peers = new KnownPeers('a' as WorkerId, () => true, limitMs);
    const client = new PeerClient({ token });
    const head = async () => {
      fetched.push('head');
      return { ...file, checksums: {} };
    };
    const read = async function* (_: ManifestEntry, { offset, length }: ByteRange) {
      fetched.push(`${offset}+${length}`);
      yield contentOf(file).subarray(offset, offset + length);
    };
    const none = (): never => {
      throw new Error('not asked for here');
    };
    const origin = new OriginReads({
      policies: new ReadPolicies({ base: { readThrough: 'always', maxAgeMs: undefined }, origins: [], rules: [] }),
      origins: { head, resolve: none, readRange: none, level: none, part: none },
      limiter: { enter: none, leave: none, spend: none },
      ...{ fillings: { read }, peers, client, segmentBytes, serveStale: false, log, now: () => performance.now() },
      observe: { read() {}, asked() {}, stale() {}, notKept() {} },
    });
    const files = new ClusterFiles({ store, peers, client, log, origin });
    return { files, origin, peers, client, fetched };
  };
  const all = () => [...stage.workers.values()].map(({ peer }) => peer);

  it('waits to hear who they are before it reads from the origin: another may have it', async () => {
    const file = entry('elsewhere', 5 * MiB + 7);
    await stage.put(file, () => ['b']);
    const { files, origin, peers, client, fetched } = justStarted(file, 600_000);
    const reading = Promise.all([readFrom(files, file.path), readFrom(files, file.path)]);
    const part = origin.readHere(file, { offset: 0, length: 10 }).next();
    // Whoever does not wait has asked the origin by then.
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
    expect(fetched).toEqual([]);
    peers.set({ from: 'c', version: 1, peers: all() });
    for (const bytes of await reading) expect(printOf(bytes)).toBe(printOf(contentOf(file)));
    // A segment that belongs here is fetched for who asks for it, as far as it is asked for.
    expect((await part).value).toHaveLength(10);
    expect(fetched).toEqual(['0+10']);
    await client.close();
  });

  it('goes on alone when nobody says it, and then waits no more', async () => {
    const file = entry('alone', 3 * MiB);
    const { files, peers, client, fetched } = justStarted(file, 20);
    const first = peers.heard();
    expect(printOf(await readFrom(files, file.path))).toBe(printOf(contentOf(file)));
    expect(fetched[0]).toBe('head');
    expect(peers.heard()).toBe(first);
    await first;
    await client.close();
  });
});

describe('a worker that does not answer', () => {
  const gone = { id: 'gone' as WorkerId, url: 'http://127.0.0.1:9', takes: true };
  const withGone = () => stage.outside([...[...stage.workers.values()].map(({ peer }) => peer), gone]);

  it('may have what nobody else has: nothing is said to be missing', async () => {
    const file = entry('whole', 4 * MiB);
    await stage.put(file, ({ index }) => (index === 0 ? ['a', 'b'] : ['c', 'b']));
    const files = withGone();
    expect(printOf(await readFrom(files, file.path))).toBe(printOf(contentOf(file)));
    expect(await codeOf(readFrom(files, entry('unknown', 1).path))).toBe('PEER_FAILED');
    expect(await codeOf(files.list(order()))).toBe('PEER_FAILED');
    expect(await codeOf(Promise.resolve(files.knows('s3://other/')))).toBe('PEER_FAILED');
    expect(await files.knows('s3://bucket/')).toBe(true);
  });

  it('is left for another when it goes while it is read', async () => {
    const file = entry('both', 8 * MiB);
    await stage.put(file, () => ['a', 'b']);
    const files = stage.outside();
    const opened = (await files.find(file.path))!.open();
    await opened.prepare({ offset: 0, length: file.sizeBytes });
    const pieces: Buffer[] = [];
    for await (const bytes of opened.read({ offset: 0, length: file.sizeBytes })) {
      pieces.push(Buffer.from(bytes));
      const serving = stage.worker(asked('data')[0]! > 0 ? 'a' : 'b');
      if (pieces.length === 1) serving.app.server.closeAllConnections();
    }
    expect(printOf(Buffer.concat(pieces))).toBe(printOf(contentOf(file)));
    // The connection was cut with an answer on it: somebody was asked a second time.
    expect(asked('data').reduce((sum, count) => sum + count)).toBeGreaterThan(1);
  });

  it('without the token it answers nobody', async () => {
    const { peer } = stage.worker('a');
    for (const options of [{}, { token: 'wrong' }]) {
      const client = new PeerClient(options);
      await expect(client.stat(peer, entry('x', 1).path)).rejects.toThrow(/answered 401.*token/);
      await expect(client.list(peer, order())).rejects.toThrow(/answered 401/);
      await client.close();
    }
  });
});
