/** Stores that the daemon must not open: it ends, says which folder, why and what to do, and leaves every file as it was. */
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { crc32c } from '../../src/platform/index.ts';
import { superblockBytes } from '../../src/store/superblock.ts';
import { loaded } from '../support/api.ts';
import { type Daemon, spawnDaemon, startDaemon } from '../support/daemon.ts';
import { temporaryFolder } from '../support/files.ts';
import { originEnvironment, startTestOrigin } from '../support/origin.ts';
import { readBack } from '../support/scene.ts';

const objects = [{ key: 'data/x.bin', sizeBytes: 3_000_000 }];
const storeSize = '16MB';
const daemons: Daemon[] = [];
let folder: ReturnType<typeof temporaryFolder>;
/** A store that a daemon made and left, with one file loaded; every test spoils a copy of it. */
let made: string;
let copies = 0;
let dataDir: string;
let storeDir: string;
let dataFile: string;
let markerFile: string;

beforeAll(async () => {
  folder = temporaryFolder('store-refusals');
  made = join(folder.path, 'made');
  const origin = await startTestOrigin({ objects });
  try {
    const daemon = await startDaemon({ dataDir: made, storeSize, env: originEnvironment(origin) });
    daemons.push(daemon);
    await loaded(daemon.api, 's3://demo/data/');
    await daemon.terminate();
  } finally {
    await origin.close();
  }
});
beforeEach(() => {
  copies += 1;
  dataDir = join(folder.path, `copy-${copies}`);
  cpSync(made, dataDir, { recursive: true });
  storeDir = join(dataDir, 'store');
  dataFile = join(storeDir, 'store.dat');
  markerFile = join(storeDir, 'primed-store.json');
});
afterAll(async () => {
  for (const daemon of daemons) await daemon.kill();
  folder?.remove();
});

/** Name, time, size and content of everything that was stored; locks, which a start may take, are left out. */
function fingerprint(dir: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter(({ name }) => !name.endsWith('lock.mdb') && !name.endsWith('.lock'))
    .map((item) => {
      const at = join(item.parentPath, item.name);
      if (!item.isFile()) return `${at} folder`;
      const { mtimeMs, size } = statSync(at);
      return `${at} ${mtimeMs} ${size} ${createHash('sha256').update(readFileSync(at)).digest('hex')}`;
    })
    .sort();
}

/**
 * A start on `dataDir` ends by itself with 1 and one line with all of `words`, and changes nothing that was there; what it
 * may add is an index that knows no store.
 */
async function expectRefused(words: readonly string[], args: readonly string[] = []): Promise<void> {
  const before = fingerprint(dataDir);
  await expectEnded(words, args);
  const isNewIndex = (line: string) => line.startsWith(join(dataDir, 'index')) && !before.includes(line);
  const hadIndex = before.some((line) => line.startsWith(join(dataDir, 'index')));
  expect(fingerprint(dataDir).filter((line) => hadIndex || !isNewIndex(line))).toEqual(before);
}

async function expectEnded(words: readonly string[], args: readonly string[] = []): Promise<void> {
  const log = `${dataDir}.log`;
  const saidBefore = existsSync(log) ? readFileSync(log, 'utf8').length : 0;
  const daemon = await spawnDaemon({ dataDir, storeSize: args.length > 0 ? null : storeSize, args });
  daemons.push(daemon);
  expect(await daemon.exited).toEqual({ code: 1, signal: null });
  const [said = ''] = daemon
    .log()
    .slice(saidBefore)
    .split('\n')
    .filter((line) => line.startsWith('primed: '));
  expect(said).toMatch(/^primed: STORE_[A-Z]+: .+$/);
  for (const word of words) expect(said).toContain(word);
}

/** The copy starts, and gives back what was loaded. */
async function expectServed(): Promise<void> {
  const daemon = await startDaemon({ dataDir, storeSize });
  daemons.push(daemon);
  await readBack(daemon, 'demo', objects);
  await daemon.terminate();
}

it('of another format: the marker says so', async () => {
  const marker = readFileSync(markerFile, 'utf8');
  writeFileSync(markerFile, marker.replace('"format": 1', '"format": 2'));
  await expectRefused([storeDir, 'format 2', 'this program reads 1', 'Run the version that made it']);
  writeFileSync(markerFile, marker);
  await expectServed();
});

it('of another format: the first block of the file says so', async () => {
  const bytes = readFileSync(dataFile);
  bytes.writeUInt32LE(2, 8);
  bytes.writeUInt32LE(crc32c(bytes, 0, superblockBytes - 4, 0), superblockBytes - 4);
  writeFileSync(dataFile, bytes);
  await expectRefused([storeDir, 'format 2', 'this program reads 1', 'Run the version that made it']);
});

it('of an index or a job store that was cut off: the file is named, and what can be had again', async () => {
  const fileOf = (name: string): string => join(dataDir, name, 'data.mdb');
  const index = readFileSync(fileOf('index'));
  for (const left of [4096 * Math.floor(index.length / 8192), 0]) {
    truncateSync(fileOf('index'), left);
    await expectRefused([fileOf('index'), 'the index', 'is damaged', 'load the data again']);
    writeFileSync(fileOf('index'), index);
  }
  const jobs = readFileSync(fileOf('jobs'));
  truncateSync(fileOf('jobs'), 4096 * Math.floor(jobs.length / 8192));
  // The store is open by then, and its scrub has begun.
  await expectEnded([fileOf('jobs'), 'the job store', 'is damaged', 'what is cached stays']);
  writeFileSync(fileOf('jobs'), jobs);
  await expectServed();
});

it('of another uuid: a store that belongs to another index', async () => {
  const otherDir = `${dataDir}-other`;
  const other = await startDaemon({ dataDir: otherDir, storeSize });
  daemons.push(other);
  await other.terminate();
  renameSync(storeDir, `${storeDir}.away`);
  renameSync(join(otherDir, 'store'), storeDir);
  const { uuid } = JSON.parse(readFileSync(markerFile, 'utf8'));
  await expectRefused([storeDir, uuid, 'mount']);
});

it('that is not there: its folder is empty, as a missing mount leaves it, or is gone', async () => {
  renameSync(storeDir, `${storeDir}.away`);
  await expectRefused([storeDir, 'mount']);
  expect(existsSync(storeDir)).toBe(false);
  mkdirSync(storeDir);
  await expectRefused([storeDir, 'primed-store.json is missing', 'mount']);
  expect(readdirSync(storeDir)).toEqual([]);
  rmSync(storeDir, { recursive: true });
  renameSync(`${storeDir}.away`, storeDir);
  await expectServed();
});

it('without its marker', async () => {
  rmSync(markerFile);
  await expectRefused([storeDir, 'primed-store.json is missing']);
});

it('that somebody else made: a file lies in its place', async () => {
  rmSync(join(dataDir, 'index'), { recursive: true });
  rmSync(markerFile);
  writeFileSync(dataFile, 'a database of somebody else');
  await expectRefused([dataFile, 'was not made by primed', 'Choose another folder, or remove the file']);
});

it('whose index was lost', async () => {
  rmSync(join(dataDir, 'index'), { recursive: true });
  await expectRefused([storeDir, 'give the index that belongs to it']);
});

it('that another process has, under an index of its own', async () => {
  const daemon = await startDaemon({ dataDir, storeSize });
  daemons.push(daemon);
  const theirs = { dataDir, storeDir };
  const before = fingerprint(storeDir);
  dataDir = `${dataDir}-second`;
  mkdirSync(dataDir);
  const config = join(dataDir, 'primed.toml');
  writeFileSync(config, `[[worker.store]]\ndir = "${theirs.storeDir}"\nsize = "${storeSize}"\n`);
  await expectRefused(
    [theirs.storeDir, `Process ${daemon.pid}`, 'Stop it, or configure another folder'],
    ['--config', config],
  );
  expect(fingerprint(storeDir)).toEqual(before);
  await readBack(daemon, 'demo', objects);
});
