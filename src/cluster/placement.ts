/** Which live worker holds which segment: the ring, made anew when the members change. */
import { makeRing, type RingWorker, segmentKey, workerIdentity } from '../core/ring.ts';
import type { Member, Members, Placement } from './members.ts';

interface Place extends RingWorker {
  readonly member: Member;
}

export function ringPlacement(members: Members): Placement {
  let ring = makeRing<Place>([]);
  const refresh = (): void => {
    const takers = members.live().filter(({ takes }) => takes);
    ring = ring.next(takers.map((member) => ({ identity: workerIdentity(member.id), zone: member.zone, member })));
  };
  members.onChange(refresh);
  refresh();
  return {
    owners(path, index, replicas, without) {
      const accept = ({ member }: Place): boolean => without === undefined || !without.has(member.id);
      return ring.placement(segmentKey(path, index), replicas, accept).map(({ member }) => member);
    },
  };
}
