/**
 * Which workers there are: a state machine over registrations, leases and what the operator says. Pure; the clock is passed
 * in, and must not go backwards.
 *
 *              register                   drain
 *   (unknown) ──────────▶ LIVE ─────────────────────────▶ DRAINING
 *       ▲                  ▲ │ ◀───────────────────────────  │
 *       │ remove           │ │ lease ends, goodbye   undrain │ lease ends, goodbye
 *       │                  │ ▼                               ▼
 *   any state     register └─── LOST (remembers whether it drains; so does the next registration)
 *
 * An epoch names one registration. It comes from one counter for all workers, so that it rises for each id even when the
 * id was forgotten between two registrations.
 */
import { PrimedError } from './errors.ts';
import type { OriginUse } from './origin-use.ts';
import type { ProtocolRange } from './protocol.ts';
import type { WorkerId } from './types.ts';
import type { WorkerUse } from './worker-use.ts';

/** Lost workers that are remembered; beyond it those that were heard last the longest ago are forgotten, drained ones last. */
export const mostLostKept = 1000;

/** What ids and zones may look like: host names and addresses do. They come into URLs, logs and tables. */
export const workerIdPattern = '^[A-Za-z0-9._:-]{1,100}$';
export const hostPattern = '^[A-Za-z0-9._:-]{1,255}$';

/** What a worker can hold, as it last said itself. */
export interface WorkerFigures {
  readonly capacityBytes: number;
  readonly freeBytes: number;
  readonly files: number;
  /** Absent: it does not say. */
  readonly use?: WorkerUse;
  /** How origins answer it, those that it asked of late; absent: it does not say. */
  readonly origins?: readonly OriginUse[];
}

/** Which versions of the cluster's protocol a worker understands: core/protocol. */
export interface WorkerProtocols {
  /** The oldest; a coordinator of version 3 compares it with its own. */
  readonly protocol: number;
  /** Absent: that one alone. */
  readonly newestProtocol?: number;
}

/** What a worker says of itself when it registers. */
export interface WorkerReport extends WorkerFigures, WorkerProtocols {
  /** What others reach it by, and its ports. */
  readonly host: string;
  readonly httpPort: number;
  readonly s3Port: number;
  /** Its ports speak TLS. */
  readonly tls?: boolean;
  readonly zone?: string;
  /** Of primed. */
  readonly version: string;
}

export const workerStates = ['LIVE', 'DRAINING', 'LOST'] as const;
export type WorkerState = (typeof workerStates)[number];

export interface WorkerRow extends WorkerReport {
  readonly id: WorkerId;
  /** A random UUID that the process made at its start. */
  readonly instance: string;
  readonly epoch: number;
  readonly state: WorkerState;
  /** It keeps and serves what it has, and gets no new segments; over restarts, and while it is lost. */
  readonly drains: boolean;
  /** Of the clock that is passed in, as the two that follow. */
  readonly leaseEndsMs: number;
  readonly registeredAtMs: number;
  readonly lastSeenMs: number;
}

export interface MembersState {
  /** The highest one given so far, to whomever. */
  readonly lastEpoch: number;
  readonly workers: ReadonlyMap<WorkerId, WorkerRow>;
}

export const noMembers: MembersState = { lastEpoch: 0, workers: new Map() };

/** The registration that a message speaks for. */
interface Spoken {
  readonly id: WorkerId;
  readonly instance: string;
  readonly epoch: number;
}

export type MembersEvent =
  | {
      readonly type: 'register';
      readonly id: WorkerId;
      readonly instance: string;
      readonly report: WorkerReport;
      readonly leaseMs: number;
    }
  | ({ readonly type: 'renew'; readonly figures: WorkerFigures; readonly leaseMs: number } & Spoken)
  | ({ readonly type: 'goodbye' } & Spoken)
  /** `unheardMs`: how long nobody listened since the last tick; time that is not counted against anyone's lease. */
  | { readonly type: 'tick'; readonly unheardMs: number }
  | { readonly type: 'drain' | 'undrain' | 'remove'; readonly id: WorkerId };

/**
 * The state after an event; the same object when nothing changed.
 *
 * Throws, and nothing has changed: WORKER_CONFLICT for a registration of an id that another address holds; WORKER_UNKNOWN
 * for an id that is not known; WORKER_STALE for a renewal or a goodbye of a registration that does not hold any more.
 */
export function nextMembers(state: MembersState, event: MembersEvent, nowMs: number): MembersState {
  switch (event.type) {
    case 'register':
      return register(state, event, nowMs);
    case 'renew':
      return withRows(state, [
        { ...spokenFor(state, event, nowMs), ...event.figures, leaseEndsMs: nowMs + event.leaseMs, lastSeenMs: nowMs },
      ]);
    case 'goodbye':
      return withRows(state, [{ ...lost(spokenFor(state, event, nowMs), nowMs), lastSeenMs: nowMs }]);
    case 'tick':
      return tick(state, event.unheardMs, nowMs);
    case 'drain':
    case 'undrain': {
      const row = known(state, event.id);
      const drains = event.type === 'drain';
      if (row.drains === drains) return state;
      return withRows(state, [{ ...row, drains, state: row.state === 'LOST' ? 'LOST' : leasedState(drains) }]);
    }
    case 'remove': {
      const { id } = known(state, event.id);
      return { ...state, workers: new Map([...state.workers].filter(([other]) => other !== id)) };
    }
  }
}

export function protocolsOf({ protocol, newestProtocol = protocol }: WorkerProtocols): ProtocolRange {
  return { oldest: protocol, newest: newestProtocol };
}

/** Whether a worker is a member: it can be asked for what it has. */
export function isMember({ state }: WorkerRow): boolean {
  return state !== 'LOST';
}

function register(
  state: MembersState,
  { id, instance, report, leaseMs }: Extract<MembersEvent, { type: 'register' }>,
  nowMs: number,
): MembersState {
  const before = state.workers.get(id);
  if (before !== undefined && holds(before, nowMs) && !sameAddress(before, report)) {
    throw new PrimedError(
      'WORKER_CONFLICT',
      `Worker '${id}' at ${addressOf(report)} is refused: ${addressOf(before)} is registered under the same id, and its lease lasts for another ${Math.ceil((before.leaseEndsMs - nowMs) / 1000)} s. Give each worker an id of its own (cluster.id, or --host).`,
      { id, address: addressOf(report), holder: addressOf(before) },
    );
  }
  // An address is bound by one process: whoever was registered there before has ended.
  const gone = [...state.workers.values()].filter((row) => row.id !== id && isMember(row) && sameAddress(row, report));
  const drains = before?.drains ?? false;
  const epoch = state.lastEpoch + 1;
  const row: WorkerRow = {
    ...report,
    id,
    instance,
    epoch,
    drains,
    state: leasedState(drains),
    leaseEndsMs: nowMs + leaseMs,
    registeredAtMs: nowMs,
    lastSeenMs: nowMs,
  };
  return withRows({ ...state, lastEpoch: epoch }, [...gone.map((other) => lost(other, nowMs)), row]);
}

function tick(state: MembersState, unheardMs: number, nowMs: number): MembersState {
  const members = [...state.workers.values()].filter(isMember);
  const rows = members.map((row) => (unheardMs > 0 ? { ...row, leaseEndsMs: row.leaseEndsMs + unheardMs } : row));
  const changed = rows.filter((row, index) => row !== members[index] || !holds(row, nowMs));
  if (changed.length === 0) return state;
  return withRows(
    state,
    changed.map((row) => (holds(row, nowMs) ? row : lost(row, nowMs))),
  );
}

function known({ workers }: MembersState, id: WorkerId): WorkerRow {
  const row = workers.get(id);
  if (row !== undefined) return row;
  throw new PrimedError(
    'WORKER_UNKNOWN',
    `Worker '${id}' is not known here; 'primed worker list' shows those that are.`,
    { id },
  );
}

/** The registration that a message speaks for, if it still holds. */
function spokenFor(state: MembersState, { id, instance, epoch }: Spoken, nowMs: number): WorkerRow {
  const row = known(state, id);
  if (row.instance === instance && row.epoch === epoch && holds(row, nowMs)) return row;
  const why =
    row.epoch === epoch && row.instance === instance
      ? 'its lease has ended'
      : `the registration that counts is that of epoch ${row.epoch}, at ${addressOf(row)}`;
  throw new PrimedError('WORKER_STALE', `Epoch ${epoch} of worker '${id}' does not hold any more: ${why}.`, {
    id,
    epoch,
    current: row.epoch,
  });
}

/** A lease that has ended does so at once, not at the next tick. */
function holds(row: WorkerRow, nowMs: number): boolean {
  return isMember(row) && row.leaseEndsMs > nowMs;
}

function lost(row: WorkerRow, nowMs: number): WorkerRow {
  return { ...row, state: 'LOST', leaseEndsMs: Math.min(row.leaseEndsMs, nowMs) };
}

function leasedState(drains: boolean): WorkerState {
  return drains ? 'DRAINING' : 'LIVE';
}

export function sameAddress(
  a: Pick<WorkerReport, 'host' | 'httpPort'>,
  b: Pick<WorkerReport, 'host' | 'httpPort'>,
): boolean {
  return a.host === b.host && a.httpPort === b.httpPort;
}

/** `host:port`, with brackets around an IPv6 address. */
export function addressOf({ host, httpPort }: { readonly host: string; readonly httpPort: number }): string {
  return `${host.includes(':') ? `[${host}]` : host}:${httpPort}`;
}

function withRows(state: MembersState, rows: readonly WorkerRow[]): MembersState {
  const workers = new Map(state.workers);
  for (const row of rows) workers.set(row.id, row);
  const gone = [...workers.values()].filter((row) => !isMember(row));
  if (gone.length > mostLostKept) {
    gone.sort((a, b) => Number(a.drains) - Number(b.drains) || a.lastSeenMs - b.lastSeenMs);
    for (const { id } of gone.slice(0, gone.length - mostLostKept)) workers.delete(id);
  }
  return { ...state, workers };
}
