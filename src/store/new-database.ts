/**
 * A database (LMDB) that is not there yet is made empty under another name, synced, and then given its own.
 *
 *   creating.mdb  made ── two heads written ── sync ──▶ rename ──▶ data.mdb ── sync of the folder ── the first commit
 *
 * So a `data.mdb` without a head is one that was damaged, never a first start that was interrupted: that leaves a `creating.mdb`,
 * which never held a row, and which the next start makes anew.
 */
import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { open } from 'lmdb';
import { PrimedError } from '../core/errors.ts';
import { checkDatabase, type DatabaseKind, databases, dataName } from './database-file.ts';
import { syncPath } from './volume.ts';

export const creatingName = 'creating.mdb';

/**
 * Before LMDB opens the database for writing: one that is there is looked at, one that is not is made. The folder is there, and
 * no other process makes one in it meanwhile: the caller has a lock.
 * Throws STORE_FOREIGN, STORE_CORRUPT, and then nothing was changed; STORE_IO.
 */
export function prepareDatabase(dir: string, kind: DatabaseKind): void {
  checkDatabase(dir, kind);
  if (!existsSync(join(dir, dataName))) makeEmpty(dir, kind);
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
