/** A configuration for people: every setting as it comes out on this machine, and where its value comes from. */
import { formatDuration, formatSize } from '../core/sizes.ts';
import { clusterOf, type Role } from './config.ts';
import { lanesOf, memoryBudgetOf, readCacheOf, servingThreadsOf, storesOf } from './defaults.ts';
import type { Draft } from './draft.ts';
import { type Leaf, sharePattern } from './forms.ts';
import { allTables, type Setting } from './settings.ts';

export interface ShownValue {
  /** `worker.lanes`, `ufs[0].endpoint`. */
  readonly key: string;
  /** Bytes, milliseconds; null: there is none, or it is a secret. */
  readonly value: string | number | boolean | null;
  readonly secret: boolean;
  /** As people write it. */
  readonly text: string;
  /** `default`, a file with the line, a variable, a flag. */
  readonly from: string;
  readonly kind: 'default' | 'computed' | 'unset' | 'file' | 'env' | 'flag';
  readonly file?: string;
  readonly line?: number;
  /** What a reload does with a change of it: takes it over, only where it was set before, or leaves it to the next start. */
  readonly reload: 'live' | 'replaced' | 'restart';
}

/** Of a draft without errors. */
export function showConfig(draft: Draft, role: Role): ShownValue[] {
  const computed = computedOf(draft, role);
  return allTables().flatMap(({ path, repeats, settings }) => {
    const show = (prefix: string) =>
      settings.map((setting) => {
        const name = setting.path.slice(setting.path.lastIndexOf('.') + 1);
        return shownOf(draft, setting, { key: prefix === '' ? name : `${prefix}.${name}`, computed });
      });
    if (!repeats) return show(path);
    return Array.from({ length: draft.counts.get(path) ?? 0 }, (_, index) => show(`${path}[${index}]`)).flat();
  });
}

type Values = ReadonlyMap<string, string | number>;

function shownOf(draft: Draft, { leaf }: Setting, of: { key: string; computed: Values }): ShownValue {
  const { key, computed } = of;
  const secret = leaf.secret === true;
  // Of tables that repeat no defaults are written into the draft.
  const written = draft.values.get(key) ?? leaf.default;
  const out = computed.get(key);
  const { kind, place, file, line } = draft.sources.get(key) ?? { kind: 'default', place: 'default' };
  const value = out ?? written ?? null;
  const reload = leaf.live === true ? 'live' : (leaf.live ?? 'restart');
  const row = { key, value: secret ? null : value, secret, reload } as const;
  if (written !== undefined) {
    const share = typeof written === 'string' && out !== undefined && sharePattern.test(written) ? ` (${written})` : '';
    const text = secret ? '(hidden)' : `${textOf(leaf, value)}${share}`;
    return file === undefined
      ? { ...row, text, from: place, kind }
      : { ...row, text, from: `${file}:${line}`, kind, file, ...(line && { line }) };
  }
  const why = leaf.unset === undefined ? '' : `: ${leaf.unset}`;
  if (out === undefined) return { ...row, text: '-', from: `not set${why}`, kind: 'unset' };
  return { ...row, text: secret ? '(hidden)' : textOf(leaf, out), from: `default${why}`, kind: 'computed' };
}

/** What comes out where nothing, or a share, is written. */
function computedOf(draft: Draft, role: Role): Values {
  const { host, id, token } = clusterOf(draft, role);
  const stores = role === 'coordinator' ? [] : storesOf(draft);
  const named = draft.counts.get('worker.store') ?? 0;
  return new Map<string, string | number>([
    ['worker.lanes', lanesOf(draft)],
    ['worker.memory_budget', memoryBudgetOf(draft)],
    ['worker.serving_threads', servingThreadsOf(draft)],
    ['worker.read_cache', readCacheOf(draft)],
    ...stores.map(({ sizeBytes }, index): [string, number] => [
      named > 0 ? `worker.store[${index}].size` : 'worker.store_size',
      sizeBytes,
    ]),
    ['cluster.host', host],
    ['cluster.id', id],
    ...(token === undefined ? [] : [['cluster.token', token] as [string, string]]),
  ]);
}

function textOf({ form }: Leaf, value: string | number | boolean | null): string {
  if (typeof value !== 'number') return String(value);
  if (form === 'size' || form === 'room') return formatSize(value);
  return form === 'duration' ? formatDuration(value) : String(value);
}
