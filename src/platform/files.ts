/** What a store needs of its file and Node's fs does not have: direct opening, real allocation, an exclusive lock. */
import { closeSync, constants, fstatSync, openSync, readFileSync, readlinkSync } from 'node:fs';
import { constants as osConstants } from 'node:os';
import { join } from 'node:path';
import { PrimedError } from '../core/errors.ts';
import { addon } from './addon.ts';
import { errnoName } from './errno.ts';
import { makeFolder } from './folder.ts';
import type { OpenedFile } from './types.ts';

const { errno: E } = osConstants;

/**
 * Opens an existing file for transfers that bypass the page cache, reading and, if asked, writing; where the file
 * system does not support that (tmpfs) the same file without, and `direct` is false. Close it with `fs.closeSync`.
 * @throws PrimedError STORE_IO
 */
export function openDirect(path: string, options: { write: boolean }): OpenedFile {
  const mode = options.write ? constants.O_RDWR : constants.O_RDONLY;
  const fd = openOrUndefined(path, mode | constants.O_DIRECT);
  if (fd !== undefined) {
    const direct = addon().supportsDirect(fd);
    if (direct === true) return { fd, direct };
    closeSync(fd);
    if (typeof direct === 'number') throw fileError('opening', path, direct);
  }
  return { fd: openOr(path, mode), direct: false };
}

/** Undefined: the file system refuses the flag. */
function openOrUndefined(path: string, flags: number): number | undefined {
  try {
    return openOr(path, flags);
  } catch (error) {
    if (error instanceof PrimedError && error.facts.errno === 'EINVAL') return undefined;
    throw error;
  }
}

function openOr(path: string, flags: number): number {
  try {
    return openSync(path, flags);
  } catch (cause) {
    throw fileError('opening', path, cause);
  }
}

/**
 * Gives the file blocks for `bytes` bytes that exist on the disk, and at least that length. What the file has stays.
 * Takes milliseconds on ext4 and XFS, seconds a GiB on tmpfs; it does not run on the event loop.
 * @throws PrimedError STORE_NO_ROOM, STORE_IO
 */
export async function allocateFile(fd: number, bytes: number): Promise<void> {
  const error = await addon().allocateBlocks(fd, bytes);
  if (error === 0) return;
  const path = pathOf(fd);
  if (error === E.ENOSPC || error === E.EDQUOT || error === E.EFBIG) {
    throw new PrimedError(
      'STORE_NO_ROOM',
      `The file system has no room for ${path} of ${bytes} bytes (${errnoName(error)}). Free space there, or configure a smaller store.`,
      { path, bytes, errno: errnoName(error) },
    );
  }
  if (error === E.EOPNOTSUPP) {
    throw new PrimedError(
      'STORE_IO',
      `The file system of ${path} cannot preallocate (fallocate: EOPNOTSUPP). Put the store on ext4, XFS or btrfs.`,
      { path, bytes, errno: 'EOPNOTSUPP' },
    );
  }
  throw fileError(`allocating ${bytes} bytes for`, path, error);
}

/** Whose what is locked is, for the refusal of another process. */
const ofOneWorker = 'a store belongs to one worker process';

/**
 * Takes an exclusive lock (flock) on the open file, which goes with the last descriptor of it, at the latest with
 * the process. Does not wait.
 * @throws PrimedError STORE_LOCKED, STORE_IO
 */
export function lockFile(fd: number, belongs: string = ofOneWorker): void {
  const error = addon().lockExclusive(fd);
  if (error === 0) return;
  const path = pathOf(fd);
  if (error !== E.EWOULDBLOCK) throw fileError('locking', path, error);
  const pid = lockHolder(fd);
  const who = pid === undefined ? 'Another process' : pid === process.pid ? 'This process' : `Process ${pid}`;
  throw new PrimedError('STORE_LOCKED', `${who} has ${path} open. Stop it, or configure another folder: ${belongs}.`, {
    path,
    pid,
  });
}

/**
 * Makes a folder and takes the lock of a file in it, which goes when the descriptor is closed. Does not wait.
 * @throws PrimedError STORE_LOCKED, STORE_IO
 */
export function lockFolder(dir: string, { name, belongs }: { name: string; belongs?: string }): number {
  makeFolder(dir);
  const path = join(dir, name);
  let fd: number;
  try {
    fd = openSync(path, 'a', 0o600);
  } catch (error) {
    const message = `the folder ${dir} cannot be used: ${(error as Error).message}`;
    throw new PrimedError('STORE_IO', message, { dir }, { cause: error });
  }
  try {
    lockFile(fd, belongs);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * Takes the pages of a file that is mapped shared (an LMDB index) out of the memory of the process. They stay in the
 * page cache, and come back when they are touched. Nobody may unmap the file meanwhile.
 * @param path absolute and without links, as `realpathSync` says it.
 * @throws PrimedError STORE_IO
 */
export function releaseMapped(path: string): void {
  const error = addon().releaseMapped(path);
  if (error !== 0) throw fileError('giving back the memory of', path, error);
}

/** From /proc/locks; undefined where the holder cannot be seen (another container, another machine). */
function lockHolder(fd: number): number | undefined {
  const { dev, ino } = fstatSync(fd, { bigint: true });
  // The kernel's encoding of dev_t for user space: 12 bits of major and 20 of minor, in pieces.
  const major = (dev >> 8n) & 0xfffn;
  const minor = (dev & 0xffn) | ((dev >> 12n) & 0xfff00n);
  const hex = (number: bigint): string => number.toString(16).padStart(2, '0');
  const wanted = `${hex(major)}:${hex(minor)}:${ino}`;
  try {
    // 1: FLOCK  ADVISORY  WRITE 708 08:01:2490421 0 EOF
    const row = readFileSync('/proc/locks', 'utf8')
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .find((words) => words[1] === 'FLOCK' && words[5] === wanted);
    const pid = Number(row?.[4]);
    return pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}

function pathOf(fd: number): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return `file descriptor ${fd}`;
  }
}

function fileError(doing: string, path: string, cause: unknown): PrimedError {
  const errno =
    typeof cause === 'number' ? errnoName(cause) : ((cause as NodeJS.ErrnoException).code ?? 'an unknown error');
  return new PrimedError(
    'STORE_IO',
    `${doing[0]!.toUpperCase()}${doing.slice(1)} ${path} failed with ${errno}. See the kernel log for the device.`,
    { path, errno },
    { cause },
  );
}
