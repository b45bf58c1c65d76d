/** What consoles are told: once for all of them, only while somebody listens, and never more than a listener takes. */
import { constants, gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { type MadeCluster, madeJob, madeWorker, partsOf } from '../../../bench/support/made-cluster.ts';
import { mostOriginsTold, type OriginUse, originTroubles } from '../../../src/core/origin-use.ts';
import type { JobId } from '../../../src/core/types.ts';
import { ConsoleFeed, type FeedOptions } from '../../../src/server/console/feed.ts';
import { FeedMessage, gzipHead } from '../../../src/server/console/message.ts';
import { consoleSource } from '../../../src/server/console/source.ts';
import { freeSnapshot } from '../../support/snapshot.ts';

interface Heard {
  readonly messages: { whole: boolean; jobs?: { put: { id: string }[]; gone: string[] } }[];
  ended: boolean;
  takes: boolean;
  may: boolean;
}

function open(made: MadeCluster, more: Partial<FeedOptions> = {}) {
  let looks = 0;
  let nowMs = 0;
  const list = () => {
    looks += 1;
    return made.jobs;
  };
  const source = consoleSource({
    ...partsOf(made),
    jobs: { ...partsOf(made).jobs, list },
  });
  // The timer of the feed is left to itself: an hour is none.
  const feed = new ConsoleFeed({ source, intervalMs: 3_600_000, now: () => nowMs, ...more });
  const listen = () => {
    const heard: Heard = { messages: [], ended: false, takes: true, may: true };
    const handle = feed.join({
      write: ({ text }) => {
        if (text.startsWith('data: ')) heard.messages.push(JSON.parse(text.slice(6)));
        return heard.takes;
      },
      may: () => heard.may,
      end: () => (heard.ended = true),
    });
    return { heard, ...handle };
  };
  return { feed, listen, looks: () => looks, pass: (ms: number) => (nowMs += ms) };
}

const cluster = (jobs = 3): MadeCluster => ({
  jobs: Array.from({ length: jobs }, (_, n) => madeJob(n, 1, 0)),
  workers: [madeWorker(1)],
});

test('everything first, then what changed, in one look for all', () => {
  const made = cluster();
  const { feed, listen, looks } = open(made);
  const [one, two] = [listen(), listen()];
  expect(looks()).toBe(1);
  expect(one.heard.messages[0]).toMatchObject({ whole: true, head: { version: 'test', standalone: false } });
  expect(one.heard.messages[0]!.jobs!.put).toHaveLength(3);
  feed.tick();
  expect([looks(), one.heard.messages.length]).toEqual([2, 1]);
  made.jobs = [madeJob(1, 2, 0), madeJob(2, 1, 0), madeJob(9, 1, 0)];
  feed.tick();
  expect([looks(), two.heard.messages]).toEqual([3, one.heard.messages]);
  const { jobs, ...rest } = one.heard.messages[1]!;
  expect([jobs!.put.map(({ id }) => id).sort(), jobs!.gone]).toEqual([['job-1', 'job-9'], ['job-0']]);
  expect(rest).toEqual({ whole: false, atMs: 0 });
  one.leave();
  two.leave();
});

test('nobody looks while nobody listens', () => {
  const { feed, listen, looks } = open(cluster());
  const { leave } = listen();
  leave();
  expect([feed.listeners, looks()]).toEqual([0, 1]);
  const again = listen();
  expect([looks(), again.heard.messages[0]!.whole]).toEqual([2, true]);
  again.leave();
});

test('a listener whose socket is full is told nothing until it drains, then everything at once, and is dropped if it does not', () => {
  const made = cluster();
  const { feed, listen, pass } = open(made);
  const [slow, gone] = [listen(), listen()];
  const change = () => {
    made.jobs = made.jobs.map((job) => ({ ...job, loadedBytes: job.loadedBytes + 1 }));
    feed.tick();
  };
  slow.heard.takes = gone.heard.takes = false;
  change();
  change();
  change();
  expect(slow.heard.messages).toHaveLength(2);
  slow.heard.takes = true;
  slow.drained();
  pass(31_000);
  change();
  expect(slow.heard.messages.map(({ whole }) => whole)).toEqual([true, false, true]);
  expect([slow.heard.ended, gone.heard.ended, gone.heard.messages.length, feed.listeners]).toEqual([false, true, 2, 1]);
  slow.leave();
});

test('a listener whose token counts no more is dropped before it hears more', () => {
  const made = cluster();
  const { feed, listen } = open(made);
  const { heard } = listen();
  heard.may = false;
  made.jobs = [];
  feed.tick();
  expect([heard.ended, heard.messages.length, feed.listeners]).toEqual([true, 1, 0]);
});

test('so many may listen and no more, and nobody when it is closed', () => {
  const { feed, listen } = open(cluster(), { mostListeners: 2 });
  const [one] = [listen(), listen()];
  expect(() => listen()).toThrow(expect.objectContaining({ code: 'WATCHERS_LIMIT' }));
  one.leave();
  listen();
  feed.close();
  expect(feed.listeners).toBe(0);
  expect(() => listen()).toThrow(expect.objectContaining({ code: 'STOPPING' }));
});

test('of more jobs than are shown the ones that ended first are left out, and counted', () => {
  const made: MadeCluster = {
    jobs: Array.from({ length: 2100 }, (_, n) => ({
      ...madeJob(n, 1, 0),
      ...(n === 2099 ? {} : { state: 'SUCCEEDED' as const, endedAtMs: 5 }),
    })),
    workers: [],
  };
  const source = consoleSource(partsOf(made));
  const ids = [...source.rows().jobs.keys()];
  expect([ids.length, ids[0], ids.at(-1)]).toEqual([2000, 'job-2099', 'job-1998']);
  expect(source.head().jobs).toEqual({ SUCCEEDED: 2099, RUNNING: 1 });
});

test('a job that has ended and runs again is told anew, and a free says what was freed', () => {
  const made: MadeCluster = { jobs: [{ ...madeJob(1, 1, 0), state: 'STOPPED', endedAtMs: 7 }], workers: [] };
  const source = consoleSource(partsOf(made));
  const row = (id: string) => JSON.parse(source.rows().jobs.get(id)!);
  expect(row('job-1')).toMatchObject({ state: 'STOPPED', endedAtMs: 7 });
  made.jobs = [madeJob(1, 5, 0), freeSnapshot('s3://b/x/', { jobId: 'f' as JobId })];
  expect(row('job-1')).toMatchObject({ state: 'RUNNING', doneBytes: 500_000_000 });
  expect(row('f')).toMatchObject({ type: 'FREE', files: 4, doneFiles: 3 });
});

test('a row says what limits a job, and of a worker what it has said itself; of a lost one no rates', () => {
  const [job, worker] = [madeJob(1, 1, 0), madeWorker(1)];
  const limitedBy = (['disk', 'cpu', 'network', 'index'] as const).map((cause) => ({ cause, share: 0.25 }));
  const made: MadeCluster = { jobs: [{ ...job, limitedBy }], workers: [worker, { ...madeWorker(2), state: 'LOST' }] };
  const refusalOf = (id: string) => (id === worker.id ? new Error('another version') : undefined);
  const { jobs, workers } = consoleSource({ ...partsOf(made), refusalOf }).rows();
  expect(JSON.parse(jobs.get('job-1')!).limitedBy).toEqual(limitedBy.slice(0, 3));
  const said = { state: 'REFUSED', reason: 'another version', heldBytes: worker.use!.heldBytes };
  expect(JSON.parse(workers.get('w0001')!)).toMatchObject({ ...said, receivedBytesPerSecond: 50_000_000 });
  const lost = JSON.parse(workers.get('w0002')!);
  expect(lost).toMatchObject({ state: 'LOST', lastSeenMs: 0, pinnedBytes: expect.any(Number) });
  expect(lost).not.toHaveProperty('receivedBytesPerSecond');
});

test('of origins that a coordinator asks itself the busiest are told, no more than a worker tells', () => {
  const none = Object.fromEntries(originTroubles.map((one) => [one, 0])) as OriginUse['failuresPerMinute'];
  const uses = Array.from({ length: 40 }, (_, n) => ({
    ...{ origin: `s3://b${n}/`, requestsPerMinute: n, bytesPerSecond: 0, firstByteMs: 1, failuresPerMinute: none },
  }));
  const parts = partsOf({ jobs: [], workers: [] });
  const { origins = [] } = consoleSource({ ...parts, ownUses: () => uses }).head();
  expect([origins.length, origins[0]?.origin]).toEqual([mostOriginsTold, 's3://b39/']);
});

test('packed messages of any beginning are one gzip stream', () => {
  const texts = ['data: first\n\n', `data: ${'row'.repeat(5000)}\n\n`, ':\n\n', 'data: last\n\n'];
  const packed = texts.map((text) => new FeedMessage(text).packed);
  for (const from of [0, 1, 3]) {
    const stream = Buffer.concat([gzipHead, ...packed.slice(from)]);
    const plain = gunzipSync(stream, { finishFlush: constants.Z_SYNC_FLUSH }).toString();
    expect(plain).toBe(texts.slice(from).join(''));
  }
});
