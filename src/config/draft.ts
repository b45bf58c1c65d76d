/** A configuration that is being read: its values so far, where each came from, and everything that is wrong with it. */
import { resolve } from 'node:path';
import { parseValue } from './forms.ts';
import type { Setting } from './settings.ts';

export type SourceKind = 'default' | 'file' | 'env' | 'flag';

export interface Source {
  readonly kind: SourceKind;
  /** For people: `primed.toml:7: worker.lanes`, `PRIMED_WORKER_LANES`, `--data`, `default`. */
  readonly place: string;
  /** Of the kind `file`. */
  readonly file?: string;
  readonly line?: number;
}

export interface Draft {
  /** By path; inside tables that repeat with an index: `ufs[0].endpoint`. */
  readonly values: Map<string, string | number | boolean>;
  readonly sources: Map<string, Source>;
  /** Entries of each table that repeats. */
  readonly counts: Map<string, number>;
  /** The files that were read, in their order. */
  readonly files: string[];
  /** One sentence each, its place first. */
  readonly errors: string[];
  /** What a look at the machine has shown to be right, a line each. */
  readonly found: string[];
  /** Where systemd has put the credentials of the unit; undefined: nowhere. */
  readonly credentialsDir: string | undefined;
}

export function emptyDraft(credentialsDir?: string): Draft {
  return {
    values: new Map(),
    sources: new Map(),
    counts: new Map(),
    files: [],
    errors: [],
    found: [],
    credentialsDir: credentialsDir || undefined,
  };
}

/** An error of a value that was read, at the place where it was written. */
export function complain(draft: Draft, key: string, problem: string): void {
  const source = draft.sources.get(key);
  draft.errors.push(`${source === undefined || source.kind === 'default' ? key : source.place}: ${problem}`);
}

export interface Given {
  /** Path of the setting, with indexes. */
  readonly key: string;
  readonly raw: unknown;
  /** Where a relative path starts. */
  readonly base: string;
  readonly source: Source;
}

/** Takes a value in, over what an earlier layer said. */
export function assign(draft: Draft, setting: Setting, { key, raw, base, source }: Given): void {
  const parsed = parseValue(setting.schema, raw);
  if ('problem' in parsed) {
    draft.errors.push(`${source.place}: ${parsed.problem}`);
    return;
  }
  const { form, credential } = setting.leaf;
  const start = credential === true ? (draft.credentialsDir ?? base) : base;
  draft.values.set(key, form === 'path' ? resolve(start, String(parsed.value)) : parsed.value);
  draft.sources.set(key, source);
  if (credential === true) replace(draft, key, key.slice(0, -fileSuffix.length));
  else if (setting.leaf.secret === true) replace(draft, key, `${key}${fileSuffix}`);
}

const fileSuffix = '_file';

/** A secret and its file say the same thing: the later layer counts, and one layer says it once. */
function replace(draft: Draft, key: string, other: string): void {
  const [source, earlier] = [draft.sources.get(key), draft.sources.get(other)];
  if (source === undefined || earlier === undefined) return;
  if (source.kind === earlier.kind && source.file === earlier.file)
    complain(draft, key, `is there together with ${other}; only one of them is needed`);
  draft.values.delete(other);
  draft.sources.delete(other);
}
