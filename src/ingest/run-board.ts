/**
 * What lanes and the main thread share about runs, without messages: the limit on bytes, and bytes received.
 *
 *   per run       Int32   tokens     bytes that may be granted now; below 0 is debt      (main adds, lanes subtract)
 *                 Int32   viewBytes  largest grant while limited; 0: not limited          (main writes)
 *                 Int32   weight     share of sockets, beside other runs                   (main writes)
 *   per run, lane Float64 received   body bytes from origins since the run got this row   (that lane writes)
 *                 Float64 copied     body bytes from other workers                        (that lane writes)
 *   per lane, slot  Float64 five cells of the unit in it (slotCells)                        (that lane writes)
 *   per run, lane, state
 *                 Float64 waited     ms of slots, by what they waited for (core/limit-account)  (that lane writes)
 */
import { laneStates } from '../core/limit-account.ts';
import type { LimitState } from '../core/limit-causes.ts';
import { allowedBytes, bookLimited, type LimitBoard } from './limit-board.ts';

/**
 * More than all coordinators of a cluster give a worker at once: `job.max_active` is at most 64 for each of them, a job that
 * repairs files has a second run, and readers have one.
 */
export const runRows = 512;
const int32Bytes = runRows * 3 * 4;
const states = laneStates.length;
/** Of one run in one lane. */
const laneBytes = (2 + states) * 8;
/** More than this hides no more latency on any disk we met. */
export const mostSlots = 64;
/** Of a unit that is received: its run, counted from 1; its id; bytes in all and so far; requests, below 0 those to another worker. */
const slotCells = 5;
const [runCell, idCell, bytesCell, receivedCell, requestsCell] = [0, 1, 2, 3, 4];
/** Of all slots of a lane. */
const slotsBytes = mostSlots * slotCells * 8;

export interface RunBoard {
  readonly buffer: SharedArrayBuffer;
  readonly tokens: Int32Array;
  readonly viewBytes: Int32Array;
  readonly weights: Int32Array;
  /** received[run * lanes + lane] */
  readonly received: Float64Array;
  /** The same for what comes from other workers. */
  readonly copied: Float64Array;
  /** slots[(lane * mostSlots + slot) * slotCells + cell] */
  readonly slots: Float64Array;
  /** waited[(run * lanes + lane) * states + state] */
  readonly waited: Float64Array;
  readonly lanes: number;
}

export function makeRunBoard(lanes: number): RunBoard {
  return attachRunBoard(new SharedArrayBuffer(int32Bytes + lanes * (runRows * laneBytes + slotsBytes)));
}

export function attachRunBoard(buffer: SharedArrayBuffer): RunBoard {
  const lanes = (buffer.byteLength - int32Bytes) / (runRows * laneBytes + slotsBytes);
  return {
    buffer,
    tokens: new Int32Array(buffer, 0, runRows),
    viewBytes: new Int32Array(buffer, runRows * 4, runRows),
    weights: new Int32Array(buffer, runRows * 8, runRows),
    received: new Float64Array(buffer, int32Bytes, runRows * lanes),
    copied: new Float64Array(buffer, int32Bytes + runRows * lanes * 8, runRows * lanes),
    waited: new Float64Array(buffer, int32Bytes + runRows * lanes * 16, runRows * lanes * states),
    slots: new Float64Array(buffer, int32Bytes + lanes * runRows * laneBytes, lanes * mostSlots * slotCells),
    lanes,
  };
}

/**
 * How much a lane may read for a run now; 0: ask again later. What is granted is spent: were it booked when it arrives,
 * every waiting socket of every lane would be granted the same tokens.
 */
export function grantBytes(board: RunBoard, run: number, wantedBytes: number): number {
  const viewBytes = Atomics.load(board.viewBytes, run);
  if (viewBytes === 0) return wantedBytes;
  if (Atomics.load(board.tokens, run) <= 0) return 0;
  const granted = Math.min(wantedBytes, viewBytes);
  Atomics.sub(board.tokens, run, granted);
  return granted;
}

/** The same within the limit of the origin too: the smaller of both counts. */
export function grantOf(
  boards: { readonly runs: RunBoard; readonly limits: LimitBoard },
  request: { readonly run: number; readonly originIndex: number },
  wantedBytes: number,
): number {
  const row = Atomics.load(boards.limits.rowOf, request.originIndex);
  if (row === 0) return grantBytes(boards.runs, request.run, wantedBytes);
  const allowed = allowedBytes(boards.limits, row, wantedBytes);
  const granted = allowed === 0 ? 0 : grantBytes(boards.runs, request.run, allowed);
  if (granted > 0) bookLimited(boards.limits, row, granted);
  return granted;
}

/** Called by a lane for every piece of a body that has landed. `from`: `received` or `copied` of the board. */
export function bookBytes(board: RunBoard, from: Float64Array, run: number, lane: number, bytes: number): void {
  const row = run * board.lanes + lane;
  from[row] = (from[row] as number) + bytes;
}

/** Over all lanes; `from`: `received` or `copied` of the board. */
export function bytesOfRun(board: RunBoard, from: Float64Array, run: number): number {
  let sum = 0;
  for (let lane = 0; lane < board.lanes; lane += 1) sum += from[run * board.lanes + lane] as number;
  return sum;
}

/** What is received into a slot. */
export interface SlotUnit {
  readonly run: number;
  readonly id: number;
  readonly bytes: number;
  /** Requests that it is received by, at most one a part. */
  readonly requests: number;
  /** From another worker. */
  readonly copied: boolean;
}

/** Called by a lane. Gives where `bookSlotBytes` and `leaveSlot` find the slot. */
export function enterSlot(board: RunBoard, lane: number, slot: number, unit: SlotUnit): number {
  const at = (lane * mostSlots + slot) * slotCells;
  board.slots[at + idCell] = unit.id;
  board.slots[at + bytesCell] = unit.bytes;
  board.slots[at + receivedCell] = 0;
  board.slots[at + requestsCell] = unit.copied ? -unit.requests : unit.requests;
  board.slots[at + runCell] = unit.run + 1;
  return at;
}

export function bookSlotBytes(board: RunBoard, at: number, bytes: number): void {
  board.slots[at + receivedCell] = (board.slots[at + receivedCell] as number) + bytes;
}

export function leaveSlot(board: RunBoard, at: number): void {
  board.slots[at + runCell] = 0;
}

/** Each unit of the run that is received from an origin, over all lanes; of one with several requests, what each has on average. */
export function eachFetch(
  { slots }: RunBoard,
  run: number,
  visit: (unit: { id: number; requests: number; receivedBytes: number; leftBytes: number }) => void,
): void {
  for (let at = 0; at < slots.length; at += slotCells) {
    const requests = slots[at + requestsCell] as number;
    if (slots[at + runCell] !== run + 1 || requests <= 0) continue;
    const receivedBytes = slots[at + receivedCell] as number;
    const leftBytes = Math.max(0, (slots[at + bytesCell] as number) - receivedBytes) / requests;
    visit({ id: slots[at + idCell] as number, requests, receivedBytes, leftBytes });
  }
}

/** Called by a lane: its slots of the run have waited so long, one element a state. */
export function bookWaits(board: RunBoard, run: number, lane: number, slotMs: Float64Array): void {
  const at = (run * board.lanes + lane) * states;
  for (let state = 0; state < states; state += 1) {
    board.waited[at + state] = (board.waited[at + state] as number) + (slotMs[state] as number);
  }
}

/** Slot time of the run by state, over all lanes, since it got this row. */
export function waitsOfRun(board: RunBoard, run: number): Partial<Record<LimitState, number>> {
  const sums: Partial<Record<LimitState, number>> = {};
  for (let lane = 0; lane < board.lanes; lane += 1) {
    const at = (run * board.lanes + lane) * states;
    laneStates.forEach((state, index) => {
      const slotMs = board.waited[at + index] as number;
      if (slotMs > 0) sums[state] = (sums[state] ?? 0) + slotMs;
    });
  }
  return sums;
}

/** Before a row is used for another run. No lane may hold units of the old one. */
export function clearRow(board: RunBoard, run: number): void {
  Atomics.store(board.tokens, run, 0);
  Atomics.store(board.viewBytes, run, 0);
  for (const column of [board.received, board.copied]) column.fill(0, run * board.lanes, (run + 1) * board.lanes);
  board.waited.fill(0, run * board.lanes * states, (run + 1) * board.lanes * states);
}
