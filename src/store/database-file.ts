/**
 * The file of an LMDB environment, looked at before LMDB maps it: a file that was cut off ends the process by SIGBUS, and LMDB's own
 * check of a file that is not one of its own ends it too.
 */
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { PrimedError } from '../core/errors.ts';
import {
  damageOfTrees,
  decodeMeta,
  decodeSynced,
  hasMagic,
  type Meta,
  metaBytes,
  metaInUse,
} from './database-format.ts';

export const dataName = 'data.mdb';
/** How often a file is looked at that somebody writes meanwhile. */
const mostLooks = 5;

/** The databases of a node: what each is called, and what is to be done where one is damaged. */
export const databases = {
  index: {
    what: 'the index',
    remedy:
      'What the stores hold is known by it alone: remove this folder and the files of all stores that belong to it, start the worker, and load the data again',
  },
  ids: {
    what: 'the table of path ids',
    remedy: 'Remove this folder: a start makes it anew of the index',
  },
  jobs: {
    what: 'the job store',
    remedy:
      'Remove this folder and start again: jobs and their history are forgotten, what is cached stays; submit what was running again, and it loads what is missing',
  },
  limits: {
    what: 'the limits of origins that were set at run time',
    remedy: 'Remove this folder, start again, and set them again (`primed ufs limit`); those of the configuration hold',
  },
  pins: {
    what: 'the pins that were set at run time',
    remedy: 'Remove this folder, start again, and set them again (`primed fs pin`)',
  },
  workers: {
    what: 'the list of workers',
    remedy:
      'Remove this folder and start again: workers register by themselves; drain again those that are to be (`primed worker drain`)',
  },
  rates: {
    what: 'the past of the rates',
    remedy: 'Remove this folder: curves of the console begin anew',
  },
} as const satisfies Record<string, { what: string; remedy: string }>;
export type DatabaseKind = keyof typeof databases;

/**
 * Throws STORE_FOREIGN for a file that is none of LMDB, and STORE_CORRUPT for one that is not whole; nothing was changed then.
 * Nothing to say of a folder without one.
 */
export function checkDatabase(dir: string, kind: DatabaseKind): void {
  const path = join(dir, dataName);
  const damage = damageOf(path);
  if (damage === undefined) return;
  const { what, remedy } = databases[kind];
  if (damage.foreign) {
    const message = `${path} is not ${what} of primed, or its head was overwritten; nothing was touched. Choose another folder, or remove the file. ${remedy}`;
    throw new PrimedError('STORE_FOREIGN', message, { path });
  }
  const message = `${what} in ${path} is damaged: ${damage.text}. Nothing was touched. ${remedy}`;
  throw new PrimedError('STORE_CORRUPT', message, { path });
}

interface Damage {
  readonly foreign: boolean;
  readonly text: string;
}

/**
 * True where the machine ended before the newest commit was synced. LMDB then goes back to the last one that was, as it opens the
 * file for writing, and only then. Of a file that is whole.
 */
export function isAheadOfDisk(dir: string): boolean {
  const path = join(dir, dataName);
  if (!existsSync(path)) return false;
  const fd = openSync(path, 'r');
  try {
    const metas = metasOf(fd);
    return 'first' in metas && metaInUse(metas, bootId()).txn < maxTxn(metas);
  } finally {
    closeSync(fd);
  }
}

/** Another process may have it open. */
function damageOf(path: string): Damage | undefined {
  if (!existsSync(path)) return undefined;
  const fd = openSync(path, 'r');
  try {
    let damage: Damage | undefined;
    for (let look = 0; look < mostLooks; look++) {
      const before = headOf(fd);
      damage = judge(fd);
      // Who writes uses pages again that a tree below an older meta had.
      if (damage === undefined || before.equals(headOf(fd))) return damage;
    }
    // It changed each time: a process has it open, and writes.
    return undefined;
  } finally {
    closeSync(fd);
  }
}

function judge(fd: number): Damage | undefined {
  const metas = metasOf(fd);
  if (!('first' in metas)) return metas;
  const meta = metaInUse(metas, bootId());
  // After the metas: a file only grows, and what a meta names was written before it.
  const filePages = Math.floor(fstatSync(fd).size / meta.pageBytes);
  const text = damageOfTrees(meta, filePages, pageReader(fd, meta));
  return text === undefined ? undefined : { foreign: false, text };
}

interface Metas {
  readonly first: Meta;
  readonly second: Meta;
  readonly synced: Meta | undefined;
}

function metasOf(fd: number): Metas | Damage {
  const head = readAt(fd, 0, metaBytes);
  // One that is made has a head before it has this name (new-database.ts).
  if (head.length === 0) return { foreign: false, text: 'it is empty: it was cut off' };
  if (head.length >= metaBytes && !hasMagic(head)) return { foreign: true, text: '' };
  const first = decodeMeta(head);
  if (typeof first === 'string') return damaged('first', first);
  const second = decodeMeta(readAt(fd, first.pageBytes, metaBytes));
  if (typeof second === 'string') return damaged('second', second);
  if (second.pageBytes !== first.pageBytes) return damaged('second', 'it has another size of pages than the first');
  return { first, second, synced: decodeSynced(readAt(fd, first.pageBytes / 2, metaBytes)) };
}

function maxTxn({ first, second }: Metas): bigint {
  return first.txn > second.txn ? first.txn : second.txn;
}

function damaged(which: string, text: string): Damage {
  return { foreign: false, text: `its ${which} head is not valid (${text})` };
}

function pageReader(fd: number, { pageBytes }: Meta): (page: number) => Buffer | undefined {
  const buffer = Buffer.alloc(pageBytes);
  return (page) => (readSync(fd, buffer, 0, pageBytes, page * pageBytes) === pageBytes ? buffer : undefined);
}

/** What a commit changes. */
function headOf(fd: number): Buffer {
  return readAt(fd, 0, 2 * 65_536);
}

function readAt(fd: number, offset: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  return buffer.subarray(0, readSync(fd, buffer, 0, bytes, offset));
}

/** As lmdb-js reads it: the hexadecimal digits before the first dash. 0: not known. */
function bootId(): bigint {
  try {
    const digits = /^[0-9a-f]+/i.exec(readFileSync('/proc/sys/kernel/random/boot_id', 'latin1'))?.[0];
    return digits === undefined ? 0n : BigInt(`0x${digits}`);
  } catch {
    return 0n;
  }
}
