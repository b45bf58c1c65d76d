import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, openSync, readSync, statfsSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { PrimedError } from '../../../src/core/errors.ts';
import { KiB, MiB } from '../../../src/core/units.ts';
import { allocateFile, lockFile, makeAligned, openDirect } from '../../../src/platform/index.ts';
import { makeFolder } from './folder.ts';

const folder = makeFolder();
const memoryFolder = makeFolder('/dev/shm');
const opened: number[] = [];
afterEach(() => {
  for (const fd of opened.splice(0)) closeSync(fd);
});
const keep = (fd: number): number => {
  opened.push(fd);
  return fd;
};
const tmpfsMagic = 0x01021994;

function newFile(name: string, inFolder = folder): string {
  const path = join(inFolder, name);
  writeFileSync(path, '');
  return path;
}

function errorOf(run: () => unknown): PrimedError {
  try {
    run();
  } catch (error) {
    if (error instanceof PrimedError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

function outcomeOf(run: () => number): string {
  try {
    return String(run());
  } catch (error) {
    return String(error);
  }
}

describe('openDirect', () => {
  it('bypasses the page cache on a disk: an unaligned write is refused there', () => {
    const { fd, direct } = openDirect(newFile('direct'), { write: true });
    keep(fd);
    expect(direct).toBe(statfsSync(folder).type !== tmpfsMagic);
    const bytes = makeAligned(8 * KiB).fill(5);
    expect(writeSync(fd, bytes, 0, 4 * KiB, 0)).toBe(4 * KiB);
    const unaligned = (): number => writeSync(fd, bytes, 1, 4 * KiB, 0);
    const answer = direct ? /EINVAL/ : /^4096$/;
    expect(outcomeOf(unaligned)).toMatch(answer);
  });

  it('says so where the file system cannot, and works', () => {
    const { fd, direct } = openDirect(newFile('plain', memoryFolder), { write: true });
    keep(fd);
    expect(direct).toBe(false);
    expect(writeSync(fd, new Uint8Array(100), 1, 50, 3)).toBe(50);
  });

  it('opens for reading only when writing was not asked for', () => {
    const { fd } = openDirect(newFile('read-only'), { write: false });
    keep(fd);
    expect(() => writeSync(fd, makeAligned(4096), 0, 4096, 0)).toThrow(/EBADF/);
    expect(readSync(fd, makeAligned(4096), 0, 4096, 0)).toBe(0);
  });

  it('names a file that is not there', () => {
    const error = errorOf(() => openDirect(join(folder, 'missing'), { write: false }));
    expect([error.code, error.facts.errno]).toEqual(['STORE_IO', 'ENOENT']);
    expect(error.message).toContain('missing');
  });
});

describe('allocateFile', () => {
  it('gives the file its length and its blocks, and keeps what it has', async () => {
    for (const parent of [folder, memoryFolder]) {
      const path = newFile('allocated', parent);
      writeFileSync(path, 'kept');
      const fd = keep(openSync(path, 'r+'));
      await allocateFile(fd, 3 * MiB);
      const status = fstatSync(fd);
      expect(status.size).toBe(3 * MiB);
      expect(status.blocks * 512).toBeGreaterThanOrEqual(3 * MiB);
      const back = Buffer.alloc(5);
      readSync(fd, back, 0, 5, 0);
      expect(back.toString('latin1')).toBe('kept\0');
    }
  });

  it('is STORE_NO_ROOM, with the size, on a file system that is too small', async () => {
    const fd = keep(openSync(newFile('huge', memoryFolder), 'r+'));
    const bytes = 2 ** 46;
    await expect(allocateFile(fd, bytes)).rejects.toMatchObject({ code: 'STORE_NO_ROOM', facts: { bytes } });
    expect(fstatSync(fd).size).toBe(0);
  });

  it('is STORE_IO for a descriptor that is not open for writing', async () => {
    const fd = keep(openSync(newFile('not-writable'), 'r'));
    await expect(allocateFile(fd, 4096)).rejects.toMatchObject({ code: 'STORE_IO', facts: { errno: 'EBADF' } });
  });
});

describe('lockFile', () => {
  it('refuses a second opening, says who holds it, and is free again when that is closed', () => {
    const path = newFile('locked');
    const holder = openSync(path, 'r+');
    lockFile(holder);
    lockFile(holder);
    const second = keep(openSync(path, 'r'));
    const error = errorOf(() => lockFile(second));
    expect([error.code, error.facts.pid]).toEqual(['STORE_LOCKED', process.pid]);
    expect(error.message).toContain(path);
    closeSync(holder);
    lockFile(second);
  });

  it('is held against other processes, named by their id, until they die', async () => {
    const path = newFile('locked-elsewhere');
    const child = spawn('flock', ['--exclusive', path, 'sh', '-c', 'echo held; exec cat'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    const fd = keep(openSync(path, 'r+'));
    const error = errorOf(() => lockFile(fd));
    expect(error.code).toBe('STORE_LOCKED');
    expect(error.facts.pid).toBe(child.pid);
    child.stdin.end();
    await once(child, 'exit');
    lockFile(fd);
  });

  it('is STORE_IO for a closed descriptor', () => {
    expect(errorOf(() => lockFile(100_000)).facts.errno).toBe('EBADF');
  });
});
