/**
 * What lanes and the main thread share about runs, without messages: the limit on bytes, and bytes received.
 *
 *   per run       Int32   tokens     bytes that may be granted now; below 0 is debt      (main adds, lanes subtract)
 *                 Int32   viewBytes  largest grant while limited; 0: not limited          (main writes)
 *   per run, lane Float64 received   body bytes since the run got this row                (that lane writes)
 */
/** Twice what may run at once (`job.max_active` is at most 64): a job that repairs files has a second run. */
export const runRows = 128;

export interface RunBoard {
  readonly buffer: SharedArrayBuffer;
  readonly tokens: Int32Array;
  readonly viewBytes: Int32Array;
  /** received[run * lanes + lane] */
  readonly received: Float64Array;
  readonly lanes: number;
}

export function makeRunBoard(lanes: number): RunBoard {
  return attachRunBoard(new SharedArrayBuffer(runRows * 8 + runRows * lanes * 8));
}

export function attachRunBoard(buffer: SharedArrayBuffer): RunBoard {
  const received = new Float64Array(buffer, runRows * 8);
  return {
    buffer,
    tokens: new Int32Array(buffer, 0, runRows),
    viewBytes: new Int32Array(buffer, runRows * 4, runRows),
    received,
    lanes: received.length / runRows,
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

/** Called by a lane for every piece of a body that has landed. */
export function bookReceived(board: RunBoard, run: number, lane: number, bytes: number): void {
  const row = run * board.lanes + lane;
  board.received[row] = (board.received[row] as number) + bytes;
}

export function receivedBytes(board: RunBoard, run: number): number {
  let sum = 0;
  for (let lane = 0; lane < board.lanes; lane += 1) sum += board.received[run * board.lanes + lane] as number;
  return sum;
}

/** Before a row is used for another run. No lane may hold units of the old one. */
export function clearRow(board: RunBoard, run: number): void {
  Atomics.store(board.tokens, run, 0);
  Atomics.store(board.viewBytes, run, 0);
  for (let lane = 0; lane < board.lanes; lane += 1) board.received[run * board.lanes + lane] = 0;
}
