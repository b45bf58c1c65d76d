/**
 * What the machine can give, measured for a moment before the load: the disk by O_DIRECT writes, the origin by a reader
 * that drops every byte. The load is judged beside these figures, because an absolute rate says little.
 */
import { once } from 'node:events';
import { constants } from 'node:fs';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { PrimedError } from '../core/errors.ts';
import { alignBytes, MiB } from '../core/units.ts';
import type { S3Credentials } from '../server/s3/signature.ts';
import { encodeKey } from '../server/s3/signing.ts';
import { signGet } from './origin/sign-get.ts';

const writeBytes = 8 * MiB;
/** As many as libuv's pool has threads. */
const writesInFlight = 4;
const drainSockets = 16;
const drainRangeBytes = 8 * MiB;
const drainLimitMs = 20_000;
/** What O_DIRECT may ask of an address; a smaller one divides it. */
const addressGrain = 16;

/**
 * Bytes a second of large O_DIRECT writes over a file of `bytes` that was allocated by a first, unmeasured pass. Where the file
 * system has no O_DIRECT (tmpfs): of plain writes and a sync.
 */
export async function probeDisk(folder: string, bytes: number): Promise<{ bytesPerSecond: number; direct: boolean }> {
  const path = join(folder, 'disk-probe');
  const flags = constants.O_RDWR | constants.O_CREAT;
  try {
    const direct = await open(path, flags | constants.O_DIRECT).catch(() => undefined);
    const file = direct ?? (await open(path, flags));
    try {
      const block = direct === undefined ? Buffer.alloc(writeBytes, 1) : await alignedBlock(file);
      await overwrite(file, block, bytes);
      const startedMs = performance.now();
      await overwrite(file, block, bytes);
      return { bytesPerSecond: (bytes / (performance.now() - startedMs)) * 1000, direct: direct !== undefined };
    } finally {
      await file.close();
    }
  } finally {
    await rm(path, { force: true });
  }
}

async function overwrite(file: FileHandle, block: Buffer, bytes: number): Promise<void> {
  let next = 0;
  const writer = async () => {
    while (next < bytes) {
      const at = next;
      next += block.length;
      await file.write(block, 0, block.length, at);
    }
  };
  await Promise.all(Array.from({ length: writesInFlight }, writer));
  await file.datasync();
}

/** JavaScript cannot see addresses: the kernel is asked which view of a larger buffer it takes. */
async function alignedBlock(file: FileHandle): Promise<Buffer> {
  const roomy = Buffer.allocUnsafeSlow(writeBytes + alignBytes).fill(1);
  for (let back = addressGrain; back <= alignBytes; back += addressGrain) {
    const view = roomy.subarray(alignBytes - back, alignBytes - back + writeBytes);
    const written = await file.write(view, 0, alignBytes, 0).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'EINVAL') return undefined;
      throw error;
    });
    if (written !== undefined) return view;
  }
  throw new PrimedError('STORE_IO', 'The disk takes no O_DIRECT write at any alignment up to 4096 bytes.');
}

export interface DrainTarget {
  readonly host: string;
  readonly port: number;
  readonly bucket: string;
  readonly region: string;
  readonly credentials: S3Credentials;
}

/** Bytes a second of `bytes` from the start of an object, in 8 MiB ranges over 16 plain sockets, read and dropped. */
export async function probeOrigin(
  target: DrainTarget,
  object: { readonly key: string; readonly sizeBytes: number },
  bytes: number,
): Promise<number> {
  const wanted = Math.min(bytes, object.sizeBytes);
  const ranges = rangesOf(wanted);
  const rawPath = `/${target.bucket}/${encodeKey(object.key)}`;
  const startedMs = performance.now();
  const sockets: Socket[] = [];
  try {
    await Promise.all(Array.from({ length: drainSockets }, () => drain(target, rawPath, ranges, sockets)));
  } finally {
    for (const socket of sockets) socket.destroy();
  }
  return (wanted / (performance.now() - startedMs)) * 1000;
}

function* rangesOf(bytes: number): Generator<{ from: number; to: number }> {
  for (let from = 0; from < bytes; from += drainRangeBytes) yield { from, to: Math.min(bytes, from + drainRangeBytes) };
}

/** One socket that takes ranges until there are none left. */
async function drain(
  target: DrainTarget,
  rawPath: string,
  ranges: Generator<{ from: number; to: number }>,
  sockets: Socket[],
): Promise<void> {
  const host = `${target.host}:${target.port}`;
  let head = '';
  let bodyLeft = 0;
  let inHead = true;
  let settle: (error?: Error) => void = () => {};
  const onread = {
    buffer: Buffer.allocUnsafeSlow(MiB),
    callback: (count: number, buffer: Uint8Array) => {
      let at = 0;
      if (inHead) {
        const text = Buffer.from(buffer.buffer, buffer.byteOffset, count).toString('latin1');
        const end = (head + text).indexOf('\r\n\r\n');
        if (end < 0) {
          head += text;
          return true;
        }
        at = end + 4 - head.length;
        head = (head + text).slice(0, end);
        const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
        if (!head.startsWith('HTTP/1.1 206') || length === undefined) {
          settle(new PrimedError('ORIGIN_PROTOCOL', `The origin answered the probe with ${head.split('\r\n')[0]}.`));
          return false;
        }
        bodyLeft = Number(length);
        inHead = false;
      }
      bodyLeft -= count - at;
      if (bodyLeft <= 0) settle();
      return true;
    },
  };
  const socket = connect({ host: target.host, port: target.port, noDelay: true, onread });
  sockets.push(socket);
  socket.setTimeout(drainLimitMs, () => socket.destroy(new Error(`silence of ${drainLimitMs} ms`)));
  await once(socket, 'connect');
  socket.on('error', (error) => settle(error));
  socket.on('close', () => settle(new PrimedError('ORIGIN_RESET', 'The origin closed a connection of the probe.')));
  for (const { from, to } of ranges) {
    const signed = signGet(target.credentials, { host, rawPath, region: target.region, nowMs: Date.now() });
    const lines = Object.entries(signed).map(([name, value]) => `${name}: ${value}\r\n`);
    const answered = new Promise<void>((resolve, reject) => {
      settle = (error) => (error === undefined ? resolve() : reject(error));
    });
    inHead = true;
    head = '';
    socket.write(`GET ${rawPath} HTTP/1.1\r\n${lines.join('')}range: bytes=${from}-${to - 1}\r\n\r\n`);
    await answered;
  }
}
