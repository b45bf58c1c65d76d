/**
 * Tells the lanes how to reach other workers, once per worker. To a lane another worker is an S3 origin without signatures,
 * whose keys are whole UFS paths.
 */
import { PrimedError } from '../core/errors.ts';
import { type LiveText, textOf } from '../core/live.ts';
import type { ClientTls } from '../core/node-tls.ts';
import type { LaneOrigin } from '../origin/types.ts';
import type { LanePool } from './lanes.ts';

/** Where a worker answers: server/peer-data. */
const dataPath = '/internal/v1/data';
/** Workers that nobody copies from at the moment, and that the lanes still know. */
const idlePeersKept = 64;

/** By what a worker lets another one in. */
export interface PeerAccess {
  readonly token?: LiveText;
  readonly tls?: ClientTls;
}

/** Which other workers cannot be reached at the moment, by their URLs; what readers have met and what copies have is one. */
export interface PeerReach {
  avoids(url: string): boolean;
  /** @param why of the log */
  failed(url: string, why: string): void;
  answered(url: string): void;
}

/** For those who know nothing of it. */
export const anyReach: PeerReach = { avoids: () => false, failed: () => undefined, answered: () => undefined };

interface Peer {
  /** Those of origins count from 0 up, those of workers from -1 down; none is used twice. */
  readonly originIndex: number;
  users: number;
}

export class PeerLinks {
  readonly #lanes: Pick<LanePool, 'broadcast'>;
  readonly #access: PeerAccess;
  /** By URL, the longest unused first. */
  readonly #peers = new Map<string, Peer>();
  /** Still in use with what was asked for before. */
  readonly #retired = new Set<Peer>();
  #last = 0;

  constructor(lanes: Pick<LanePool, 'broadcast'>, access: PeerAccess = {}) {
    this.#lanes = lanes;
    this.#access = access;
  }

  /** The lanes know the worker for as long as `act` takes. Rejects with PEER_FAILED when that is no URL of a worker. */
  async use<T>(url: string, act: (originIndex: number) => Promise<T>): Promise<T> {
    const peer = this.#peers.get(url) ?? this.#introduce(url);
    peer.users += 1;
    this.#peers.delete(url);
    this.#peers.set(url, peer);
    try {
      return await act(peer.originIndex);
    } finally {
      peer.users -= 1;
      if (peer.users === 0 && this.#retired.delete(peer))
        this.#lanes.broadcast({ type: 'forget', originIndex: peer.originIndex });
      this.#forgetIdle();
    }
  }

  /** What others ask for has changed: who is copied from next is introduced anew. */
  renew(): void {
    for (const peer of this.#peers.values()) {
      if (peer.users === 0) this.#lanes.broadcast({ type: 'forget', originIndex: peer.originIndex });
      else this.#retired.add(peer);
    }
    this.#peers.clear();
  }

  #introduce(url: string): Peer {
    const originIndex = this.#last - 1;
    const origin = laneOriginOf(url, originIndex, this.#access);
    this.#last = originIndex;
    this.#lanes.broadcast({ type: 'origin', origin });
    return { originIndex, users: 0 };
  }

  #forgetIdle(): void {
    for (const [url, { originIndex, users }] of this.#peers) {
      if (this.#peers.size <= idlePeersKept) return;
      if (users > 0) continue;
      this.#peers.delete(url);
      this.#lanes.broadcast({ type: 'forget', originIndex });
    }
  }
}

function laneOriginOf(url: string, originIndex: number, { token, tls: shown = {} }: PeerAccess): LaneOrigin {
  const { protocol, hostname, host, port } = parsed(url);
  const tls = protocol === 'https:';
  return {
    kind: 's3',
    originIndex,
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: port === '' ? (tls ? 443 : 80) : Number(port),
    tls,
    hostHeader: host,
    pathPrefix: dataPath,
    bucket: '',
    region: '',
    forcePathStyle: true,
    signed: false,
    peer: token === undefined ? {} : { bearerToken: textOf(token) },
    ...(shown.ca !== undefined && { caPem: shown.ca }),
    ...(shown.revocations !== undefined && { revokedPem: shown.revocations.pem }),
    ...(shown.cert !== undefined && shown.key !== undefined && { certificate: { cert: shown.cert, key: shown.key } }),
  };
}

function parsed(url: string): URL {
  const found = URL.canParse(url) ? new URL(url) : undefined;
  if (found?.protocol === 'http:' || found?.protocol === 'https:') return found;
  throw new PrimedError('PEER_FAILED', `${url} is not the address of a worker: http://host:port`, { url });
}
