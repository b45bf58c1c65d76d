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
  /** False: it is not known yet who all of the others are, nor what they have. */
  readonly known: boolean;
  /** Resolves when the first list has come, or has not for a while; undefined: it is there. */
  heard(): Promise<void> | undefined;
  /** All live workers but this one. */
  others(): readonly Peer[];
  /** Where a segment belongs, whoever has it: the first worker of the ring. Undefined: it is this one, or there is none. */
  owner(path: string, index: number): Peer | undefined;
  /** Where it belongs, the first worker of the ring first. None: it is not known who the workers are. */
  owners(path: string, index: number, count: number): readonly (Peer | 'here')[];
}

export const noPeers: Peers = {
  known: true,
  heard: () => undefined,
  others: () => [],
  owner: () => undefined,
  owners: () => [],
};

/** A worker is told of the others as soon as it takes part, which is soon after its ports are open. Without a coordinator it reads on alone. */
const firstListMs = 2_000;

/** Throws PEER_FAILED while what others have is not known. */
export function refuseIfUnknown({ known }: Peers, what: string): void {
  if (known) return;
  const why = 'since the start of this node, or of the coordinator, it has not been heard which workers there are';
  throw new PrimedError('PEER_FAILED', `It is not known ${what}: ${why}; try again.`);
}

export class KnownPeers implements Peers {
  readonly #self: WorkerId | undefined;
  readonly #whole: () => boolean;
  #list: PeerList | undefined;
  #others: readonly Peer[] = [];
  #ring = makeRing<Place>([]);
  readonly #firstListMs: number;
  /** Of all who wait, so that together they wait once: since the first of them. */
  #first: { readonly come: Promise<void>; readonly end: () => void } | undefined;

  /**
   * @param self undefined: a coordinator, which has no files of its own
   * @param whole false while lists lack workers that may yet come back
   * @param limitMs how long the first list is waited for
   */
  constructor(self?: WorkerId, whole: () => boolean = () => true, limitMs = firstListMs) {
    this.#self = self;
    this.#whole = whole;
    this.#firstListMs = limitMs;
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
    this.#first?.end();
  }

  heard(): Promise<void> | undefined {
    if (this.#list !== undefined) return undefined;
    this.#first ??= startWaiting(this.#firstListMs);
    return this.#first.come;
  }

  get known(): boolean {
    return this.#list !== undefined && this.#whole();
  }

  others(): readonly Peer[] {
    return this.#others;
  }

  owner(path: string, index: number): Peer | undefined {
    const [first] = this.#ring.owners(segmentKey(path, index), 1);
    return first === undefined || first.peer.id === this.#self ? undefined : first.peer;
  }

  owners(path: string, index: number, count: number): readonly (Peer | 'here')[] {
    const found = this.#ring.owners(segmentKey(path, index), count);
    return found.map(({ peer }) => (peer.id === this.#self ? 'here' : peer));
  }
}

function startWaiting(limitMs: number): { readonly come: Promise<void>; readonly end: () => void } {
  let end!: () => void;
  const come = new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, limitMs).unref();
    end = () => {
      clearTimeout(timer);
      resolve();
    };
  });
  return { come, end };
}
