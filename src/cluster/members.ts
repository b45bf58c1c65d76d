/** Who is live, and which of them holds what. */
import type { WorkerId, WorkerLink } from './worker-link.ts';

/** A live worker. */
export interface Member {
  readonly id: WorkerId;
  /** `http://host:port`, for copies between workers. */
  readonly url: string;
  /** Where it answers S3 clients, on the same host. */
  readonly s3Port?: number;
  readonly zone?: string;
  /** False: it drains, which is to say that it keeps and serves what it has, and gets no new segments. */
  readonly takes: boolean;
  /** A new one after each registration: calls on the old one reject with WORKER_LOST. */
  readonly link: WorkerLink;
}

export interface Members {
  live(): readonly Member[];
  /** Workers that are known and not there; what they have they keep. */
  absent(): readonly WorkerId[];
  /** Calls `listener` after each change; returns how to end that. */
  onChange(listener: () => void): () => void;
}

/** Members that never change: those of a daemon without a cluster. */
export function fixedMembers(members: readonly Member[]): Members {
  return { live: () => members, absent: () => [], onChange: () => () => undefined };
}

export interface Placement {
  /**
   * Distinct live workers that take segments, the one that fetches first; fewer than `replicas` where there are not
   * enough.
   */
  owners(path: string, index: number, replicas: number, without?: ReadonlySet<WorkerId>): readonly Member[];
  /** Distinct live workers, those that drain included: owners of the segment, and those that most likely were before. */
  around(path: string, index: number, replicas: number, count: number): readonly Member[];
}
