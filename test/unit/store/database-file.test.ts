/** Files of LMDB that were cut off or overwritten are refused before LMDB maps them; those that are whole never are, short or not. */
import { type SpawnSyncReturns, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { open, type RootDatabase } from 'lmdb';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { JobStore } from '../../../src/cluster/job-store.ts';
import { openLimitsStore, openPinsStore } from '../../../src/cluster/limits-store.ts';
import { openRatesStore } from '../../../src/cluster/rates-store.ts';
import { openRegistry } from '../../../src/cluster/registry.ts';
import { upgradeJobStore } from '../../../src/cluster/upgrade-job-store.ts';
import { takeDatabases } from '../../../src/coordinator-side.ts';
import { PrimedError } from '../../../src/core/errors.ts';
import { examineIndex } from '../../../src/doctor/deep.ts';
import { systemClock } from '../../../src/platform/index.ts';
import { checkDatabase, dataName, isAheadOfDisk } from '../../../src/store/database-file.ts';
import { damageOfTrees } from '../../../src/store/database-format.ts';
import { IndexDb } from '../../../src/store/index-db.ts';
import { creatingName, prepareDatabase } from '../../../src/store/new-database.ts';
import { lockName } from '../../../src/store/open.ts';
import { PathIds } from '../../../src/store/path-ids.ts';
import { projectRoot, temporaryFolder } from '../../support/files.ts';
import { memoryLog } from '../../support/store-fixture.ts';

const folder = temporaryFolder('database-file');
const pageBytes = 4096;
/** A database with branches, values on pages of their own, and two tables; and what is in it. */
let whole: Buffer;
/** Pages were taken behind its end, and given back in the same transaction. */
let short: Buffer;
let folders = 0;

beforeAll(async () => {
  const options = { encoding: 'binary', compression: false, overlappingSync: false, eventTurnBatching: false } as const;
  const dir = join(folder.path, 'made');
  const root: RootDatabase<Buffer, number> = open({ path: dir, maxDbs: 4, ...options });
  for (const name of ['small', 'large']) {
    const table = root.openDB<Buffer, number>(name, options);
    for (let batch = 0; batch < 3; batch += 1)
      await root.batch(() => {
        for (let row = 0; row < 300; row += 1)
          void table.put(batch * 300 + row, Buffer.alloc(name === 'small' ? 300 : row % 50 === 0 ? 9000 : 40, row));
      });
  }
  await root.flushed;
  whole = readFileSync(join(dir, dataName));
  await root.transaction(() => {
    root.openDB<Buffer, number>('large', options).putSync(5000, Buffer.alloc(500_000));
    root.openDB<Buffer, number>('large', options).removeSync(5000);
  });
  await root.transaction(() => {
    root.openDB<Buffer, number>('large', options).putSync(5001, Buffer.alloc(900_000));
    root.openDB<Buffer, number>('large', options).removeSync(5001);
  });
  await root.flushed;
  await root.close();
  short = readFileSync(join(dir, dataName));
});
afterAll(() => folder.remove());

function placed(bytes: Uint8Array): string {
  folders += 1;
  const dir = join(folder.path, `copy-${folders}`);
  mkdirSync(dir);
  writeFileSync(join(dir, dataName), bytes);
  return dir;
}

function emptied(): string {
  const dir = placed(whole);
  rmSync(join(dir, dataName));
  return dir;
}

/** Of this process. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(join('/proc/self/fd', fd))];
    } catch {
      // The one that this list was read by.
      return [];
    }
  });
}

function refusalOf(dir: string): string | undefined {
  try {
    checkDatabase(dir, 'jobs');
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(PrimedError);
    expect((error as PrimedError).message).toContain(join(dir, dataName));
    return (error as PrimedError).code;
  }
}

/** The rows that a process of its own reads in each folder; it may end by a signal. */
function readAll(dirs: readonly string[]): SpawnSyncReturns<string> {
  const script = `
    import { open } from 'lmdb';
    for (const dir of ${JSON.stringify(dirs)}) {
      const root = open({ path: dir, readOnly: true, maxDbs: 4, encoding: 'binary' });
      let rows = 0;
      for (const name of ['small', 'large'])
        for (const { value } of root.openDB(name, { encoding: 'binary' }).getRange()) rows += value.length > 0 ? 1 : 0;
      console.log(rows);
      await root.close();
    }`;
  return spawnSync(process.execPath, ['--input-type=module', '-e', script], { cwd: projectRoot, encoding: 'utf8' });
}

describe('a file that is cut off', () => {
  it('is refused where LMDB would end the process, and opened where all that is in use is there', () => {
    const pages = whole.length / pageBytes;
    const cuts = Array.from({ length: pages }, (_, page) => placed(whole.subarray(0, page * pageBytes)));
    const refused = cuts.filter((dir) => refusalOf(dir) !== undefined);
    // Pages that were given back lie in its midst; the last one is in use.
    expect(refused).toEqual(cuts);
    expect(refusalOf(placed(whole))).toBeUndefined();
    expect(readAll([placed(whole)]).stdout).toBe('1800\n');
    expect(readAll([cuts.at(-20)!]).signal).toBe('SIGBUS');
  });

  it('is whole though it is shorter than its metas say, where no tree leads behind its end', () => {
    const lastPage = Number(short.readBigUInt64LE(24 + 24 + 96));
    expect(lastPage * pageBytes).toBeGreaterThan(short.length);
    const dirs: string[] = [];
    for (let bytes = short.length; bytes >= whole.length - 40 * pageBytes; bytes -= 3 * pageBytes) {
      const dir = placed(short.subarray(0, bytes));
      if (refusalOf(dir) === undefined) dirs.push(dir);
    }
    // Those that are accepted are read to the end, all of them.
    expect(dirs.length).toBeGreaterThan(0);
    const read = readAll(dirs);
    expect(read).toMatchObject({ signal: null, stdout: '1800\n'.repeat(dirs.length) });
  });

  it('is refused when it is empty, ends within its head, or in the midst of a page', () => {
    for (const bytes of [0, 20, 100, pageBytes, pageBytes + 100, 2 * pageBytes, whole.length - 1])
      expect(refusalOf(placed(whole.subarray(0, bytes)))).toBe('STORE_CORRUPT');
  });

  it('is refused where the newer of its two metas alone leads behind its end', () => {
    // The newer one is the second commit, of which the older one knows nothing.
    const dir = join(folder.path, 'grown');
    mkdirSync(dir);
    copyFileSync(join(placed(whole), dataName), join(dir, dataName));
    const before = statSync(join(dir, dataName)).size;
    const root = open({ path: dir, maxDbs: 4, encoding: 'binary', overlappingSync: false });
    const table = root.openDB('large', { encoding: 'binary' });
    table.putSync(9000, Buffer.alloc(600_000));
    void root.close();
    expect(statSync(join(dir, dataName)).size).toBeGreaterThan(before + 500_000);
    expect(refusalOf(dir)).toBeUndefined();
    truncateSync(join(dir, dataName), before);
    expect(refusalOf(dir)).toBe('STORE_CORRUPT');
    expect(readAll([dir]).signal).toBe('SIGBUS');
  });
});

describe('a file whose head was overwritten', () => {
  it('is refused, whichever of the two metas it is', () => {
    for (const at of [0, pageBytes]) {
      const bytes = Buffer.from(whole);
      bytes.fill('garbage ', at, at + pageBytes);
      expect(refusalOf(placed(bytes))).toBe(at === 0 ? 'STORE_FOREIGN' : 'STORE_CORRUPT');
    }
  });

  it('is refused where a tree begins at a page that is none', () => {
    const bytes = Buffer.from(whole);
    for (const meta of [0, pageBytes]) bytes.writeBigUInt64LE(3n, meta + 24 + 24 + 48 + 40);
    bytes.fill(7, 3 * pageBytes, 4 * pageBytes);
    expect(refusalOf(placed(bytes))).toBe('STORE_CORRUPT');
  });

  it('is judged whatever is in it', () => {
    const dir = placed(whole);
    fc.assert(
      fc.property(
        fc.constantFrom(0, pageBytes, 2 * pageBytes),
        fc.integer({ min: 0, max: 200 }),
        fc.uint8Array({ minLength: 1, maxLength: 64 }),
        fc.integer({ min: 1, max: whole.length }),
        (page, offset, garbage, bytes) => {
          const file = Buffer.from(whole);
          file.set(garbage, page + offset);
          writeFileSync(join(dir, dataName), file.subarray(0, bytes));
          expect([undefined, 'STORE_CORRUPT', 'STORE_FOREIGN']).toContain(refusalOf(dir));
        },
      ),
    );
  });
});

it('each database of a node says what it is, and what can be had again', async () => {
  const cut = (): string => placed(whole.subarray(0, whole.length - 8 * pageBytes));
  const log = memoryLog();
  for (const [openIt, words] of [
    [(dir) => new IndexDb(dir), /the index .* load the data again/s],
    [(dir) => new JobStore(dir), /the job store .* jobs and their history are forgotten/s],
    [(dir) => openLimitsStore(dir), /the limits .*`primed ufs limit`/s],
    [(dir) => openPinsStore(dir), /the pins .*`primed fs pin`/s],
    [
      (dir) => openRegistry({ dir, leaseMs: 1000, clock: systemClock, log }),
      /the list of workers .* register by themselves/s,
    ],
  ] as readonly [(dir: string) => unknown, RegExp][]) {
    const dir = cut();
    const error = await new Promise((resolve) => {
      resolve(openIt(dir));
    }).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ code: 'STORE_CORRUPT', message: expect.stringMatching(words) });
    expect(readFileSync(join(dir, dataName)).equals(whole.subarray(0, whole.length - 8 * pageBytes))).toBe(true);
  }
});

describe('one that is not there', () => {
  const openings = [
    (dir) => new IndexDb(dir),
    (dir) => new JobStore(dir),
    (dir) => openLimitsStore(dir),
    (dir) => openRegistry({ dir, leaseMs: 1000, clock: systemClock, log: memoryLog() }),
    (dir) => openRatesStore(dir, memoryLog())!,
  ] as readonly ((dir: string) => { close(): Promise<void> })[];

  it('is made whole under another name first; what an interrupted start left of that is no obstacle', async () => {
    for (const openIt of openings)
      for (const left of [undefined, Buffer.alloc(0), whole.subarray(0, 100), whole.subarray(0, -8 * pageBytes)]) {
        const dir = emptied();
        if (left !== undefined)
          for (const name of [creatingName, `${creatingName}-lock`]) writeFileSync(join(dir, name), left);
        const opened = openIt(dir);
        expect(refusalOf(dir)).toBeUndefined();
        expect(readdirSync(dir).toSorted()).toEqual([dataName, 'lock.mdb']);
        expect(openFiles().filter((path) => path.includes(creatingName))).toEqual([]);
        await opened.close();
      }
  });

  it('takes the place of none that is there, damaged or not', () => {
    for (const bytes of [Buffer.alloc(0), whole.subarray(0, pageBytes), whole]) {
      const dir = placed(bytes);
      writeFileSync(join(dir, creatingName), whole.subarray(0, 2 * pageBytes));
      const prepare = (): void => prepareDatabase(dir, 'jobs');
      if (bytes === whole) prepare();
      else expect(prepare).toThrow(expect.objectContaining({ code: 'STORE_CORRUPT' }));
      expect(readFileSync(join(dir, dataName)).equals(bytes)).toBe(true);
    }
  });

  it('is not made where a link leads to what is not mounted', () => {
    const dir = emptied();
    symlinkSync('/nowhere/data.mdb', join(dir, dataName));
    expect(() => new JobStore(dir)).toThrow(
      expect.objectContaining({
        code: 'STORE_IO',
        message: expect.stringMatching(/is a link to \/nowhere\/data.mdb, where nothing is.*mount/),
      }),
    );
    expect(readdirSync(dir)).toEqual([dataName]);
    expect(readlinkSync(join(dir, dataName))).toBe('/nowhere/data.mdb');
  });

  it('is none yet to the deep look, as long as the first start has not come to its format', async () => {
    const dir = emptied();
    writeFileSync(join(dir, lockName), '');
    prepareDatabase(dir, 'index');
    const none = [expect.objectContaining({ level: 'ok', what: expect.stringContaining('there is none') })];
    const look = () => examineIndex({ indexDir: dir }, () => undefined);
    expect(await look()).toEqual(none);
    // Its tables are made one after the other.
    await new IndexDb(dir).close();
    expect(await look()).toEqual(none);
  });

  it('says why it cannot be made, and leaves none', () => {
    const dir = emptied();
    mkdirSync(join(dir, creatingName));
    expect(() => new JobStore(dir)).toThrow(
      expect.objectContaining({
        code: 'STORE_IO',
        message: expect.stringMatching(/the job store cannot be made in .* start again/),
      }),
    );
    expect(existsSync(join(dir, dataName))).toBe(false);
  });
});

it('one that this node does not open does not keep it from its start', async () => {
  const dataDir = emptied();
  const put = (name: string): void => {
    mkdirSync(join(dataDir, name));
    writeFileSync(join(dataDir, name, dataName), whole.subarray(0, pageBytes));
  };
  const start = (role: 'standalone' | 'coordinator', etcd?: object) =>
    takeDatabases({ role, cluster: { etcd } as never, dataDir, workersDir: join(dataDir, 'workers') });
  const corrupt = expect.objectContaining({ code: 'STORE_CORRUPT' });
  put('workers');
  await start('standalone');
  await start('coordinator', {});
  await expect(start('coordinator')).rejects.toEqual(corrupt);
  put('limits');
  await start('coordinator', {});
  await expect(start('standalone')).rejects.toEqual(corrupt);
});

it('ids of paths are made anew', async () => {
  const dir = placed(whole.subarray(0, whole.length - 8 * pageBytes));
  const store = { paths: () => ['s3://b/a'] as never, usage: () => ({ files: 1 }) as never };
  const ids = await PathIds.open({ dir, store, log: memoryLog() });
  await ids.settled();
  expect(ids.whole).toBe(true);
  await ids.close();
  expect(refusalOf(dir)).toBeUndefined();
});

it('a machine that ended before a commit was synced has the one before, also where a format is looked at first', async () => {
  const dir = join(folder.path, 'ahead');
  const store = new JobStore(dir);
  await store.close();
  // As earlier releases did it: what has reached the disk is known beside what is committed.
  const earlier = open({ path: dir, maxDbs: 8, noSubdir: false, overlappingSync: true });
  const earlierMeta = earlier.openDB<number, string>({ name: 'meta', encoding: 'msgpack' });
  for (const version of [1, 2]) {
    await earlierMeta.put('version', version);
    await earlier.flushed;
  }
  await earlier.close();
  const path = join(dir, dataName);
  const bytes = readFileSync(path);
  expect(isAheadOfDisk(dir)).toBe(false);
  const txnOf = (meta: number): bigint => bytes.readBigUInt64LE(meta + 24 + 24 + 96 + 8);
  const [newest, synced] = [txnOf(0) > txnOf(pageBytes) ? 0 : pageBytes, pageBytes / 2];
  expect(txnOf(synced)).toBeGreaterThanOrEqual(txnOf(newest) - 1n);
  // What was written of the newest commit is its meta alone, and the machine was started anew since.
  for (const meta of [0, pageBytes]) bytes.writeBigInt64LE(1n, meta + 24 + 24 + 96 + 16);
  bytes.writeBigUInt64LE(txnOf(newest) + 2n, newest + 24 + 24 + 96 + 8);
  bytes.writeUInt16LE(bytes.readUInt16LE(newest + 24 + 24 + 4) | 0x1000, newest + 24 + 24 + 4);
  bytes.writeBigUInt64LE(9000n, newest + 24 + 24 + 96);
  bytes.writeBigUInt64LE(8999n, newest + 24 + 24 + 48 + 40);
  writeFileSync(path, bytes);
  expect(isAheadOfDisk(dir)).toBe(true);
  expect(refusalOf(dir)).toBeUndefined();
  await upgradeJobStore(dir, { log: memoryLog() });
  expect(isAheadOfDisk(dir)).toBe(false);
  const again = new JobStore(dir);
  expect(again.jobs()).toEqual([]);
  await again.close();
});

it('a tree that leads to itself is damage, and the look at it ends', () => {
  const pageBytes = 4096;
  const leaf = Buffer.alloc(pageBytes);
  leaf.writeBigUInt64LE(5n, 0);
  leaf.writeUInt16LE(2, 18);
  leaf.writeUInt16LE(2, 20);
  // One node behind the offsets, without a key, whose data is a tree with this very page as its root.
  const node = 100;
  leaf.writeUInt16LE(node - 24, 24);
  leaf.writeUInt16LE(2, node + 4);
  leaf.writeBigUInt64LE(5n, node + 8 + 40);
  const meta = { pageBytes, lastPage: 20, roots: [undefined, 5], txn: 1n, boot: 0n, unsynced: false };
  expect(damageOfTrees(meta, 10, () => leaf)).toBe('page 5 is in use twice');
});
