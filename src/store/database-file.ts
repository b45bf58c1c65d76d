/** The file of an LMDB environment. */
import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { PrimedError } from '../core/errors.ts';

export const dataName = 'data.mdb';
/** mm_magic of LMDB, at byte 24 of the file, behind the page header. */
const lmdbMagic = 0xbeefc0de;

/** LMDB's own check of a file that is not one of its own ends the process, so the magic of the first meta page is read here. */
export function refuseForeign(dir: string): void {
  const path = join(dir, dataName);
  if (!existsSync(path)) return;
  const head = Buffer.alloc(28);
  const fd = openSync(path, 'r');
  try {
    const bytes = readSync(fd, head, 0, head.length, 0);
    if (bytes === 0 || (bytes === head.length && head.readUInt32LE(24) === lmdbMagic)) return;
  } finally {
    closeSync(fd);
  }
  const message = `${path} is not an index of primed; nothing was touched. Choose another folder, or remove the file`;
  throw new PrimedError('STORE_FOREIGN', message, { path });
}
