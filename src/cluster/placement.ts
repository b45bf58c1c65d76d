/** Which live worker holds which segment: the ring, made anew when the members change. */
import { makeRing, type RingWorker, segmentKey, workerIdentity } from '../core/ring.ts';
import type { Member, Members, Placement } from './members.ts';

interface Place extends RingWorker {
  readonly member: Member;
}

export function ringPlacement(members: Members): Placement {
  let ring = makeRing<Place>([]);
  /** With the workers that drain: what they hold was placed by it. */
  let all = ring;
  const refresh = (): void => {
    const places = members.live().map((member) => ({ identity: workerIdentity(member.id), zone: member.zone, member }));
    const takers = places.filter(({ member }) => member.takes);
    ring = ring.next(takers);
    all = takers.length === places.length ? ring : all.next(places);
  };
  members.onChange(refresh);
  refresh();
  return {
    owners(path, index, replicas, without) {
      const accept = without === undefined ? undefined : ({ member }: Place) => !without.has(member.id);
      return ring.placement(segmentKey(path, index), replicas, accept).map(({ member }) => member);
    },
    around: (path, index, replicas, count) =>
      all.around(segmentKey(path, index), count, replicas).map(({ member }) => member),
  };
}
