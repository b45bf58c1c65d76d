/**
 * DiskQueue over the engines of native/. Operations are written into memory that native code reads, one call a
 * batch; each operation in flight has an entry, which also keeps its buffer alive:
 *
 *   entry      0        1        2      ...  depth-1
 *   ops     | kind fd address length fileOffset | ...        Float64Array, read at submit()
 *   tokens  |  what the caller will be told     | ...
 *   buffers |  the view, until delivered        | ...
 *   free    |  a stack of unused entries        |
 */
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { PrimedError } from '../core/errors.ts';
import { type Addon, addon, type QueueHandle } from './addon.ts';
import { addressOf } from './address.ts';
import { errnoName } from './errno.ts';
import type { DiskEngine, DiskQueue, DiskQueueOptions } from './types.ts';

/** The largest `depth`; as in native/src/disk_queue.h. */
export const maxQueueDepth = 4096;
/** The largest transfer of one operation; as in native/src/disk_queue.h. */
export const maxTransferBytes = 2 ** 30;

const opWords = 5;
const kindRead = 0;
const kindWrite = 1;

type Operation = Parameters<DiskQueue['write']>[0];

/**
 * A queue for the calling thread. It keeps the process alive only while something is in flight; a thread that ends
 * with operations in flight waits for them. At the end of a file a read is -ENODATA.
 * @throws PrimedError STORE_IO when the forced engine is not available, NATIVE_MISSING
 */
export function openDiskQueue(options: DiskQueueOptions): DiskQueue {
  const { depth, engine } = options;
  assert(
    Number.isInteger(depth) && depth > 0 && depth <= maxQueueDepth,
    `a depth of ${depth} is not in 1..${maxQueueDepth}`,
  );
  const native = addon();
  if (engine !== 'auto') return new NativeDiskQueue(native, engine, options);
  try {
    return new NativeDiskQueue(native, 'io_uring', options);
  } catch (error) {
    if (!(error instanceof PrimedError) || error.code !== 'STORE_IO') throw error;
    return new NativeDiskQueue(native, 'threads', options);
  }
}

/** What `auto` chooses here and why, for the log line at the start. */
export async function probeDiskEngine(): Promise<{ readonly engine: DiskEngine; readonly reason?: string }> {
  try {
    await new NativeDiskQueue(addon(), 'io_uring', { depth: 1, onCompletions: () => {} }).close();
    return { engine: 'io_uring' };
  } catch (error) {
    if (!(error instanceof PrimedError) || error.code !== 'STORE_IO') throw error;
    return { engine: 'threads', reason: error.message };
  }
}

class NativeDiskQueue implements DiskQueue {
  readonly engine: DiskEngine;
  readonly #native: Addon;
  readonly #handle: QueueHandle;
  readonly #depth: number;
  readonly #onCompletions: DiskQueueOptions['onCompletions'];
  readonly #ops: Float64Array;
  /** Three parts of one array: entries to submit, entries completed, their results. */
  readonly #queued: Int32Array;
  readonly #completed: Int32Array;
  readonly #results: Int32Array;
  readonly #tokens: Int32Array;
  readonly #buffers: (Uint8Array | undefined)[];
  readonly #free: Int32Array;
  #freeCount: number;
  #queuedCount = 0;
  #closed: PromiseWithResolvers | undefined;

  constructor(native: Addon, engine: DiskEngine, options: Pick<DiskQueueOptions, 'depth' | 'onCompletions'>) {
    const { depth } = options;
    const ints = new Int32Array(3 * depth);
    this.engine = engine;
    this.#native = native;
    this.#depth = depth;
    this.#onCompletions = options.onCompletions;
    this.#ops = new Float64Array(depth * opWords);
    this.#queued = ints.subarray(0, depth);
    this.#completed = ints.subarray(depth, 2 * depth);
    this.#results = ints.subarray(2 * depth);
    this.#tokens = new Int32Array(depth);
    this.#buffers = Array.from({ length: depth }, () => undefined);
    this.#free = Int32Array.from({ length: depth }, (_, index) => depth - 1 - index);
    this.#freeCount = depth;
    const handle = native.diskQueueOpen(engine, depth, this.#ops, ints, (count) => this.#complete(count));
    if (typeof handle === 'number') throw engineRefused(engine, -handle);
    this.#handle = handle;
  }

  get inFlight(): number {
    return this.#depth - this.#freeCount;
  }

  write(op: Operation): void {
    this.#queue(kindWrite, op);
  }

  read(op: Operation): void {
    this.#queue(kindRead, op);
  }

  submit(): void {
    if (this.#queuedCount === 0) return;
    const count = this.#queuedCount;
    this.#queuedCount = 0;
    this.#native.diskQueueSubmit(this.#handle, count);
  }

  close(): Promise<void> {
    if (this.#closed === undefined) {
      this.submit();
      this.#closed = withResolvers();
      this.#native.diskQueueClose(this.#handle);
    }
    return this.#closed.promise;
  }

  #queue(kind: number, op: Operation): void {
    const { buffer, offset, length, fileOffset } = op;
    if (this.#closed !== undefined) assert.fail('the disk queue is closed');
    if (this.#freeCount === 0) assert.fail(`more operations than the depth of ${this.#depth}`);
    if (!(offset >= 0 && length >= 0 && offset + length <= buffer.byteLength && length <= maxTransferBytes)) {
      assert.fail(
        `[${offset}, ${offset + length}) reaches outside a view of ${buffer.byteLength} bytes, or is too long`,
      );
    }
    if (!(Number.isSafeInteger(fileOffset) && fileOffset >= 0)) assert.fail(`${fileOffset} is not a file offset`);
    const entry = this.#free[--this.#freeCount]!;
    const at = entry * opWords;
    this.#ops[at] = kind;
    this.#ops[at + 1] = op.fd;
    this.#ops[at + 2] = addressOf(buffer) + offset;
    this.#ops[at + 3] = length;
    this.#ops[at + 4] = fileOffset;
    this.#tokens[entry] = op.token;
    this.#buffers[entry] = buffer;
    this.#queued[this.#queuedCount++] = entry;
  }

  #complete(count: number): void {
    if (count < 0) {
      this.#closed?.resolve();
      return;
    }
    // In place: entries become the caller's tokens. They are free before the caller hears of them, so that it may
    // queue the next operations from inside its callback.
    for (let i = 0; i < count; i++) {
      const entry = this.#completed[i]!;
      this.#buffers[entry] = undefined;
      this.#free[this.#freeCount++] = entry;
      this.#completed[i] = this.#tokens[entry]!;
    }
    this.#onCompletions(count, this.#completed, this.#results);
  }
}

// Promise.withResolvers came with Node 22.
interface PromiseWithResolvers {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
}

function withResolvers(): PromiseWithResolvers {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}

function engineRefused(engine: DiskEngine, errno: number): PrimedError {
  const name = errnoName(errno);
  const forbidden = errno === constants.errno.EPERM || errno === constants.errno.EACCES;
  const why = forbidden
    ? 'the kernel forbids it (sysctl kernel.io_uring_disabled, or the seccomp profile of the container)'
    : errno === constants.errno.ENOSYS
      ? 'this kernel does not have it (Linux 5.6 or newer is needed)'
      : `the kernel answered ${name}`;
  return new PrimedError(
    'STORE_IO',
    `The disk engine ${engine} cannot be used: ${why}, ${name}. Set the engine to auto or threads.`,
    { engine, errno: name },
  );
}
