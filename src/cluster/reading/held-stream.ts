/**
 * All that a worker knows below a folder, in one answer: for who sums up over workers. Rows are in byte order of their paths, each
 * path once, and a path is written down as far as it differs from the one before it.
 *
 *   row    u16 bytes shared with the path before | u16 bytes of the rest | the rest | u8 kind
 *   whole  kind 1, one version, of which every byte is here: f64 size | f64 last modified, ms | f64 cached at, ms |
 *          u16 etag bytes | u16 version id bytes (0xffff: none) | etag | version id
 *   other  kind 2: u32 bytes | rows of held-row, in JSON
 *   end    kind 0, without a path
 *
 * Little-endian. Whoever knows no such answer is asked for pages of its listing.
 */
import { setImmediate } from 'node:timers/promises';
import type { HeldFile } from '../../core/holdings.ts';
import type { LoadId, UfsPath } from '../../core/types.ts';
import type { FileRecord } from '../../store/types.ts';
import { type HeldRow, heldFile, heldIn, heldRow } from './held-row.ts';
import type { LocalFiles } from './located.ts';

const kinds = { end: 0, whole: 1, other: 2 } as const;
/** Of an answer that are written at once. */
const chunkBytes = 64 * 1024;
/** Rows between which everything else has its turn: about 5 ms. */
const rowsAtOnce = 2048;
const noVersionId = 0xffff;
/** Of what is whole, before ETag and version id; then without their lengths. */
const wholeBytes = 28;
const figureBytes = 24;
/** Of one row: a path, and a file in very many ranges. */
const mostRowBytes = 32 * 1024 * 1024;

/** @param prefix of a folder */
export async function* heldBelow(store: LocalFiles, prefix: string): AsyncGenerator<Buffer> {
  const writer = new RowWriter();
  let rows = 0;
  let waiting: FileRecord | undefined;
  let others: FileRecord[] = [];
  const put = (): void => {
    if (waiting === undefined) return;
    if (others.length === 0 && waiting.state === 'complete') writer.whole(waiting);
    else writer.other([waiting, ...others].map((record) => heldRow(heldIn(store, record))));
    others = [];
  };
  // In the order of paths, the visible record of one before that which is loading.
  for (const record of store.list({ prefix, includeLoading: true })) {
    if (record.path === waiting?.path) {
      others.push(record);
      continue;
    }
    put();
    waiting = record;
    if (writer.bytes >= chunkBytes) yield writer.take();
    rows += 1;
    if (rows % rowsAtOnce === 0) await setImmediate();
  }
  put();
  writer.end();
  yield writer.take();
}

class RowWriter {
  #buffer = Buffer.allocUnsafe(2 * chunkBytes);
  #at = 0;
  #path = Buffer.alloc(0);

  get bytes(): number {
    return this.#at;
  }

  /** What was written since; its memory is the caller's. */
  take(): Buffer {
    const taken = this.#buffer.subarray(0, this.#at);
    this.#buffer = Buffer.allocUnsafe(2 * chunkBytes);
    this.#at = 0;
    return taken;
  }

  whole({ path, sizeBytes, lastModifiedMs, cachedAtMs, etag, versionId }: FileRecord): void {
    const etagBytes = Buffer.byteLength(etag);
    const versionBytes = versionId === undefined ? 0 : Buffer.byteLength(versionId);
    this.#begin(path, kinds.whole, wholeBytes + etagBytes + versionBytes);
    const buffer = this.#buffer;
    buffer.writeDoubleLE(sizeBytes, this.#at);
    buffer.writeDoubleLE(lastModifiedMs, this.#at + 8);
    buffer.writeDoubleLE(cachedAtMs, this.#at + 16);
    buffer.writeUInt16LE(etagBytes, this.#at + figureBytes);
    buffer.writeUInt16LE(versionId === undefined ? noVersionId : versionBytes, this.#at + figureBytes + 2);
    this.#at += wholeBytes;
    this.#at += buffer.write(etag, this.#at);
    if (versionId !== undefined) this.#at += buffer.write(versionId, this.#at);
  }

  other(rows: readonly HeldRow[]): void {
    const json = Buffer.from(JSON.stringify(rows));
    this.#begin(rows[0]![0], kinds.other, 4 + json.length);
    this.#at = this.#buffer.writeUInt32LE(json.length, this.#at);
    this.#at += json.copy(this.#buffer, this.#at);
  }

  end(): void {
    this.#path = Buffer.alloc(0);
    this.#begin('', kinds.end, 0);
  }

  #begin(path: string, kind: number, moreBytes: number): void {
    const bytes = Buffer.from(path);
    const before = this.#path;
    const most = Math.min(bytes.length, before.length);
    let shared = 0;
    while (shared < most && bytes[shared] === before[shared]) shared += 1;
    const rest = bytes.length - shared;
    this.#room(5 + rest + moreBytes);
    this.#buffer.writeUInt16LE(shared, this.#at);
    this.#buffer.writeUInt16LE(rest, this.#at + 2);
    bytes.copy(this.#buffer, this.#at + 4, shared);
    this.#buffer[this.#at + 4 + rest] = kind;
    this.#at += 5 + rest;
    this.#path = bytes;
  }

  #room(bytes: number): void {
    if (this.#at + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(2 * this.#buffer.length, this.#at + bytes));
    this.#buffer.copy(larger, 0, 0, this.#at);
    this.#buffer = larger;
  }
}

/** What a worker said, row by row. One row at a time is held, and what arrived with it. */
export class HeldReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #buffer: Buffer = Buffer.alloc(0);
  #at = 0;
  /** Of the row that was read last. */
  #path: Buffer = Buffer.alloc(256);
  pathBytes = 0;
  /** Of a version that is whole there; undefined: `versions` has what there is. */
  sizeBytes: number | undefined;
  /** Of what is whole, as it was written: the figures, then ETag and version id with their lengths. */
  #whole: Buffer = Buffer.alloc(0);
  #versions: HeldFile[] = [];

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  get path(): string {
    return this.#path.toString('utf8', 0, this.pathBytes);
  }

  /** Of the row; of what is whole without what a sum has no use for. */
  get versions(): readonly HeldFile[] {
    if (this.sizeBytes === undefined) return this.#versions;
    const whole = this.#whole;
    const etagEnd = wholeBytes + whole.readUInt16LE(figureBytes);
    const hasVersionId = whole.readUInt16LE(figureBytes + 2) !== noVersionId;
    return [
      {
        ...{ path: this.path as UfsPath, state: 'complete', sizeBytes: this.sizeBytes },
        etag: whole.toString('utf8', wholeBytes, etagEnd),
        ...(hasVersionId ? { versionId: whole.toString('utf8', etagEnd) } : {}),
        ...{ lastModifiedMs: whole.readDoubleLE(8), cachedAtMs: whole.readDoubleLE(16) },
        ...{ loadId: '' as LoadId, segmentBytes: 0, attributes: '' },
        ranges: this.sizeBytes === 0 ? [] : [{ offset: 0, length: this.sizeBytes }],
      },
    ];
  }

  comparePath(other: HeldReader): number {
    return this.#path.compare(other.#path, 0, other.pathBytes, 0, this.pathBytes);
  }

  /** Whether both have the same version, and all of it. */
  isSameWhole(other: HeldReader): boolean {
    if (this.sizeBytes === undefined || this.sizeBytes !== other.sizeBytes) return false;
    const [mine, its] = [this.#whole, other.#whole];
    return mine.compare(its, figureBytes, its.length, figureBytes, mine.length) === 0;
  }

  /**
   * Goes on to the next row. True: there is one; false: all were read. Undefined: more has to be `fill`ed.
   * Throws TypeError for what is no row.
   */
  next(): boolean | undefined {
    const buffer = this.#buffer;
    const at = this.#at;
    if (at + 5 > buffer.length) return undefined;
    const shared = buffer.readUInt16LE(at);
    const rest = buffer.readUInt16LE(at + 2);
    const body = at + 5 + rest;
    if (body > buffer.length) return undefined;
    const kind = buffer[body - 1];
    if (kind === kinds.end) return false;
    if (shared > this.pathBytes) throw new TypeError('a path shares more than there is');
    const end = this.#readBody(kind, body);
    if (end === undefined) return undefined;
    if (shared + rest > this.#path.length) {
      const larger = Buffer.alloc(2 * (shared + rest));
      this.#path.copy(larger);
      this.#path = larger;
    }
    buffer.copy(this.#path, shared, at + 4, at + 4 + rest);
    this.pathBytes = shared + rest;
    this.#at = end;
    return true;
  }

  /** Where the row ends; undefined: not all of it is here. */
  #readBody(kind: number | undefined, at: number): number | undefined {
    const buffer = this.#buffer;
    if (kind === kinds.whole) {
      if (at + wholeBytes > buffer.length) return undefined;
      const etagBytes = buffer.readUInt16LE(at + figureBytes);
      const versionBytes = buffer.readUInt16LE(at + figureBytes + 2);
      const end = at + wholeBytes + etagBytes + (versionBytes === noVersionId ? 0 : versionBytes);
      if (end > buffer.length) return undefined;
      const sizeBytes = buffer.readDoubleLE(at);
      if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0) throw new TypeError(`a file has ${sizeBytes} bytes`);
      this.sizeBytes = sizeBytes;
      this.#whole = buffer.subarray(at, end);
      return end;
    }
    if (kind !== kinds.other) throw new TypeError(`a row is of kind ${kind}`);
    if (at + 4 > buffer.length) return undefined;
    const bytes = buffer.readUInt32LE(at);
    if (bytes > mostRowBytes) throw new TypeError(`a row has ${bytes} bytes`);
    const end = at + 4 + bytes;
    if (end > buffer.length) return undefined;
    this.sizeBytes = undefined;
    this.#versions = (JSON.parse(buffer.toString('utf8', at + 4, end)) as HeldRow[]).map(heldFile);
    return end;
  }

  /** Waits for more. Rejects as the chunks do, and with TypeError where they end before the rows. */
  async fill(): Promise<void> {
    const { value, done } = await this.#chunks.next();
    if (done) throw new TypeError('its rows break off');
    const left = this.#buffer.subarray(this.#at);
    if (left.length > 2 * mostRowBytes) throw new TypeError('a row does not end');
    const more = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
    // What was read last may lie in the buffer before: it is not written to any more.
    this.#buffer = left.length === 0 ? more : Buffer.concat([left, more]);
    this.#at = 0;
  }

  async close(): Promise<void> {
    await this.#chunks.return?.();
  }
}
