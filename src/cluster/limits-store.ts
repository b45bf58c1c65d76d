/** Limits of origins that somebody has set while the cluster ran: durable, and above what the configuration says. */
import { mkdirSync } from 'node:fs';
import { type Database, open, type RootDatabase } from 'lmdb';
import { PrimedError } from '../core/errors.ts';
import type { OriginLimit } from '../core/origin-limits.ts';

/** Where they are kept: in a database of this coordinator, or in one that several share. */
export interface LimitsStore {
  all(): readonly OriginLimit[];
  /** Durable when resolved. */
  put(limit: OriginLimit): Promise<void>;
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
    async put(limit) {
      await limits.put(limit.origin, limit);
      await root.flushed;
    },
    async remove(origin) {
      await limits.remove(origin);
      await root.flushed;
    },
    onChange: () => () => undefined,
    close: () => root.close(),
  };
}

/**
 * Of a coordinator that is not the only one: the configuration, the same for all of them, says what holds, and nothing is set
 * beside it, because the others would not hear of that.
 */
export const noLimitsStore: LimitsStore = {
  all: () => [],
  put: (limit) => Promise.reject(onlyConfigured(limit.origin)),
  remove: (origin) => Promise.reject(onlyConfigured(origin)),
  onChange: () => () => undefined,
  close: () => Promise.resolve(),
};

function onlyConfigured(origin: string): PrimedError {
  const message = `Limits of ${origin} are set by the configuration alone where coordinators share their jobs (cluster.backend = "etcd"): change max_bandwidth and max_requests_per_second of all coordinators, and restart them one after the other.`;
  return new PrimedError('OPTION_UNSUPPORTED', message, { origin });
}
