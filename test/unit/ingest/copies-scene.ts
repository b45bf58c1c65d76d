/** Two workers and one origin: what one of them has, the other copies from it. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import Fastify, { type FastifyInstance } from 'fastify';
import { afterAll, afterEach, beforeAll, beforeEach, expect } from 'vitest';
import { type ByteRange, ledgerDifference, type ManifestEntry, type RunId } from '../../../src/core/types.ts';
import { MiB } from '../../../src/core/units.ts';
import type { ObjectSpec } from '../../../src/demo/origin/objects.ts';
import { type PeerDataOptions, peerData } from '../../../src/server/peer-data.ts';
import { type PeerFollowOptions, peerFollow } from '../../../src/server/peer-follow.ts';
import { expectContent } from '../../support/origin.ts';
import { memoryLog } from '../../support/store-fixture.ts';
import { type Bench, openBench } from './bench.ts';

export const token = 'the-token-of-the-cluster';
export const partBytes = 8 * MiB;
export const big: ObjectSpec = { key: 'big', sizeBytes: 80 * MiB + 77 };

/** The two workers, and what A has sent to others. */
export let a: Bench;
export let b: Bench;
export let served = 0;
/** Closed after each test. */
export const servers: { close(): Promise<unknown> }[] = [];

/** The tests of the file share the workers, and have them empty. */
export function openTwo(): void {
  beforeAll(async () => {
    a = await openBench({ objects: [], wholeHashMaxBytes: 128 * MiB }, 512 * MiB, { peerAccess: { token } });
    b = await openBench({}, 512 * MiB, { origin: a.origin, peerAccess: { token } });
  });
  afterAll(async () => {
    await b?.close();
    await a?.close();
  });
  beforeEach(async () => {
    for (const { store } of [a, b]) await store.remove('s3://demo/' as ManifestEntry['path']);
    a.origin.clearFaults();
    a.origin.resetStats();
    served = 0;
    b.observed.limits.length = 0;
    b.observed.retries.length = 0;
  });
  afterEach(async () => {
    for (const server of servers.splice(0)) await server.close();
  });
}

export interface Served {
  readonly url: string;
  readonly app: FastifyInstance;
  readonly log: ReturnType<typeof memoryLog>;
}

/** The port of worker A. */
export async function serve(
  more: Partial<PeerDataOptions> = {},
  follow: Partial<PeerFollowOptions> = {},
): Promise<Served> {
  const app = Fastify({ forceCloseConnections: true });
  const log = memoryLog();
  const onServed = (bytes: number): void => {
    served += bytes;
  };
  app.register(peerFollow, {
    ...{ store: a.store, landings: a.worker.landings, log, clusterToken: token },
    ...follow,
  });
  app.register(peerData, { store: a.store, log, clusterToken: token, closeGraceMs: 0, onServed, ...more });
  await app.listen({ host: '127.0.0.1', port: 0 });
  servers.push(app);
  return { url: `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`, app, log };
}

/** A port that answers whatever `answer` says. */
export async function pretend(answer: Parameters<typeof createServer>[1]): Promise<{ url: string; server: Server }> {
  const server = createServer(answer as never);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  servers.push({
    close: () =>
      new Promise((resolve) => {
        server.close(resolve);
        server.closeAllConnections();
      }),
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

/** A port that nobody answers on. */
export async function nobody(): Promise<string> {
  const { url } = await pretend(() => {});
  await servers.pop()!.close();
  return url;
}

let places = 0;
export async function placed(
  ...objects: readonly ObjectSpec[]
): Promise<{ specs: ObjectSpec[]; entries: ManifestEntry[] }> {
  places += 1;
  const specs = objects.map((object) => ({ ...object, key: `c${places}/${object.key}` }));
  for (const spec of specs) a.origin.add(spec);
  const entries = new Map((await a.list(`c${places}/`)).map((entry) => [entry.path as string, entry]));
  a.origin.resetStats();
  return { specs, entries: specs.map(({ key }) => entries.get(`s3://demo/${key}`)!) };
}

export async function loadedByA(entries: readonly ManifestEntry[], range?: ByteRange): Promise<RunId> {
  const run = a.start();
  for (const entry of entries) {
    const outcome = await a.worker.load(run, entry, range === undefined ? {} : { range });
    expect(outcome).toMatchObject({ result: 'loaded' });
  }
  return run;
}

/** The run has ended, and its books balance. */
export async function ended(bench: Bench, run: RunId): Promise<ReturnType<Bench['store']['ledger']>> {
  await bench.worker.endRun(run);
  const ledger = bench.store.ledger(run);
  expect(ledgerDifference(ledger)).toBe(0);
  return ledger;
}

export async function expectHeld(
  bench: Bench,
  spec: ObjectSpec,
  range = { offset: 0, length: spec.sizeBytes },
): Promise<void> {
  const file = bench.store.open(`s3://demo/${spec.key}` as ManifestEntry['path']);
  const pieces: Uint8Array[] = [];
  for await (const piece of file.read(range)) pieces.push(Buffer.from(piece));
  file.close();
  expectContent(Buffer.concat(pieces), spec, range.offset, range.length);
}

export const sentByOrigin = (): number => a.origin.stats().bytesSent;
export const bytesOf = (specs: readonly ObjectSpec[]): number =>
  specs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
