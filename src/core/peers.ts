/** The live workers of a cluster, as a coordinator tells each of them. Plain data, and which of two lists holds. */
import type { WorkerId } from './types.ts';

export interface Peer {
  readonly id: WorkerId;
  /** `http://host:port`: where it answers other workers. */
  readonly url: string;
  readonly zone?: string;
  /** False: it drains, and is no owner of new segments; what it has it serves. */
  readonly takes: boolean;
}

export interface PeerList {
  /** Which coordinator says so; versions of two of them are not compared. */
  readonly from: string;
  /** Rises with each list of that coordinator. */
  readonly version: number;
  readonly peers: readonly Peer[];
}

/** What holds when `heard` comes after `known`: of one coordinator the newer one, of several what was heard last. */
export function latestPeers(known: PeerList | undefined, heard: PeerList): PeerList {
  return known !== undefined && known.from === heard.from && known.version > heard.version ? known : heard;
}
