/**
 * The scrub: reads everything that this worker has again, file by file in the order of their paths, at a rate at which all of it
 * is read once in a period. A bad page is replaced before a reader meets it (repair.ts).
 *
 * Where it stands is written down about twice a minute: after a restart it goes on there, in the middle of a file too. It is
 * no use of a file: what is evicted next is the same with and without it.
 */
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { abortable } from '../../core/abortable.ts';
import { PrimedError } from '../../core/errors.ts';
import { placeEveryMs, restMs, type ScrubPace, scrubRate } from '../../core/scrub.ts';
import type { Log, UfsPath } from '../../core/types.ts';
import { pageBytes } from '../../core/units.ts';
import type { FileRecord, OpenFile, Store } from '../../store/types.ts';
import type { Repairs } from './repair.ts';

export interface ScrubOptions {
  readonly store: Pick<Store, 'list' | 'open' | 'ranges' | 'usage'>;
  readonly repairs: Pick<Repairs, 'repair'>;
  /** Where its place is kept. */
  readonly file: string;
  readonly pace: ScrubPace;
  readonly log: Log;
  readonly wallMs: () => number;
  readonly observe: { checked(bytes: number): void; round(seconds: number): void };
}

interface Place {
  /** The last file that was read to its end. Empty: at the beginning. */
  readonly after: string;
  /** Up to where a version behind that was read. */
  readonly inside?: { readonly fileId: number; readonly endBytes: number };
  /** Of this round. */
  readonly begunMs: number;
  readonly checkedBytes: number;
}

const filesAtOnce = 64;
/** Where there was nothing to read there may be something soon. */
const emptyRestMs = 60_000;
/** What it owes is waited for when it is worth a timer. */
const leastSleepMs = 20;

export class Scrub {
  readonly #options: ScrubOptions;
  readonly #abort = new AbortController();
  #place: Place;
  #writtenMs = 0;
  #owedMs = 0;
  /** Pages of this round that the drive did not give. */
  #unreadable = 0;
  #done: Promise<void> = Promise.resolve();

  constructor(options: ScrubOptions) {
    this.#options = options;
    this.#place = readPlace(options.file) ?? { after: '', begunMs: options.wallMs(), checkedBytes: 0 };
  }

  start(): void {
    if (this.#options.pace.periodMs > 0) this.#done = this.#run();
  }

  /** From 0 to 1: how much of this round has been read. */
  get progress(): number {
    const { usedBytes } = this.#options.store.usage();
    return usedBytes === 0 ? 1 : Math.min(1, this.#place.checkedBytes / usedBytes);
  }

  async close(): Promise<void> {
    this.#abort.abort();
    await this.#done;
  }

  async #run(): Promise<void> {
    const { pace, wallMs, log } = this.#options;
    const { signal } = this.#abort;
    try {
      for (;;) {
        await this.#round();
        const { begunMs, checkedBytes } = this.#place;
        const seconds = (wallMs() - begunMs) / 1000;
        this.#options.observe.round(seconds);
        if (this.#unreadable > 0)
          log.error({ pages: this.#unreadable }, 'pages could not be read by the scrub: their drive may be failing');
        this.#unreadable = 0;
        if (checkedBytes > 0) log.info({ checkedBytes, seconds }, 'everything that is cached was read again');
        const left = restMs(pace, begunMs, wallMs());
        await pause(checkedBytes === 0 ? Math.min(left, emptyRestMs) : left, signal);
        this.#place = { after: '', begunMs: wallMs(), checkedBytes: 0 };
        this.#keep(true);
      }
    } catch (error) {
      if (!signal.aborted) log.error({ error: String(error) }, 'the scrub has ended');
    }
    if (signal.aborted) this.#keep(true);
  }

  /** In portions, so that no cursor of the index stays open while pages are read. */
  async #round(): Promise<void> {
    for (;;) {
      const { after } = this.#place;
      const some = [
        ...this.#options.store.list({ prefix: '', limit: filesAtOnce, ...(after === '' ? {} : { after }) }),
      ];
      if (some.length === 0) return;
      for (const record of some) {
        if (record.state === 'complete' || record.state === 'partial') await this.#check(record);
        const { begunMs, checkedBytes } = this.#place;
        this.#place = { after: record.path, begunMs, checkedBytes };
        this.#keep(false);
      }
    }
  }

  /** Opened anew for each page: between two of them there may be hours, in which it must be possible to evict the file. */
  async #check(record: FileRecord): Promise<void> {
    const { inside } = this.#place;
    const fromBytes = inside?.fileId === record.fileId ? inside.endBytes : 0;
    for (const { offset, length } of this.#options.store.ranges(record)) {
      for (let at = offset; at < offset + length; at += pageBytes) {
        if (at < fromBytes) continue;
        const opened = this.#open(record);
        if (opened === undefined) return;
        const lengthBytes = Math.min(pageBytes, offset + length - at);
        try {
          await this.#checkPage(opened, at, lengthBytes);
        } finally {
          opened.close();
        }
        await this.#rest(lengthBytes, { fileId: record.fileId, endBytes: at + lengthBytes });
      }
    }
  }

  /** Undefined: this version is not there any more. */
  #open(record: FileRecord): OpenFile | undefined {
    try {
      const opened = this.#options.store.open(record.path as UfsPath, { by: 'scrub' });
      if (opened.record.fileId === record.fileId) return opened;
      opened.close();
      return undefined;
    } catch (error) {
      if (error instanceof PrimedError && error.code === 'FILE_NOT_CACHED') return undefined;
      throw error;
    }
  }

  async #checkPage(opened: OpenFile, offset: number, length: number): Promise<void> {
    const { repairs, observe, log } = this.#options;
    try {
      for await (const _bytes of opened.read({ offset, length }));
    } catch (error) {
      if (!(error instanceof PrimedError) || !error.code.startsWith('STORE_')) throw error;
      const page = offset / pageBytes;
      if (error.code !== 'STORE_CORRUPT') {
        // The first one says it at once. A drive that is gone altogether would say it of every page.
        this.#unreadable += 1;
        const facts = { path: opened.record.path, page, error: error.message };
        if (this.#unreadable === 1) log.error(facts, 'a page could not be read by the scrub');
        return;
      }
      // A source may take long; whoever closes this does not wait for it.
      await abortable(repairs.repair(opened.record, page), this.#abort.signal);
    }
    observe.checked(length);
  }

  async #rest(length: number, inside: NonNullable<Place['inside']>): Promise<void> {
    const { store, pace } = this.#options;
    this.#place = { ...this.#place, inside, checkedBytes: this.#place.checkedBytes + length };
    this.#keep(false);
    this.#owedMs += (length * 1000) / scrubRate(pace, store.usage().usedBytes);
    if (this.#owedMs < leastSleepMs) return;
    const owedMs = this.#owedMs;
    this.#owedMs = 0;
    await pause(owedMs, this.#abort.signal);
  }

  #keep(now: boolean): void {
    const { file, log, pace, wallMs } = this.#options;
    const unwrittenMs = wallMs() - this.#writtenMs;
    // A clock that was set back is no reason to wait.
    if (!now && unwrittenMs >= 0 && unwrittenMs < placeEveryMs(pace)) return;
    this.#writtenMs = wallMs();
    try {
      writeFileSync(`${file}.new`, JSON.stringify(this.#place), { mode: 0o600 });
      renameSync(`${file}.new`, file);
    } catch (error) {
      log.warn({ file, error: String(error) }, 'where the scrub stands could not be written down');
    }
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(Math.min(ms, 2 ** 31 - 1), undefined, { signal, ref: false });
}

/** What makes no sense is begun anew. */
function readPlace(file: string): Place | undefined {
  try {
    const { after, inside, begunMs, checkedBytes } = JSON.parse(readFileSync(file, 'utf8')) as Partial<Place>;
    if (typeof after !== 'string' || !Number.isFinite(begunMs) || !Number.isFinite(checkedBytes)) return undefined;
    const place = { after, begunMs: begunMs!, checkedBytes: checkedBytes! };
    const isInside = Number.isFinite(inside?.fileId) && Number.isFinite(inside?.endBytes);
    return isInside ? { ...place, inside: inside! } : place;
  } catch {
    return undefined;
  }
}
