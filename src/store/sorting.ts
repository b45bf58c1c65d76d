/**
 * What the index knows of rules and pins: numbers of classes, pinned paths, and what is still to be sorted anew because they
 * have changed. Files are sorted in the background, a page of them in a commit that says how far it came; until then whoever
 * comes to the head of a queue is asked where he belongs now, so nothing that is pinned goes meanwhile.
 */
import { setImmediate } from 'node:timers/promises';
import { Pins, Retention, type RetentionRule } from '../core/retention.ts';
import { visibleRecord, visibleRecords } from './catalog.ts';
import type { Commit } from './commit.ts';
import type { IndexDb } from './index-db.ts';
import { sortFiles } from './operations.ts';
import type { Recency } from './recency.ts';
import { type Place, pathKey, placeOf } from './records.ts';
import type { FileRecord } from './types.ts';

const metaKey = 'retention';
const filesAtOnce = 512;

/** A path, or all that begins with a prefix; `all`: also where the class stays the same. */
interface Range {
  readonly path: string;
  readonly isPrefix: boolean;
  readonly all?: boolean;
  readonly after?: string;
}

interface ClassRow {
  readonly prefix: string;
  readonly class: number;
  readonly mortal: boolean;
  readonly pinned: boolean;
}

interface Known {
  readonly classes: readonly ClassRow[];
  readonly pins: readonly string[];
  readonly todo: readonly Range[];
}

/** Numbers the rules, and records them; what has to be sorted for it is left to `Sorting`. Before anything else is done with the index. */
export async function openRetention(index: IndexDb, rules: readonly RetentionRule[]): Promise<Retention> {
  const known = index.getMeta<Known>(metaKey) ?? { classes: [], pins: [], todo: [] };
  const classes = classesOf(known.classes, rules);
  if (!isSame(classes, known.classes)) {
    await index.clear(index.ages);
    await index.commit(() => index.putMeta(metaKey, { classes, pins: known.pins, todo: everything }));
  }
  return new Retention(rulesByClass(classes, rules), new Pins(known.pins));
}

const everything: readonly Range[] = [{ path: '', isPrefix: true, all: true }];

/** A prefix keeps its number; a new one has one that none has now. */
function classesOf(known: readonly ClassRow[], rules: readonly RetentionRule[]): ClassRow[] {
  const numbers = new Map(known.map((row) => [row.prefix, row.class]));
  const used = new Set(numbers.values());
  return rules.map(({ prefix, ttlMs, pinned }) => {
    let number = numbers.get(prefix);
    for (let next = 1; number === undefined; next++) if (!used.has(next)) number = next;
    used.add(number);
    return { prefix, class: number, mortal: ttlMs !== undefined, pinned };
  });
}

function isSame(classes: readonly ClassRow[], others: readonly ClassRow[]): boolean {
  return JSON.stringify(classes) === JSON.stringify(others);
}

function rulesByClass(classes: readonly ClassRow[], rules: readonly RetentionRule[]): Map<number, RetentionRule> {
  return new Map(rules.map((rule, at) => [classes[at]!.class, rule]));
}

export class Sorting {
  readonly #index: IndexDb;
  readonly #recency: Recency;
  readonly #commit: Commit;
  #known: Known;
  #running: Promise<void> | undefined;
  #closing = false;

  constructor(options: { index: IndexDb; recency: Recency; commit: Commit }) {
    this.#index = options.index;
    this.#recency = options.recency;
    this.#commit = options.commit;
    this.#known = this.#index.getMeta<Known>(metaKey) ?? { classes: [], pins: [], todo: [] };
  }

  /** In place of those that were. They hold at once; durable when resolved. */
  async setPins(paths: readonly string[]): Promise<void> {
    const before = new Set(this.#known.pins);
    const after = new Set(paths);
    const changed = [...after]
      .filter((path) => !before.has(path))
      .concat([...before].filter((path) => !after.has(path)));
    if (changed.length === 0) return;
    this.#recency.retention.pins = new Pins(after);
    const more = changed.map((path): Range => ({ path, isPrefix: path.endsWith('/') }));
    this.#known = { ...this.#known, pins: [...after], todo: [...this.#known.todo, ...more] };
    await this.#write([]);
  }

  /**
   * In place of those that were. They hold at once; durable when resolved, as what is still to be sorted. A crash before finds
   * the old ones on disk, and the next start sees that those of the configuration are others. One call at a time.
   */
  async setRules(rules: readonly RetentionRule[]): Promise<void> {
    const classes = classesOf(this.#known.classes, rules);
    this.#recency.retention.setRules(rulesByClass(classes, rules));
    this.#recency.lookAgain();
    if (isSame(classes, this.#known.classes)) return;
    // Files that come meanwhile are in it or not: all of them are sorted behind it.
    await this.#index.clear(this.#index.ages);
    this.#known = { classes, pins: this.#known.pins, todo: everything };
    await this.#write([]);
  }

  get isDone(): boolean {
    return this.#closing || (this.#known.todo.length === 0 && this.#running === undefined);
  }

  /** Resolves when everything is in its class. */
  async start(): Promise<void> {
    while (!this.isDone) {
      this.#running ??= this.#run().finally(() => {
        this.#running = undefined;
      });
      await this.#running;
    }
  }

  async close(): Promise<void> {
    this.#closing = true;
    await this.#running?.catch(() => undefined);
  }

  async #run(): Promise<void> {
    while (this.#known.todo.length > 0 && !this.#closing) {
      const [range, ...later] = this.#known.todo as [Range, ...Range[]];
      const page = this.#page(range);
      const { after, files } = page;
      // A pin that was set while a commit ran is behind it.
      this.#known = { ...this.#known, todo: after === undefined ? later : [{ ...range, after }, ...later] };
      await this.#write(files);
      await setImmediate();
    }
    // Others may go now than those who were looked at before.
    this.#recency.lookAgain();
  }

  #page({ path, isPrefix, all, after }: Range): { files: Sorted[]; after?: string } {
    const files: Sorted[] = [];
    if (!isPrefix) {
      const record = visibleRecord(this.#index, path);
      if (record !== undefined) this.#sort(record, all, files);
      return { files };
    }
    let looked = 0;
    for (const record of visibleRecords(this.#index, path, after)) {
      this.#sort(record, all, files);
      looked++;
      if (looked >= filesAtOnce) return { files, after: record.path };
    }
    return { files };
  }

  #sort(record: FileRecord, all: boolean | undefined, files: Sorted[]): void {
    if (record.state === 'metadata') return;
    const { retention } = this.#recency;
    const of = retention.classOf(record.path);
    const bytes = this.#index.get(this.#index.files, pathKey(record.path));
    if (bytes === undefined) return;
    const place = placeOf(bytes);
    if (place.class === of && !(all === true && retention.rule(of)?.ttlMs !== undefined)) return;
    files.push({ path: record.path, fileId: record.fileId, place: { class: of, sinceMs: place.sinceMs } });
  }

  #write(files: readonly Sorted[]): Promise<void> {
    return this.#commit<void>((settle) => sortFiles(files, { key: metaKey, value: this.#known }, settle));
  }
}

interface Sorted {
  readonly path: string;
  readonly fileId: FileRecord['fileId'];
  readonly place: Place;
}
