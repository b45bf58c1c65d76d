/**
 * The binary records of the index. Little-endian but for keys, which are big-endian so that they sort. Every record
 * begins with a version byte; docs/ON_DISK_LAYOUT.md has the same tables.
 *
 * block      0 u8 version  1 u8 zero  2 u16 pages  4 u16 zero  6 u16 words  8 u32 extents
 *            12 u32 x words: bitmap of pages that are present
 *            .. u32 x pages: CRC32C of each page, 0 where absent
 *            .. u8 x pages: the run that fetched it, counted from 1 in the file record; 0: absent, or a run beyond the 255th
 *            .. 12 B x extents: u32 grain in the store file, u16 grain in the block, u16 grains, u8 store, 3 B zero
 *
 * file       0 u8 version  1 u8 state  2 u16 etag bytes  4 u48 file id  10 u16 load bytes
 *            12 f64 size  20 f64 last modified, ms  28 f64 cached at, ms  36 f64 durable bytes
 *            44 u32 inline block bytes  48 u16 version id bytes (0xffff: none)  50 u16 path bytes  52 u16 runs
 *            54 u16 segment size of its placement, MiB  56 u16 attributes bytes
 *            58 u16 class  60 u48 since, ms: its place in the queue for eviction
 *            66 inline block, etag, load, version id, attributes, path (loading only), runs x (u16 bytes, name, f64 durable bytes);
 *            of a visible file no runs are one: that by the name of the load
 *
 * ledger     0 u8 version  1 u8 reasons  2 6 B zero  8 f64 origin bytes  16 f64 peer bytes  24 f64 cached bytes
 *            32 f64 x reasons
 */
import type { FileId, Ledger, LoadId, RunId, StoreIndex, UfsPath } from '../core/types.ts';
import { discardReasons, emptyLedger } from '../core/types.ts';
import { MiB } from '../core/units.ts';
import type { FileRecord, FileState } from './types.ts';

export const recordVersion = 5;

const blockHeadBytes = 12;
const extentBytes = 12;
const fileHeadBytes = 66;
const ledgerHeadBytes = 32;
const noVersionId = 0xffff;

/** One segment of one file: which pages are there, their checksums, and where they lie. */
export interface Block {
  readonly pages: number;
  /** One bit a page. */
  readonly present: Uint32Array;
  readonly checksums: Uint32Array;
  /** Which run of the file fetched each page, counted from 1; 0: it is absent, or nobody knows. */
  readonly by: Uint8Array;
  /** Sorted by place in the block, neighbours merged. */
  extents: BlockExtent[];
}

export interface BlockExtent {
  readonly blockGrain: number;
  readonly grains: number;
  readonly store: StoreIndex;
  /** Grain in the store file, counted from its first byte. */
  readonly fileGrain: number;
}

export function emptyBlock(pages: number): Block {
  const present = new Uint32Array((pages + 31) >>> 5);
  return { pages, present, checksums: new Uint32Array(pages), by: new Uint8Array(pages), extents: [] };
}

export function hasPage(present: Uint32Array, page: number): boolean {
  return (present[page >>> 5]! & (1 << (page & 31))) !== 0;
}

export function setPage(present: Uint32Array, page: number): void {
  present[page >>> 5]! |= 1 << (page & 31);
}

export function isFull(block: { pages: number; present: Uint32Array }): boolean {
  for (let word = 0; word < block.present.length; word++) {
    const bits = Math.min(32, block.pages - word * 32);
    if (block.present[word]! !== 2 ** bits - 1) return false;
  }
  return true;
}

// ---- keys

export function pathKey(path: string): Buffer {
  return Buffer.from(path, 'utf8');
}

export function fileKey(file: FileId): Buffer {
  const key = Buffer.allocUnsafe(6);
  key.writeUIntBE(file, 0, 6);
  return key;
}

export function blockKey(file: FileId, segment: number): Buffer {
  const key = Buffer.allocUnsafe(10);
  key.writeUIntBE(file, 0, 6);
  key.writeUInt32BE(segment, 6);
  return key;
}

export function parseFileKey(key: Uint8Array): FileId {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).readUIntBE(0, 6) as FileId;
}

/** Sorts by class, then by time. */
export function placeKey(place: Place, file: FileId): Buffer {
  const key = Buffer.allocUnsafe(14);
  key.writeUInt16BE(place.class, 0);
  key.writeUIntBE(place.sinceMs, 2, 6);
  key.writeUIntBE(file, 8, 6);
  return key;
}

export function parsePlaceKey(key: Buffer): Place & { readonly fileId: FileId } {
  return { class: key.readUInt16BE(0), sinceMs: key.readUIntBE(2, 6), fileId: key.readUIntBE(8, 6) as FileId };
}

export function parseSegment(key: Uint8Array): number {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).readUInt32BE(6);
}

// ---- values

/**
 * Memory that values are encoded into and that LMDB reads from its own thread: a value must stay as it is until the
 * commit has ended, so there is one arena for the one commit that runs, and `reset` makes it empty again.
 */
export class Arena {
  #chunk = Buffer.allocUnsafeSlow(256 * 1024);
  #used = 0;

  take(bytes: number): Buffer {
    if (this.#used + bytes > this.#chunk.length) {
      // The old chunk lives on as long as values point into it; the next commit starts with the new one.
      this.#chunk = Buffer.allocUnsafeSlow(Math.max(256 * 1024, bytes));
      this.#used = 0;
    }
    const start = this.#used;
    this.#used = (start + bytes + 7) & ~7;
    return this.#chunk.subarray(start, start + bytes);
  }

  reset(): void {
    this.#used = 0;
  }
}

export function blockBytes(block: Block): number {
  return blockHeadBytes + block.present.length * 4 + block.pages * 5 + block.extents.length * extentBytes;
}

export function writeBlock(block: Block, out: Buffer, offset: number): void {
  const count = block.extents.length;
  out[offset] = recordVersion;
  out[offset + 1] = 0;
  out.writeUInt16LE(block.pages, offset + 2);
  out.writeUInt16LE(0, offset + 4);
  out.writeUInt16LE(block.present.length, offset + 6);
  out.writeUInt32LE(count, offset + 8);
  let at = offset + blockHeadBytes;
  for (const word of block.present) at = out.writeUInt32LE(word, at);
  for (const checksum of block.checksums) at = out.writeUInt32LE(checksum, at);
  for (const run of block.by) at = out.writeUInt8(run, at);
  for (const extent of block.extents) {
    out.writeUInt32LE(extent.fileGrain, at);
    out.writeUInt16LE(extent.blockGrain, at + 4);
    out.writeUInt16LE(extent.grains, at + 6);
    out.writeUInt32LE(extent.store, at + 8);
    at += extentBytes;
  }
}

export function readBlock(bytes: Buffer, offset = 0): Block {
  expectVersion(bytes[offset]!, 'block');
  const pages = bytes.readUInt16LE(offset + 2);
  const block = emptyBlock(pages);
  const extents = bytes.readUInt32LE(offset + 8);
  let at = offset + blockHeadBytes;
  for (let i = 0; i < block.present.length; i++, at += 4) block.present[i] = bytes.readUInt32LE(at);
  for (let i = 0; i < pages; i++, at += 4) block.checksums[i] = bytes.readUInt32LE(at);
  for (let i = 0; i < pages; i++, at += 1) block.by[i] = bytes[at]!;
  for (let i = 0; i < extents; i++, at += extentBytes) {
    block.extents.push({
      fileGrain: bytes.readUInt32LE(at),
      blockGrain: bytes.readUInt16LE(at + 4),
      grains: bytes.readUInt16LE(at + 6),
      store: bytes[at + 8]! as StoreIndex,
    });
  }
  return block;
}

/** Calls back with every extent of a block record, without decoding the rest: opening reads a million of these. */
export function scanExtents(
  bytes: Buffer,
  offset: number,
  each: (store: number, fileGrain: number, grains: number) => void,
): void {
  expectVersion(bytes[offset]!, 'block');
  const pages = bytes.readUInt16LE(offset + 2);
  const words = bytes.readUInt16LE(offset + 6);
  const extents = bytes.readUInt32LE(offset + 8);
  let at = offset + blockHeadBytes + words * 4 + pages * 5;
  for (let i = 0; i < extents; i++, at += extentBytes) {
    each(bytes[at + 8]!, bytes.readUInt32LE(at), bytes.readUInt16LE(at + 6));
  }
}

const stateNumbers: Record<FileState, number> = { complete: 1, metadata: 2, loading: 3, partial: 4 };
const stateNames: readonly (FileState | undefined)[] = [undefined, 'complete', 'metadata', 'loading', 'partial'];

export interface FileValue {
  readonly record: FileRecord;
  /** Of a file of at most a page: its only block. */
  readonly block?: Block | undefined;
  /** Of a visible file with bytes. */
  readonly place?: Place | undefined;
}

/** Where a file waits for its eviction: see recency.ts. */
export interface Place {
  readonly class: number;
  readonly sinceMs: number;
}

export function encodeFile(value: FileValue, arena: Arena): Buffer {
  const { record, block, place } = value;
  const runs = runsToName(record);
  const inlineBytes = block ? blockBytes(block) : 0;
  const etagBytes = Buffer.byteLength(record.etag);
  const loadBytes = Buffer.byteLength(record.loadId);
  const versionBytes = record.versionId === undefined ? 0 : Buffer.byteLength(record.versionId);
  const attributeBytes = record.attributes === '' ? 0 : Buffer.byteLength(record.attributes);
  const path = record.state === 'loading' ? record.path : '';
  const pathBytes = Buffer.byteLength(path);
  let runBytes = 0;
  if (runs) for (const run of runs.keys()) runBytes += 10 + Buffer.byteLength(run);
  const textBytes = etagBytes + loadBytes + versionBytes + attributeBytes + pathBytes;
  const out = arena.take(fileHeadBytes + inlineBytes + textBytes + runBytes);
  out[0] = recordVersion;
  out[1] = stateNumbers[record.state];
  out.writeUInt16LE(etagBytes, 2);
  out.writeUIntLE(record.fileId, 4, 6);
  out.writeUInt16LE(loadBytes, 10);
  out.writeDoubleLE(record.sizeBytes, 12);
  out.writeDoubleLE(record.lastModifiedMs, 20);
  out.writeDoubleLE(record.cachedAtMs, 28);
  out.writeDoubleLE(record.cachedBytes, 36);
  out.writeUInt32LE(inlineBytes, 44);
  out.writeUInt16LE(record.versionId === undefined ? noVersionId : versionBytes, 48);
  out.writeUInt16LE(pathBytes, 50);
  out.writeUInt16LE(runs?.size ?? 0, 52);
  out.writeUInt16LE(record.segmentBytes / MiB, 54);
  out.writeUInt16LE(attributeBytes, 56);
  out.writeUInt16LE(place?.class ?? 0, 58);
  out.writeUIntLE(place?.sinceMs ?? 0, 60, 6);
  if (block) writeBlock(block, out, fileHeadBytes);
  let at = fileHeadBytes + inlineBytes;
  at += out.write(record.etag, at, 'utf8');
  at += out.write(record.loadId, at, 'utf8');
  if (versionBytes > 0) at += out.write(record.versionId!, at, 'utf8');
  if (attributeBytes > 0) at += out.write(record.attributes, at, 'utf8');
  if (pathBytes > 0) at += out.write(path, at, 'utf8');
  if (runs) {
    for (const [run, bytes] of runs) {
      out.writeUInt16LE(Buffer.byteLength(run), at);
      at += 2 + out.write(run, at + 2, 'utf8');
      at = out.writeDoubleLE(bytes, at);
    }
  }
  return out;
}

/** @param path of a visible file: its key; a loading record carries its path itself. */
export function decodeFile(bytes: Buffer, path?: string): FileRecord {
  expectVersion(bytes[0]!, 'file');
  const etagAt = fileHeadBytes + bytes.readUInt32LE(44);
  const loadAt = etagAt + bytes.readUInt16LE(2);
  const versionAt = loadAt + bytes.readUInt16LE(10);
  const versionBytes = bytes.readUInt16LE(48);
  const attributesAt = versionAt + (versionBytes === noVersionId ? 0 : versionBytes);
  const pathAt = attributesAt + bytes.readUInt16LE(56);
  const record: FileRecord = {
    path: (path ?? bytes.toString('utf8', pathAt, pathAt + bytes.readUInt16LE(50))) as UfsPath,
    fileId: bytes.readUIntLE(4, 6) as FileId,
    state: stateNames[bytes[1]!]!,
    loadId: bytes.toString('utf8', loadAt, versionAt) as LoadId,
    etag: bytes.toString('utf8', etagAt, loadAt),
    sizeBytes: bytes.readDoubleLE(12),
    lastModifiedMs: bytes.readDoubleLE(20),
    cachedAtMs: bytes.readDoubleLE(28),
    cachedBytes: bytes.readDoubleLE(36),
    attributes: attributesAt === pathAt ? '' : bytes.toString('utf8', attributesAt, pathAt),
    segmentBytes: bytes.readUInt16LE(54) * MiB,
  };
  const runs = bytes.readUInt16LE(52) === 0 ? undefined : decodeRuns(bytes);
  if (versionBytes === noVersionId) return runs === undefined ? record : { ...record, runs };
  const versionId = bytes.toString('utf8', versionAt, attributesAt);
  return runs === undefined ? { ...record, versionId } : { ...record, runs, versionId };
}

/** One that has the name of the load goes without saying. */
function runsToName({ state, loadId, runs }: FileRecord): ReadonlyMap<string, number> | undefined {
  const plain: ReadonlyMap<string, number> | undefined = runs;
  return state !== 'loading' && plain?.size === 1 && plain.has(loadId) ? undefined : plain;
}

/** What a summary needs of a file record, without its strings. */
export function fileFigures(bytes: Buffer): { state: FileState; sizeBytes: number; cachedBytes: number } {
  expectVersion(bytes[0]!, 'file');
  return { state: stateNames[bytes[1]!]!, sizeBytes: bytes.readDoubleLE(12), cachedBytes: bytes.readDoubleLE(36) };
}

export function placeOf(bytes: Buffer): Place {
  return { class: bytes.readUInt16LE(58), sinceMs: bytes.readUIntLE(60, 6) };
}

/** What a replay needs of a file record: the bytes that wait in the queue of its class. */
export function placedFigures(bytes: Buffer): { class: number; cachedBytes: number; placed: boolean } {
  const placed = bytes[1] === stateNumbers.complete || bytes[1] === stateNumbers.partial;
  return { class: bytes.readUInt16LE(58), cachedBytes: bytes.readDoubleLE(36), placed };
}

export function inlineBlock(bytes: Buffer): Block | undefined {
  return bytes.readUInt32LE(44) === 0 ? undefined : readBlock(bytes, fileHeadBytes);
}

export function scanInlineExtents(
  bytes: Buffer,
  each: (store: number, fileGrain: number, grains: number) => void,
): boolean {
  expectVersion(bytes[0]!, 'file');
  if (bytes.readUInt32LE(44) === 0) return false;
  scanExtents(bytes, fileHeadBytes, each);
  return true;
}

function decodeRuns(bytes: Buffer): Map<RunId, number> {
  const versionBytes = bytes.readUInt16LE(48);
  let at = fileHeadBytes + bytes.readUInt32LE(44) + bytes.readUInt16LE(2) + bytes.readUInt16LE(10);
  at += (versionBytes === noVersionId ? 0 : versionBytes) + bytes.readUInt16LE(56) + bytes.readUInt16LE(50);
  const runs = new Map<RunId, number>();
  for (let left = bytes.readUInt16LE(52); left > 0; left--) {
    const length = bytes.readUInt16LE(at);
    runs.set(bytes.toString('utf8', at + 2, at + 2 + length) as RunId, bytes.readDoubleLE(at + 2 + length));
    at += 10 + length;
  }
  return runs;
}

export function encodeLedger(ledger: Ledger, arena: Arena): Buffer {
  const out = arena.take(ledgerHeadBytes + discardReasons.length * 8);
  out.fill(0);
  out[0] = recordVersion;
  out[1] = discardReasons.length;
  out.writeDoubleLE(ledger.originBytes, 8);
  out.writeDoubleLE(ledger.peerBytes, 16);
  out.writeDoubleLE(ledger.cachedBytes, 24);
  discardReasons.forEach((reason, i) => {
    out.writeDoubleLE(ledger.discardedBytes[reason], ledgerHeadBytes + i * 8);
  });
  return out;
}

export function decodeLedger(bytes: Buffer): Ledger {
  expectVersion(bytes[0]!, 'ledger');
  const ledger = emptyLedger();
  ledger.originBytes = bytes.readDoubleLE(8);
  ledger.peerBytes = bytes.readDoubleLE(16);
  ledger.cachedBytes = bytes.readDoubleLE(24);
  discardReasons.forEach((reason, i) => {
    if (i < bytes[1]!) ledger.discardedBytes[reason] = bytes.readDoubleLE(ledgerHeadBytes + i * 8);
  });
  return ledger;
}

function expectVersion(version: number, kind: string): void {
  if (version !== recordVersion)
    throw new Error(`index: ${kind} record of version ${version}, this program writes ${recordVersion}`);
}
