/**
 * What is done when something was written to an origin through this worker: what is cached of it, here or elsewhere, goes.
 *
 * That no reader is given it does not hang on this: what is written through is compared with the origin at each read (core/read-policy),
 * so that a worker that was not told, or a load that ends afterwards, gives nothing old either. It is told so that the room is
 * free, and that listings of what is cached are right.
 */
import type { Log, UfsPath } from '../../core/types.ts';
import type { FileRecord, Store } from '../../store/types.ts';
import type { Peers } from './known-peers.ts';
import type { OriginReads } from './origin/reads.ts';
import type { PeerClient } from './peer-client.ts';

export interface WrittenOptions {
  readonly store: Pick<Store, 'stat'>;
  readonly reads: Pick<OriginReads, 'forget'>;
  readonly peers: Pick<Peers, 'others'>;
  readonly client: Pick<PeerClient, 'written'>;
  /** Does not reject. */
  readonly drop: (record: FileRecord) => Promise<void>;
  readonly log: Log;
}

/** In one message: 512 keys of S3's greatest length are half of what a worker takes. */
const mostPaths = 512;

export class Written {
  readonly #options: WrittenOptions;

  constructor(options: WrittenOptions) {
    this.#options = options;
  }

  /** Resolves when every worker has dropped it, or did not answer in time. Does not reject. */
  async everywhere(paths: readonly UfsPath[]): Promise<void> {
    const { peers, client, log } = this.#options;
    const told = peers.others().map(async (peer) => {
      try {
        for (let at = 0; at < paths.length; at += mostPaths)
          await client.written(peer, paths.slice(at, at + mostPaths));
      } catch (error) {
        const facts = { worker: peer.id, path: paths[0], paths: paths.length, error: String(error) };
        log.warn(facts, 'a worker was not told of a write: it drops what it has when it is next read there');
      }
    });
    await Promise.all([this.here(paths), ...told]);
  }

  /** On this worker. Does not reject. */
  async here(paths: readonly UfsPath[]): Promise<void> {
    const { store, reads, drop } = this.#options;
    await Promise.all(
      paths.map(async (path) => {
        reads.forget(path);
        const record = store.stat(path);
        // What is still loading is of a load, which finds out itself.
        if (record !== undefined && record.state !== 'loading') await drop(record);
      }),
    );
  }
}
