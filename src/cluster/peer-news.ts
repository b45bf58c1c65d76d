/** Tells each live worker who the live workers are, when that changes. */
import type { Peer, PeerOrder } from '../core/peers.ts';
import type { Log } from '../core/types.ts';
import type { Member, Members } from './members.ts';

export function peersOf(members: readonly Member[]): Peer[] {
  return members.map(({ id, url, s3Port, zone, takes }) => ({
    ...{ id, url, takes },
    ...(s3Port === undefined ? {} : { s3Port }),
    ...(zone === undefined ? {} : { zone }),
  }));
}

/** The order of one coordinator that nobody shares: it counts its lists. */
export function countedLists(from: string): () => PeerOrder {
  let version = 0;
  return () => {
    version += 1;
    return { from, version };
  };
}

export interface PeerNews {
  readonly members: Members;
  /**
   * From when on lists are whole: a list without a worker says that what it has is nowhere. Until then workers keep what they
   * heard of the coordinator before, or know that they know nothing.
   */
  readonly settled: Promise<void>;
  /** Of the members as they are now. */
  readonly order: () => PeerOrder;
  readonly log: Log;
}

/**
 * Each link keeps the newest list until it was told, however often its connection is lost; one whose worker is lost has
 * nobody to tell. Returns how to end it.
 */
export function tellPeers({ members, settled, order, log }: PeerNews): () => void {
  const tell = (): void => {
    const live = members.live();
    const list = { ...order(), peers: peersOf(live) };
    for (const { id, link } of live) {
      link.setPeers(list).catch((error: unknown) => {
        log.debug({ worker: id, version: list.version, error: String(error) }, 'a worker was not told who is live');
      });
    }
  };
  let ended = false;
  let unsubscribe = (): void => undefined;
  void settled.then(() => {
    if (ended) return;
    tell();
    unsubscribe = members.onChange(tell);
  });
  return () => {
    ended = true;
    unsubscribe();
  };
}
