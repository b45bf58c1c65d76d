/** What stands for an ETag where the origin is a file system. */
import type { BigIntStats } from 'node:fs';

/** `<mtime in ms>-<size>-<inode>`, hexadecimal: a file that is replaced or written to gets another one. */
export function fileEtag(stat: BigIntStats): string {
  return `${stat.mtimeMs.toString(16)}-${stat.size.toString(16)}-${stat.ino.toString(16)}`;
}

/** Whether an absolute path is the root or lies below it; both without trailing slash, both resolved. */
export function isBelow(root: string, path: string): boolean {
  return path === root || path.startsWith(root === '/' ? '/' : `${root}/`);
}
