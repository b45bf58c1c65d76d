import { getSystemErrorName } from 'node:util';

/** `ENOSPC` for 28 and for -28: results of a DiskQueue carry the negative number. */
export function errnoName(errno: number): string {
  const positive = Math.abs(errno);
  // Node has no name for the error that a read past the end of a file gives here.
  if (positive === 61) return 'ENODATA';
  return getSystemErrorName(-positive);
}
