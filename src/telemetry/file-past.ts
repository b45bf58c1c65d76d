/**
 * What is kept on a worker of what happened to its files: attempts at the origin that failed, how loads with such attempts ended,
 * and why files left the store. In memory, and in a journal beside it for the next start.
 *
 * Attempts and what went are kept apart, because each of them may come by the hundred thousand, and neither is to push the
 * other out. What goes well at once is only counted.
 */
import { join } from 'node:path';
import type { FileEvent, FileHistory, FileTeller, Gap, Untimed } from '../core/file-events.ts';
import { type KeptBounds, KeptEvents } from '../core/kept-events.ts';
import type { Log } from '../core/types.ts';
import { MiB } from '../core/units.ts';
import { EventJournal } from './event-journal.ts';

const dayMs = 86_400_000;
/** Some 15,000 attempts, and 60,000 files that went. */
export const attemptBounds: KeptBounds = { maxBytes: 8 * MiB, perFile: 20, ageMs: 7 * dayMs };
export const goneBounds: KeptBounds = { maxBytes: 32 * MiB, perFile: 20, ageMs: 7 * dayMs };
/** Of what memory holds the text is less than a half. */
const journalShare = 2;

export interface FilePastOptions {
  readonly dir: string;
  readonly now: () => number;
  readonly log: Log;
  readonly attempts?: KeptBounds;
  readonly gone?: KeptBounds;
}

interface Part {
  readonly events: KeptEvents<FileEvent>;
  readonly journal: EventJournal;
  readonly gaps: readonly Gap[];
  readonly bounds: KeptBounds;
}

export class FilePast implements FileTeller {
  readonly #now: () => number;
  readonly #attempts: Part;
  readonly #gone: Part;
  /** Files that were loaded without one failed attempt, since the start. */
  wellLoaded = 0;

  private constructor(now: () => number, attempts: Part, gone: Part) {
    this.#now = now;
    this.#attempts = attempts;
    this.#gone = gone;
  }

  /** Never rejects: a journal that cannot be read or written is in the log. */
  static async open({
    dir,
    now,
    log,
    attempts = attemptBounds,
    gone = goneBounds,
  }: FilePastOptions): Promise<FilePast> {
    const startMs = now();
    const part = async (name: string, bounds: KeptBounds): Promise<Part> => {
      const maxBytes = Math.floor(bounds.maxBytes / journalShare);
      const { journal, found } = await EventJournal.open({ path: join(dir, name), maxBytes, now, log }, startMs);
      const events = new KeptEvents<FileEvent>(bounds, found.sinceMs);
      for (const { event, bytes } of found.events) events.add(event, bytes, now());
      return { events, journal, gaps: found.gaps, bounds };
    };
    return new FilePast(now, await part('attempts', attempts), await part('removals', gone));
  }

  happened(untimed: Untimed<FileEvent>): void {
    const nowMs = this.#now();
    const event = { atMs: nowMs, ...untimed } as FileEvent;
    const { events, journal } = event.kind === 'gone' ? this.#gone : this.#attempts;
    events.add(event, journal.append(event), nowMs);
  }

  hasFailed(path: string): boolean {
    return this.#attempts.events.has(path);
  }

  wentWell(): void {
    this.wellLoaded += 1;
  }

  /** Of a file: what happened to it, and what went with a directory above it. */
  of(path: string): FileHistory {
    const nowMs = this.#now();
    for (const { events } of [this.#attempts, this.#gone]) events.expire(nowMs);
    const own = [this.#attempts.events.of(path), this.#gone.events.of(path)];
    const above = scopesOf(path).flatMap((scope) =>
      this.#gone.events.of(scope).events.filter((event) => event.kind === 'gone' && event.files !== undefined),
    );
    return {
      events: [...own.flatMap(({ events }) => events), ...above].sort((a, b) => a.atMs - b.atMs),
      dropped: own.reduce((sum, { dropped }) => sum + dropped, 0),
      keptSinceMs: Math.max(this.#attempts.events.sinceMs, this.#gone.events.sinceMs),
      gaps: distinct([...this.#attempts.gaps, ...this.#gone.gaps]),
      bounds: {
        ageMs: this.#gone.bounds.ageMs,
        perFile: this.#gone.bounds.perFile,
        bytes: this.#attempts.bounds.maxBytes + this.#gone.bounds.maxBytes,
      },
    };
  }

  async flush(): Promise<void> {
    await Promise.all([this.#attempts.journal.flush(), this.#gone.journal.flush()]);
  }

  async close(): Promise<void> {
    await Promise.all([this.#attempts.journal.close(), this.#gone.journal.close()]);
  }
}

/** The directories that a path lies in, with and without their slash, the outermost first. */
function scopesOf(path: string): string[] {
  const scopes: string[] = [];
  const first = path.indexOf('://') + 3;
  for (let at = path.indexOf('/', first); at >= 0; at = path.indexOf('/', at + 1)) {
    const folder = path.slice(0, at + 1);
    if (at > first) scopes.push(path.slice(0, at));
    if (folder !== path) scopes.push(folder);
  }
  return scopes;
}

/** Both journals end with the same crash: the process lived until the later of their last lines. */
function distinct(gaps: readonly Gap[]): Gap[] {
  const crashes = new Map<number, Gap>();
  const others: Gap[] = [];
  for (const gap of gaps) {
    const known = crashes.get(gap.toMs);
    if (gap.why !== 'crash') others.push(gap);
    else if (known === undefined || gap.fromMs > known.fromMs) crashes.set(gap.toMs, gap);
  }
  return [...crashes.values(), ...others].sort((a, b) => a.fromMs - b.fromMs);
}
