/**
 * The file of a configuration, and its drop-ins: `primed.toml`, then `primed.toml.d/*.toml` in the order of their names, as
 * systemd has it. Of a setting the last word counts; entries of tables that repeat are added to those before.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { assign, type Draft } from './draft.ts';
import { editDistance, nearestWord } from './nearest.ts';
import { allTables, rootTable, type Table } from './settings.ts';
import { plainOf, readToml, type TomlNode, TomlProblem, type TomlTable } from './toml.ts';

export function applyFiles(draft: Draft, file: string): void {
  applyFile(draft, file);
  const folder = `${file}.d`;
  try {
    // A point first hides a file, an editor's copy for example.
    const names = readdirSync(folder).filter((name) => name.endsWith('.toml') && !name.startsWith('.'));
    for (const name of names.toSorted()) applyFile(draft, join(folder, name));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return;
    draft.errors.push(`${folder}: cannot be read: ${(error as Error).message}`);
  }
}

/** A relative path in a file is relative to its folder. */
function applyFile(draft: Draft, file: string): void {
  draft.files.push(file);
  let contents: string;
  try {
    contents = readFileSync(file, 'utf8');
  } catch (error) {
    draft.errors.push(`${file}: cannot be read: ${(error as Error).message}`);
    return;
  }
  try {
    applyTable(draft, rootTable, readToml(contents), { file, key: '', base: dirname(resolve(file)) });
  } catch (error) {
    if (!(error instanceof TomlProblem)) throw error;
    draft.errors.push(`${file}:${error.line}:${error.column}: is not TOML: ${error.message}`);
  }
}

interface Position {
  readonly file: string;
  /** Path of the table with indexes, empty at the top. */
  readonly key: string;
  readonly base: string;
}

function applyTable(draft: Draft, table: Table, contents: TomlTable, position: Position): void {
  const { file, base } = position;
  const childKey = (name: string): string => (position.key === '' ? name : `${position.key}.${name}`);
  const lastName = (path: string): string => path.slice(path.lastIndexOf('.') + 1);
  for (const [name, node] of contents.entries) {
    const key = childKey(name);
    const { line } = node;
    const place = `${file}:${line}: ${key}`;
    const setting = table.settings.find(({ path }) => lastName(path) === name);
    const child = table.tables.find(({ path }) => lastName(path) === name);
    if (setting !== undefined)
      assign(draft, setting, { key, raw: plainOf(node), base, source: { kind: 'file', place, file, line } });
    else if (child === undefined) draft.errors.push(`${place}: is unknown; ${nearestKey(table, name)}`);
    else if (child.repeats) applyEntries(draft, child, node, { file, key, base });
    else if (node.kind === 'table') applyTable(draft, child, node, { file, key, base });
    else draft.errors.push(`${place}: is a table, write [${key}]${listElsewhere(node, name)}`);
  }
  for (const { path, required } of table.settings) {
    const name = lastName(path);
    if (required && !contents.entries.has(name))
      draft.errors.push(`${file}:${contents.line}: ${childKey(name)}: is missing`);
  }
}

function applyEntries(draft: Draft, table: Table, node: TomlNode, position: Position): void {
  const { file, key } = position;
  const entries = node.kind === 'array' ? node.items : [];
  const tables = entries.filter((entry) => entry.kind === 'table');
  if (node.kind !== 'array' || tables.length < entries.length) {
    draft.errors.push(`${file}:${node.line}: ${key}: is a table that repeats, write [[${key}]]`);
    return;
  }
  const before = draft.counts.get(key) ?? 0;
  draft.counts.set(key, before + tables.length);
  tables.forEach((entry, index) => {
    applyTable(draft, table, entry, { ...position, key: `${key}[${before + index}]` });
  });
}

/** `, or [[worker.store]]`, where tables were written for one that does not repeat, and another of its name does. */
function listElsewhere(node: TomlNode, name: string): string {
  if (node.kind !== 'array') return '';
  const meant = allTables().find(({ repeats, path }) => repeats && path.endsWith(`.${name}`));
  return meant === undefined ? '' : `, or [[${meant.path}]]`;
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
