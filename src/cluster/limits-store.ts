/** What somebody has set while the cluster ran, by name: limits of origins, pins. Durable, and above what the configuration says. */
import { mkdirSync } from 'node:fs';
import { type Database, open, type RootDatabase } from 'lmdb';
import { PrimedError } from '../core/errors.ts';
import type { OriginLimit } from '../core/origin-limits.ts';
import type { Pin } from '../core/retention.ts';
import { committing, kept } from '../store/committed.ts';
import { prepareDatabase } from '../store/new-database.ts';

/** Where they are kept: in a database of this coordinator, or in one that several share. */
export interface SetStore<T> {
  all(): readonly T[];
  /** False: nobody has told of them yet, and `all` is empty for that reason. Listeners of `onChange` hear when it comes true. */
  readonly known: boolean;
  /** Resolves when they are known. */
  readonly loaded: Promise<void>;
  /** Rises with each change, over restarts too. */
  readonly version: number;
  /** Puts what `next` makes of what is kept now, and resolves with it when it is durable. `next` may be called again. */
  update(name: string, next: (stored: T | undefined) => T): Promise<T>;
  /** Durable when resolved. */
  remove(name: string): Promise<void>;
  /** Calls `listener` when somebody else has changed something; returns how to end that. */
  onChange(listener: () => void): () => void;
  close(): Promise<void>;
}

/** By origin. */
export type LimitsStore = SetStore<OriginLimit>;
/** By path. */
export type PinsStore = SetStore<Pin>;

/** Version of what is kept; key `format` of `meta`. */
const format = 1;

/** Opens or creates it. Throws STORE_VERSION for a database of another format, STORE_FOREIGN, STORE_CORRUPT. */
export function openLimitsStore(dir: string): LimitsStore {
  return openSetStore<OriginLimit>(dir, 'limits');
}

/** The same of pins. */
export function openPinsStore(dir: string): PinsStore {
  return openSetStore<Pin>(dir, 'pins');
}

function openSetStore<T>(dir: string, name: 'limits' | 'pins'): SetStore<T> {
  mkdirSync(dir, { recursive: true });
  prepareDatabase(dir, name);
  const root: RootDatabase = open({ path: dir, maxDbs: 2, noSubdir: false, ...committing });
  const meta: Database<number, string> = root.openDB({ name: 'meta', encoding: 'msgpack' });
  const rows: Database<T, string> = root.openDB({ name, encoding: 'msgpack' });
  const found = meta.get('format');
  if (found !== undefined && found !== format) {
    void root.close();
    const message = `The ${name} in ${dir} have format ${found}, this primed reads format ${format}; nothing was touched.`;
    throw new PrimedError('STORE_VERSION', message, { found, wanted: format });
  }
  if (found === undefined) meta.putSync('format', format);
  const version = (): number => meta.get('version') ?? 0;
  let last: Promise<unknown> = Promise.resolve();
  /** One after the other: `write` reads what the changes before it have left. */
  const commit = <Result>(write: () => Result): Promise<Result> => {
    const next = async (): Promise<Result> => {
      let result: Result;
      const written = root.batch(() => {
        result = write();
        void meta.put('version', version() + 1);
      });
      await kept(written, { dir, kind: name });
      await root.flushed;
      return result!;
    };
    const done = last.then(next, next);
    last = done.catch(() => undefined);
    return done;
  };
  return {
    all: () => Array.from(rows.getRange(), ({ value }) => value),
    known: true,
    loaded: Promise.resolve(),
    get version() {
      return version();
    },
    update: (key, next) =>
      commit(() => {
        const row = next(rows.get(key));
        void rows.put(key, row);
        return row;
      }),
    remove: (key) => commit(() => void rows.remove(key)),
    onChange: () => () => undefined,
    close: async () => {
      await last;
      await root.close();
    },
  };
}
