/** Limits of origins that somebody has set while the cluster ran: durable, and above what the configuration says. */
import { mkdirSync } from 'node:fs';
import { type Database, open, type RootDatabase } from 'lmdb';
import { PrimedError } from '../core/errors.ts';
import type { OriginLimit } from '../core/origin-limits.ts';

/** Where they are kept: in a database of this coordinator, or in one that several share. */
export interface LimitsStore {
  all(): readonly OriginLimit[];
  /** False: nobody has told of them yet, and `all` is empty for that reason. Listeners of `onChange` hear when it comes true. */
  readonly known: boolean;
  /** Resolves when they are known. */
  readonly loaded: Promise<void>;
  /** Puts what `next` makes of what is kept now, and resolves with it when it is durable. `next` may be called again. */
  update(origin: string, next: (stored: OriginLimit | undefined) => OriginLimit): Promise<OriginLimit>;
  /** Durable when resolved. */
  remove(origin: string): Promise<void>;
  /** Calls `listener` when somebody else has changed something; returns how to end that. */
  onChange(listener: () => void): () => void;
  close(): Promise<void>;
}

/** Version of what is kept; key `format` of `meta`. */
const format = 1;

/** Opens or creates it. Throws STORE_VERSION for a database of another format. */
export function openLimitsStore(dir: string): LimitsStore {
  mkdirSync(dir, { recursive: true });
  const root: RootDatabase = open({ path: dir, maxDbs: 2, noSync: false, noSubdir: false });
  const meta: Database<number, string> = root.openDB({ name: 'meta', encoding: 'msgpack' });
  const limits: Database<OriginLimit, string> = root.openDB({ name: 'limits', encoding: 'msgpack' });
  const found = meta.get('format');
  if (found !== undefined && found !== format) {
    void root.close();
    const message = `The limits in ${dir} have format ${found}, this primed reads format ${format}; nothing was touched.`;
    throw new PrimedError('STORE_VERSION', message, { found, wanted: format });
  }
  if (found === undefined) meta.putSync('format', format);
  return {
    all: () => Array.from(limits.getRange(), ({ value }) => value),
    known: true,
    loaded: Promise.resolve(),
    async update(origin, next) {
      const limit = next(limits.get(origin));
      await limits.put(origin, limit);
      await root.flushed;
      return limit;
    },
    async remove(origin) {
      await limits.remove(origin);
      await root.flushed;
    },
    onChange: () => () => undefined,
    close: () => root.close(),
  };
}
