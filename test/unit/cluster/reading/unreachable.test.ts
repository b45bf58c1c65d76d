/** Readers beside a worker that takes connections and says nothing, or that cannot be reached: who waits for it, and how often. */
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, it, onTestFinished } from 'vitest';
import { ClusterFiles } from '../../../../src/cluster/reading/files.ts';
import { KnownPeers } from '../../../../src/cluster/reading/known-peers.ts';
import { PeerClient, type PeerClientOptions } from '../../../../src/cluster/reading/peer-client.ts';
import type { Peer } from '../../../../src/core/peers.ts';
import type { ManifestEntry } from '../../../../src/core/types.ts';
import { KiB } from '../../../../src/core/units.ts';
import { contentOf, entry, memoryLog } from '../../../support/store-fixture.ts';
import { openReading, type ReadingStage, readFrom, segmentBytes, token } from './stage.ts';

let stage: ReadingStage;
beforeEach(async () => {
  stage = await openReading('a', 'b', 'c');
});
afterEach(() => stage.close());

/** Before the port of a worker: it takes connections, and says nothing on them, or ends them, or is not noticed. */
async function gateBefore({ id, url }: Peer) {
  const sockets = new Set<Socket>();
  const gate = { mode: 'breaks' as 'mute' | 'breaks' | 'open', connections: 0 };
  const server = createServer((socket) => {
    gate.connections += 1;
    const keep = (one: Socket): Socket => {
      sockets.add(one);
      return one.on('error', () => undefined).on('close', () => sockets.delete(one));
    };
    keep(socket);
    if (gate.mode === 'mute') return void socket.resume();
    if (gate.mode === 'breaks') return void socket.once('data', () => socket.destroy());
    const behind = keep(connect(Number(new URL(url).port), '127.0.0.1'));
    socket.pipe(behind).pipe(socket);
  });
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const peer: Peer = { id, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, takes: true };
  return Object.assign(gate, { peer });
}

/** A reader without files of its own, whose clock stands still until it is told otherwise. */
function reader(peers: readonly Peer[], options: PeerClientOptions = {}) {
  const known = new KnownPeers();
  known.set({ from: 'c', version: 1, peers });
  const log = memoryLog();
  const clock = { ms: 0 };
  let breaks = 0;
  const client = new PeerClient({
    ...{ token, log, headMs: 60_000, now: () => clock.ms, random: () => 0.5, onBroke: () => (breaks += 1) },
    ...options,
  });
  onTestFinished(() => client.close());
  const files = new ClusterFiles({ peers: known, client, log });
  return { files, client, clock, log, breaks: () => breaks };
}

const others = (id: string): string[] => ['a', 'b', 'c'].filter((one) => one !== id);
const linesOf = ({ lines }: ReturnType<typeof memoryLog>, text: string) =>
  lines.filter(({ message }) => message.includes(text));

/** Every byte comes back. */
async function isRead(files: ClusterFiles, file: ManifestEntry): Promise<void> {
  const bytes = await readFrom(files, file.path);
  expect(bytes?.equals(contentOf(file))).toBe(true);
}

/** Files that the ring gives to `a` first. */
async function ownedByA(count: number) {
  const files = [];
  for (let n = 0; files.length < count; n += 1) {
    const file = entry(`data/${n}`, 16 * KiB + n);
    if (stage.owners(file.path, 0)[0] === 'a') files.push(file);
  }
  return files;
}

it('a worker that does not answer is waited for once, not once a read, and the log says so once', async () => {
  const gate = await gateBefore(stage.worker('a').peer);
  const { files, client, log, breaks } = reader([gate.peer, stage.worker('b').peer, stage.worker('c').peer]);
  const wanted = await ownedByA(20);
  for (const [at, file] of wanted.entries()) await stage.put(file, () => ['a', others('a')[at % 2]!]);
  for (const file of wanted) await isRead(files, file);
  // What it was asked was whether it has the first of them.
  expect(gate.connections).toBe(1);
  expect([breaks(), client.avoids(gate.peer)]).toEqual([1, true]);
  expect(linesOf(log, 'a worker does not answer')).toHaveLength(1);
});

it('what only that worker has is asked of it all the same, and its answer ends the waiting', async () => {
  const gate = await gateBefore(stage.worker('a').peer);
  const { files, client, log } = reader([gate.peer, stage.worker('b').peer]);
  const file = entry('only-there', 16 * KiB);
  await stage.put(file, () => ['a']);
  await expect(readFrom(files, file.path)).rejects.toMatchObject({ code: 'PEER_FAILED' });
  expect(client.avoids(gate.peer)).toBe(true);
  const before = gate.connections;
  await expect(readFrom(files, file.path)).rejects.toMatchObject({ code: 'PEER_FAILED' });
  expect(gate.connections).toBeGreaterThan(before);
  gate.mode = 'open';
  // The clock stands still: nobody has probed it.
  await isRead(files, file);
  expect(client.avoids(gate.peer)).toBe(false);
  expect(linesOf(log, 'answers again')).toHaveLength(1);
});

/** In place of worker `a`. */
async function serverInPlaceOf({ id }: Peer, answer: RequestListener): Promise<Peer> {
  const server = createHttpServer(answer);
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  onTestFinished(() => server.closeAllConnections());
  return { id, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, takes: true };
}

it('a reader that leaves in the middle says nothing of the worker that it read from', async () => {
  const peer = await serverInPlaceOf(stage.worker('a').peer, (_request, response) => {
    response.writeHead(200, { 'content-length': 2 * KiB }).write(Buffer.alloc(KiB));
  });
  const { client, breaks } = reader([peer]);
  const file = entry('left', 2 * KiB);
  const pieces = (await client.through(peer, file, { offset: 0, length: 2 * KiB }))[Symbol.asyncIterator]();
  expect((await pieces.next()).value?.length).toBe(KiB);
  const next = pieces.next().catch((error: unknown) => error);
  await pieces.return?.();
  await next;
  expect([client.avoids(peer), breaks()]).toEqual([false, 0]);
});

it('nor does an origin that fails behind it, a write that it is slow to hear of, or what it refuses', async () => {
  const answers = { status: 206 };
  const peer = await serverInPlaceOf(stage.worker('a').peer, ({ url }, response) => {
    if (url!.includes('/written')) return void response.socket!.destroy();
    if (answers.status !== 206) return void response.writeHead(answers.status).end('no');
    response.writeHead(206, { 'content-length': 2 * KiB }).write(Buffer.alloc(KiB), () => response.destroy());
  });
  const { client, breaks } = reader([peer]);
  const file = entry('beyond', 2 * KiB);
  const range = { offset: 0, length: 2 * KiB };
  const read = async () => {
    for await (const piece of await client.through(peer, file, range)) expect(piece.length).toBe(KiB);
  };
  await expect(read()).rejects.toMatchObject({ code: 'PEER_FAILED', message: expect.stringContaining('broke off') });
  await expect(client.written(peer, [file.path])).rejects.toMatchObject({ code: 'PEER_FAILED' });
  for (const status of [412, 416]) {
    answers.status = status;
    await expect(client.read(peer, file, range)).rejects.toMatchObject({ code: 'PEER_FAILED' });
  }
  expect([client.avoids(peer), breaks()]).toEqual([false, 0]);
  answers.status = 503;
  await expect(client.read(peer, file, range)).rejects.toMatchObject({ code: 'PEER_FAILED' });
  expect([client.avoids(peer), breaks()]).toEqual([true, 1]);
});

it('when its time is over one probe asks it, for which nobody waits, and then it is read from again', async () => {
  const gate = await gateBefore(stage.worker('a').peer);
  const { files, client, clock } = reader([gate.peer, stage.worker('b').peer, stage.worker('c').peer]);
  const [file] = await ownedByA(1);
  await stage.put(file!, () => ['a', 'b']);
  await isRead(files, file!);
  expect(gate.connections).toBe(1);
  clock.ms = 3_000;
  for (let n = 0; n < 5; n += 1) await isRead(files, file!);
  await expect.poll(() => gate.connections).toBe(2);
  // It has said nothing: the next one is later.
  expect(client.avoids(gate.peer)).toBe(true);
  gate.mode = 'open';
  clock.ms = 30_000;
  await expect
    .poll(async () => {
      await isRead(files, file!);
      return client.avoids(gate.peer);
    })
    .toBe(false);
});

it('a request that waits for a connection is given up at once when it is not needed any more, and in time when it is', async () => {
  const gate = await gateBefore(stage.worker('a').peer);
  gate.mode = 'mute';
  const client = new PeerClient({ token, connections: 1, headMs: 60_000 });
  const brief = new PeerClient({ token, connections: 1, headMs: 100 });
  onTestFinished(async () => {
    await Promise.all([client.close(), brief.close()]);
  });
  const { path } = entry('x', 1);
  const first = client.stat(gate.peer, path).catch(() => 'ended');
  await expect.poll(() => gate.connections).toBe(1);
  const left = new AbortController();
  const second = client.stat(gate.peer, path, left.signal);
  left.abort(new Error('not needed'));
  await expect(second).rejects.toThrow('not needed');
  expect(client.avoids(gate.peer)).toBe(false);
  const late = [brief.stat(gate.peer, path), brief.stat(gate.peer, path)].map((one) =>
    expect(one).rejects.toThrow('100 ms'),
  );
  await Promise.all(late);
  await client.close();
  expect(await first).toBe('ended');
});

it('a bucket that one has is known though another says nothing', async () => {
  const gate = await gateBefore(stage.worker('a').peer);
  gate.mode = 'mute';
  const { files } = reader([gate.peer, stage.worker('b').peer], { headMs: 3_600_000 });
  const file = entry('there', segmentBytes);
  await stage.put(file, () => ['b']);
  expect(await files.knows('s3://bucket/')).toBe(true);
});
