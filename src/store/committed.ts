/**
 * How databases of LMDB are written: each commit has reached the disk when it resolves, and one that fails is told to those who
 * wait for it, and to nobody else. A disk that is full, and has room again, ends no daemon.
 */

import { PrimedError, reportOf } from '../core/errors.ts';
import { type DatabaseKind, databases } from './database-file.ts';

/**
 * For `open` of the driver. With `eventTurnBatching` it makes promises that nobody holds, and which reject as well; with
 * `overlappingSync` the promise `flushed`, and with it `close`, never settles after a commit that failed.
 */
export const committing = {
  noSync: false,
  noMetaSync: false,
  overlappingSync: false,
  eventTurnBatching: false,
} as const;

/** The same, for what is told to people: rejects with STORE_IO. */
export async function kept<T>(commit: PromiseLike<T>, where: { dir: string; kind: DatabaseKind }): Promise<T> {
  try {
    return await committed(commit);
  } catch (cause) {
    const { dir, kind } = where;
    const message = `${databases[kind].what} in ${dir} could not be written: ${reportOf(cause).message}; free space or repair the disk`;
    throw new PrimedError('STORE_IO', message, { dir }, { cause });
  }
}

/**
 * Resolves as `commit` does, which is a `batch` or a `put`; rejects with the cause, such as an error of the file system: the driver's own
 * error has it in a promise beside it, which has to be handled. A `transaction` of the driver that fails never settles: it is not used.
 */
export async function committed<T>(commit: PromiseLike<T>): Promise<T> {
  try {
    return await commit;
  } catch (error) {
    if (error instanceof Error && 'commitError' in error) await error.commitError;
    throw error;
  }
}
