/**
 * What lanes and the main thread share about limits of origins, without messages:
 *
 *   per origin  Int32  rowOf     which limit it falls under; 0: none                          (main writes)
 *   per limit   Int32  bytes     body bytes that may be granted now; below 0 is debt          (main adds, all subtract)
 *               Int32  view      largest grant of bytes; 0: bytes are not limited             (main writes)
 *               Int32  requests  requests that may be sent now                                (main adds, all subtract)
 *               Int32  counted   1: requests are limited                                      (main writes)
 *
 * The row is looked up at each grant, so that a limit which is set, changed or lifted holds for what is under way too.
 */
/** As many as `openOrigins` serves. */
export const limitedOrigins = 1024;
/** Row 0 stands for no limit. */
export const limitRows = 128;

export interface LimitBoard {
  readonly buffer: SharedArrayBuffer;
  readonly rowOf: Int32Array;
  readonly bytes: Int32Array;
  readonly view: Int32Array;
  readonly requests: Int32Array;
  readonly counted: Int32Array;
}

export function makeLimitBoard(): LimitBoard {
  return attachLimitBoard(new SharedArrayBuffer((limitedOrigins + 4 * limitRows) * 4));
}

export function attachLimitBoard(buffer: SharedArrayBuffer): LimitBoard {
  const column = (at: number): Int32Array => new Int32Array(buffer, (limitedOrigins + at * limitRows) * 4, limitRows);
  return {
    buffer,
    rowOf: new Int32Array(buffer, 0, limitedOrigins),
    bytes: column(0),
    view: column(1),
    requests: column(2),
    counted: column(3),
  };
}

/** How much of `wantedBytes` the limit of the origin lets through now; nothing is booked yet. 0: ask again later. */
export function allowedBytes(board: LimitBoard, row: number, wantedBytes: number): number {
  const view = Atomics.load(board.view, row);
  if (view === 0) return wantedBytes;
  return Atomics.load(board.bytes, row) > 0 ? Math.min(wantedBytes, view) : 0;
}

export function bookLimited(board: LimitBoard, row: number, bytes: number): void {
  if (Atomics.load(board.view, row) !== 0) Atomics.sub(board.bytes, row, bytes);
}

/** Whether one request may be sent now; then it is booked. */
export function admitRequest(board: LimitBoard, row: number): boolean {
  if (Atomics.load(board.counted, row) === 0) return true;
  // Two lanes that ask at once must not both have the last one.
  if (Atomics.sub(board.requests, row, 1) > 0) return true;
  Atomics.add(board.requests, row, 1);
  return false;
}
