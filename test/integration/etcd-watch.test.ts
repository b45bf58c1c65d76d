/** Watches of a real etcd, through everything that can end one. Each test ends with what etcd has and what was heard being the same. */
import { expect, onTestFinished, test } from 'vitest';
import type { Etcd, WatchEvent } from '../../src/cluster/etcd/index.ts';
import { clientOf, serverFor } from '../support/etcd.ts';
import { startQuietProxy } from '../support/quiet-proxy.ts';

const eventually = { timeout: 30_000, interval: 10 };

interface Heard {
  readonly state: Map<string, string>;
  resets: number;
  events: number;
  problems: (string | undefined)[];
}

/** Keeps what a watch says, and that it says it in order. */
function listen(etcd: Etcd, prefix: string, fromRevision?: number): Heard {
  const heard: Heard = { state: new Map(), resets: 0, events: 0, problems: [] };
  let last = 0;
  const revisionOf = (event: WatchEvent) => (event.type === 'put' ? event.entry.modRevision : event.modRevision);
  const watch = etcd.watchPrefix({
    prefix,
    ...(fromRevision === undefined ? {} : { fromRevision }),
    onReset(entries, revision) {
      heard.resets += 1;
      heard.state.clear();
      last = revision;
      for (const { key, value } of entries) heard.state.set(key, value.toString());
    },
    onEvents(events) {
      for (const event of events) {
        expect(revisionOf(event)).toBeGreaterThanOrEqual(last);
        last = revisionOf(event);
        heard.events += 1;
        if (event.type === 'put') heard.state.set(event.entry.key, event.entry.value.toString());
        else heard.state.delete(event.key);
      }
    },
    onHealth: (problem) => heard.problems.push((problem as { code?: string } | undefined)?.code),
  });
  onTestFinished(() => watch.close());
  return heard;
}

async function same(etcd: Etcd, prefix: string, { state }: Heard): Promise<void> {
  const { entries } = await etcd.range(prefix);
  const wanted = Object.fromEntries(entries.map(({ key, value }) => [key, value.toString()]));
  await expect.poll(() => Object.fromEntries(state), eventually).toEqual(wanted);
}

test('a watch begins with all there is, and hears what changes below its prefix', async () => {
  const { endpoints } = await serverFor();
  const etcd = clientOf(endpoints);
  await etcd.put('/w/a', '1');
  const heard = listen(etcd, '/w/');
  await expect.poll(() => heard.state.get('/w/a'), eventually).toBe('1');
  await etcd.put('/w/b', '1');
  await etcd.put('/wx', 'not');
  await etcd.txn({ compare: [], success: [{ put: '/w/a', value: '2' }, { delete: '/w/b' }] });
  await expect.poll(() => heard.events, eventually).toBe(3);
  await same(etcd, '/w/', heard);
  expect(heard).toMatchObject({ resets: 1, problems: [] });
});

test('a watch from a revision hears everything since, and a quiet one stays the same over many connections', async () => {
  const { endpoints } = await serverFor();
  const proxy = await startQuietProxy(endpoints[0]!);
  onTestFinished(() => proxy.close());
  const etcd = clientOf([proxy.url], { watchSilenceMs: 50 });
  const revision = await etcd.put('/w/a', '1');
  await etcd.put('/w/b', '2');
  const heard = listen(etcd, '/w/', revision);
  await expect.poll(() => heard.events, eventually).toBe(2);
  for (let turn = 0; turn < 20; turn++) {
    await etcd.put('/w/c', String(turn));
    await expect.poll(() => heard.state.get('/w/c'), eventually).toBe(String(turn));
    // Longer than the silence after which a watch is begun anew.
    await new Promise((resolve) => setTimeout(resolve, 60));
  }
  expect(heard).toMatchObject({ events: 22, resets: 0, problems: [] });
});

test('a connection that falls silent without a word is noticed', async () => {
  const { endpoints } = await serverFor();
  const proxy = await startQuietProxy(endpoints[0]!);
  onTestFinished(() => proxy.close());
  const direct = clientOf(endpoints);
  const heard = listen(clientOf([proxy.url]), '/w/');
  await expect.poll(() => heard.resets, eventually).toBe(1);
  await direct.put('/w/a', '1');
  // By the watch, not by what was read before it: so it is its connection that falls silent.
  await expect.poll(() => heard.events, eventually).toBe(1);
  expect(proxy.silence()).toBeGreaterThan(0);
  await direct.put('/w/a', '2');
  await expect.poll(() => heard.state.get('/w/a'), eventually).toBe('2');
  expect(heard.resets).toBe(1);
});

test('etcd stops and comes back: nothing is missed or heard twice', async () => {
  const { endpoints, members } = await serverFor();
  const etcd = clientOf(endpoints);
  const heard = listen(etcd, '/w/');
  await expect.poll(() => heard.resets, eventually).toBe(1);
  await etcd.put('/w/a', '1');
  await expect.poll(() => heard.events, eventually).toBe(1);
  await members[0]!.stop();
  await expect.poll(() => heard.problems, eventually).toEqual(['ETCD_UNAVAILABLE']);
  await members[0]!.start();
  await etcd.put('/w/a', '2');
  await expect.poll(() => heard.problems, eventually).toEqual(['ETCD_UNAVAILABLE', undefined]);
  await same(etcd, '/w/', heard);
  expect(heard).toMatchObject({ resets: 1, events: 2 });
});

test('a member that is frozen, and then one that is killed, are left for others', async () => {
  const { endpoints, members } = await serverFor({ members: 3 });
  const watched = clientOf(endpoints);
  const writer = clientOf(endpoints.slice(2));
  const heard = listen(watched, '/w/');
  await expect.poll(() => heard.resets, eventually).toBe(1);
  await writer.put('/w/a', '1');
  await expect.poll(() => heard.events, eventually).toBe(1);
  members[0]!.freeze();
  await expect.poll(() => writer.put('/w/a', '2').catch(String), eventually).toBeTypeOf('number');
  await expect.poll(() => heard.state.get('/w/a'), eventually).toBe('2');
  members[0]!.thaw();
  await members[1]!.kill();
  await expect.poll(() => writer.put('/w/a', '3').catch(String), eventually).toBeTypeOf('number');
  await same(writer, '/w/', heard);
  expect(heard.resets).toBe(1);
});

test('a member that has lost the others does not keep its watches in the dark', async () => {
  const { endpoints, members } = await serverFor({ members: 3 });
  const heard = listen(clientOf(endpoints.slice(0, 1), { watchSilenceMs: 60_000 }), '/w/');
  await expect.poll(() => heard.resets, eventually).toBe(1);
  await clientOf(endpoints).put('/w/a', '1');
  await expect.poll(() => heard.events, eventually).toBe(1);
  await members[1]!.kill();
  await members[2]!.kill();
  await expect.poll(() => heard.problems, eventually).toEqual(['ETCD_UNAVAILABLE']);
  await members[1]!.start();
  await expect.poll(() => heard.problems, eventually).toEqual(['ETCD_UNAVAILABLE', undefined]);
});

test('what etcd has forgotten is read anew, as a whole', async () => {
  const { endpoints, members, ctl } = await serverFor();
  const proxy = await startQuietProxy(endpoints[0]!);
  onTestFinished(() => proxy.close());
  const direct = clientOf(endpoints);
  const heard = listen(clientOf([proxy.url]), '/w/');
  await expect.poll(() => heard.resets, eventually).toBe(1);
  await direct.put('/w/a', '1');
  await direct.put('/w/b', '1');
  await expect.poll(() => heard.events, eventually).toBe(2);
  proxy.silence();
  await direct.delete('/w/a');
  const now = await direct.put('/w/c', '1');
  ctl('compact', String(now));
  await expect.poll(() => heard.resets, eventually).toBe(2);
  await same(direct, '/w/', heard);
  expect(members).toHaveLength(1);
});

test('an etcd that was set up anew is read anew, though its revisions begin again', async () => {
  const { endpoints, members } = await serverFor();
  const etcd = clientOf(endpoints);
  const heard = listen(etcd, '/w/');
  for (let turn = 0; turn < 10; turn++) await etcd.put('/w/a', String(turn));
  await expect.poll(() => heard.state.get('/w/a'), eventually).toBe('9');
  await members[0]!.stop();
  members[0]!.wipe();
  await members[0]!.start();
  await etcd.put('/w/b', 'new');
  await expect.poll(() => heard.resets, eventually).toBe(2);
  await same(etcd, '/w/', heard);
});

test('changes of one revision come together, also when they are too many for one message', async () => {
  const { endpoints } = await serverFor();
  const etcd = clientOf(endpoints);
  // Each is nearly all that a transaction may be, and both together are more than a message of a watch.
  const success = Array.from({ length: 100 }, (_, index) => ({ put: `/w/${index}`, value: Buffer.alloc(14_000) }));
  await etcd.txn({ compare: [], success });
  await etcd.txn({ compare: [], success });
  const sizes: number[] = [];
  const watch = etcd.watchPrefix({
    prefix: '/w/',
    fromRevision: 1,
    onReset: () => {},
    onEvents: (events) => sizes.push(events.length),
  });
  onTestFinished(() => watch.close());
  await expect.poll(() => sizes.reduce((sum, size) => sum + size, 0), eventually).toBe(200);
  expect(sizes.every((size) => size % 100 === 0)).toBe(true);
});

test('a listener that fails has all read to it again', async () => {
  const { endpoints } = await serverFor();
  const etcd = clientOf(endpoints);
  const told: string[] = [];
  const problems: unknown[] = [];
  let fails = true;
  const watch = etcd.watchPrefix({
    prefix: '/w/',
    onReset: (entries) => told.push(`all: ${entries.map(({ value }) => value.toString())}`),
    onEvents: () => {
      told.push('event');
      if (fails) throw new Error('a defect');
    },
    onHealth: (problem) => problems.push(problem),
  });
  onTestFinished(() => watch.close());
  await expect.poll(() => told, eventually).toEqual(['all: ']);
  await etcd.put('/w/a', '1');
  await expect.poll(() => told, eventually).toEqual(['all: ', 'event', 'all: 1']);
  expect(problems[0]).toMatchObject({ code: 'INTERNAL', message: expect.stringMatching(/\/w\/ .*: a defect/) });
  fails = false;
  await etcd.put('/w/a', '2');
  await expect.poll(() => told, eventually).toEqual(['all: ', 'event', 'all: 1', 'event']);
  await expect.poll(() => watch.problem(), eventually).toBeUndefined();
});
