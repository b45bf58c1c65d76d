/** How a node keeps to the limits of origins: what a worker is told, what a coordinator divides, what a lone daemon sets. */
import { join } from 'node:path';
import { type Fellows, LimitSharing, type ShareRow } from './cluster/limit-sharing.ts';
import { type LimitsStore, openLimitsStore } from './cluster/limits-store.ts';
import type { Members } from './cluster/members.ts';
import { OriginLimits } from './cluster/origin-limits.ts';
import type { Config } from './config/config.ts';
import { makeLimit, type OriginLimit } from './core/origin-limits.ts';
import type { Log } from './core/types.ts';
import { type LimitBoard, makeLimitBoard } from './ingest/limit-board.ts';
import { OriginLimiter } from './ingest/origin-limiter.ts';
import { observeLimits } from './observers.ts';
import type { Telemetry } from './telemetry/registry.ts';

export interface NodeLimits {
  readonly board: LimitBoard;
  readonly limiter: OriginLimiter;
}

/**
 * Before anything is asked of an origin. The configuration of a worker is not the truth, and says which origins it must not
 * touch before it was told its share of them.
 */
export function openNodeLimits({ role, originLimits }: Config, telemetry: Telemetry): NodeLimits {
  const board = makeLimitBoard();
  const limiter = new OriginLimiter(board, observeLimits(telemetry));
  if (role === 'worker') limiter.setLimits(originLimits.map(nothingOf));
  return { board, limiter };
}

export interface CoordinatorLimits {
  readonly limits: OriginLimits;
  shares(): readonly ShareRow[];
  close(): Promise<void>;
}

/** Where several coordinators share jobs, they share limits. */
export interface SharedByCoordinators {
  readonly store: LimitsStore;
  readonly fellows: Fellows;
}

/** @param members whom the limits are divided among; undefined: this process has all of them. */
export function openCoordinatorLimits(options: {
  readonly config: Config;
  readonly limiter: OriginLimiter;
  readonly members: Members | undefined;
  /** Undefined: this coordinator is the only one. */
  readonly shared: SharedByCoordinators | undefined;
  readonly log: Log;
}): CoordinatorLimits {
  const { config, limiter, members, shared, log } = options;
  const store = shared?.store ?? openLimitsStore(join(config.dataDir, 'limits'));
  const limits = new OriginLimits({ configured: config.originLimits, store, log });
  if (members === undefined) {
    const apply = (): void => limiter.setLimits(limits.effective());
    limits.onChange(apply);
    apply();
    const shares = (): ShareRow[] => limits.effective().map((limit) => ({ ...limit, taker: 'local' }));
    return { limits, shares, close: () => limits.close() };
  }
  const sharing = new LimitSharing({ members, limits, log, own: limiter, fellows: shared?.fellows });
  return {
    limits,
    shares: () => sharing.shares(),
    async close() {
      sharing.close();
      await limits.close();
    },
  };
}

function nothingOf({ origin, bytesPerSecond, requestsPerSecond }: OriginLimit): OriginLimit {
  return makeLimit(origin, {
    ...(bytesPerSecond === undefined ? {} : { bytesPerSecond: 0 }),
    ...(requestsPerSecond === undefined ? {} : { requestsPerSecond: 0 }),
  });
}
