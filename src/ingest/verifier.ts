/**
 * Verification: every page of a cached file is read from the SSD by a lane and compared with its checksum, and the whole
 * object with what the origin says of it.
 *
 * Which whole-object checksum: an ETag of 32 hexadecimal digits is the MD5 of the object (a single-part upload that is not
 * encrypted with a KMS key); else HEAD may name a full-object checksum. CRC32C needs no second read: it is combined from
 * the page checksums that were just proved; CRC-64/NVME and CRC-32 are made while the pages are read. Source: Amazon S3, "Checking object integrity".
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { abortable } from '../core/abortable.ts';
import { compositesIn } from '../core/attributes.ts';
import { Deque } from '../core/deque.ts';
import { PrimedError, reportOf } from '../core/errors.ts';
import { type ByteRange, type ManifestEntry, sameVersion } from '../core/types.ts';
import { alignUp, pageBytes } from '../core/units.ts';
import type { ObjectDetails, Origins } from '../origin/types.ts';
import { crc32cCombine } from '../platform/checksum.ts';
import type { OpenFile, PageLocation, Store } from '../store/types.ts';
import type { LanePool } from './lanes.ts';
import type { CheckDone, CheckUnit, Transfer, WriteDone } from './protocol.ts';
import type { Run } from './run.ts';
import type { VerifyOutcome, WorkerObserver } from './types.ts';
import { lacksStated, md5Etag } from './verify-heads.ts';
import { crc32Hex, type JoinedKind, joinedHex, joinedSum, type RangeSum, type ReadKind } from './whole-object.ts';

/** Checks in one slot, at most: far above the pages of one file that goes in whole. */
const packPages = 256;
/** Ranges of a file whose digests are made at a time. */
const rangesAtOnce = 16;

type Digest = { readonly kind: 'md5' | ReadKind; readonly wanted: string } | undefined;

interface VerifyTask {
  readonly run: Run;
  readonly entry: ManifestEntry;
  readonly file: OpenFile;
  readonly pages: Iterator<PageLocation>;
  readonly digest: Digest;
  /** What the whole file takes in a slot. */
  readonly slotBytes: number;
  next: PageLocation | undefined;
  outstanding: number;
  planned: boolean;
  checkedBytes: number;
  badPages: number;
  firstBad: PageLocation | undefined;
  readError: number | undefined;
  /** Digests of the pieces of the file by their first page, joined at the end. */
  readonly pieces: { page: number; bytes: number; digest: string }[];
  readonly done: () => void;
}

interface Piece {
  readonly task: VerifyTask;
  readonly pages: PageLocation[];
}

export class Verifier {
  readonly #store: Store;
  readonly #origins: Origins;
  readonly #lanes: LanePool;
  readonly #onSlot: () => void;
  readonly #observe: WorkerObserver;
  readonly #queue = new Deque<VerifyTask>();

  constructor(options: {
    store: Store;
    origins: Origins;
    lanes: LanePool;
    onSlot: () => void;
    observe: WorkerObserver;
  }) {
    this.#observe = options.observe;
    this.#store = options.store;
    this.#origins = options.origins;
    this.#lanes = options.lanes;
    this.#onSlot = options.onSlot;
  }

  /**
   * @param ranges what is to be checked, from page to page; undefined: all of it, and the whole object too
   * @param sums which checksum of each of the ranges is asked for, for whoever joins them to that of the object
   */
  async verify(
    run: Run,
    entry: ManifestEntry,
    ranges?: readonly ByteRange[],
    sums?: JoinedKind,
  ): Promise<VerifyOutcome> {
    const { path } = entry;
    let file: OpenFile | undefined;
    try {
      const record = this.#store.stat(path);
      const there = record?.state === 'complete' || (ranges !== undefined && record?.state === 'partial');
      if (record === undefined || !there || !sameVersion(record, entry)) {
        throw new PrimedError('FILE_NOT_CACHED', `${path}: version ${entry.etag} is not completely cached`, { path });
      }
      file = this.#store.open(path, { uses: false });
      if (ranges !== undefined) return await this.#verifyRanges(run, entry, file, ranges, sums);
      const details = md5Etag.test(entry.etag) ? undefined : await this.#detailsOf(run, entry);
      const task = await this.#checkPages(run, entry, file, digestFor(entry, details, this.#lanes.slotBytes));
      if (task.badPages > 0 || task.readError !== undefined) return badOutcome(task);
      const wholeObject = await this.#compareWhole(task, details);
      const ok = wholeObject !== 'mismatched';
      const outcome = { path, ok, checkedBytes: task.checkedBytes, badPages: 0, wholeObject } as const;
      if (wholeObject === 'matched') await this.#keepChecksums(run, entry, file, details);
      if (ok) return outcome;
      // Each page has its checksum, so every reader would be given these bytes, and every later load would skip them.
      await this.#store.removeVersion(path, file.record.fileId, 'corrupt');
      const error = new PrimedError(
        'STORE_CORRUPT',
        `${path}: the cached bytes did not have the whole-object checksum that the origin states, and were removed; load the file again`,
        { path },
      );
      return { ...outcome, error: reportOf(error) };
    } catch (error) {
      return { path, ok: false, checkedBytes: 0, badPages: 0, wholeObject: 'unavailable', error: reportOf(error) };
    } finally {
      file?.close();
    }
  }

  async #verifyRanges(
    run: Run,
    entry: ManifestEntry,
    file: OpenFile,
    ranges: readonly ByteRange[],
    kind: JoinedKind | undefined,
  ): Promise<VerifyOutcome> {
    const { path } = entry;
    // A digest is made of what lies in one slot: then ranges that do not follow each other are apart.
    const made = kind === 'crc64nvme' || kind === 'crc32' ? kind : undefined;
    const groups = made !== undefined ? ranges.map((range) => [range]) : [ranges];
    const sums: RangeSum[] = [];
    for (let from = 0; from < groups.length; from += rangesAtOnce) {
      const some = groups.slice(from, from + rangesAtOnce);
      const digest = made && { kind: made, wanted: '' };
      const checked = await Promise.all(some.map((group) => this.#checkPages(run, entry, file, digest, group)));
      const bad = checked.find(({ badPages, readError }) => badPages > 0 || readError !== undefined);
      if (bad !== undefined) return badOutcome(bad);
      for (const [at, { checkedBytes, pieces }] of checked.entries()) {
        if (checkedBytes !== lengthOf(some[at]!)) throw stopped(entry);
        if (made !== undefined) sums.push({ ...some[at]![0]!, sum: joinedHex(made, pieces.map(sumOfPiece)) });
      }
    }
    if (kind === 'crc32c') for (const range of ranges) sums.push({ ...range, sum: crc32cOf(file, range) });
    const outcome = {
      path,
      ok: true,
      checkedBytes: lengthOf(ranges),
      badPages: 0,
      wholeObject: 'unavailable',
    } as const;
    return kind === undefined ? outcome : { ...outcome, sums };
  }

  /** Gives pages to lanes as long as there are slots. */
  pump(): void {
    while (this.#queue.length > 0) {
      const lane = this.#lanes.idlest();
      if (lane === undefined) return;
      const pieces = this.#takePieces();
      if (pieces.length > 0) this.#send(lane, pieces);
    }
  }

  /** What is not in a lane is given up: the run is stopped, and lanes may be held by others. */
  drop(run: Run): void {
    for (const task of this.#queue.clear()) {
      if (task.run !== run) {
        this.#queue.push(task);
        continue;
      }
      task.next = undefined;
      task.planned = true;
      if (task.outstanding === 0) task.done();
    }
  }

  async #detailsOf(run: Run, entry: ManifestEntry): Promise<ObjectDetails | undefined> {
    const { signal } = run.abort;
    run.headsInFlight += 1;
    try {
      const details = await abortable(this.#origins.head(entry.path, signal), signal);
      return sameVersion(details, entry) ? details : undefined;
    } catch {
      if (signal.aborted) throw stopped(entry);
      // what the origin does not say cannot be compared; the pages are checked all the same
      return undefined;
    } finally {
      run.headsInFlight -= 1;
    }
  }

  /** Readers of what was compared with its origin are told the origin's checksums, where they did not come with its bytes. */
  async #keepChecksums(
    run: Run,
    entry: ManifestEntry,
    file: OpenFile,
    known: ObjectDetails | undefined,
  ): Promise<void> {
    const { record } = file;
    if (!lacksStated(entry, record.attributes, this.#lanes.slotBytes)) return;
    const details = known ?? (await this.#detailsOf(run, entry));
    if (details === undefined) return;
    const composites = compositesIn(details.attributes ?? '');
    await this.#store.stateChecksums(record, { ...composites, ...details.checksums });
  }

  #checkPages(
    run: Run,
    entry: ManifestEntry,
    file: OpenFile,
    digest: Digest,
    ranges?: readonly ByteRange[],
  ): Promise<VerifyTask> {
    return new Promise((resolve) => {
      const pages = file.pages(ranges)[Symbol.iterator]();
      const first = pages.next();
      const task: VerifyTask = {
        run,
        entry,
        file,
        pages,
        digest,
        slotBytes: alignUp(entry.sizeBytes),
        next: first.done === true ? undefined : first.value,
        outstanding: 0,
        planned: first.done === true,
        checkedBytes: 0,
        badPages: 0,
        firstBad: undefined,
        readError: undefined,
        pieces: [],
        done: () => resolve(task),
      };
      if (run.stopping) task.next = undefined;
      if (task.next === undefined) task.done();
      else {
        this.#queue.push(task);
        this.#onSlot();
      }
    });
  }

  /** Pages for one slot: of one large file, or of several small ones. */
  #takePieces(): Piece[] {
    const pieces: Piece[] = [];
    let bytes = 0;
    let count = 0;
    for (let task = this.#queue.peek(); task !== undefined && count < packPages; task = this.#queue.peek()) {
      const pages: PageLocation[] = [];
      // what is not yet in a lane is given up when its run is stopped
      if (task.run.stopping) task.next = undefined;
      // an MD5 cannot be joined from pieces: such a file goes into a slot whole, or waits for the next one
      const whole = task.digest?.kind === 'md5' && task.next?.page === 0;
      if (whole && bytes > 0 && bytes + task.slotBytes > this.#lanes.slotBytes) break;
      while (task.next !== undefined && count < packPages) {
        const size = alignUp(task.next.lengthBytes);
        if (bytes + size > this.#lanes.slotBytes) break;
        bytes += size;
        count += 1;
        pages.push(task.next);
        const following = task.pages.next();
        task.next = following.done === true ? undefined : following.value;
      }
      if (pages.length > 0) {
        task.outstanding += 1;
        pieces.push({ task, pages });
      }
      if (task.next !== undefined) break;
      task.planned = true;
      this.#queue.shift();
      if (task.outstanding === 0) task.done();
    }
    return pieces;
  }

  #send(lane: number, pieces: readonly Piece[]): void {
    const reads: Transfer[] = [];
    const slotOffsets: number[] = [];
    const lengths: number[] = [];
    const checksums: number[] = [];
    const digests: CheckUnit['digests'][number][] = [];
    let at = 0;
    for (const { task, pages } of pieces) {
      if (task.digest !== undefined)
        digests.push({ firstPage: lengths.length, pages: pages.length, kind: task.digest.kind });
      for (const page of pages) {
        slotOffsets.push(at);
        lengths.push(page.lengthBytes);
        checksums.push(page.checksum);
        for (const extent of page.extents) {
          appendRead(reads, { store: extent.store, fileOffset: extent.offset, slotOffset: at, length: extent.length });
          at += extent.length;
        }
      }
    }
    const unit: CheckUnit = {
      kind: 'check',
      id: this.#lanes.nextUnitId(),
      run: pieces[0]?.task.run.row ?? 0,
      reads,
      slotOffsets,
      lengths,
      checksums,
      digests,
    };
    const run = pieces[0]?.task.run;
    if (run !== undefined) run.checksInFlight += 1;
    this.#lanes.send(lane, unit, (message) => {
      if (run !== undefined) run.checksInFlight -= 1;
      this.#checked(pieces, message);
    });
  }

  #checked(pieces: readonly Piece[], message: WriteDone | CheckDone): void {
    if (message.type !== 'checked') return;
    const bad = new Set(message.badPages);
    if (bad.size > 0) this.#observe.checksumFailed(bad.size);
    if (message.readError !== undefined) this.#observe.readFailed();
    let index = 0;
    let digestAt = 0;
    for (const { task, pages } of pieces) {
      const bytes = pages.reduce((sum, page) => sum + page.lengthBytes, 0);
      for (const page of pages) {
        if (bad.has(index)) {
          task.badPages += 1;
          task.firstBad ??= page;
        }
        index += 1;
      }
      if (message.readError !== undefined) task.readError = message.readError;
      else {
        task.checkedBytes += bytes;
        if (task.digest !== undefined) {
          task.pieces.push({ page: pages[0]?.page ?? 0, bytes, digest: message.digests[digestAt] as string });
          digestAt += 1;
        }
      }
      task.outstanding -= 1;
      if (task.outstanding === 0 && task.planned) task.done();
    }
    this.#onSlot();
  }

  async #compareWhole(task: VerifyTask, details: ObjectDetails | undefined): Promise<VerifyOutcome['wholeObject']> {
    const { entry, run } = task;
    if (entry.sizeBytes !== task.checkedBytes) throw stopped(entry);
    if (md5Etag.test(entry.etag)) {
      const md5 =
        task.digest === undefined ? await digestOfFile(task, createHash('md5')) : (task.pieces[0]?.digest ?? emptyMd5);
      if (md5 === entry.etag) return 'matched';
      const found = await this.#detailsOf(run, entry);
      if (found === undefined || found.etagIsMd5 === false) return 'unavailable';
      return (await compareStated(task, found)) ?? 'mismatched';
    }
    return (details === undefined ? undefined : await compareStated(task, details)) ?? 'unavailable';
  }
}

const emptyMd5 = 'd41d8cd98f00b204e9800998ecf8427e';

function digestFor(entry: ManifestEntry, details: ObjectDetails | undefined, slotBytes: number): Digest {
  if (md5Etag.test(entry.etag)) {
    // a digest cannot be joined from pieces: larger files are digested in one more pass
    return entry.sizeBytes <= slotBytes && entry.sizeBytes > 0 ? { kind: 'md5', wanted: entry.etag } : undefined;
  }
  const { crc64nvme, crc32c, crc32: plainCrc32 } = details?.checksums ?? {};
  if (crc64nvme !== undefined) return { kind: 'crc64nvme', wanted: crc64nvme };
  return crc32c !== undefined || plainCrc32 === undefined ? undefined : { kind: 'crc32', wanted: plainCrc32 };
}

/** Compares with the strongest-supported checksum that the origin states; undefined: it states none. */
async function compareStated(task: VerifyTask, details: ObjectDetails): Promise<'matched' | 'mismatched' | undefined> {
  const { crc64nvme, crc32c, crc32: plainCrc32, sha256, sha1 } = details.checksums;
  const verdict = (same: boolean): 'matched' | 'mismatched' => (same ? 'matched' : 'mismatched');
  if (crc64nvme !== undefined && task.digest?.kind === 'crc64nvme') {
    return verdict(joinedSum('crc64nvme', task.pieces.map(sumOfPiece)) === crc64nvme);
  }
  if (crc32c !== undefined) {
    return verdict(base64Of(crc32cOf(task.file)) === crc32c);
  }
  if (plainCrc32 !== undefined && task.digest?.kind === 'crc32') {
    return verdict(joinedSum('crc32', task.pieces.map(sumOfPiece)) === plainCrc32);
  }
  if (plainCrc32 !== undefined) {
    let whole = 0;
    for await (const piece of bytesOf(task)) whole = crc32(piece, whole);
    return verdict(base64Of(crc32Hex(whole)) === plainCrc32);
  }
  if (sha256 !== undefined) return verdict(base64Of(await digestOfFile(task, createHash('sha256'))) === sha256);
  if (sha1 !== undefined) return verdict(base64Of(await digestOfFile(task, createHash('sha1'))) === sha1);
  return undefined;
}

/** Of a range whose pages were just proved, from their checksums; by default of the whole file. */
function crc32cOf(file: OpenFile, range?: ByteRange): string {
  let whole = 0;
  for (const page of file.pages(range && [range])) whole = crc32cCombine(whole, page.checksum, page.lengthBytes);
  return crc32Hex(whole);
}

function sumOfPiece({ page, bytes, digest }: VerifyTask['pieces'][number]): RangeSum {
  return { offset: page * pageBytes, length: bytes, sum: digest };
}

function lengthOf(ranges: readonly ByteRange[]): number {
  return ranges.reduce((sum, { length }) => sum + length, 0);
}

async function digestOfFile(task: VerifyTask, hash: ReturnType<typeof createHash>): Promise<string> {
  for await (const piece of bytesOf(task)) hash.update(piece);
  return hash.digest('hex');
}

/** All of the file, by page; a stop ends it. */
async function* bytesOf({ run, file, entry }: VerifyTask): AsyncGenerator<Uint8Array> {
  for await (const piece of file.read({ offset: 0, length: entry.sizeBytes })) {
    if (run.stopping) throw stopped(entry);
    yield piece;
  }
}

function stopped({ path }: ManifestEntry): PrimedError {
  return new PrimedError('STOPPED', `${path}: the verification was stopped`, { path });
}

function base64Of(hex: string): string {
  return Buffer.from(hex, 'hex').toString('base64');
}

function badOutcome(task: VerifyTask): VerifyOutcome {
  const { path } = task.entry;
  const where = task.firstBad?.extents[0];
  const error =
    task.readError === undefined
      ? new PrimedError(
          'STORE_CORRUPT',
          `${path}: ${task.badPages} pages do not have their checksum, the first is page ${task.firstBad?.page} at offset ${where?.offset} of store ${where?.store}; load the file again`,
          { path },
        )
      : new PrimedError(
          'STORE_IO',
          `${path}: reading from the store failed with errno ${task.readError}; see the kernel log`,
          { path, errno: task.readError },
        );
  return {
    path,
    ok: false,
    checkedBytes: task.checkedBytes,
    badPages: task.badPages,
    wholeObject: 'unavailable',
    error: reportOf(error),
  };
}

/** Neighbours on the SSD that are neighbours in the slot are read by one operation. */
function appendRead(reads: Transfer[], read: Transfer): void {
  const last = reads.at(-1);
  if (
    last !== undefined &&
    last.store === read.store &&
    last.fileOffset + last.length === read.fileOffset &&
    last.slotOffset + last.length === read.slotOffset
  ) {
    reads[reads.length - 1] = { ...last, length: last.length + read.length };
  } else reads.push(read);
}
