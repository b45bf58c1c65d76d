/** `doctor --deep`: the whole index of a worker, row by row, and what of the stores it says is whose. Of a daemon that does not run. */
import { closeSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config/config.ts';
import { PrimedError } from '../core/errors.ts';
import { type Finding, fail, ok, warn } from '../core/finding.ts';
import { formatSize } from '../core/sizes.ts';
import { lockFolder } from '../platform/index.ts';
import { checkDatabase, dataName } from '../store/database-file.ts';
import { IndexDb, indexFormat, NoIndexYet } from '../store/index-db.ts';
import { type OnWalked, type WalkFault, type WalkFound, type WalkResult, walkIndex } from '../store/index-walk.ts';
import { lockName } from '../store/open.ts';

const check = 'index, all of it';
const anew = 'no worker starts with it: remove the index and its stores, and load again';
const again = 'remove those files (`primed job free PATH`) and load them again';

const faults: Readonly<
  Record<WalkFault, { readonly what: string; readonly level: 'warn' | 'fail'; readonly remedy: string }>
> = {
  unreadable: { what: 'records are none of this format', level: 'fail', remedy: anew },
  outside: { what: 'extents lie beyond their store', level: 'fail', remedy: anew },
  overlap: { what: 'extents belong to two blocks', level: 'fail', remedy: anew },
  blocks: { what: 'files have not in the store what their records say', level: 'fail', remedy: again },
  orphan: {
    what: 'blocks belong to no file, and their room is lost',
    level: 'warn',
    remedy: 'to have the room back, remove the index and its stores, and load again; nothing else depends on it',
  },
  queue: { what: 'files do not wait for their eviction as their records say', level: 'fail', remedy: again },
  loading: { what: 'files that were being loaded are named wrongly', level: 'fail', remedy: again },
};

/** Nothing is changed. @param onWalked rows so far, and how many there are */
export async function examineIndex({ indexDir }: Pick<Config, 'indexDir'>, onWalked: OnWalked): Promise<Finding[]> {
  // Not even a lock is made where there is nothing, in a folder that may be another user's.
  if (![dataName, lockName].every((name) => existsSync(join(indexDir, name)))) return noneYet(indexDir);
  checkDatabase(indexDir, 'index');
  let lockFd: number;
  try {
    lockFd = lockFolder(indexDir, { name: lockName });
  } catch (error) {
    if (!(error instanceof PrimedError) || error.code !== 'STORE_LOCKED') throw error;
    const who = error.facts.pid === undefined ? 'a process' : `process ${error.facts.pid}`;
    return [
      warn(
        check,
        `was not walked: ${who} has it open`,
        'stop the worker, and ask again; what it serves is checked by `primed fs check` while it runs',
      ),
    ];
  }
  try {
    return await walked(indexDir, onWalked);
  } finally {
    closeSync(lockFd);
  }
}

function noneYet(indexDir: string): Finding[] {
  return [ok(check, `there is none in ${indexDir} yet`)];
}

async function walked(indexDir: string, onWalked: OnWalked): Promise<Finding[]> {
  let index: IndexDb;
  try {
    index = new IndexDb(indexDir, { readOnly: true });
  } catch (error) {
    if (error instanceof NoIndexYet) return noneYet(indexDir);
    const format =
      error instanceof PrimedError && error.code === 'STORE_VERSION' ? Number(error.facts.format) : undefined;
    if (format === undefined || format > indexFormat) throw error;
    return [
      warn(
        check,
        `has format ${format}, and was not walked`,
        `the next start of the worker makes it ${indexFormat}; walk it then`,
      ),
    ];
  }
  try {
    return judgeWalk(await walkIndex(index, onWalked));
  } finally {
    await index.close();
  }
}

export function judgeWalk({ files, blocks, extents, usedBytes, capacityBytes, found }: WalkResult): Finding[] {
  const seen = `${files} files, ${blocks} blocks, ${extents} extents; ${formatSize(usedBytes)} of ${formatSize(capacityBytes)} are given out`;
  if (found.size === 0) return [ok(check, `fits together: ${seen}`)];
  return Array.from(found, ([fault, what]) => judgeFault(fault, what));
}

function judgeFault(fault: WalkFault, { count, named }: WalkFound): Finding {
  const { what, level, remedy } = faults[fault];
  const more = count > named.length ? `; and ${count - named.length} more` : '';
  const text = `${count} ${what}: ${named.join('; ')}${more}`;
  return level === 'warn' ? warn(`${check}: ${fault}`, text, remedy) : fail(`${check}: ${fault}`, text, remedy);
}
