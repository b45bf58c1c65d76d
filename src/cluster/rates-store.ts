/**
 * How fast it was, kept over a restart of the coordinator: rows of ten seconds (core/rate-rows) of the last six hours, in a database of
 * its own. It is written about once a minute, in one transaction, which is all or nothing; what a kill takes is the last minute.
 * Nothing needs it: where it cannot be opened or written, curves begin anew, and the log says so.
 */
import { mkdirSync } from 'node:fs';
import { type Database, open, type RootDatabase } from 'lmdb';
import { coarsePoints } from '../core/rate-history.ts';
import type { RateRow, RateRows } from '../core/rate-rows.ts';
import type { Log } from '../core/types.ts';
import { committed, committing } from '../store/committed.ts';
import { prepareDatabase } from '../store/new-database.ts';

/** Version of what is kept; key `format` of `meta`. */
const format = 1;

export interface RatesStore {
  /** Empty where it cannot be read, or is not what it should be. Never throws. */
  all(): RateRows;
  /**
   * Resolves with whether they are durable; those older than six hours before the newest of `rows` go, and those after it. Never
   * rejects.
   */
  put(rows: RateRows): Promise<boolean>;
  close(): Promise<void>;
}

/** Undefined: it cannot be opened. Rows of another format go. */
export function openRatesStore(dir: string, log: Log): RatesStore | undefined {
  try {
    return opened(dir, log);
  } catch (error) {
    const remedy = 'delete the folder while the coordinator is stopped, or give its user the right to write there';
    log.warn(
      { dir, error: String(error), remedy },
      'rates of the past are kept in memory only: their folder cannot be used',
    );
    return undefined;
  }
}

function opened(dir: string, log: Log): RatesStore {
  mkdirSync(dir, { recursive: true });
  prepareDatabase(dir, 'rates');
  const root: RootDatabase = open({ path: dir, maxDbs: 2, noSubdir: false, ...committing });
  try {
    return within(root, dir, log);
  } catch (error) {
    void root.close();
    throw error;
  }
}

function within(root: RootDatabase, dir: string, log: Log): RatesStore {
  const meta: Database<number, string> = root.openDB({ name: 'meta', encoding: 'msgpack' });
  const rows: Database<RateRow, number> = root.openDB({ name: 'rows', encoding: 'msgpack' });
  if (meta.get('format') !== format) {
    rows.clearSync();
    meta.putSync('format', format);
  }
  let failed = false;
  return {
    all: () => {
      try {
        const whole = Array.from(rows.getRange()).filter(({ key, value }) => isRow(key, value));
        return new Map(whole.map(({ key, value }) => [key, value]));
      } catch (error) {
        log.warn({ dir, error: String(error) }, 'rates of the past cannot be read: curves begin anew');
        return new Map();
      }
    },
    put: async (news) => {
      const newest = Math.max(...news.keys());
      if (news.size === 0) return true;
      try {
        const written = root.batch(() => {
          for (const key of [
            ...rows.getKeys({ end: newest - coarsePoints + 1 }),
            ...rows.getKeys({ start: newest + 1 }),
          ])
            void rows.remove(key);
          for (const [key, row] of news) void rows.put(key, row);
        });
        await committed(written);
        await root.flushed;
        failed = false;
        return true;
      } catch (error) {
        // Once, until it works again.
        if (!failed)
          log.warn({ dir, error: String(error) }, 'rates of the past cannot be written: a restart would forget them');
        failed = true;
        return false;
      }
    },
    close: () => root.close(),
  };
}

/** The database has no checksums: what is damaged is read as something else. */
function isRow(key: unknown, value: unknown): boolean {
  const isRate = (rate: unknown) => typeof rate === 'number' && rate >= 0;
  const isKnown = (rate: unknown) => rate === null || isRate(rate);
  if (typeof key !== 'number' || typeof value !== 'object' || value === null) return false;
  const { loading, serving, jobs } = value as Record<string, unknown>;
  if (typeof jobs !== 'object' || jobs === null) return false;
  return isKnown(loading) && isKnown(serving) && Object.values(jobs).every(isRate);
}
