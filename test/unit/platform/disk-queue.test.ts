import { closeSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { KiB, MiB } from '../../../src/core/units.ts';
import {
  allocateFile,
  type DiskEngine,
  type DiskQueue,
  errnoName,
  makeAligned,
  makeSlots,
  openDirect,
  openDiskQueue,
  probeDiskEngine,
} from '../../../src/platform/index.ts';
import { makeFolder } from './folder.ts';

const disk = makeFolder('/var/tmp');
const memory = makeFolder('/dev/shm');
const opened: number[] = [];
afterEach(() => {
  for (const fd of opened.splice(0)) closeSync(fd);
});

async function newFile(folder: string, bytes: number): Promise<number> {
  const path = join(folder, 'store');
  writeFileSync(path, '');
  const { fd } = openDirect(path, { write: true });
  opened.push(fd);
  await allocateFile(fd, bytes);
  return fd;
}

/** A queue with a promise for each operation; tokens are counted up from a number that is no index. */
class Awaited {
  readonly queue: DiskQueue;
  readonly #waiting = new Map<number, (result: number) => void>();
  #token = 1_000_000;
  batches = 0;

  constructor(engine: 'auto' | DiskEngine, depth: number) {
    this.queue = openDiskQueue({
      engine,
      depth,
      onCompletions: (count, tokens, results) => {
        this.batches++;
        for (let i = 0; i < count; i++) {
          const done = this.#waiting.get(tokens[i]!);
          this.#waiting.delete(tokens[i]!);
          done!(results[i]!);
        }
      },
    });
  }

  start(
    kind: 'read' | 'write',
    fd: number,
    buffer: Uint8Array,
    fileOffset: number,
    offset = 0,
    length = buffer.length,
  ) {
    const token = this.#token++;
    const done = new Promise<number>((resolve) => this.#waiting.set(token, resolve));
    this.queue[kind]({ fd, buffer, offset, length, fileOffset, token });
    return done;
  }

  async one(...args: Parameters<Awaited['start']>): Promise<number> {
    const done = this.start(...args);
    this.queue.submit();
    return await done;
  }
}

const engines: readonly DiskEngine[] =
  (await probeDiskEngine()).engine === 'io_uring' ? ['io_uring', 'threads'] : ['threads'];

describe.each(engines)('the disk queue by %s', (engine) => {
  it.each([
    ['a disk, directly', disk],
    ['tmpfs', memory],
  ])('writes and reads back on %s', async (_, folder) => {
    const [depth, pieceBytes, pieces] = [16, 64 * KiB, 200];
    const fd = await newFile(folder, pieceBytes * pieces);
    const slots = makeSlots({ slotBytes: pieceBytes, slotCount: depth });
    const disks = new Awaited(engine, depth);
    expect(disks.queue.engine).toBe(engine);
    // Every piece goes to a place that is not its number, through whichever slot comes free.
    const placeOf = (piece: number): number => ((piece * 77) % pieces) * pieceBytes;
    const pass = async (kind: 'read' | 'write'): Promise<void> => {
      let next = 0;
      const lane = async (slot: number): Promise<void> => {
        const view = slots.view(slot);
        while (next < pieces) {
          const piece = next++;
          view.fill(kind === 'write' ? piece : 0xee);
          expect(await disks.one(kind, fd, view, placeOf(piece))).toBe(pieceBytes);
          if (view.some((byte) => byte !== (piece & 0xff))) throw new Error(`piece ${piece} came back wrong`);
        }
      };
      await Promise.all(Array.from({ length: depth }, (__, slot) => lane(slot)));
    };
    await pass('write');
    await pass('read');
    expect(disks.queue.inFlight).toBe(0);
    await disks.queue.close();
  });

  it('starts nothing before submit, and all of it then', async () => {
    const fd = await newFile(disk, MiB);
    const slots = makeSlots({ slotBytes: 4 * KiB, slotCount: 8 });
    const disks = new Awaited(engine, 8);
    const all = Array.from({ length: 8 }, (_, i) => disks.start('write', fd, slots.view(i).fill(i + 1), i * 4 * KiB));
    expect(disks.queue.inFlight).toBe(8);
    const other = new Awaited(engine, 1);
    const seen = makeAligned(32 * KiB).fill(9);
    expect(await other.one('read', fd, seen, 0)).toBe(32 * KiB);
    expect(seen.every((byte) => byte === 0)).toBe(true);
    disks.queue.submit();
    expect(await Promise.all(all)).toEqual(all.map(() => 4 * KiB));
    expect(await other.one('read', fd, seen, 0)).toBe(32 * KiB);
    expect(seen.every((byte, i) => byte === Math.floor(i / (4 * KiB)) + 1)).toBe(true);
    await Promise.all([disks.queue.close(), other.queue.close()]);
  });

  it('honours the offset in the buffer, in memory of any kind', async () => {
    const fd = await newFile(memory, 64 * KiB);
    const disks = new Awaited(engine, 4);
    const plain = Uint8Array.from({ length: 5000 }, (_, i) => i % 251);
    expect(await disks.one('write', fd, plain, 10_001, 100, 3000)).toBe(3000);
    const back = new Uint8Array(new SharedArrayBuffer(4000), 7, 3001);
    expect(await disks.one('read', fd, back, 10_001, 1, 3000)).toBe(3000);
    expect(back[0]).toBe(0);
    expect(Buffer.from(back.slice(1)).equals(Buffer.from(plain.slice(100, 3100)))).toBe(true);
    await disks.queue.close();
  });

  it('reports what the kernel refuses as -errno, beside operations that succeed', async () => {
    const fd = await newFile(disk, MiB);
    const full = openSync('/dev/full', 'r+');
    const readOnly = openSync(join(disk, 'store'), 'r');
    opened.push(full, readOnly);
    const page = makeAligned(4 * KiB);
    const disks = new Awaited(engine, 8);
    const results = [
      disks.start('write', 100_000, page, 0),
      disks.start('write', full, page, 0),
      disks.start('write', readOnly, page, 0),
      disks.start('write', fd, page, 0),
      disks.start('read', fd, page, MiB),
    ];
    disks.queue.submit();
    const [badFd, noRoom, notWritable, fine, pastTheEnd] = await Promise.all(results);
    expect([badFd, noRoom, notWritable].map((result) => errnoName(result!))).toEqual(['EBADF', 'ENOSPC', 'EBADF']);
    expect([badFd! < 0, fine]).toEqual([true, 4 * KiB]);
    expect(errnoName(pastTheEnd!)).toBe('ENODATA');
    await disks.queue.close();
  });

  it('reports the end of a file inside the range as -ENODATA, never as a short read', async () => {
    for (const folder of [disk, memory]) {
      const path = join(folder, 'odd');
      writeFileSync(path, Buffer.alloc(5000, 1));
      const { fd } = openDirect(path, { write: false });
      opened.push(fd);
      const disks = new Awaited(engine, 1);
      expect(errnoName(await disks.one('read', fd, makeAligned(8 * KiB), 0))).toBe('ENODATA');
      expect(await disks.one('read', fd, makeAligned(4 * KiB), 0)).toBe(4 * KiB);
      await disks.queue.close();
    }
  });

  it('refuses more than its depth, ranges outside the buffer, and use after close', async () => {
    const fd = await newFile(memory, 64 * KiB);
    const disks = new Awaited(engine, 2);
    const page = makeAligned(4 * KiB);
    expect(() => disks.start('write', fd, page, 0, 1)).toThrow(/outside/);
    expect(() => disks.start('write', fd, page, -1)).toThrow(/file offset/);
    const done = [disks.start('write', fd, page, 0), disks.start('write', fd, page, 4096)];
    expect(() => disks.start('write', fd, page, 8192)).toThrow(/depth of 2/);
    disks.queue.submit();
    await Promise.all(done);
    await disks.queue.close();
    expect(() => disks.start('write', fd, page, 0)).toThrow(/closed/);
    await disks.queue.close();
  });

  it('delivers what is in flight, queued operations included, before close resolves', async () => {
    const fd = await newFile(disk, 32 * MiB);
    const slots = makeSlots({ slotBytes: 4 * MiB, slotCount: 8 });
    const disks = new Awaited(engine, 8);
    const results: number[] = [];
    for (let i = 0; i < 8; i++) {
      void disks.start('write', fd, slots.view(i), i * 4 * MiB).then((result) => results.push(result));
      if (i === 3) disks.queue.submit();
    }
    expect(disks.queue.inFlight).toBe(8);
    await disks.queue.close();
    expect(results).toEqual(Array.from({ length: 8 }, () => 4 * MiB));
    expect(disks.queue.inFlight).toBe(0);
  });

  it('takes the next operations from inside the callback', async () => {
    const fd = await newFile(memory, 4 * KiB);
    const page = makeAligned(4 * KiB);
    let [left, wrong] = [5000, 0];
    await new Promise<void>((resolve) => {
      const op = { fd, buffer: page, offset: 0, length: 512, fileOffset: 0, token: -7 };
      const queue = openDiskQueue({
        engine,
        depth: 4,
        onCompletions: (count, tokens, results) => {
          for (let i = 0; i < count; i++) {
            if (tokens[i] !== -7 || results[i] !== 512) wrong++;
            if (left-- > 0) queue.write(op);
          }
          queue.submit();
          if (queue.inFlight === 0) void queue.close().then(resolve);
        },
      });
      for (let i = 0; i < 4; i++) queue.write(op);
      queue.submit();
    });
    expect([left, wrong]).toEqual([-4, 0]);
  });
});

describe('openDiskQueue', () => {
  it('chooses as the probe says, and lets the choice be forced', async () => {
    const probed = await probeDiskEngine();
    const [automatic, forced] = [new Awaited('auto', 1), new Awaited('threads', 1)];
    expect(automatic.queue.engine).toBe(probed.engine);
    expect(probed.reason === undefined).toBe(probed.engine === 'io_uring');
    expect(forced.queue.engine).toBe('threads');
    await Promise.all([automatic.queue.close(), forced.queue.close()]);
  });

  it('refuses a depth that is out of bounds', () => {
    for (const depth of [0, 5000, 1.5]) expect(() => new Awaited('auto', depth)).toThrow(/depth/);
  });
});
