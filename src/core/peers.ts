/** The live workers of a cluster, as a coordinator tells each of them. Plain data, and which of two lists holds. */
import type { WorkerId } from './types.ts';

export interface Peer {
  readonly id: WorkerId;
  /** `http://host:port`: where it answers other workers. */
  readonly url: string;
  /** Where it answers S3 clients, on the same host. */
  readonly s3Port?: number;
  readonly zone?: string;
  /** False: it drains, and is no owner of new segments; what it has it serves. */
  readonly takes: boolean;
}

/** Which state of the members a list shows. */
export interface PeerOrder {
  /** Who counts: versions of two are not compared. A coordinator that knows its workers itself, or the etcd of all of them. */
  readonly from: string;
  /** Does not fall: a count of lists, or the revision of etcd that the coordinator had heard. */
  readonly version: number;
}

export interface PeerList extends PeerOrder {
  readonly peers: readonly Peer[];
}

/**
 * What holds when `heard` comes after `known`: where one counts, what is not older, whoever has sent it; else what was heard
 * last.
 */
export function latestPeers(known: PeerList | undefined, heard: PeerList): PeerList {
  return known !== undefined && known.from === heard.from && known.version > heard.version ? known : heard;
}
