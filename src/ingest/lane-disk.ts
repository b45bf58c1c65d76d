/**
 * The lane's side of its disk queue: groups of transfers that are one thing to the caller. More transfers than the queue
 * holds (a fragmented store) wait here in order; their number is bounded by slots x extents of a slot.
 */

import { openDiskQueue } from '../platform/disk-queue.ts';
import type { DiskEngine, DiskQueue } from '../platform/types.ts';
import { laneColumns, laneHistograms } from '../telemetry/lane-columns.ts';
import type { CounterRow } from '../telemetry/shared-counters.ts';
import type { Transfer } from './protocol.ts';

const queueDepth = 64;

interface Group {
  left: number;
  errno: number;
  readonly startedMs: number;
  readonly bytes: number;
  readonly write: boolean;
  readonly done: (errno: number) => void;
}

interface Operation {
  readonly group: Group;
  readonly buffer: Uint8Array;
  readonly transfer: Transfer;
}

export class LaneDisk {
  readonly #queue: DiskQueue;
  readonly #descriptors: readonly number[];
  readonly #row: CounterRow;
  readonly #operations: (Operation | undefined)[] = Array.from({ length: queueDepth }, () => undefined);
  readonly #freeTokens: number[] = Array.from({ length: queueDepth }, (_, index) => index);
  readonly #waiting: Operation[] = [];
  #submitScheduled = false;

  constructor(options: { engine: 'auto' | DiskEngine; descriptors: readonly number[]; row: CounterRow }) {
    this.#descriptors = options.descriptors;
    this.#row = options.row;
    this.#queue = openDiskQueue({
      engine: options.engine,
      depth: queueDepth,
      onCompletions: (count, tokens, results) => {
        for (let i = 0; i < count; i += 1) this.#complete(tokens[i] as number, results[i] as number);
        this.#drain();
      },
    });
  }

  get engine(): DiskEngine {
    return this.#queue.engine;
  }

  /** Writes pieces of `buffer`; `done` gets 0 or the errno of the first one that failed. */
  write(buffer: Uint8Array, transfers: readonly Transfer[], done: (errno: number) => void): void {
    this.#start(buffer, transfers, true, done);
  }

  read(buffer: Uint8Array, transfers: readonly Transfer[], done: (errno: number) => void): void {
    this.#start(buffer, transfers, false, done);
  }

  /** How long the oldest transfer has been waited for. */
  waitMs(nowMs: number): number {
    let oldestMs = nowMs;
    for (const operation of this.#operations)
      if (operation !== undefined) oldestMs = Math.min(oldestMs, operation.group.startedMs);
    return nowMs - oldestMs;
  }

  close(): Promise<void> {
    return this.#queue.close();
  }

  #start(buffer: Uint8Array, transfers: readonly Transfer[], write: boolean, done: (errno: number) => void): void {
    const bytes = transfers.reduce((sum, transfer) => sum + transfer.length, 0);
    const group: Group = { left: transfers.length, errno: 0, startedMs: performance.now(), bytes, write, done };
    for (const transfer of transfers) this.#waiting.push({ group, buffer, transfer });
    this.#drain();
  }

  #drain(): void {
    while (this.#waiting.length > 0 && this.#freeTokens.length > 0) {
      const operation = this.#waiting.shift() as Operation;
      const token = this.#freeTokens.pop() as number;
      this.#operations[token] = operation;
      const { transfer, buffer, group } = operation;
      const request = {
        fd: this.#descriptors[transfer.store] as number,
        buffer,
        offset: transfer.slotOffset,
        length: transfer.length,
        fileOffset: transfer.fileOffset,
        token,
      };
      if (group.write) this.#queue.write(request);
      else this.#queue.read(request);
      this.#scheduleSubmit();
    }
  }

  /** Everything queued in one turn of the loop goes to the kernel by one system call. */
  #scheduleSubmit(): void {
    if (this.#submitScheduled) return;
    this.#submitScheduled = true;
    queueMicrotask(() => {
      this.#submitScheduled = false;
      this.#queue.submit();
    });
  }

  #complete(token: number, result: number): void {
    const operation = this.#operations[token] as Operation;
    this.#operations[token] = undefined;
    this.#freeTokens.push(token);
    const { group } = operation;
    if (result < 0 && group.errno === 0) group.errno = -result;
    group.left -= 1;
    if (group.left > 0) return;
    if (group.write) {
      this.#row.add(laneColumns.diskWrites, 1);
      if (group.errno === 0) this.#row.add(laneColumns.diskWriteBytes, group.bytes);
      else this.#row.add(laneColumns.writeErrors, 1);
      this.#row.observe(laneHistograms.diskWriteMs, performance.now() - group.startedMs);
    } else this.#row.add(laneColumns.diskReadBytes, group.bytes);
    group.done(group.errno);
  }
}
