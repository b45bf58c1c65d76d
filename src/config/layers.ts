/**
 * The layers of a configuration: defaults below the file, below the environment, below flags. Each layer is read into
 * the same draft, which remembers where every value came from and collects every error instead of stopping at the first.
 */
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { parse as parseToml, TomlError } from 'smol-toml';
import { parseValue } from './forms.ts';
import { editDistance, nearestWord } from './nearest.ts';
import { allTables, rootTable, type Setting, settings, type Table } from './settings.ts';

export type SourceKind = 'default' | 'file' | 'env' | 'flag';

export interface Source {
  readonly kind: SourceKind;
  /** For people: `primed.toml: worker.lanes`, `PRIMED_WORKER_LANES`, `--data`, `default`. */
  readonly place: string;
}

export interface Draft {
  /** By path; inside tables that repeat with an index: `ufs[0].endpoint`. */
  readonly values: Map<string, string | number | boolean>;
  readonly sources: Map<string, Source>;
  /** Entries of each table that repeats. */
  readonly counts: Map<string, number>;
  /** One sentence each, its place first. */
  readonly errors: string[];
}

export function emptyDraft(): Draft {
  return { values: new Map(), sources: new Map(), counts: new Map(), errors: [] };
}

export function applyDefaults(draft: Draft): void {
  for (const setting of settings.values()) {
    if (setting.leaf.default === undefined) continue;
    // A default below `data_dir` is made where the whole configuration is known; this one is relative to the process.
    assign(draft, setting, {
      key: setting.path,
      raw: setting.leaf.default,
      base: process.cwd(),
      source: { kind: 'default', place: 'default' },
    });
  }
}

/** Reads a TOML file. A relative path in it is relative to its folder. */
export function applyFile(draft: Draft, file: string): void {
  let contents: string;
  try {
    contents = readFileSync(file, 'utf8');
  } catch (error) {
    draft.errors.push(`${file}: cannot be read: ${(error as Error).message}`);
    return;
  }
  try {
    applyTable(draft, rootTable, parseToml(contents), { file, key: '', base: dirname(resolve(file)) });
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [reason] = error.message.split('\n');
    draft.errors.push(`${file}:${error.line}:${error.column}: is not TOML: ${reason}`);
  }
}

interface Position {
  readonly file: string;
  /** Path of the table with indexes, empty at the top. */
  readonly key: string;
  readonly base: string;
}

function applyTable(draft: Draft, table: Table, contents: Readonly<Record<string, unknown>>, position: Position): void {
  const { file, base } = position;
  const childKey = (name: string): string => (position.key === '' ? name : `${position.key}.${name}`);
  const lastName = (path: string): string => path.slice(path.lastIndexOf('.') + 1);
  for (const [name, raw] of Object.entries(contents)) {
    const key = childKey(name);
    const place = `${file}: ${key}`;
    const setting = table.settings.find(({ path }) => lastName(path) === name);
    const child = table.tables.find(({ path }) => lastName(path) === name);
    if (setting !== undefined) assign(draft, setting, { key, raw, base, source: { kind: 'file', place } });
    else if (child === undefined) draft.errors.push(`${place}: is unknown; ${nearestKey(table, name)}`);
    else if (child.repeats) applyEntries(draft, child, raw, { file, key, base });
    else if (isTable(raw)) applyTable(draft, child, raw, { file, key, base });
    else draft.errors.push(`${place}: is a table, write [${key}]`);
  }
  for (const { path, required } of table.settings) {
    const name = lastName(path);
    if (required && !(name in contents)) draft.errors.push(`${file}: ${childKey(name)}: is missing`);
  }
}

function applyEntries(draft: Draft, table: Table, raw: unknown, position: Position): void {
  const { file, key } = position;
  if (!Array.isArray(raw) || !raw.every(isTable)) {
    draft.errors.push(`${file}: ${key}: is a table that repeats, write [[${key}]]`);
    return;
  }
  draft.counts.set(key, raw.length);
  raw.forEach((entry, index) => {
    applyTable(draft, table, entry, { ...position, key: `${key}[${index}]` });
  });
}

/** The neighbour that was meant, or, when none is like it, the same name in another table. */
function nearestKey(table: Table, written: string): string {
  const names = [...table.settings, ...table.tables].map(({ path }) => path.slice(path.lastIndexOf('.') + 1));
  const elsewhere = allTables().flatMap((other) => other.settings.filter(({ path }) => path.endsWith(`.${written}`)));
  if (!names.includes(written) && elsewhere[0] !== undefined) return `did you mean ${elsewhere[0].path}?`;
  const nearest = nearestWord(written, names);
  const alike = nearest !== undefined && editDistance(written, nearest) * 2 <= nearest.length;
  return alike || nearest?.startsWith(written) ? `did you mean ${nearest}?` : `known here are ${names.join(', ')}`;
}

/** Variables of ours that are not settings: this one says where the file is. */
const otherVariables = new Set(['PRIMED_CONFIG']);
/** What Kubernetes puts into every container for a service called `primed…`. */
const kubernetesLink = /^PRIMED_(?:.*_)?(?:SERVICE_(?:HOST|PORT.*)|PORT_\d+_(?:TCP|UDP|SCTP).*)$/;

export type Environment = Readonly<Record<string, string | undefined>>;

/** Reads every `PRIMED_…` variable; an empty one counts as not set. A relative path is relative to the process. */
export function applyEnvironment(draft: Draft, env: Environment): void {
  const byName = new Map([...settings.values()].map((setting) => [setting.env!, setting]));
  for (const [name, raw] of Object.entries(env)) {
    if (!name.startsWith('PRIMED_') || raw === undefined || raw === '' || otherVariables.has(name)) continue;
    const setting = byName.get(name);
    const source = { kind: 'env', place: name } as const;
    if (setting !== undefined) assign(draft, setting, { key: setting.path, raw, base: process.cwd(), source });
    else if (!kubernetesLink.test(name) && !/^(tcp|udp|sctp):\/\//.test(raw)) {
      const names = [...byName.keys(), ...otherVariables];
      // Most often the table is forgotten: PRIMED_LANES is PRIMED_WORKER_LANES.
      const whole = names.find((known) => known.endsWith(name.slice('PRIMED'.length)));
      draft.errors.push(`${name}: is unknown; did you mean ${whole ?? nearestWord(name, names)}?`);
    }
  }
}

/** Of AWS's variables only those that cannot be meant: a load would find out in each of its requests. */
export function checkAwsEnvironment(draft: Draft, env: Environment): void {
  for (const name of ['AWS_ENDPOINT_URL', 'AWS_ENDPOINT_URL_S3']) {
    const value = env[name];
    if (value === undefined || value === '' || (/^https?:\/\//i.test(value) && URL.canParse(value))) continue;
    draft.errors.push(`${name}: must be a URL that starts with http:// or https://, not "${value}"`);
  }
}

/** Flags by their names in camel case, as commander gives them. Those that are not settings are left to the caller. */
export type Flags = Readonly<Record<string, unknown>>;

export function applyFlags(draft: Draft, flags: Flags): void {
  for (const setting of settings.values()) {
    const { flag } = setting.leaf;
    if (flag === undefined) continue;
    const raw = flags[flag.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())];
    if (raw === undefined) continue;
    assign(draft, setting, {
      key: setting.path,
      raw,
      base: process.cwd(),
      source: { kind: 'flag', place: `--${flag}` },
    });
  }
}

function assign(
  draft: Draft,
  setting: Setting,
  given: { key: string; raw: unknown; base: string; source: Source },
): void {
  const { key, raw, base, source } = given;
  const parsed = parseValue(setting.schema, raw);
  if ('problem' in parsed) {
    draft.errors.push(`${source.place}: ${parsed.problem}`);
    return;
  }
  const value = setting.leaf.form === 'path' ? resolve(base, String(parsed.value)) : parsed.value;
  draft.values.set(key, value);
  draft.sources.set(key, source);
}

function isTable(raw: unknown): raw is Record<string, unknown> {
  return typeof raw === 'object' && raw !== null && !Array.isArray(raw) && !(raw instanceof Date);
}
