/**
 * The disk side of what is kept of files: lines of JSON in two files, of which one is written, and the other is what was
 * written before. When the first is full it takes the place of the second, whose content goes. So the disk has at least as much as
 * memory does, and at most twice the bound.
 *
 *   {"primed":"history","format":1,"sinceMs":…}     first line: what the file speaks of begins here
 *   {"at":"start","ms":…}   {"at":"end","ms":…}     of the process
 *   {"gap":{"fromMs":…,"toMs":…,"why":"crash"}}     something may be missing
 *   {"atMs":…,"path":…,"kind":…}                    an event (core/file-events)
 *
 * Nobody waits for it. Lines are written four times a second, without a sync: what a kill takes is the last quarter of a second, what
 * a loss of power takes is what the kernel had not written. At the next start a journal without its end says so, as a gap.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { FileEvent, Gap } from '../core/file-events.ts';
import type { Log } from '../core/types.ts';

const format = 1;
const flushMs = 250;
const closeLimitMs = 2_000;
/** Lines that wait for the disk; what comes beyond is not written, and the next line that is says so. */
const mostWaitingBytes = 1024 * 1024;
/** Of one file: more is nothing that this program wrote. */
const readFactor = 2;
const mostGaps = 20;

export interface Journalled {
  readonly events: readonly { readonly event: FileEvent; readonly bytes: number }[];
  readonly sinceMs: number;
  readonly gaps: readonly Gap[];
}

export interface JournalOptions {
  readonly path: string;
  /** Of one of the two files. */
  readonly maxBytes: number;
  readonly now: () => number;
  readonly log: Log;
}

export class EventJournal {
  readonly #options: JournalOptions;
  readonly #before: string;
  /** Undefined: nothing can be written. */
  #file: FileHandle | undefined;
  #fileBytes = 0;
  #waiting: string[] = [];
  #waitingBytes = 0;
  /** When the first of them came. */
  #waitingSinceMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();
  #lostSinceMs: number | undefined;
  #failed = false;
  #closed = false;

  private constructor(options: JournalOptions) {
    this.#options = options;
    this.#before = `${options.path}.before`;
  }

  /** Reads what there is, and goes on behind it. Never rejects: what cannot be read is a gap, what cannot be written is in the log. */
  static async open(
    options: JournalOptions,
    nowMs = options.now(),
  ): Promise<{ journal: EventJournal; found: Journalled }> {
    const journal = new EventJournal(options);
    return { journal, found: await journal.#start(nowMs) };
  }

  async #start(nowMs: number): Promise<Journalled> {
    const { path } = this.#options;
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
      const before = this.#read(this.#before);
      const current = this.#read(path);
      const lines = [...(before?.lines ?? []), ...(current?.lines ?? [])];
      const gaps = [...(before?.gaps ?? []), ...(current?.gaps ?? [])];
      const last = current ?? before;
      if (current === undefined) writeFileSync(path, headLine(nowMs), { mode: 0o640 });
      this.#fileBytes = statSync(path).size;
      this.#file = await open(path, 'a', 0o640);
      // A line that was cut off by a crash ends here.
      if (current?.torn === true) this.#put('');
      if (last !== undefined && !last.ended) {
        const gap: Gap = { fromMs: last.lastMs, toMs: nowMs, why: 'crash' };
        gaps.push(gap);
        this.#put(JSON.stringify({ gap }));
      }
      this.#put(JSON.stringify({ at: 'start', ms: nowMs }));
      return { events: lines, sinceMs: before?.sinceMs ?? current?.sinceMs ?? nowMs, gaps: gaps.slice(-mostGaps) };
    } catch (error) {
      this.#cannot(error);
      return { events: [], sinceMs: nowMs, gaps: [] };
    }
  }

  /** The event as a line, whose length is what it takes. */
  append(event: FileEvent): number {
    const line = JSON.stringify(event);
    this.#put(line);
    return line.length;
  }

  /** What is appended by now is handed to the kernel when it resolves. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing = this.#writing.then(() => this.#write());
    await this.#writing;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#put(JSON.stringify({ at: 'end', ms: this.#options.now() }));
    this.#closed = true;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, closeLimitMs);
    });
    await Promise.race([this.flush().then(() => this.#file?.close()), late]);
    clearTimeout(timer);
  }

  #put(line: string): void {
    if (this.#closed || this.#file === undefined) return;
    if (this.#waitingBytes > mostWaitingBytes) {
      this.#lostSinceMs ??= this.#options.now();
      return;
    }
    if (this.#waiting.length === 0) this.#waitingSinceMs = this.#options.now();
    this.#waiting.push(line);
    this.#waitingBytes += line.length + 1;
    this.#timer ??= setTimeout(() => void this.flush(), flushMs).unref();
  }

  async #write(): Promise<void> {
    if (this.#waiting.length === 0 || this.#file === undefined) return;
    const lines = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    const nowMs = this.#options.now();
    const [sinceMs, lostSinceMs] = [this.#waitingSinceMs, this.#lostSinceMs];
    // While these are written more may be lost.
    this.#lostSinceMs = undefined;
    if (lostSinceMs !== undefined) {
      const gap: Gap = { fromMs: lostSinceMs, toMs: nowMs, why: 'unwritten' };
      lines.push(JSON.stringify({ gap }));
    }
    const bytes = Buffer.from(`${lines.join('\n')}\n`);
    try {
      if (this.#fileBytes + bytes.length > this.#options.maxBytes) await this.#turn(nowMs);
      await this.#file.appendFile(bytes);
      this.#fileBytes += bytes.length;
      this.#failed = false;
    } catch (error) {
      this.#lostSinceMs = lostSinceMs ?? sinceMs;
      this.#cannot(error);
    }
  }

  /** What was written before goes, and what was written takes its place. */
  async #turn(nowMs: number): Promise<void> {
    const { path } = this.#options;
    const fresh = `${path}.new`;
    rmSync(fresh, { force: true });
    const next = await open(fresh, 'a', 0o640);
    const head = headLine(nowMs);
    try {
      await next.appendFile(head);
      // Not there: a turn before this one came so far.
      if (existsSync(path)) renameSync(path, this.#before);
      renameSync(fresh, path);
    } catch (error) {
      await next.close();
      throw error;
    }
    // It was open under its new name until here, and could have been written to.
    const last = this.#file;
    this.#file = next;
    this.#fileBytes = head.length;
    await last?.close();
  }

  /** Once, until it works again: a full disk is no reason for a line each quarter of a second. */
  #cannot(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    const facts = { path: this.#options.path, error: String(error) };
    this.#options.log.warn(facts, 'what happens to files is kept in memory only: its journal cannot be written');
  }

  /** Undefined: there is none, or one of another format, which goes. */
  #read(
    path: string,
  ): (Journalled & { lines: Journalled['events']; lastMs: number; ended: boolean; torn: boolean }) | undefined {
    if (!existsSync(path)) return undefined;
    if (statSync(path).size > readFactor * this.#options.maxBytes) return this.#forget(path);
    const text = readFileSync(path, 'utf8');
    const lines: { event: FileEvent; bytes: number }[] = [];
    const gaps: Gap[] = [];
    let sinceMs: number | undefined;
    let [lastMs, ended] = [0, false];
    for (const line of text.split('\n')) {
      const said = parsed(line);
      if (said === undefined) continue;
      if (sinceMs === undefined) {
        if (said.primed !== 'history' || said.format !== format || typeof said.sinceMs !== 'number')
          return this.#forget(path);
        sinceMs = said.sinceMs;
        lastMs = sinceMs;
      } else if (typeof said.at === 'string') {
        ended = said.at === 'end';
        lastMs = Math.max(lastMs, Number(said.ms) || 0);
      } else if (said.gap !== undefined) gaps.push(said.gap as Gap);
      else if (typeof said.atMs === 'number' && typeof said.path === 'string') {
        lines.push({ event: said as unknown as FileEvent, bytes: line.length });
        lastMs = Math.max(lastMs, said.atMs);
      }
    }
    if (sinceMs === undefined) return this.#forget(path);
    return { lines, events: lines, gaps, sinceMs, lastMs, ended, torn: !text.endsWith('\n') };
  }

  #forget(path: string): undefined {
    this.#options.log.warn({ path }, 'a journal of what happened to files is not of this version: it is begun anew');
    rmSync(path, { force: true });
    return undefined;
  }
}

function headLine(sinceMs: number): string {
  return `${JSON.stringify({ primed: 'history', format, sinceMs })}\n`;
}

function parsed(line: string): Record<string, unknown> | undefined {
  if (line === '') return undefined;
  try {
    const said: unknown = JSON.parse(line);
    return typeof said === 'object' && said !== null ? (said as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
