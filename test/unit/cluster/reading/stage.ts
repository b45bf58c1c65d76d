/** Workers with real stores behind real sockets, told of each other, and readers that have none or one of them. */

import type { AddressInfo } from 'node:net';
import Fastify, { type FastifyInstance } from 'fastify';
import { ClusterFiles } from '../../../../src/cluster/reading/files.ts';
import { KnownPeers } from '../../../../src/cluster/reading/known-peers.ts';
import { PathNames } from '../../../../src/cluster/reading/path-names.ts';
import { PeerClient, type PeerClientOptions } from '../../../../src/cluster/reading/peer-client.ts';
import type { Peer } from '../../../../src/core/peers.ts';
import { makeRing, segmentKey, workerIdentity } from '../../../../src/core/ring.ts';
import { type Segment, segmentsOf } from '../../../../src/core/segments.ts';
import type { ManifestEntry, UfsPath, WorkerId } from '../../../../src/core/types.ts';
import { MiB } from '../../../../src/core/units.ts';
import { installErrorHandler } from '../../../../src/server/errors.ts';
import { fsHere } from '../../../../src/server/fs-here.ts';
import { peerData } from '../../../../src/server/peer-data.ts';
import { peerFiles } from '../../../../src/server/peer-files.ts';
import type { Store } from '../../../../src/store/types.ts';
import { MemoryIds } from '../../../support/memory-ids.ts';
import { noHistory } from '../../../support/no-history.ts';
import { silent } from '../../../support/silent.ts';
import { type Fixture, load, makeFixture, memoryLog, run, writePart } from '../../../support/store-fixture.ts';

export const segmentBytes = 2 * MiB;
export const token = 'token-of-the-cluster';

export interface StageWorker {
  readonly id: WorkerId;
  readonly store: Store;
  readonly files: ClusterFiles;
  readonly ids: MemoryIds;
  readonly names: PathNames;
  readonly log: ReturnType<typeof memoryLog>;
  readonly peer: Peer;
  readonly app: FastifyInstance;
  /** Targets that other workers asked for. */
  readonly asked: string[];
}

export interface ReadingStage {
  readonly workers: ReadonlyMap<string, StageWorker>;
  worker(id: string): StageWorker;
  /** Who the ring names for a segment, the first one first. */
  owners(path: string, index: number): string[];
  /** Where segments are put; a file whose every segment is on one worker is whole there. */
  put(
    file: ManifestEntry,
    place: (segment: Segment) => readonly string[],
    how?: { show?: readonly string[] },
  ): Promise<void>;
  /** Of a node without files, and with its own idea of who is live. */
  outside(peers?: readonly Peer[], options?: PeerClientOptions): ClusterFiles;
  forgetAsked(): void;
  close(): Promise<void>;
}

export async function openReading(...ids: string[]): Promise<ReadingStage> {
  const fixtures: Fixture[] = [];
  const clients: PeerClient[] = [];
  const workers = new Map<string, StageWorker>();
  const known: KnownPeers[] = [];
  const clientOf = (options: PeerClientOptions = {}): PeerClient => {
    const client = new PeerClient({ token, ...options });
    clients.push(client);
    return client;
  };
  for (const id of ids as WorkerId[]) {
    const fixture = makeFixture({ sizeBytes: 65 * MiB });
    fixtures.push(fixture);
    const store = await fixture.open();
    const log = memoryLog();
    const peers = new KnownPeers(id);
    known.push(peers);
    const client = clientOf();
    const files = new ClusterFiles({ store, peers, client, log });
    const ids = new MemoryIds();
    const names = new PathNames({ ids, peers, client });
    const app = Fastify({ forceCloseConnections: true });
    const asked: string[] = [];
    const written: string[] = [];
    app.addHook('onRequest', async ({ raw }) => void asked.push(raw.url ?? ''));
    installErrorHandler(app, silent);
    app.get('/health/live', async () => ({}));
    app.register(peerData, { store, log, clusterToken: token });
    app.register(peerFiles, {
      store,
      source: fsHere(store, files),
      names,
      past: { of: () => noHistory },
      log,
      clusterToken: token,
      written: { here: async (paths) => void written.push(...paths) },
    });
    await app.listen({ host: '127.0.0.1', port: 0 });
    const { port } = app.server.address() as AddressInfo;
    const peer: Peer = { id, url: `http://127.0.0.1:${port}`, takes: true };
    workers.set(id, { id, store, files, ids, names, log, peer, app, asked });
  }
  const peers = [...workers.values()].map(({ peer }) => peer);
  for (const one of known) one.set({ from: 'c', version: 1, peers });
  const ring = makeRing(ids.map((id) => ({ identity: workerIdentity(id), id })));
  const worker = (id: string): StageWorker => workers.get(id)!;
  return {
    workers,
    worker,
    owners: (path, index) => ring.placement(segmentKey(path, index), ids.length).map(({ id }) => id),
    async put(file, place, { show } = {}) {
      const holders = new Set<string>();
      for (const segment of segmentsOf(file, segmentBytes)) {
        for (const id of place(segment)) {
          const { store } = worker(id);
          holders.add(id);
          const range = { offset: segment.offset, length: segment.length };
          const begun = store.beginFile({
            run,
            load,
            entry: file,
            reuse: 'any',
            partBytes: 8 * MiB,
            range,
            segmentBytes,
          });
          if (begun.state === 'complete') continue;
          for (const missing of begun.missing)
            await store.land(run, [writePart(store, { fileId: begun.fileId, entry: file, range: missing })]);
        }
      }
      for (const id of show ?? holders) await worker(id).store.show(file);
    },
    outside(some = peers, options = {}) {
      const its = new KnownPeers();
      its.set({ from: 'c', version: 1, peers: some });
      return new ClusterFiles({ peers: its, client: clientOf(options), log: memoryLog() });
    },
    forgetAsked() {
      for (const { asked } of workers.values()) asked.length = 0;
    },
    async close() {
      for (const { app } of workers.values()) await app.close();
      for (const client of clients) await client.close();
      for (const { store } of workers.values()) await store.close();
      for (const fixture of fixtures) fixture.remove();
    },
  };
}

/** All bytes of a range, as a server would take them. Undefined: nothing of that name is known. */
export async function readFrom(
  files: ClusterFiles,
  path: UfsPath,
  range?: { offset: number; length: number },
): Promise<Buffer | undefined> {
  const found = await files.find(path);
  if (found === undefined) return undefined;
  const opened = found.open();
  try {
    for (;;) {
      const wanted = range ?? { offset: 0, length: opened.file.sizeBytes };
      if (!(await opened.prepare(wanted))) continue;
      const pieces: Buffer[] = [];
      for await (const bytes of opened.read(wanted)) pieces.push(Buffer.from(bytes));
      return Buffer.concat(pieces);
    }
  } finally {
    opened.close();
  }
}
