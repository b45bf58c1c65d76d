/**
 * Which files other threads are reading, in shared memory: their extents are not given out again before.
 *
 *   row of a thread:  | cells in use, at most | file | file | 0 | ... |      64-bit cells, one writer a row
 *
 * A reader writes the id of the file into a cell, and looks after that whether the index still has the file. Who frees an
 * extent looks at the cells after the commit that took the file out of the index. So either the reader finds it gone, or it
 * is found reading: hazard pointers, with the index in the place of the pointer.
 */
import assert from 'node:assert/strict';
import type { FileId } from '../core/types.ts';

/** Distinct files that one thread reads at once; one more is read by the main thread. */
export const cellsOfThread = 16_384;
const rowCells = 1 + cellsOfThread;

/** Whether somebody outside of this thread reads a file. */
export interface OtherReads {
  isRead(file: FileId): boolean;
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
    const wanted = BigInt(file);
    for (let thread = 0; thread < this.#threads; thread += 1) {
      const row = thread * rowCells;
      const used = Number(Atomics.load(this.#cells, row));
      for (let cell = 1; cell <= used; cell += 1) if (Atomics.load(this.#cells, row + cell) === wanted) return true;
    }
    return false;
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
  readonly #free: number[] = [];
  #used = 0;

  constructor(buffer: SharedArrayBuffer, thread: number) {
    this.#cells = new BigInt64Array(buffer, thread * rowCells * BigInt64Array.BYTES_PER_ELEMENT, rowCells);
  }

  /** Files that are being read. */
  get size(): number {
    return this.#files.size;
  }

  /** False: there is no cell left. */
  enter(file: FileId): boolean {
    const reading = this.#files.get(file);
    if (reading !== undefined) {
      reading.readers += 1;
      return true;
    }
    const cell = this.#free.pop() ?? this.#newCell();
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
    this.#free.push(reading.cell);
  }

  #newCell(): number | undefined {
    if (this.#used === cellsOfThread) return undefined;
    this.#used += 1;
    // Before anything is in it: nobody who looks afterwards stops short of it.
    Atomics.store(this.#cells, 0, BigInt(this.#used));
    return this.#used;
  }
}
