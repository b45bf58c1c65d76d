/**
 * A database (LMDB) that is not there yet is made empty under another name, synced, and then given its own.
 *
 *   creating.mdb  made ── two heads written ── sync ──▶ rename ──▶ data.mdb ── sync of the folder ── the first commit
 *
 * So a `data.mdb` without a head is one that was damaged, never a first start that was interrupted: that leaves a `creating.mdb`,
 * which never held a row, and which the next start makes anew.
 */
import { existsSync, readlinkSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { open } from 'lmdb';
import { PrimedError } from '../core/errors.ts';
import { checkDatabase, type DatabaseKind, databases, dataName } from './database-file.ts';
import { syncPath } from './volume.ts';

export const creatingName = 'creating.mdb';

/**
 * Before LMDB opens the database for writing: one that is there is looked at, one that is not is made. The folder is there, and
 * no other process makes one in it meanwhile: the caller has a lock.
 * Throws STORE_FOREIGN, STORE_CORRUPT, STORE_IO; then nothing was changed.
 */
export function prepareDatabase(dir: string, kind: DatabaseKind): void {
  checkDatabase(dir, kind);
  const path = join(dir, dataName);
  if (existsSync(path)) return;
  const target = linkOf(path);
  if (target !== undefined) {
    const message = `${databases[kind].what} is not there: ${path} is a link to ${target}, where nothing is. Nothing was touched: mount what it leads to and start again; or remove the link, and an empty one is made`;
    throw new PrimedError('STORE_IO', message, { dir });
  }
  makeEmpty(dir, kind);
}

/** Where a link leads; undefined: it is none, or cannot be looked at. */
function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

function makeEmpty(dir: string, kind: DatabaseKind): void {
  const path = join(dir, creatingName);
  try {
    rmSync(path, { force: true });
    // Nothing was asked of it, so it is closed when this returns.
    void open({ path, noSubdir: true, compression: false }).close();
    syncPath(path);
    rmSync(`${path}-lock`, { force: true });
    renameSync(path, join(dir, dataName));
    syncPath(dir);
  } catch (error) {
    const message = `${databases[kind].what} cannot be made in ${dir}: ${String(error)}. Nothing is lost: make room there, or let the user of the daemon write in that folder, and start again`;
    throw new PrimedError('STORE_IO', message, { dir }, { cause: error });
  }
}
