/**
 * Which files other threads are reading, in shared memory: their extents are not given out again before.
 *
 *   row of a thread:  | cuts | file | -file | 0 | ... 16 cells | file | 0 | ... | ... 1,024 buckets      64-bit cells
 *
 * A reader writes the id of the file into a cell, and looks after that whether the index still has the file. Who frees an
 * extent looks at the cells after the commit that took the file out of the index. So either the reader finds it gone, or it
 * is found reading: hazard pointers, with the index in the place of the pointer.
 *
 * A thread writes its own row. But who frees may turn a file into its negative: the thread is to end the reads of it, and finds
 * those by the number of cuts, which is raised after each.
 *
 * The id says the bucket, so that whoever evicts thousands of files looks at 16 cells for each, however many are read.
 */
import assert from 'node:assert/strict';
import type { FileId } from '../core/types.ts';

const cutsCell = 0;
const firstCell = 1;
const bucketsOfThread = 1024;
const cellsOfBucket = 16;
/** Distinct files that one thread reads at once, at most: one whose bucket is full is read by the main thread. */
export const cellsOfThread = bucketsOfThread * cellsOfBucket;
const rowCells = firstCell + cellsOfThread;

/** Whether somebody outside of this thread reads a file. */
export interface OtherReads {
  isRead(file: FileId): boolean;
  /** Who reads it is to end that soon. Said again as long as somebody does. */
  cut(file: FileId): void;
}

/** All rows, as the thread that frees sees them. */
export class SharedReads implements OtherReads {
  readonly buffer: SharedArrayBuffer;
  readonly #cells: BigInt64Array;
  readonly #threads: number;

  constructor(threads: number) {
    this.#threads = threads;
    this.buffer = new SharedArrayBuffer(threads * rowCells * BigInt64Array.BYTES_PER_ELEMENT);
    this.#cells = new BigInt64Array(this.buffer);
  }

  isRead(file: FileId): boolean {
    for (let thread = 0; thread < this.#threads; thread += 1) if (this.#cellOf(thread, file) !== undefined) return true;
    return false;
  }

  cut(file: FileId): void {
    for (let thread = 0; thread < this.#threads; thread += 1) {
      const cell = this.#cellOf(thread, file);
      if (cell === undefined) continue;
      // The thread may leave it at this moment, and have another file in the cell.
      const was = Atomics.compareExchange(this.#cells, cell, BigInt(file), BigInt(-file));
      if (was === BigInt(file) || was === BigInt(-file)) Atomics.add(this.#cells, thread * rowCells + cutsCell, 1n);
    }
  }

  #cellOf(thread: number, file: FileId): number | undefined {
    const [wanted, cut] = [BigInt(file), BigInt(-file)];
    const first = thread * rowCells + bucketOf(file);
    for (let cell = first; cell < first + cellsOfBucket; cell += 1) {
      const value = Atomics.load(this.#cells, cell);
      if (value === wanted || value === cut) return cell;
    }
    return undefined;
  }

  /** Of a thread that is gone. */
  clear(thread: number): void {
    const row = thread * rowCells;
    for (let cell = 0; cell < rowCells; cell += 1) Atomics.store(this.#cells, row + cell, 0n);
  }
}

/** The row of one thread. */
export class ThreadReads {
  readonly #cells: BigInt64Array;
  readonly #files = new Map<FileId, { cell: number; readers: number }>();
  #seenCuts = 0n;

  constructor(buffer: SharedArrayBuffer, thread: number) {
    this.#cells = new BigInt64Array(buffer, thread * rowCells * BigInt64Array.BYTES_PER_ELEMENT, rowCells);
  }

  /** Files that are being read. */
  get size(): number {
    return this.#files.size;
  }

  /** False: there is no cell left for it. */
  enter(file: FileId): boolean {
    const reading = this.#files.get(file);
    if (reading !== undefined) {
      reading.readers += 1;
      return true;
    }
    const cell = this.#freeCell(file);
    if (cell === undefined) return false;
    Atomics.store(this.#cells, cell, BigInt(file));
    this.#files.set(file, { cell, readers: 1 });
    return true;
  }

  leave(file: FileId): void {
    const reading = this.#files.get(file);
    assert(reading !== undefined, 'who leaves has entered');
    reading.readers -= 1;
    if (reading.readers > 0) return;
    Atomics.store(this.#cells, reading.cell, 0n);
    this.#files.delete(file);
  }

  /** Files whose reads are to end, of which somebody has said so since the last call. */
  cuts(): FileId[] {
    const cuts = Atomics.load(this.#cells, cutsCell);
    if (cuts === this.#seenCuts) return [];
    this.#seenCuts = cuts;
    return [...this.#files].filter(([, { cell }]) => Atomics.load(this.#cells, cell) < 0n).map(([file]) => file);
  }

  #freeCell(file: FileId): number | undefined {
    const first = bucketOf(file);
    for (let cell = first; cell < first + cellsOfBucket; cell += 1) if (this.#cells[cell] === 0n) return cell;
    return undefined;
  }
}

/** The first cell of its bucket. Ids are given in turn: what was loaded together is spread evenly. */
function bucketOf(file: FileId): number {
  return firstCell + (file % bucketsOfThread) * cellsOfBucket;
}
