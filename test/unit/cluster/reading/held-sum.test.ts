/** What a coordinator sums up over workers: one answer of each, the same as page by page, whatever lies where and wherever an answer is cut. */
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { fsCluster } from '../../../../src/cluster/reading/fs-cluster.ts';
import { HeldReader, heldBelow } from '../../../../src/cluster/reading/held-stream.ts';
import { PeerClient } from '../../../../src/cluster/reading/peer-client.ts';
import { PrimedError } from '../../../../src/core/errors.ts';
import { seededRandom } from '../../../../src/core/random.ts';
import { KiB, MiB } from '../../../../src/core/units.ts';
import { entry, load } from '../../../support/store-fixture.ts';
import { openReading, type ReadingStage, token } from './stage.ts';

const ids = ['a', 'b', 'c'];
const folder = 's3://bucket/';
let stage: ReadingStage;
let client: PeerClient;
beforeEach(async () => {
  stage = await openReading(...ids);
  client = new PeerClient({ token });
});
afterEach(async () => {
  await client.close();
  await stage.close();
});

function cluster(held: Pick<PeerClient, 'held'>['held']) {
  const peers = [...stage.workers.values()].map(({ peer }) => peer);
  return fsCluster({
    files: stage.outside(),
    client: { check: client.check.bind(client), held },
    live: () => peers,
    gone: () => [],
  });
}

const streamed = () => cluster((peer, prefix) => client.held(peer, prefix));
const paged = () => cluster(async () => undefined);

/** Files on some workers or on all, whole or in part, shown or not, in other versions on others, and some of which nothing is there but the name. */
async function fill(seed: number): Promise<void> {
  const random = seededRandom(seed);
  const some = (): string[] => ids.filter(() => random() < 0.5);
  for (let file = 0; file < 40; file += 1) {
    const name = `${file % 3 === 0 ? 'deep/er/' : ''}${'é'.repeat(file % 4)}file-${file}`;
    const large = random() < 0.15;
    const made = entry(name, large ? 3 * MiB : random() < 0.1 ? 0 : Math.ceil(random() * 64 * KiB));
    if (random() < 0.1) {
      for (const id of some()) await stage.worker(id).store.putMetadata(load, [made]);
      continue;
    }
    const holders = some();
    await stage.put(made, () => (large ? some() : holders), { show: some().filter((id) => holders.includes(id)) });
    if (random() < 0.2) {
      const other = { ...made, etag: `${made.etag}-other`, lastModifiedMs: made.lastModifiedMs + 1000 };
      const [id = 'a'] = some();
      await stage.put(other, () => [id], { show: random() < 0.5 ? [id] : [] });
    }
  }
}

it.each([1, 2])('is what pages say, of whatever lies where (%i)', async (seed) => {
  await fill(seed);
  const pages = await paged().stat(folder);
  expect(pages).toMatchObject({ files: expect.any(Number) });
  expect(await streamed().stat(folder)).toEqual(pages);
  expect(await streamed().stat(`${folder}deep/`)).toEqual(await paged().stat(`${folder}deep/`));
});

it('takes one request of each worker, of however many files', async () => {
  const files = Array.from({ length: 5000 }, (_, n) => entry(`many/${String(n).padStart(6, '0')}`, 0));
  for (const { store } of stage.workers.values()) await store.putMetadata(load, files);
  await stage.worker('b').store.putMetadata(load, [entry('many/more', 0)]);
  const asked = () => [...stage.workers.values()].map((worker) => worker.asked.length);
  stage.forgetAsked();
  expect(await streamed().stat(`${folder}many/`)).toMatchObject({ files: 5001 });
  expect(asked()).toEqual([1, 1, 1]);
  stage.forgetAsked();
  await paged().stat(`${folder}many/`);
  expect(Math.min(...asked())).toBeGreaterThanOrEqual(5);
});

it('names a worker that breaks off or makes no sense, counts what it said before, and the others whole', async () => {
  const files = Array.from({ length: 3000 }, (_, n) => entry(`many/${String(n).padStart(6, '0')}`, 0));
  for (const { store } of stage.workers.values()) await store.putMetadata(load, files);
  for (const [spoil, reason] of [
    [(_: Buffer): Buffer | undefined => undefined, /breaks? off/],
    [(bytes: Buffer): Buffer | undefined => Buffer.alloc(bytes.length, 0xee), /makes no sense|breaks? off/],
  ] as const) {
    const broken = cluster(async (peer, prefix) => {
      const chunks = await client.held(peer, prefix);
      if (peer.id !== 'b') return chunks;
      return (async function* () {
        let at = 0;
        for await (const bytes of chunks!) {
          at += bytes.length;
          const said = at > 80_000 ? spoil(bytes) : bytes;
          if (said === undefined) return;
          yield said;
        }
      })();
    });
    const stat = (await broken.stat(`${folder}many/`)) as {
      files: number;
      workers: { id: string; files: number }[];
      unanswered: unknown;
    };
    expect(stat).toMatchObject({ files: 3000, unanswered: [{ id: 'b', reason: expect.stringMatching(reason) }] });
    const [a, b, c] = ids.map((id) => stat.workers.find((worker) => worker.id === id)?.files ?? 0);
    expect([a, c]).toEqual([3000, 3000]);
    expect(b).toBeLessThan(3000);
  }
  const refused = cluster(async (peer, prefix) => {
    if (peer.id === 'c') throw new PrimedError('TOO_BUSY', 'no turn');
    return client.held(peer, prefix);
  });
  expect(await refused.stat(`${folder}many/`)).toMatchObject({
    files: 3000,
    unanswered: [{ id: 'c', reason: 'no turn' }],
  });
});

it('goes by pages where one worker knows no such answer', async () => {
  await fill(5);
  const old = cluster(async (peer, prefix) => (peer.id === 'b' ? undefined : client.held(peer, prefix)));
  expect(await old.stat(folder)).toEqual(await paged().stat(folder));
  const { peer } = stage.worker('a');
  expect(await client.held({ ...peer, url: `${peer.url}/elsewhere` }, folder)).toBeUndefined();
});

it('is read the same wherever the answer is cut', async () => {
  await fill(6);
  const { store } = stage.worker('a');
  const bytes = Buffer.concat(await collected(heldBelow(store, folder)));
  const rowsOf = async (chunks: AsyncIterable<Uint8Array>): Promise<unknown[]> => {
    const reader = new HeldReader(chunks);
    const rows: unknown[] = [];
    for (let next = reader.next(); next !== false; next = reader.next())
      if (next === undefined) await reader.fill();
      else rows.push([reader.path, reader.sizeBytes, reader.versions]);
    return rows;
  };
  const whole = await rowsOf(chunksOf(bytes, []));
  expect(whole.map((row) => (row as unknown[])[0])).toEqual([
    ...new Set(Array.from(store.list({ prefix: folder, includeLoading: true }), ({ path }) => path)),
  ]);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 1, max: bytes.length - 1 }), { maxLength: 30 }), async (cuts) => {
      expect(await rowsOf(chunksOf(bytes, cuts))).toEqual(whole);
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 0, max: bytes.length - 1 }), async (end) => {
      await expect(rowsOf(chunksOf(bytes.subarray(0, end), []))).rejects.toThrow(/break off/);
    }),
  );
});

async function* chunksOf(bytes: Buffer, cuts: readonly number[]): AsyncGenerator<Buffer> {
  const sorted = [0, ...cuts.toSorted((a, b) => a - b), bytes.length];
  for (let at = 1; at < sorted.length; at += 1) yield Buffer.from(bytes.subarray(sorted[at - 1], sorted[at]));
}

async function collected(chunks: AsyncIterable<Buffer>): Promise<Buffer[]> {
  const all: Buffer[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return all;
}
