/**
 * A database of an earlier format (LMDB) becomes one of this program's: copied row by row into a new file, which then takes the
 * place of the old one by a rename.
 *
 *   data.mdb  format N ── each row through the steps N → N+1 → … ──▶  upgrading.mdb ── sync ──▶ rename ──▶ data.mdb
 *       └── a second name, first: before-upgrade.mdb, for the way back (a copy, where the file system has no second names)
 *
 * What survives a crash: until the rename the old file, untouched, and what was begun of the new one is thrown away at the next
 * start; from the rename on the new one. Nothing of either kind is ever read as the other. Memory is bounded by a batch.
 */
import { existsSync, linkSync, realpathSync, renameSync, rmSync } from 'node:fs';
import { constants, copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Database, type Key, open, type RootDatabase } from 'lmdb';
import { PrimedError } from '../core/errors.ts';
import type { Log } from '../core/types.ts';
import { releaseMapped } from '../platform/index.ts';
import { committed } from './committed.ts';
import { checkDatabase, type DatabaseKind, databases, dataName, isAheadOfDisk } from './database-file.ts';
import { syncPath } from './volume.ts';

/** Turns a row of one format into one of the next; undefined: the row goes. Must not keep the value. */
export type Step = (table: string, key: Key, value: unknown) => unknown;

export interface TableSpec {
  readonly name: string;
  readonly encoding: 'binary' | 'msgpack';
  /** Keys are bytes; else what LMDB's own order of numbers and texts makes of them. */
  readonly binaryKeys?: boolean;
}

export interface Upgradable {
  /** Folder of the environment. */
  readonly dir: string;
  readonly kind: DatabaseKind;
  /** That of this program. */
  readonly format: number;
  /** `steps[N]` leads from N to N + 1; they reach `format` without a gap. */
  readonly steps: Readonly<Record<number, Step>>;
  readonly tables: readonly TableSpec[];
  /** What the database says of its format; undefined: it is empty. Opened for reading, `openDB` gives undefined for a table that is not there. */
  readonly formatOf: (root: RootDatabase) => number | undefined;
  /** Writes it; awaited by the end of the copy. */
  readonly putFormat: (root: RootDatabase) => Promise<unknown>;
}

export interface UpgradeWatch {
  readonly log: Log;
  /** What the service manager is to show, and that the start takes longer. */
  readonly tell?: ((status: string) => void) | undefined;
  /** Points where tests end the process. */
  readonly at?: (point: 'begun' | 'copied' | 'linked' | 'renamed') => void;
}

export const beforeName = 'before-upgrade.mdb';
const newName = 'upgrading.mdb';
const copyName = 'before-upgrade.new';
/** Of one transaction of the copy. */
const batchRows = 4096;
const batchBytes = 8 * 1024 * 1024;
/** What a row counts for whose length is not known; the longest, those of jobs with all their failures, are smaller. */
const decodedRowBytes = 128 * 1024;
const tellEveryMs = 2000;

/**
 * Earlier releases wrote commits that had not reached the disk yet. Where the machine ended before they did, the database goes back to the last one
 * that had. Before it is opened; throws as `checkDatabase` does.
 */
export async function takeWhatIsOnDisk(dir: string, kind: DatabaseKind): Promise<void> {
  checkDatabase(dir, kind);
  if (isAheadOfDisk(dir)) await open({ path: dir, ...rootOptions, overlappingSync: true }).close();
}

/**
 * Brings the database to the format of this program, where it is older. Throws STORE_VERSION for one that is newer, or too old,
 * STORE_LOCKED while another process has it, STORE_FOREIGN, STORE_CORRUPT, and STORE_IO; then it is as it was.
 */
export async function upgradeDatabase(database: Upgradable, watch: UpgradeWatch): Promise<void> {
  const { dir, format } = database;
  for (const left of [newName, `${newName}-lock`, copyName]) rmSync(join(dir, left), { force: true });
  await takeWhatIsOnDisk(dir, database.kind);
  if (!existsSync(join(dir, dataName))) return;
  const from = await withRoot(dir, database.formatOf);
  if (from === undefined || from === format) return;
  if (from > format || database.steps[from] === undefined) throw refusal(database, from);
  try {
    await convert(database, from, watch);
  } catch (error) {
    if (error instanceof PrimedError) throw error;
    const message = `${databases[database.kind].what} in ${dir} could not be brought from format ${from} to ${format}: ${String(error)}. It is as it was. ${remedyOf(error)}, then start again`;
    throw new PrimedError('STORE_IO', message, { dir, from, format }, { cause: error });
  }
}

function remedyOf(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  const full = code === 'ENOSPC' || code === 'EDQUOT' || /no space left|quota exceeded/i.test(String(error));
  if (full) return 'Make room beside it for the copy (two where the file system has no hard links)';
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS')
    return 'Let the user of the daemon write in that folder';
  return 'Look into the kernel log for the device';
}

/** Why a database is not opened. */
export function refusal(
  { dir, kind, format, steps }: Pick<Upgradable, 'dir' | 'kind' | 'format' | 'steps'>,
  found: number,
): PrimedError {
  const oldest = Math.min(format, ...Object.keys(steps).map(Number));
  const remedy =
    found > format
      ? 'A newer primed has made it: install that again, or go back as docs/OPERATIONS.md says (Going back)'
      : `This program reads formats from ${oldest} on: start a release in between first, or remove it and load again`;
  const message = `${databases[kind].what} in ${dir} has format ${found}, this program has ${format}; nothing was touched. ${remedy}`;
  return new PrimedError('STORE_VERSION', message, { dir, format: found, supported: format });
}

async function convert(database: Upgradable, from: number, watch: UpgradeWatch): Promise<void> {
  const { dir, kind, format, steps } = database;
  const { what } = databases[kind];
  const startedMs = performance.now();
  const facts = { dir, from, format };
  watch.log.info(facts, `${what} is brought to a newer format`);
  watch.tell?.(`${what}: format ${from} becomes ${format}`);
  const step: Step = (table, key, value) => {
    let row = value;
    for (let at = from; at < format && row !== undefined; at += 1) row = steps[at]!(table, key, row);
    return row;
  };
  const target = open({ path: join(dir, newName), noSubdir: true, ...rootOptions });
  let rows = 0;
  try {
    watch.at?.('begun');
    rows = await withRoot(dir, (source) => {
      refuseShared(source, what, dir);
      return copy(source, target, { ...database, step, watch });
    });
    await database.putFormat(target);
    await target.flushed;
  } finally {
    await target.close();
  }
  syncPath(join(dir, newName));
  rmSync(join(dir, `${newName}-lock`), { force: true });
  watch.at?.('copied');
  await keepBefore(dir, watch.log);
  watch.at?.('linked');
  renameSync(join(dir, newName), join(dir, dataName));
  syncPath(dir);
  watch.at?.('renamed');
  const ms = Math.round(performance.now() - startedMs);
  watch.log.info({ ...facts, rows, ms, before: beforeName }, `${what} has the newer format`);
}

/** The old file stays what it is under its own name, whatever happens here. */
async function keepBefore(dir: string, log: Log): Promise<void> {
  const [data, before, copied] = [dataName, beforeName, copyName].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  rmSync(before, { force: true });
  try {
    linkSync(data, before);
    return;
  } catch (error) {
    // vfat, exFAT and some of FUSE have no hard links, and the kernel refuses some that would be to files of others.
    log.info(
      { dir, reason: String(error) },
      'the file of the format before is copied: it cannot have a second name here',
    );
  }
  await copyFile(data, copied, constants.COPYFILE_FICLONE);
  syncPath(copied);
  renameSync(copied, before);
}

const rootOptions = {
  ...{ maxDbs: 12, compression: false, noSync: false, noMetaSync: false },
  ...{ overlappingSync: false, eventTurnBatching: false },
};

async function withRoot<T>(dir: string, act: (root: RootDatabase) => T | Promise<T>): Promise<T> {
  // Not even a table is made in what may be refused.
  const root = open({ path: dir, readOnly: true, ...rootOptions });
  try {
    return await act(root);
  } finally {
    await root.close();
  }
}

/** A process of an earlier release that still runs would write on into the file that is given up. */
function refuseShared(root: RootDatabase, what: string, dir: string): void {
  root.readerCheck();
  const pids = [...root.readerList().matchAll(/^\s*(\d+)\s/gm)].map(([, pid]) => Number(pid));
  const other = pids.find((pid) => pid !== process.pid);
  if (other === undefined) return;
  const message = `${what} in ${dir} is to be brought to a newer format, and process ${other} has it open: stop that first`;
  throw new PrimedError('STORE_LOCKED', message, { dir, pid: other });
}

interface Copy extends Upgradable {
  readonly step: Step;
  readonly watch: UpgradeWatch;
}

/** Resolves with the number of rows. */
async function copy(
  source: RootDatabase,
  target: RootDatabase,
  { dir, tables, step, kind, watch }: Copy,
): Promise<number> {
  const mapped = [dataName, newName].map((name) => realpathSync(join(dir, name)));
  let rows = 0;
  let toldMs = performance.now();
  for (const { name, encoding, binaryKeys } of tables) {
    const options = { encoding, ...(binaryKeys === true && { keyEncoding: 'binary' as const }) };
    const from: Database<unknown, Key> | undefined = source.openDB<unknown, Key>(name, options);
    // One that an earlier release did not have.
    if (from === undefined) continue;
    const to = target.openDB<unknown, Key>(name, options);
    let batch: [Key, unknown][] = [];
    let bytes = 0;
    const flush = async (): Promise<void> => {
      const written = batch;
      batch = [];
      bytes = 0;
      const copied = target.batch(() => {
        for (const [key, value] of written) void to.put(key, value);
      });
      await committed(copied);
      // What is mapped counts as memory of this process.
      for (const path of mapped) releaseMapped(path);
    };
    for (const { key, value } of from.getRange({ snapshot: false })) {
      const row = step(name, key, value);
      if (row === undefined) continue;
      batch.push([key, row]);
      rows += 1;
      bytes += row instanceof Uint8Array ? row.byteLength : decodedRowBytes;
      if (batch.length < batchRows && bytes < batchBytes) continue;
      await flush();
      if (performance.now() - toldMs < tellEveryMs) continue;
      toldMs = performance.now();
      watch.tell?.(`${databases[kind].what} is brought to a newer format: ${rows} rows of ${name} and before`);
    }
    await flush();
  }
  return rows;
}
