/**
 * When loads give way to readers of cached data.
 *
 *   full ── somebody reads ──▶ yielding ── nobody has read for holdMs ──▶ full
 *                                 │  ▲
 *     lanes got no turn for starvedMs  └── its time is over ── breath
 *                                 └──────────────────────────────▲
 *
 * While it yields, a load has what readers and the rest of the machine leave. Where that is nothing, it takes breath: it runs as
 * it would without readers for a share of the time, so that no load stands still for good. What is fetched for a reader who waits
 * for it goes through the same lanes: as long as there is any, nothing yields.
 */
export type GuardMode = 'full' | 'yielding' | 'breath';

export interface GuardState {
  readonly mode: GuardMode;
  readonly sinceMs: number;
  /** When reads were seen last. */
  readonly readAtMs: number;
  readonly reads: number;
  /** When every lane had had a turn last since the mode began. */
  readonly turnedAtMs: number;
  readonly turns: readonly number[];
}

export interface GuardSeen {
  /** Answers out of what is cached; only rises. */
  readonly reads: number;
  /** Answers that are being sent now. */
  readonly open: number;
  /** Turns of each lane's loop; they only rise. */
  readonly turns: readonly number[];
  /** Lanes fetch what a reader waits for. */
  readonly awaited: boolean;
}

export interface GuardSettings {
  readonly enabled: boolean;
  /** Share of the time, above 0 and below 1, in which a load that would get nothing runs as it would without readers. */
  readonly floor: number;
}

/** Readers who ask so seldom are met by a load at full speed; one who asks more often finds it out of the way. */
export const holdMs = 2_000;
/** A lane's loop turns every 100 ms, by a timer, where it has a core. */
export const starvedMs = 1_000;

export function beginGuard(nowMs: number, { reads, turns }: GuardSeen): GuardState {
  return { mode: 'full', sinceMs: nowMs, readAtMs: Number.NEGATIVE_INFINITY, reads, turnedAtMs: nowMs, turns };
}

/** The next state; called every some 100 ms. */
export function nextGuard(before: GuardState, nowMs: number, seen: GuardSeen, settings: GuardSettings): GuardState {
  const turned = seen.turns.every((count, lane) => count !== before.turns[lane]);
  const state: GuardState = {
    ...before,
    reads: seen.reads,
    readAtMs: seen.reads === before.reads && seen.open === 0 ? before.readAtMs : nowMs,
    ...(turned ? { turnedAtMs: nowMs, turns: seen.turns } : {}),
  };
  const mode = seen.awaited ? 'full' : modeAfter(state, nowMs, settings);
  // What was starved before is no reason against what begins now.
  return mode === state.mode ? state : { ...state, mode, sinceMs: nowMs, turnedAtMs: nowMs, turns: seen.turns };
}

function modeAfter(
  { mode, sinceMs, readAtMs, turnedAtMs }: GuardState,
  nowMs: number,
  settings: GuardSettings,
): GuardMode {
  if (!settings.enabled || nowMs - readAtMs >= holdMs) return 'full';
  if (mode === 'breath') return nowMs - sinceMs >= breathMs(settings.floor) ? 'yielding' : 'breath';
  return mode === 'yielding' && nowMs - turnedAtMs >= starvedMs ? 'breath' : 'yielding';
}

/** After `starvedMs` without a turn, so much is `floor` of both together. */
export function breathMs(floor: number): number {
  return (starvedMs * floor) / (1 - floor);
}
