/**
 * What is done when something was written to an origin through this worker: what is cached of it, here or elsewhere, goes.
 *
 * That no reader is given it does not hang on this: what is written through is compared with the origin at each read (core/read-policy),
 * so that a worker that was not told, or a load that ends afterwards, gives nothing old either. It is told so that the room is
 * free, and that listings of what is cached are right.
 */
import type { Peer } from '../../core/peers.ts';
import type { Log, UfsPath } from '../../core/types.ts';
import type { FileRecord, Store } from '../../store/types.ts';
import type { Peers } from './known-peers.ts';
import type { OriginReads } from './origin/reads.ts';
import type { PeerClient } from './peer-client.ts';

export interface WrittenOptions {
  readonly store: Pick<Store, 'stat'>;
  readonly reads: Pick<OriginReads, 'forget'>;
  readonly peers: Pick<Peers, 'others'>;
  readonly client: Pick<PeerClient, 'written' | 'avoids'>;
  /** Does not reject. */
  readonly drop: (record: FileRecord) => Promise<void>;
  readonly log: Log;
  /** Longest wait for what is dropped here. */
  readonly dropLimitMs?: number;
}

/** Writers wait for it: a disk that hangs is not theirs. */
const dropLimitMs = 5_000;

/** In one message: 512 keys of S3's greatest length are half of what a worker takes. */
const mostPaths = 512;

export class Written {
  readonly #options: WrittenOptions;

  constructor(options: WrittenOptions) {
    this.#options = options;
  }

  /** Resolves when every worker that answers of late has dropped it, or did not answer in time. Does not reject. */
  async everywhere(paths: readonly UfsPath[]): Promise<void> {
    const { peers, client, log } = this.#options;
    const tell = async (peer: Peer): Promise<void> => {
      try {
        for (let at = 0; at < paths.length; at += mostPaths)
          await client.written(peer, paths.slice(at, at + mostPaths));
      } catch (error) {
        const facts = { worker: peer.id, path: paths[0], paths: paths.length, error: String(error) };
        log.warn(facts, 'a worker was not told of a write: it drops what it has when it is next read there');
      }
    };
    const awaited: Promise<void>[] = [this.here(paths)];
    for (const peer of peers.others()) {
      const told = tell(peer);
      // Who did not answer of late is told all the same, and a second of each write is not spent on him.
      if (!client.avoids(peer)) awaited.push(told);
    }
    await Promise.all(awaited);
  }

  /** On this worker. Does not reject. */
  async here(paths: readonly UfsPath[]): Promise<void> {
    const { store, reads, drop } = this.#options;
    await Promise.all(
      paths.map(async (path) => {
        reads.forget(path);
        const record = store.stat(path);
        // What is still loading is of a load, which finds out itself.
        if (record !== undefined && record.state !== 'loading') await this.#inTime(drop(record), path);
      }),
    );
  }

  /** Nothing old is given meanwhile: each read asks the origin. */
  async #inTime(dropped: Promise<void>, path: UfsPath): Promise<void> {
    const { log, dropLimitMs: limitMs = dropLimitMs } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        log.error(
          { path, limitMs },
          'what is cached of a written path was not dropped in time: the write is answered, its old bytes are not served, and take room until the store has removed them',
        );
        resolve();
      }, limitMs);
    });
    await Promise.race([dropped, late]);
    clearTimeout(timer);
  }
}
