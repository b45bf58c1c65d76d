/** Which live worker holds which segment: the ring, made anew when the members change. */
import { createHash } from 'node:crypto';
import { makeRing, type Ring, spreadOwners } from '../core/ring.ts';
import type { Member, Members, Placement } from './members.ts';

/** MD5 of the host name as a UUID of version 3: identity version 1 of Alluxio's workers. */
export function identifierOf(host: string): Uint8Array {
  const bytes = createHash('md5').update(host).digest();
  bytes[6] = (bytes[6]! & 0x0f) | 0x30;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return bytes;
}

export function ringPlacement(members: Members): Placement {
  let takers: readonly Member[] = [];
  let ring: Ring = makeRing([]);
  let ids = '';
  const refresh = (): void => {
    takers = members.live().filter(({ takes }) => takes);
    const now = takers.map(({ id }) => id).join('\n');
    // A worker that registers anew has the same place.
    if (now === ids) return;
    ids = now;
    ring = makeRing(takers.map(({ id }) => ({ identifier: identifierOf(id) })));
  };
  members.onChange(refresh);
  refresh();
  return {
    owners(path, index, replicas, without) {
      const accept = (worker: number): boolean => without === undefined || !without.has(takers[worker]!.id);
      const zoneOf = (worker: number): string | undefined => takers[worker]!.zone;
      // With one replica zones make no difference, and one worker is the usual case of a small cluster's first day.
      const owners =
        takers.length === 1 ? (accept(0) ? [0] : []) : spreadOwners(ring, `${path}${index}`, replicas, zoneOf, accept);
      return owners.map((worker) => takers[worker]!);
    },
  };
}
