/**
 * Bad pages of this worker, made good where they lie: with the bytes of another worker, else of the origin at the very version.
 * The index has the checksum of the page, so nothing but the right bytes is written.
 *
 * Who waits for whom: a reader that met a bad page waits a few seconds, and goes elsewhere if that is not enough; whoever meets
 * the same page meanwhile waits for the same repair. Two pages are repaired at a time, the others wait in order.
 */
import { Deque } from '../../core/deque.ts';
import { PrimedError } from '../../core/errors.ts';
import type { ByteRange, Log, ManifestEntry } from '../../core/types.ts';
import { pageBytes } from '../../core/units.ts';
import type { BadPage, OpenFile, Store } from '../../store/types.ts';

export type RepairSource = 'peer' | 'origin';

export interface RepairOptions {
  readonly store: Pick<Store, 'repairPage'>;
  /** Who may have the page, the best first; each gives its bytes, or rejects. */
  readonly sources: (
    entry: ManifestEntry,
    range: ByteRange,
  ) => AsyncIterable<{ readonly source: RepairSource; readonly name: string; read(): AsyncIterable<Uint8Array> }>;
  readonly log: Log;
  readonly now: () => number;
  readonly observe: (result: RepairSource | 'failed') => void;
}

const atOnce = 2;
/** Pages that wait; more are found again by whoever reads them next. */
const mostWaiting = 1024;
/** A page that could not be repaired is left alone for so long. */
const againMs = 60_000;
const mostFailed = 4096;
/** One source may take so long over a page. */
const sourceLimitMs = 15_000;

export class Repairs {
  readonly #options: RepairOptions;
  readonly #underWay = new Map<string, Promise<boolean>>();
  readonly #failedMs = new Map<string, number>();
  readonly #waiting = new Deque<() => void>();
  #busy = 0;

  constructor(options: RepairOptions) {
    this.#options = options;
  }

  /** A read has met it: it is repaired beside whatever the reader does. */
  found({ record, page, reader, store, offset }: BadPage): void {
    const key = keyOf(record, page);
    if (this.#underWay.has(key) || this.#failedLately(key)) return;
    const facts = { path: record.path, etag: record.etag, page, store, offset, reader };
    this.#options.log.error(facts, 'a page does not have its checksum');
    void this.repair(record, page);
  }

  /** Resolves with whether the page is right now. Never rejects. */
  repair(entry: ManifestEntry, page: number): Promise<boolean> {
    const key = keyOf(entry, page);
    const known = this.#underWay.get(key);
    if (known !== undefined) return known;
    if (this.#failedLately(key) || this.#waiting.length >= mostWaiting) return Promise.resolve(false);
    const repaired = this.#inTurn(() => this.#repair(entry, page)).then((done) => {
      this.#underWay.delete(key);
      this.#failedMs.delete(key);
      if (!done) this.#failedMs.set(key, this.#options.now());
      if (this.#failedMs.size > mostFailed) this.#failedMs.delete(this.#failedMs.keys().next().value!);
      return done;
    });
    this.#underWay.set(key, repaired);
    return repaired;
  }

  #failedLately(key: string): boolean {
    const failedMs = this.#failedMs.get(key);
    return failedMs !== undefined && this.#options.now() - failedMs < againMs;
  }

  async #inTurn<T>(act: () => Promise<T>): Promise<T> {
    if (this.#busy >= atOnce) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#busy += 1;
    try {
      return await act();
    } finally {
      // A turn is handed on without being free in between.
      const next = this.#waiting.shift();
      if (next === undefined) this.#busy -= 1;
      else next();
    }
  }

  async #repair(entry: ManifestEntry, page: number): Promise<boolean> {
    const { store, sources, log, observe } = this.#options;
    const { path, etag, sizeBytes } = entry;
    const offset = page * pageBytes;
    const range = { offset, length: Math.min(pageBytes, sizeBytes - offset) };
    const facts = { path, etag, page };
    const reasons: string[] = [];
    try {
      for await (const { source, name, read } of sources(entry, range)) {
        try {
          if (await store.repairPage(entry, page, await wholeOf(read(), range.length))) {
            observe(source);
            log.warn({ ...facts, from: name }, 'a bad page was replaced where it lies');
            return true;
          }
          reasons.push(`${name}: its bytes do not have the checksum of the page`);
        } catch (error) {
          reasons.push(`${name}: ${error instanceof Error ? error.message : String(error)}`);
          if (error instanceof PrimedError && error.code.startsWith('STORE_')) break;
        }
      }
    } catch (error) {
      reasons.push(String(error));
    }
    observe('failed');
    log.error({ ...facts, reasons }, 'a bad page could not be replaced; load the file again');
    return false;
  }
}

function keyOf({ path, etag }: ManifestEntry, page: number): string {
  return `${page} ${etag} ${path}`;
}

/** So long a reader waits for a page to be repaired, less than those who wait for him. */
const readerLimitMs = 4_000;

/** The bytes of a range of a file that is open here; a page that turns out bad is repaired on the way. Throws as `read` does. */
export async function* readRepaired(
  opened: Pick<OpenFile, 'read' | 'record'>,
  range: ByteRange,
  repairs: Pick<Repairs, 'repair'> | undefined,
): AsyncGenerator<Uint8Array> {
  const end = range.offset + range.length;
  let at = range.offset;
  let repairedTo = -1;
  for (;;) {
    try {
      for await (const bytes of opened.read({ offset: at, length: end - at })) {
        at += bytes.length;
        yield bytes;
      }
      return;
    } catch (error) {
      const page = Math.floor(at / pageBytes);
      // Once for each page: one that goes bad again is left to others.
      const isNew = error instanceof PrimedError && error.code === 'STORE_CORRUPT' && page > repairedTo;
      if (!isNew || repairs === undefined) throw error;
      repairedTo = page;
      if (!(await soon(repairs.repair(opened.record, page)))) throw error;
    }
  }
}

async function soon(done: Promise<boolean>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), readerLimitMs);
  });
  try {
    return await Promise.race([done, late]);
  } finally {
    clearTimeout(timer);
  }
}

async function wholeOf(body: AsyncIterable<Uint8Array>, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let at = 0;
  const deadlineMs = performance.now() + sourceLimitMs;
  for await (const piece of body) {
    if (at + piece.length > length) throw new PrimedError('PEER_FAILED', `more than ${length} bytes came`);
    if (performance.now() > deadlineMs) throw new PrimedError('PEER_FAILED', 'the page did not come in time');
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes.subarray(0, at);
}
