/** Tells each live worker who the live workers are, when that changes. */
import type { Peer } from '../core/peers.ts';
import type { Log } from '../core/types.ts';
import type { Member, Members } from './members.ts';

export function peersOf(members: readonly Member[]): Peer[] {
  return members.map(({ id, url, zone, takes }) => ({ id, url, takes, ...(zone === undefined ? {} : { zone }) }));
}

/**
 * Each link keeps the newest list until it was told, however often its connection is lost; one whose worker is lost has
 * nobody to tell. Returns how to end it.
 * @param from the coordinator's name
 */
export function tellPeers({ members, from, log }: { members: Members; from: string; log: Log }): () => void {
  let version = 0;
  const tell = (): void => {
    const live = members.live();
    version += 1;
    const list = { from, version, peers: peersOf(live) };
    for (const { id, link } of live) {
      link.setPeers(list).catch((error: unknown) => {
        log.debug({ worker: id, version: list.version, error: String(error) }, 'a worker was not told who is live');
      });
    }
  };
  tell();
  return members.onChange(tell);
}
