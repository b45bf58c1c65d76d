/**
 * Bytes of versions of files that belong on this worker, in order: from the SSD where they are durable, and from the origin where
 * they are not yet. Those are fetched once, however many wait for them, and a reader gets each piece when it has landed.
 *
 * Who waits for whom: a reader waits for the piece that has its next byte. Pieces ahead of it are under way, as many as
 * `aheadBytes` allow; all readers together have at most `mostUnderWayBytes`, and beyond that one piece each. A piece waits for
 * slots and sockets as any load does. Nothing waits for a reader: what was begun lands, whoever has left.
 *
 * Where the store has no room the reader is told so (`NoRoom`), and the bytes come another way.
 */
import { PrimedError } from '../../../core/errors.ts';
import { missingOf, rangesWithout, runFrom } from '../../../core/ranges.ts';
import { piecesOf, Sequences } from '../../../core/read-ahead.ts';
import { type ByteRange, type Log, type ManifestEntry, sameVersion } from '../../../core/types.ts';
import { MiB } from '../../../core/units.ts';
import type { FileOutcome, Worker } from '../../../ingest/types.ts';
import type { Store } from '../../../store/types.ts';
import { type Repairs, readRepaired } from '../repair.ts';
import type { ReadRuns } from './runs.ts';

/** Of all readers together. */
const mostUnderWayBytes = 1024 * MiB;
/** Files whose readers are remembered, each some hundred bytes. */
const mostRemembered = 4096;
/** A run that others stop, a file that others remove: so often a piece is begun anew. */
const mostTries = 4;
/** Longest wait of a reader for its next byte. */
const waitLimitMs = 60_000;

/** There is no room for the bytes: they are to be had, and not kept. */
export class NoRoom extends Error {}

interface Piece extends ByteRange {
  readonly landed: Promise<void>;
}

interface Filling {
  readonly entry: ManifestEntry;
  readonly sequences: Sequences;
  readonly underWay: Set<Piece>;
}

export interface FillingsOptions {
  readonly store: Pick<Store, 'durableRanges' | 'openVersion'>;
  readonly worker: Pick<Worker, 'reserveMore' | 'footprintBytes' | 'load'>;
  readonly runs: ReadRuns;
  readonly repairs?: Pick<Repairs, 'repair'>;
  readonly partBytes: number;
  /** How far ahead of a reader, and behind the end of what one who reads on has asked for. */
  readonly aheadBytes: number;
  readonly log: Log;
}

export class Fillings {
  readonly #options: FillingsOptions;
  readonly #fillings = new Map<string, Filling>();
  #underWayBytes = 0;

  constructor(options: FillingsOptions) {
    this.#options = options;
  }

  /** Bytes that readers wait for, or soon will. */
  get underWayBytes(): number {
    return this.#underWayBytes;
  }

  /**
   * @param end of what belongs on this worker: nothing behind it is fetched ahead
   * @throws NoRoom; ORIGIN_CHANGED when the origin has another version; ORIGIN_*, STORE_*
   */
  async *read(entry: ManifestEntry, range: ByteRange, end: number): AsyncGenerator<Uint8Array> {
    const { store, aheadBytes } = this.#options;
    const filling = this.#of(entry);
    const rangeEnd = range.offset + range.length;
    const fetchEnd = Math.min(end, rangeEnd + filling.sequences.aheadOf(range, aheadBytes));
    let at = range.offset;
    while (at < rangeEnd) {
      this.#want(filling, at, fetchEnd);
      const durable = store.durableRanges(entry, { offset: at, length: rangeEnd - at });
      const length = Math.min(runFrom(durable, at), this.#options.partBytes);
      const opened = length === 0 ? undefined : store.openVersion(entry, { offset: at, length });
      if (opened === undefined) {
        await this.#landed(filling, at);
        continue;
      }
      try {
        for await (const bytes of readRepaired(opened, { offset: at, length }, this.#options.repairs)) {
          at += bytes.length;
          yield bytes;
        }
      } finally {
        opened.close();
      }
    }
  }

  /** Begins what is missing ahead of a reader, and always the piece that has its next byte. */
  #want(filling: Filling, at: number, fetchEnd: number): void {
    const { entry, underWay } = filling;
    const { store, partBytes, aheadBytes } = this.#options;
    const wanted = { offset: at, length: Math.max(1, Math.min(fetchEnd - at, aheadBytes)) };
    const missing = rangesWithout(missingOf(wanted, store.durableRanges(entry, wanted)), sorted(underWay));
    for (const piece of piecesOf(missing, { partBytes, sizeBytes: entry.sizeBytes })) {
      const isNext = piece.offset <= at;
      if (!isNext && this.#underWayBytes + piece.length > mostUnderWayBytes) return;
      this.#begin(filling, piece);
    }
  }

  #begin(filling: Filling, range: ByteRange): void {
    this.#underWayBytes += range.length;
    const landed = this.#load(filling.entry, range).finally(() => {
      this.#underWayBytes -= range.length;
      filling.underWay.delete(piece);
    });
    // Whoever waits for it hears of it; it may be that nobody does.
    landed.catch(() => undefined);
    const piece: Piece = { ...range, landed };
    filling.underWay.add(piece);
  }

  async #load(entry: ManifestEntry, range: ByteRange): Promise<void> {
    const { runs, worker, log } = this.#options;
    const { path } = entry;
    let last: FileOutcome | undefined;
    for (let tries = 0; tries < mostTries; tries += 1) {
      last = await runs.use(entry, async (run) => {
        try {
          await worker.reserveMore(run, worker.footprintBytes(range.length));
        } catch (error) {
          if (error instanceof PrimedError && error.code === 'STORE_NO_ROOM') throw new NoRoom(error.message);
          throw error;
        }
        const outcome = await worker.load(run, entry, { range });
        if (outcome.result === 'stopped' || outcome.error?.code === 'ORIGIN_LOST') runs.giveUp(run);
        return outcome;
      });
      if (last.result === 'loaded' || last.result === 'skipped') return;
      if (last.result === 'changed')
        throw new PrimedError('ORIGIN_CHANGED', `${path}: the origin has another version than ${entry.etag}`, { path });
      // Removed while it was read, or the run was stopped by a free: it is begun anew.
      if (last.result !== 'stopped' && last.error?.code !== 'FILE_NOT_CACHED') break;
      log.debug({ path, offset: range.offset, error: last.error }, 'a piece that readers wait for is begun anew');
    }
    const { code = 'STOPPED', message = `${path}: what readers wait for was stopped` } = last?.error ?? {};
    if (code === 'STORE_NO_ROOM') throw new NoRoom(message);
    throw new PrimedError(code, message, { path });
  }

  /** Resolves when more of the file has landed, the byte at `at` above all. */
  async #landed({ underWay, entry }: Filling, at: number): Promise<void> {
    const piece = [...underWay].find(({ offset, length }) => offset <= at && at < offset + length);
    // It has landed since.
    if (piece === undefined) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const message = `${entry.path}: the origin did not give byte ${at} within ${waitLimitMs / 1000} s`;
        reject(new PrimedError('ORIGIN_TIMEOUT', message, { path: entry.path, offset: at }));
      }, waitLimitMs);
    });
    try {
      await Promise.race([piece.landed, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #of(entry: ManifestEntry): Filling {
    const key = entry.path;
    let filling = this.#fillings.get(key);
    if (filling === undefined || !sameVersion(filling.entry, entry))
      filling = { entry, sequences: new Sequences(), underWay: new Set() };
    this.#fillings.delete(key);
    this.#fillings.set(key, filling);
    if (this.#fillings.size > mostRemembered) this.#forgetOldest();
    return filling;
  }

  /** One of which something is under way has to be found by the next reader. */
  #forgetOldest(): void {
    for (const [key, { underWay }] of this.#fillings) {
      if (underWay.size > 0) continue;
      this.#fillings.delete(key);
      return;
    }
  }
}

function sorted(pieces: Iterable<ByteRange>): ByteRange[] {
  return [...pieces].sort((a, b) => a.offset - b.offset);
}
