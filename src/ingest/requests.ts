/** What is known of the requests to origins that a run has under way, for whoever wants to know when it will have ended. */
import { type Flow, lookAtFlows } from '../core/flows.ts';
import { type InTurn, inTurn } from '../core/in-turn.ts';
import type { Run } from './run.ts';
import { bytesOfRun, eachFetch, type RunBoard } from './run-board.ts';

/** Called some times a second. */
export function lookAtRequests(board: RunBoard, run: Run): void {
  const flows = (): Flow[] => {
    const seen: Flow[] = [];
    eachFetch(board, run.row, ({ id, requests, receivedBytes, leftBytes }) => {
      // What several receive together says nothing of one, and what has come is only written.
      if (requests === 1 && leftBytes > 0) seen.push({ id, receivedBytes });
    });
    return seen;
  };
  run.flows = lookAtFlows(run.flows, performance.now(), flows, bytesOfRun(board, board.received, run.row));
}

export function turnOf(board: RunBoard, { row, fetches }: Run, partBytes: number): InTurn {
  const underWay: number[] = [];
  eachFetch(board, row, ({ leftBytes }) => underWay.push(leftBytes));
  return inTurn(underWay, fetches.waitingBytes(partBytes));
}
