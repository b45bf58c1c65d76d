/** What a worker knows of the others: the list that it was told last, and the ring over those that take segments. */
import { PrimedError } from '../../core/errors.ts';
import { latestPeers, type Peer, type PeerList } from '../../core/peers.ts';
import { makeRing, type RingWorker, segmentKey, workerIdentity } from '../../core/ring.ts';
import type { WorkerId } from '../../core/types.ts';

interface Place extends RingWorker {
  readonly peer: Peer;
}

/** Whom a reader may ask. */
export interface Peers {
  /** False: nobody has said yet who the others are, so that what they have is not known. */
  readonly known: boolean;
  /** All live workers but this one. */
  others(): readonly Peer[];
  /** Where a segment belongs, whoever has it: the first worker of the ring. Undefined: it is this one, or there is none. */
  owner(path: string, index: number): Peer | undefined;
}

export const noPeers: Peers = { known: true, others: () => [], owner: () => undefined };

/** Throws PEER_FAILED while what others have is not known. */
export function refuseIfUnknown({ known }: Peers, what: string): void {
  if (known) return;
  const why = 'this worker has just started, and no coordinator has told it yet which other workers there are';
  throw new PrimedError('PEER_FAILED', `It is not known ${what}: ${why}; try again.`);
}

export class KnownPeers implements Peers {
  readonly #self: WorkerId | undefined;
  #list: PeerList | undefined;
  #others: readonly Peer[] = [];
  #ring = makeRing<Place>([]);

  /** @param self undefined: a coordinator, which has no files of its own */
  constructor(self?: WorkerId) {
    this.#self = self;
  }

  /** Kept until another list comes, also while no coordinator is there. */
  set(heard: PeerList): void {
    const list = latestPeers(this.#list, heard);
    if (list === this.#list) return;
    this.#list = list;
    const peers = [...new Map(list.peers.map((peer) => [peer.id, peer])).values()];
    this.#others = peers.filter(({ id }) => id !== this.#self);
    const takers = peers.filter(({ takes }) => takes);
    this.#ring = this.#ring.next(takers.map((peer) => ({ identity: workerIdentity(peer.id), zone: peer.zone, peer })));
  }

  get known(): boolean {
    return this.#list !== undefined;
  }

  others(): readonly Peer[] {
    return this.#others;
  }

  owner(path: string, index: number): Peer | undefined {
    const [first] = this.#ring.owners(segmentKey(path, index), 1);
    return first === undefined || first.peer.id === this.#self ? undefined : first.peer;
  }
}
