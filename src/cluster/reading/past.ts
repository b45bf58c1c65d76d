/** What workers have kept of what happened to a file: each tells its own, and who did not answer is named. */
import type { Unanswered } from '../../core/check.ts';
import { PrimedError } from '../../core/errors.ts';
import type { FileHistory } from '../../core/file-events.ts';
import type { Peer } from '../../core/peers.ts';
import type { UfsPath } from '../../core/types.ts';
import type { PeerClient } from './peer-client.ts';

export interface ToldPast {
  readonly told: readonly { readonly worker: string; readonly history: FileHistory }[];
  readonly unanswered: readonly Unanswered[];
}

/** Never rejects for the world's sake. */
export type PastSource = (path: UfsPath) => Promise<ToldPast>;

/** Of the one worker of this process. */
export function pastHere(worker: string, past: { of(path: string): FileHistory }): PastSource {
  return async (path) => ({ told: [{ worker, history: past.of(path) }], unanswered: [] });
}

export function pastOfCluster({
  client,
  live,
  gone,
}: {
  readonly client: Pick<PeerClient, 'history'>;
  /** Whom to ask. */
  readonly live: () => readonly Peer[];
  /** Who is known, and cannot be asked. */
  readonly gone: () => readonly Unanswered[];
}): PastSource {
  return async (path) => {
    const unanswered = [...gone()];
    const told: { worker: string; history: FileHistory }[] = [];
    await Promise.all(
      live().map(async (peer) => {
        try {
          told.push({ worker: peer.id, history: await client.history(peer, path) });
        } catch (error) {
          if (!(error instanceof PrimedError)) throw error;
          unanswered.push({ id: peer.id, reason: error.message });
        }
      }),
    );
    const byId = (a: { worker: string }, b: { worker: string }): number => (a.worker < b.worker ? -1 : 1);
    return { told: told.sort(byId), unanswered };
  };
}
