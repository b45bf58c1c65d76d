/**
 * One store on one SSD: a folder with `primed-store.json` (the marker) and `store.dat` (superblock and data).
 *
 * The index knows the uuid of each store, so that a folder that is empty, because its file system is not mounted,
 * is told from a new one. Making a store is safe against a crash at any point: the index records it as `creating`
 * first, the marker comes before the file, and `ready` is recorded last. A store that is `creating` never held data.
 *
 * Every refusal happens before the first write.
 */
import {
  closeSync,
  existsSync,
  fdatasync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  read,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  statfsSync,
  statSync,
  write,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { maxGrains } from '../core/allocator.ts';
import { PrimedError } from '../core/errors.ts';
import { formatSize } from '../core/sizes.ts';
import type { Log, StoreIndex } from '../core/types.ts';
import { alignBytes, alignDown, MiB } from '../core/units.ts';
import { allocateFile, lockFile, makeFolder, openDirect } from '../platform/index.ts';
import { dataOffset, decodeSuperblock, encodeSuperblock, storeFormat, superblockBytes } from './superblock.ts';
import type { StoreFile } from './types.ts';

export const markerName = 'primed-store.json';
export const dataName = 'store.dat';
const minimumBytes = dataOffset + MiB;
const maximumBytes = maxGrains * alignBytes;

interface Marker {
  readonly what: 'primed store';
  readonly format: number;
  readonly uuid: string;
  readonly note: string;
}

export interface VolumeSpec {
  readonly dir: string;
  readonly index: StoreIndex;
  readonly uuid: string;
  readonly sizeBytes: number;
}

const otherVersionHelp = 'Run the version that made it, or remove the store and its index, and load again';

/** An open, locked store file. */
export class Volume implements StoreFile {
  readonly index: StoreIndex;
  readonly path: string;
  readonly sizeBytes: number;
  readonly uuid: string;
  readonly direct: boolean;
  readonly #lockFd: number;
  readonly #readFd: number;
  /** Opened by the first page that is repaired. */
  #writeFd: number | undefined;
  /** Reads and writes under way. */
  #reads = 0;
  #closing = false;
  #onIdle: (() => void) | undefined;

  constructor(spec: VolumeSpec, lockFd: number) {
    this.index = spec.index;
    this.path = join(spec.dir, dataName);
    this.sizeBytes = spec.sizeBytes;
    this.uuid = spec.uuid;
    this.#lockFd = lockFd;
    const opened = openDirect(this.path, { write: false });
    this.#readFd = opened.fd;
    this.direct = opened.direct;
  }

  /** Usable grains: what lies behind the superblock. */
  get grains(): number {
    return (this.sizeBytes - dataOffset) / alignBytes;
  }

  /** Fills `buffer`, which is aligned in memory, from `offset`. Throws STORE_IO, STOPPING. */
  read(buffer: Uint8Array, offset: number): Promise<void> {
    if (this.#closing) return Promise.reject(new PrimedError('STOPPING', `${this.path} is closed`));
    this.#reads++;
    return new Promise((resolve, reject) => {
      read(this.#readFd, buffer, 0, buffer.length, offset, (error, bytes) => {
        this.#reads--;
        if (this.#reads === 0) this.#onIdle?.();
        if (!error && bytes === buffer.length) return resolve();
        const why = error ? error.message : `only ${bytes} of ${buffer.length} bytes came`;
        const message = `${this.path} at ${offset} cannot be read: ${why}`;
        reject(new PrimedError('STORE_IO', message, { path: this.path, offset }, { cause: error }));
      });
    });
  }

  /** Writes `buffer`, which is aligned in memory, at `offset`: what lanes have written, once more. Throws STORE_IO, STOPPING. */
  write(buffer: Uint8Array, offset: number): Promise<void> {
    if (this.#closing) return Promise.reject(new PrimedError('STOPPING', `${this.path} is closed`));
    this.#writeFd ??= openDirect(this.path, { write: true }).fd;
    const fd = this.#writeFd;
    this.#reads++;
    return new Promise((resolve, reject) => {
      write(fd, buffer, 0, buffer.length, offset, (error, bytes) => {
        this.#reads--;
        if (this.#reads === 0) this.#onIdle?.();
        if (!error && bytes === buffer.length) return resolve();
        const why = error ? error.message : `only ${bytes} of ${buffer.length} bytes went`;
        const message = `${this.path} at ${offset} cannot be written: ${why}`;
        reject(new PrimedError('STORE_IO', message, { path: this.path, offset }, { cause: error }));
      });
    });
  }

  /** Resolves when everything that was written to the file before the call is on the medium. Throws STORE_IO. */
  sync(): Promise<void> {
    return new Promise((resolve, reject) => {
      fdatasync(this.#lockFd, (error) => {
        if (!error) return resolve();
        reject(
          new PrimedError(
            'STORE_IO',
            `${this.path} cannot be synced: ${error.message}; what was written since the last sync may be lost`,
            { path: this.path },
            { cause: error },
          ),
        );
      });
    });
  }

  /** Waits for the reads that run: their descriptor must not become another file's under them. */
  async close(): Promise<void> {
    this.#closing = true;
    if (this.#reads > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    closeSync(this.#readFd);
    if (this.#writeFd !== undefined) closeSync(this.#writeFd);
    closeSync(this.#lockFd);
  }
}

/** The size that a store gets: whole grains. Throws CONFIG_INVALID when it is too small or too large. */
export function storeSizeBytes(dir: string, wantedBytes: number): number {
  const sizeBytes = alignDown(wantedBytes);
  if (sizeBytes < minimumBytes || sizeBytes > maximumBytes) {
    throw new PrimedError(
      'CONFIG_INVALID',
      `the store in ${dir} cannot have ${wantedBytes} bytes: at least ${minimumBytes}, at most ${maximumBytes} (use several stores on a larger disk)`,
      { dir, wantedBytes, minimumBytes, maximumBytes },
    );
  }
  return sizeBytes;
}

/** The marker of a folder; undefined when there is none. Throws STORE_FOREIGN, STORE_VERSION. */
export function readMarker(dir: string): Marker | undefined {
  const path = join(dir, markerName);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw ioError(path, error);
  }
  let marker: Partial<Marker> | null;
  try {
    marker = JSON.parse(text) as Partial<Marker> | null;
  } catch {
    marker = null;
  }
  if (marker?.what !== 'primed store' || typeof marker.uuid !== 'string' || typeof marker.format !== 'number') {
    throw new PrimedError(
      'STORE_FOREIGN',
      `${path} is not the marker of a primed store; nothing was touched. Choose another folder, or remove the file`,
      { path },
    );
  }
  if (marker.format !== storeFormat) {
    throw new PrimedError(
      'STORE_VERSION',
      `${path} is of store format ${marker.format}, this program reads ${storeFormat}; nothing was touched. ${otherVersionHelp}`,
      { path, format: marker.format, supported: storeFormat },
    );
  }
  return marker as Marker;
}

/** Opens a store that is `ready`. Throws STORE_MISSING, _FOREIGN, _VERSION, _MISMATCH, _LOCKED; then nothing was touched. */
export function openVolume(spec: VolumeSpec, configuredBytes: number): Volume {
  const path = join(spec.dir, dataName);
  const fd = openExisting(path, spec);
  try {
    checkSuperblock(fd, path, spec, configuredBytes);
    lockFile(fd);
    return new Volume(spec, fd);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Whether a store can be made in this folder. Throws STORE_FOREIGN, _MISMATCH, _LOCKED when something lies in its place. */
export function checkEmpty(dir: string, uuid: string | undefined): void {
  const marker = readMarker(dir);
  const path = join(dir, dataName);
  if (marker && marker.uuid !== uuid) {
    // A store that is in use must not be called one to remove.
    if (existsSync(path)) checkUnlocked(path);
    throw new PrimedError(
      'STORE_MISMATCH',
      `${dir} holds store ${marker.uuid}, which this index does not know; give the index that belongs to it, or remove ${markerName} and ${dataName} to start anew`,
      { dir, uuid: marker.uuid },
    );
  }
  if (!marker && existsSync(path)) {
    throw new PrimedError(
      'STORE_FOREIGN',
      `${path} exists and was not made by primed; nothing was touched. Choose another folder, or remove the file`,
      { path },
    );
  }
}

function checkUnlocked(path: string): void {
  const fd = openSync(path, 'r');
  try {
    lockFile(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * Whether the file systems have room for new stores, those of one file system together, before a byte of it is taken.
 * Throws STORE_NO_ROOM, STORE_IO.
 */
export function checkRoom(stores: readonly { readonly dir: string; readonly sizeBytes: number }[]): void {
  const neededOn = new Map<number, number>();
  for (const { dir, sizeBytes } of stores) {
    let folder = dir;
    while (!existsSync(folder)) folder = dirname(folder);
    const path = join(dir, dataName);
    try {
      const { bavail, bsize } = statfsSync(folder);
      const { dev } = statSync(folder);
      // What an unfinished attempt has taken is there for the next one.
      const takenBytes = existsSync(path) ? Math.min(sizeBytes, statSync(path).blocks * 512) : 0;
      const neededBytes = (neededOn.get(dev) ?? 0) + sizeBytes - takenBytes;
      neededOn.set(dev, neededBytes);
      const freeBytes = bavail * bsize;
      if (freeBytes >= neededBytes) continue;
      const others = neededBytes - sizeBytes + takenBytes;
      throw new PrimedError(
        'STORE_NO_ROOM',
        `the store in ${dir} is configured with ${formatSize(sizeBytes)}, its file system has ${formatSize(freeBytes + takenBytes)} free${others > 0 ? `, and the stores before it there need ${formatSize(others)} of that` : ''}; free space there, or configure a smaller store`,
        { dir, neededBytes, freeBytes },
      );
    } catch (error) {
      throw error instanceof PrimedError ? error : ioError(folder, error);
    }
  }
}

/** Makes (or finishes making) a store that the index has recorded as `creating`. Throws STORE_IO, STORE_LOCKED, STORE_FOREIGN. */
export async function createVolume(spec: VolumeSpec): Promise<Volume> {
  const { dir, uuid, sizeBytes } = spec;
  const path = join(dir, dataName);
  let fd: number | undefined;
  try {
    makeFolder(dir);
    checkEmpty(dir, uuid);
    writeMarker(dir, uuid);
    fd = openSync(path, existsSync(path) ? 'r+' : 'wx+', 0o600);
    lockFile(fd);
    // An earlier attempt may have made it larger.
    if (fstatSync(fd).size > sizeBytes) ftruncateSync(fd, sizeBytes);
    try {
      await allocateFile(fd, sizeBytes);
    } catch (error) {
      // Somebody else took the room meanwhile: do not keep what was had of it.
      ftruncateSync(fd, 0);
      throw error;
    }
    writeSync(fd, encodeSuperblock(uuid, sizeBytes), 0, superblockBytes, 0);
    fsyncSync(fd);
    syncPath(dir);
    syncPath(dirname(dir));
    return new Volume(spec, fd);
  } catch (error) {
    if (fd !== undefined) closeSync(fd);
    throw error instanceof PrimedError ? error : ioError(path, error);
  }
}

/** Says once that a store has no O_DIRECT. */
export function warnIfBuffered(volume: Volume, log: Log): void {
  if (volume.direct) return;
  log.warn(
    { path: volume.path },
    'this file system has no O_DIRECT: the store works through the page cache, slower and with more memory',
  );
}

function openExisting(path: string, spec: VolumeSpec): number {
  const marker = readMarker(spec.dir);
  if (!marker || !existsSync(path)) {
    const there = existsSync(spec.dir) ? readdirSync(spec.dir).length : 0;
    const missing = marker ? dataName : markerName;
    throw new PrimedError(
      'STORE_MISSING',
      `store ${spec.uuid} is not in ${spec.dir}: ${missing} is missing (${there} entries there). Most often its file system is not mounted; nothing was created`,
      { dir: spec.dir, uuid: spec.uuid, missing },
    );
  }
  if (marker.uuid !== spec.uuid) {
    throw new PrimedError(
      'STORE_MISMATCH',
      `${spec.dir} holds store ${marker.uuid}, the index expects ${spec.uuid}; check the mounts`,
      { dir: spec.dir, found: marker.uuid, expected: spec.uuid },
    );
  }
  try {
    return openSync(path, 'r+');
  } catch (error) {
    throw ioError(path, error);
  }
}

function checkSuperblock(fd: number, path: string, spec: VolumeSpec, configuredBytes: number): void {
  const bytes = Buffer.alloc(superblockBytes);
  const got = readSync(fd, bytes, 0, superblockBytes, 0);
  const found = decodeSuperblock(bytes.subarray(0, got));
  if (found === 'foreign') {
    throw new PrimedError(
      'STORE_FOREIGN',
      `${path} has no superblock of primed; nothing was touched. Choose another folder, or remove the file`,
      { path },
    );
  }
  if (found === 'damaged') {
    throw new PrimedError(
      'STORE_MISMATCH',
      `the superblock of ${path} does not have its checksum; the file is damaged. Remove the store and its index to start anew`,
      { path },
    );
  }
  if (found.version !== storeFormat) {
    throw new PrimedError(
      'STORE_VERSION',
      `${path} has store format ${found.version}, this program reads ${storeFormat}; nothing was touched. ${otherVersionHelp}`,
      { path, format: found.version, supported: storeFormat },
    );
  }
  if (found.uuid !== spec.uuid) {
    throw new PrimedError(
      'STORE_MISMATCH',
      `${path} is store ${found.uuid}, the index expects ${spec.uuid}; check the mounts`,
      { path, found: found.uuid, expected: spec.uuid },
    );
  }
  const fileBytes = fstatSync(fd).size;
  for (const [what, sizeBytes] of [
    ['index', spec.sizeBytes],
    ['file', fileBytes],
    ['configuration', configuredBytes],
  ] as const) {
    if (sizeBytes === found.sizeBytes) continue;
    throw new PrimedError(
      'STORE_MISMATCH',
      `${path} was made with ${found.sizeBytes} bytes, the ${what} says ${sizeBytes}; a store keeps its size: configure that size, or add another store`,
      { path, superblockBytes: found.sizeBytes, [what]: sizeBytes },
    );
  }
}

function writeMarker(dir: string, uuid: string): void {
  const marker: Marker = {
    what: 'primed store',
    format: storeFormat,
    uuid,
    note: `${dataName} beside this file belongs to a primed worker; removing either loses the cache`,
  };
  const temporary = join(dir, `${markerName}.new`);
  const fd = openSync(temporary, 'w', 0o600);
  try {
    writeSync(fd, `${JSON.stringify(marker, null, 2)}\n`);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, join(dir, markerName));
  syncPath(dir);
}

/** Makes what is in a file durable, or the names in a folder. */
export function syncPath(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function ioError(path: string, error: unknown): PrimedError {
  return new PrimedError('STORE_IO', `${path}: ${(error as Error).message}`, { path }, { cause: error });
}
