/**
 * Which path an id of the page API stands for, asked of any worker: who loaded a file knows its id, and so does who was asked
 * about it by the path. What others say is kept here.
 */
import { PrimedError } from '../../core/errors.ts';
import { isPathId, pathId } from '../../core/path-id.ts';
import type { PathIds } from '../../store/index.ts';
import { type Peers, refuseIfUnknown } from './known-peers.ts';
import type { PeerClient } from './peer-client.ts';

export interface PathNamesOptions {
  readonly ids: Pick<PathIds, 'get' | 'add' | 'whole'>;
  readonly peers: Peers;
  readonly client: Pick<PeerClient, 'pathOf'>;
}

export class PathNames {
  readonly #options: PathNamesOptions;

  constructor(options: PathNamesOptions) {
    this.#options = options;
  }

  /** A client knows a file by this path, and may ask for it by the id alone. */
  learn(path: string): void {
    const { ids } = this.#options;
    if (ids.get(pathId(path)) === undefined) ids.add(path);
  }

  /** What this worker knows. Throws TOO_BUSY while it does not know all of its paths, and not this one. */
  pathHere(id: string): string | undefined {
    if (!isPathId(id)) return undefined;
    const { ids } = this.#options;
    const path = ids.get(id);
    if (path !== undefined || ids.whole) return path;
    throw new PrimedError(
      'TOO_BUSY',
      `It is not known yet which path has the id ${id}: this worker is reading the paths of all its files; try again, or send the path as ufsFullPath.`,
    );
  }

  /** Undefined: nobody knows one. Rejects with PEER_FAILED or TOO_BUSY when who did not answer may know it. */
  async pathOf(id: string): Promise<string | undefined> {
    if (!isPathId(id)) return undefined;
    const { ids, peers, client } = this.#options;
    const known = ids.get(id);
    if (known !== undefined) return known;
    const answers = await Promise.allSettled(peers.others().map((peer) => client.pathOf(peer, id)));
    for (const answer of answers) {
      if (answer.status !== 'fulfilled' || answer.value === undefined || pathId(answer.value) !== id) continue;
      ids.add(answer.value);
      return answer.value;
    }
    for (const answer of answers) if (answer.status === 'rejected') throw answer.reason;
    refuseIfUnknown(peers, `which path has the id ${id}`);
    return this.pathHere(id);
  }
}
