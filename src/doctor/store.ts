/** The stores and the index of a worker, looked at without changing them; a daemon may have them open. */
import { closeSync, existsSync, fstatSync, readSync } from 'node:fs';
import { join } from 'node:path';
import type { Config } from '../config/config.ts';
import { type Finding, fail, ok } from '../core/finding.ts';
import { makeAligned, openDirect } from '../platform/index.ts';
import { checkDatabase, type DatabaseKind, dataName as databaseName, databases } from '../store/database-file.ts';
import { decodeSuperblock, storeFormat, superblockBytes } from '../store/superblock.ts';
import { dataName, readMarker } from '../store/volume.ts';
import { judgeStore } from './judge.ts';
import { worded } from './worded.ts';

export const startAnew = 'run the version that made it, or remove the store and its index, and load again';

export function examineStores({ worker, indexDir }: Config): Finding[] {
  return [
    ...worker.stores.flatMap(({ dir, sizeBytes }) =>
      worded(`store ${dir}`, startAnew, () => examineStore(dir, sizeBytes)),
    ),
    ...examineDatabase('index', indexDir),
  ];
}

/** What a coordinator remembers. */
export function examineMemory({ dataDir, jobsDir, sharedJobsDir, workersDir }: Config): Finding[] {
  return [
    ...examineDatabase('jobs', existsSync(sharedJobsDir) ? sharedJobsDir : jobsDir),
    ...examineDatabase('workers', workersDir),
    ...examineDatabase('limits', join(dataDir, 'limits')),
    ...examineDatabase('pins', join(dataDir, 'pins')),
    ...examineDatabase('rates', join(dataDir, 'rates')),
  ];
}

function examineDatabase(kind: DatabaseKind, dir: string): Finding[] {
  const { what, remedy } = databases[kind];
  return worded(kind, remedy, () => {
    if (!existsSync(join(dir, databaseName))) return [ok(kind, `${dir} is made at the first start`)];
    checkDatabase(dir, kind);
    return [ok(kind, `the file of ${what} in ${dir} is whole`)];
  });
}

function examineStore(dir: string, wantedBytes: number): Finding[] {
  const check = `store ${dir}`;
  const path = join(dir, dataName);
  if (readMarker(dir) === undefined) {
    if (!existsSync(path)) return [ok(check, `is made at the first start`)];
    return [fail(check, `${path} was not made by primed`, 'choose another folder, or remove the file')];
  }
  const { fd, direct } = openDirect(path, { write: false });
  try {
    // Also by a direct read, which is what a file system without real support refuses.
    const bytes = makeAligned(superblockBytes);
    readSync(fd, bytes, 0, superblockBytes, 0);
    const head = decodeSuperblock(Buffer.from(bytes));
    if (typeof head === 'string') return [fail(check, `the head of ${path} is ${head}`, startAnew)];
    if (head.version !== storeFormat)
      return [fail(check, `${path} has format ${head.version}, this program reads ${storeFormat}`, startAnew)];
    const { size, blocks } = fstatSync(fd);
    return judgeStore({
      ...{ dir, path, wantedBytes, direct },
      ...{ fileBytes: size, allocatedBytes: blocks * 512, headBytes: head.sizeBytes },
    });
  } finally {
    closeSync(fd);
  }
}
