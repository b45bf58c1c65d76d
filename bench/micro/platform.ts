/** platform by itself: checksums of memory in cache, and direct writes through the disk queue at depth 8. */
import { closeSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Bench } from 'tinybench';
import { GiB, KiB, MiB, pageBytes } from '../../src/core/units.ts';
import {
  allocateFile,
  checksumKernels,
  crc32c,
  crc64nvme,
  type DiskEngine,
  type DiskQueue,
  makeAligned,
  makeSlots,
  openDirect,
  openDiskQueue,
  pageChecksums,
  probeDiskEngine,
} from '../../src/platform/index.ts';
import { resultsDir } from '../support/workspace.ts';

export async function suites(): Promise<readonly Bench[]> {
  return [checksumBench(), await diskBench()];
}

function checksumBench(): Bench {
  const bench = new Bench({ name: 'checksums', time: 300, warmupTime: 100 });
  const kernels = checksumKernels();
  const bytes = makeAligned(MiB);
  for (let i = 0; i < bytes.length; i += 1) bytes[i] = (i * 2654435761) >>> 13;
  const out = new Uint32Array(8);
  const pages = makeAligned(out.length * pageBytes);
  bench
    .add(`CRC-32C of 1 MiB (${kernels.crc32c})`, () => void crc32c(bytes, 0, MiB, 0))
    .add(`CRC-32C of 64 KiB (${kernels.crc32c})`, () => void crc32c(bytes, 0, 64 * KiB, 0))
    .add('CRC-32C of 16 bytes: the cost of the call', () => void crc32c(bytes, 0, 16, 0))
    .add(`CRC-64/NVME of 1 MiB (${kernels.crc64nvme})`, () => void crc64nvme(bytes, 0, MiB, 0n))
    .add(`CRC-64/NVME of 64 KiB (${kernels.crc64nvme})`, () => void crc64nvme(bytes, 0, 64 * KiB, 0n))
    .add('CRC-32C of the 8 pages of a part', () => void pageChecksums(pages, 0, pages.length, out));
  return bench;
}

const partBytes = 8 * MiB;
const depth = 8;
const fileBytes = GiB;
const bytesAnIteration = 256 * MiB;

async function diskBench(): Promise<Bench> {
  const bench = new Bench({ name: 'disk queue', time: 0, iterations: 12, warmup: false });
  const probed = await probeDiskEngine();
  const engines: readonly DiskEngine[] = probed.engine === 'io_uring' ? ['io_uring', 'threads'] : ['threads'];
  for (const engine of engines) {
    const name = `256 MiB written directly by ${engine}, 8 MiB each, depth ${depth}`;
    let writer: Writer;
    bench.add(name, () => writer.write(bytesAnIteration), {
      async: true,
      beforeAll: async () => {
        writer = await openWriter(engine);
      },
      afterAll: () => writer.close(),
    });
  }
  return bench;
}

interface Writer {
  /** Writes that many bytes where the last call ended, beginning anew at the end of the file. */
  write(bytes: number): Promise<void>;
  close(): Promise<void>;
}

async function openWriter(engine: DiskEngine): Promise<Writer> {
  mkdirSync(resultsDir, { recursive: true });
  const folder = mkdtempSync(join(resultsDir, 'work-'));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  const path = join(folder, 'store');
  writeFileSync(path, '');
  const { fd, direct } = openDirect(path, { write: true });
  if (!direct) throw new Error(`${folder} does not support O_DIRECT: nothing to measure there`);
  await allocateFile(fd, fileBytes);
  const slots = makeSlots({ slotBytes: partBytes, slotCount: depth });
  for (let slot = 0; slot < depth; slot += 1) slots.view(slot).fill(0xa5 + slot);

  let [position, toStart, running] = [0, 0, 0];
  let finished: { resolve: () => void; reject: (error: Error) => void } | undefined;
  const start = (slot: number): void => {
    queue.write({ fd, buffer: slots.view(slot), offset: 0, length: partBytes, fileOffset: position, token: slot });
    position = (position + partBytes) % fileBytes;
    toStart -= 1;
    running += 1;
  };
  const queue: DiskQueue = openDiskQueue({
    engine,
    depth,
    onCompletions: (count, tokens, results) => {
      for (let i = 0; i < count; i += 1) {
        running -= 1;
        if (results[i] !== partBytes) finished?.reject(new Error(`a write ended with ${results[i]}`));
        if (toStart > 0) start(tokens[i] as number);
      }
      queue.submit();
      if (running === 0) finished?.resolve();
    },
  });
  return {
    write(bytes) {
      toStart = bytes / partBytes;
      for (let slot = 0; slot < depth; slot += 1) start(slot);
      queue.submit();
      return new Promise((resolve, reject) => {
        finished = { resolve, reject };
      });
    },
    async close() {
      await queue.close();
      closeSync(fd);
      remove();
      process.off('exit', remove);
    },
  };
}
