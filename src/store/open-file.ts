/** Reading a cached file: every page is checked before a byte of it is handed out. */
import { PrimedError } from '../core/errors.ts';
import type { ByteRange } from '../core/types.ts';
import { alignUp, pageBytes } from '../core/units.ts';
import { crc32c, makeAligned } from '../platform/index.ts';
import { pageExtents, pageLength, pagesOf, pagesPerSegment, totalLength } from './layout.ts';
import type { Readers } from './readers.ts';
import { type Block, hasPage } from './records.ts';
import type { BadPage, FileRecord, OpenFile, PageLocation, Reader } from './types.ts';
import type { Volume } from './volume.ts';

/** Pages read ahead of the one that is handed out: enough to keep the SSD busy while the consumer sends. */
const readAhead = 2;

/** Where it is known what is read, so that it stays. */
export type HeldReads = Pick<Readers, 'enter' | 'leave' | 'block' | 'isOverdue'>;

export class CachedFile implements OpenFile {
  readonly record: FileRecord;
  readonly #inline: Block | undefined;
  readonly #readers: HeldReads;
  readonly #by: Reader;
  readonly #volumes: readonly Pick<Volume, 'path' | 'read' | 'write' | 'sync'>[];
  readonly #onBadPage: ((bad: BadPage) => void) | undefined;
  readonly #onReadError: ((reader: Reader) => void) | undefined;
  #closed = false;
  /** Reads that run; the file is left only when none does. */
  #reading = 0;
  #lastSegment = -1;
  #lastBlock: Block | undefined;

  constructor(spec: {
    record: FileRecord;
    inline: Block | undefined;
    by?: Reader;
    readers: HeldReads;
    /** Only `read` and what mends need them. */
    volumes: readonly Pick<Volume, 'path' | 'read' | 'write' | 'sync'>[];
    onBadPage?: ((bad: BadPage) => void) | undefined;
    onReadError?: ((reader: Reader) => void) | undefined;
  }) {
    this.#onBadPage = spec.onBadPage;
    this.#onReadError = spec.onReadError;
    this.#by = spec.by ?? 'serve';
    this.record = spec.record;
    this.#inline = spec.inline;
    this.#readers = spec.readers;
    this.#volumes = spec.volumes;
    this.#readers.enter(this.record.fileId);
  }

  async *read(range: ByteRange): AsyncIterable<Uint8Array> {
    checkRange(this.record, range);
    if (range.length === 0) return;
    const end = range.offset + range.length;
    const last = Math.floor((end - 1) / pageBytes);
    let next = Math.floor(range.offset / pageBytes);
    const ahead: { page: number; bytes: Promise<Uint8Array> }[] = [];
    const fill = (): void => {
      while (next <= last && ahead.length < readAhead) {
        const bytes = this.#readPage(next);
        // Observed again when its turn comes; until then a failure is not an unhandled one.
        bytes.catch(() => undefined);
        ahead.push({ page: next++, bytes });
      }
    };
    for (fill(); ahead.length > 0; fill()) {
      const { page, bytes } = ahead.shift()!;
      const start = page * pageBytes;
      yield (await bytes).subarray(Math.max(0, range.offset - start), Math.min(pageBytes, end - start));
    }
  }

  *pages(ranges: readonly ByteRange[] = [{ offset: 0, length: this.record.sizeBytes }]): Iterable<PageLocation> {
    for (const { offset, length } of ranges) {
      for (let page = offset / pageBytes; page < pagesOf(offset + length); page++) yield this.#locate(page);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#reading === 0) this.#readers.leave(this.record.fileId);
  }

  #locate(page: number): PageLocation {
    const segment = Math.floor(page / pagesPerSegment);
    const block = this.#block(segment);
    const lengthBytes = pageLength(this.record.sizeBytes, page);
    const inBlock = page - segment * pagesPerSegment;
    if (this.record.state !== 'complete' && !this.#isHere(page)) {
      const { path } = this.record;
      throw new PrimedError('FILE_NOT_CACHED', `page ${page} of ${path} is not cached on this worker`, { path, page });
    }
    const extents = block ? pageExtents(block, inBlock, lengthBytes) : [];
    if (!block || totalLength(extents) !== alignUp(lengthBytes)) {
      const { path } = this.record;
      throw new PrimedError(
        'STORE_CORRUPT',
        `the index has no place for page ${page} of ${path}; load the file again`,
        { path, page },
      );
    }
    return { page, lengthBytes, checksum: block.checksums[inBlock]!, extents };
  }

  #isHere(page: number): boolean {
    const segment = Math.floor(page / pagesPerSegment);
    const block = this.#block(segment);
    return block !== undefined && hasPage(block.present, page - segment * pagesPerSegment);
  }

  #block(segment: number): Block | undefined {
    if (this.#closed) throw new PrimedError('INTERNAL', `${this.record.path} is read after it was closed`);
    if (this.#inline) return this.#inline;
    if (segment !== this.#lastSegment) {
      this.#lastBlock = this.#readers.block(this.record.fileId, segment);
      this.#lastSegment = segment;
    }
    return this.#lastBlock;
  }

  /**
   * Writes a page once more where it lies, if these bytes have its checksum, and reads it again. Durable when resolved.
   * False: they are other bytes. Throws STORE_CORRUPT where the place does not hold them, STORE_IO.
   */
  async rewrite(page: number, bytes: Uint8Array): Promise<boolean> {
    const { lengthBytes, checksum, extents } = this.#locate(page);
    if (bytes.length !== lengthBytes) return false;
    const buffer = makeAligned(alignUp(lengthBytes));
    buffer.set(bytes);
    if (crc32c(buffer, 0, lengthBytes, 0) !== checksum) return false;
    let at = 0;
    for (const { store, offset, length } of extents) {
      await this.#volumes[store]!.write(buffer.subarray(at, at + length), offset);
      at += length;
    }
    for (const store of new Set(extents.map((one) => one.store))) await this.#volumes[store]!.sync();
    await this.#readPage(page);
    return true;
  }

  /** A fresh buffer for each page: the consumer may keep it as long as it likes. */
  async #readPage(page: number): Promise<Uint8Array> {
    if (this.#readers.isOverdue(this.record.fileId)) throw removedLongAgo(this.record);
    const { lengthBytes, checksum, extents } = this.#locate(page);
    const buffer = makeAligned(alignUp(lengthBytes));
    this.#reading++;
    try {
      let at = 0;
      for (const { store, offset, length } of extents) {
        await this.#volumes[store]!.read(buffer.subarray(at, at + length), offset);
        at += length;
      }
    } catch (error) {
      if (error instanceof PrimedError && error.code === 'STORE_IO') this.#onReadError?.(this.#by);
      throw error;
    } finally {
      this.#reading--;
      if (this.#closed && this.#reading === 0) this.#readers.leave(this.record.fileId);
    }
    const found = crc32c(buffer, 0, lengthBytes, 0);
    if (found !== checksum) {
      const { path } = this.record;
      const [first] = extents;
      const file = this.#volumes[first!.store]!.path;
      this.#onBadPage?.({ record: this.record, page, reader: this.#by, store: file, offset: first!.offset });
      throw new PrimedError(
        'STORE_CORRUPT',
        `page ${page} of ${path}, at ${first!.offset} of ${file}, does not have its checksum (${hex(found)} instead of ${hex(checksum)}); it was not served. Load the file again`,
        { path, page, store: file, offset: first!.offset },
      );
    }
    return buffer.subarray(0, lengthBytes);
  }
}

/** Throws RANGE_INVALID. */
export function checkRange({ path, sizeBytes }: FileRecord, { offset, length }: ByteRange): void {
  const end = offset + length;
  if (offset >= 0 && length >= 0 && end <= sizeBytes) return;
  const message = `bytes ${offset} to ${end} of ${path} were asked for, it has ${sizeBytes}`;
  throw new PrimedError('RANGE_INVALID', message, { path, offset, length, sizeBytes });
}

function removedLongAgo({ path }: FileRecord): PrimedError {
  const message = `${path} was removed or replaced longer ago than store.removed_limit; what was still read of it is cut off`;
  return new PrimedError('FILE_NOT_CACHED', message, { path });
}

function hex(checksum: number): string {
  return checksum.toString(16).padStart(8, '0');
}
