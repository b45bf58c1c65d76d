/**
 * platform: the only door to the operating system and to native/.
 *
 * Nothing here decides anything. A lane owns one DiskQueue: it submits, and the queue's reaper thread hands
 * completions back to the lane's event loop in batches. Nobody else waits here.
 */

/** `io_uring` where the kernel allows it, else one thread doing pwrite/pread. */
export type DiskEngine = 'io_uring' | 'threads';

export interface DiskQueueOptions {
  /** `auto` probes io_uring and falls back to threads; a forced engine that is not there is an error. */
  readonly engine: 'auto' | DiskEngine;
  /** Operations in flight at most; submitting more is a programmer's mistake (assert). */
  readonly depth: number;
  /** Called on the event loop of the thread that made the queue; results[i] is bytes done, or -errno. */
  readonly onCompletions: (count: number, tokens: Int32Array, results: Int32Array) => void;
}

/**
 * Asynchronous reads and writes of one thread. Memory must stay alive until its completion was delivered.
 * Short transfers are continued inside the queue: a result is the whole length, or an error.
 */
export interface DiskQueue {
  readonly engine: DiskEngine;
  /** `buffer` is a view over (shared) memory; with O_DIRECT address, length and file offset are aligned. */
  write(op: {
    fd: number;
    buffer: Uint8Array;
    offset: number;
    length: number;
    fileOffset: number;
    token: number;
  }): void;
  read(op: { fd: number; buffer: Uint8Array; offset: number; length: number; fileOffset: number; token: number }): void;
  /** Tells the kernel about everything queued since the last call: one system call a batch. */
  submit(): void;
  readonly inFlight: number;
  /** Resolves when nothing is in flight and the reaper thread has ended. */
  close(): Promise<void>;
}

/** Page-aligned slots in one SharedArrayBuffer. */
export interface Slots {
  readonly buffer: SharedArrayBuffer;
  readonly slotBytes: number;
  readonly slotCount: number;
  /** The whole of slot `index`; its address is a multiple of 4096. The same view object every time. */
  view(index: number): Uint8Array;
}

export interface OpenedFile {
  readonly fd: number;
  /** False where the file system does not support O_DIRECT (tmpfs); the caller warns. */
  readonly direct: boolean;
}
