/**
 * In place of `lmdb`: tables in memory that are a machine's. A batch is committed as a whole and in order, after a while, and
 * is safe from a loss of power some time after that. A process that is killed leaves what was committed, and perhaps some of
 * what was about to be; a loss of power leaves what was flushed, and perhaps some of what was committed.
 */
import { Packr } from 'msgpackr';
import { here, type Process, type World } from './world.ts';

type Part = string | number;
type Key = Part | readonly Part[];
interface Row {
  readonly key: Key;
  readonly bytes: Buffer;
}
type Tables = Map<string, Map<string, Row>>;
interface Change {
  readonly table: string;
  readonly key: Key;
  readonly bytes: Buffer | undefined;
}

const packr = new Packr({ useRecords: false, mapsAsObjects: true, int64AsType: 'number' });

/** What is on the disk of a machine. */
class Disk {
  base: Tables = new Map();
  /** Committed, and not flushed. */
  committed: Change[][] = [];
  /** Batches of all time. */
  committedCount = 0;
  flushedCount = 0;

  flush(upTo: number): void {
    const count = Math.max(0, upTo - this.flushedCount);
    this.flushedCount += count;
    for (const changes of this.committed.splice(0, count)) apply(this.base, changes);
  }
}

class Root {
  readonly #world: World = here();
  readonly #process: Process;
  readonly #disk: Disk;
  #tables: Tables;
  #pending: { changes: Change[]; resolve: () => void }[] = [];
  #collecting: Change[] | undefined;
  #committing = false;
  #flushed: Promise<void> = Promise.resolve();
  #open = true;

  constructor(process: Process, disk: Disk) {
    this.#process = process;
    this.#disk = disk;
    this.#tables = copyOf(disk.base);
    for (const changes of disk.committed) apply(this.#tables, changes);
    process.onDeath.push((how) => this.#died(how));
  }

  openDB({ name, encoding }: { name: string; encoding: 'msgpack' | 'binary' }): Table {
    if (!this.#tables.has(name)) this.#tables.set(name, new Map());
    return new Table(this, name, encoding);
  }

  batch(action: () => void): Promise<void> {
    const changes: Change[] = [];
    this.#collecting = changes;
    action();
    this.#collecting = undefined;
    return new Promise((resolve) => {
      this.#pending.push({ changes, resolve });
      this.#commitSoon();
    });
  }

  get flushed(): Promise<void> {
    return this.#flushed;
  }

  async close(): Promise<void> {
    this.#open = false;
  }

  rows(table: string): Map<string, Row> {
    if (!this.#open) throw new Error('a closed environment was asked: LMDB would read unmapped memory');
    return this.#tables.get(table)!;
  }

  change(change: Change): void {
    if (this.#collecting === undefined) throw new Error('everything is written in batches');
    this.#collecting.push(change);
  }

  /** Durable when it returns; for what is written as an environment is opened, before anything else. */
  writeNow(change: Change): void {
    apply(this.#tables, [change]);
    apply(this.#disk.base, [change]);
  }

  #commitSoon(): void {
    if (this.#committing) return;
    this.#committing = true;
    let flushed: () => void = () => undefined;
    this.#flushed = new Promise((resolve) => {
      flushed = resolve;
    });
    const world = this.#world;
    world.after(world.between(0.2, world.chance(0.05) ? 60 : 3), this.#process, () => {
      this.#committing = false;
      const batches = this.#pending;
      this.#pending = [];
      for (const { changes } of batches) {
        apply(this.#tables, changes);
        this.#disk.committed.push(changes);
      }
      this.#disk.committedCount += batches.length;
      const upTo = this.#disk.committedCount;
      for (const { resolve } of batches) resolve();
      world.after(world.between(0.2, world.chance(0.05) ? 60 : 3), this.#process, () => {
        this.#disk.flush(upTo);
        flushed();
      });
    });
  }

  #died(how: 'kill' | 'power'): void {
    const world = this.#world;
    const disk = this.#disk;
    const perhaps = how === 'kill' ? this.#pending.map(({ changes }) => changes) : disk.committed.splice(0);
    if (how === 'kill' && !this.#committing) perhaps.length = 0;
    const kept = [...disk.committed, ...perhaps.slice(0, world.integer(0, perhaps.length))];
    disk.committed = [];
    disk.committedCount = 0;
    disk.flushedCount = 0;
    for (const changes of kept) apply(disk.base, changes);
    this.#pending = [];
  }
}

class Table {
  readonly #root: Root;
  readonly #name: string;
  readonly #encoding: 'msgpack' | 'binary';

  constructor(root: Root, name: string, encoding: 'msgpack' | 'binary') {
    this.#root = root;
    this.#name = name;
    this.#encoding = encoding;
  }

  get(key: Key): unknown {
    const row = this.#root.rows(this.#name).get(nameOf(key));
    return row === undefined ? undefined : this.#value(row);
  }

  doesExist(key: Key): boolean {
    return this.#root.rows(this.#name).has(nameOf(key));
  }

  put(key: Key, value: unknown): Promise<boolean> {
    this.#root.change({ table: this.#name, key, bytes: this.#packed(value) });
    return Promise.resolve(true);
  }

  putSync(key: Key, value: unknown): boolean {
    this.#root.writeNow({ table: this.#name, key, bytes: this.#packed(value) });
    return true;
  }

  remove(key: Key): Promise<boolean> {
    this.#root.change({ table: this.#name, key, bytes: undefined });
    return Promise.resolve(true);
  }

  getRange(range: Range = {}): { key: Key; value: unknown }[] {
    return this.#sorted(range).map((row) => ({ key: row.key, value: this.#value(row) }));
  }

  getKeysCount(range: Range = {}): number {
    return this.getKeys(range).length;
  }

  getKeys(range: Range = {}): Key[] {
    return this.#sorted(range).map(({ key }) => key);
  }

  #sorted({ start, end, limit = Number.POSITIVE_INFINITY }: Range): Row[] {
    const rows = [...this.#root.rows(this.#name).values()].filter(
      ({ key }) => (start === undefined || compare(key, start) >= 0) && (end === undefined || compare(key, end) < 0),
    );
    return rows.sort((a, b) => compare(a.key, b.key)).slice(0, limit);
  }

  #packed(value: unknown): Buffer {
    return this.#encoding === 'binary' ? Buffer.from(value as Buffer) : packr.pack(value);
  }

  #value({ bytes }: Row): unknown {
    return this.#encoding === 'binary' ? bytes : packr.unpack(bytes);
  }
}

interface Range {
  readonly start?: Key;
  readonly end?: Key;
  readonly limit?: number;
}

/** Of the process that asks. */
export function open({ path }: { path: string }): Root {
  const process = here().current!;
  const { databases } = process.machine;
  const disk = (databases.get(path) as Disk | undefined) ?? new Disk();
  databases.set(path, disk);
  return new Root(process, disk);
}

function nameOf(key: Key): string {
  return JSON.stringify(key);
}

function apply(tables: Tables, changes: readonly Change[]): void {
  for (const { table, key, bytes } of changes) {
    const rows = tables.get(table) ?? new Map<string, Row>();
    tables.set(table, rows);
    if (bytes === undefined) rows.delete(nameOf(key));
    else rows.set(nameOf(key), { key, bytes });
  }
}

function copyOf(tables: Tables): Tables {
  return new Map(Array.from(tables, ([name, rows]) => [name, new Map(rows)]));
}

/** Numbers before strings, arrays part by part. */
function compare(a: Key, b: Key): number {
  if (Array.isArray(a) && Array.isArray(b)) {
    for (let at = 0; at < Math.min(a.length, b.length); at += 1) {
      const order = compare(a[at] as Part, b[at] as Part);
      if (order !== 0) return order;
    }
    return a.length - b.length;
  }
  if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
  return typeof a === 'number' ? -1 : 1;
}
