/** TOML with the line of everything in it, so that whoever finds a mistake can say where it is. */
import { type AST, getStaticTOMLValue, ParseError, parseTOML } from 'toml-eslint-parser';

export interface TomlTable {
  readonly kind: 'table';
  /** From 1: of its head, of its brace, or of the first key that names it. */
  readonly line: number;
  readonly entries: Map<string, TomlNode>;
}

export interface TomlArray {
  readonly kind: 'array';
  readonly line: number;
  readonly items: TomlNode[];
}

export interface TomlValue {
  readonly kind: 'value';
  /** Of its key. */
  readonly line: number;
  readonly value: string | number | boolean | Date;
}

export type TomlNode = TomlTable | TomlArray | TomlValue;

/** A text that is not TOML. A key that is there twice is not. */
export class TomlProblem extends Error {
  readonly line: number;
  readonly column: number;

  constructor({ message, index, lineNumber, column }: ParseError, text: string) {
    super(message);
    // A value that is missing is noticed where the next line begins.
    const before = text.slice(0, index).trimEnd();
    const missing = before.endsWith('=') && text.slice(before.length, index).includes('\n');
    this.line = missing ? before.split('\n').length : lineNumber;
    this.column = missing ? before.length - before.lastIndexOf('\n') : column + 1;
  }
}

/** Throws TomlProblem. */
export function readToml(text: string): TomlTable {
  const program = parse(text.replace(/^\uFEFF/, ''));
  const root = emptyTable(1);
  const [top] = program.body;
  for (const child of top.body) {
    if (child.type === 'TOMLKeyValue') {
      addPair(root, child);
      continue;
    }
    const table = tableAt(root, child.key.keys.map(nameOf), { line: lineOf(child), isArray: child.kind === 'array' });
    for (const pair of child.body) addPair(table, pair);
  }
  return root;
}

function parse(text: string): AST.TOMLProgram {
  try {
    return parseTOML(text);
  } catch (error) {
    throw error instanceof ParseError ? new TomlProblem(error, text) : error;
  }
}

/** Of a head: tables on the way are made, an array on the way means its last entry, `[[…]]` adds one. */
function tableAt(root: TomlTable, names: readonly string[], head: { line: number; isArray: boolean }): TomlTable {
  const { line, isArray } = head;
  let table = root;
  for (const name of names.slice(0, -1)) table = stepInto(table, name, line);
  const last = names.at(-1)!;
  if (!isArray) return stepInto(table, last, line);
  let array = table.entries.get(last);
  if (array === undefined) {
    array = { kind: 'array', line, items: [] };
    table.entries.set(last, array);
  }
  const entry = emptyTable(line);
  (array as TomlArray).items.push(entry);
  return entry;
}

/** The parser has seen to it that what is there is a table, or an array of some. */
function stepInto(table: TomlTable, name: string, line: number): TomlTable {
  const there = table.entries.get(name);
  if (there?.kind === 'array') return there.items.at(-1) as TomlTable;
  if (there !== undefined) return there as TomlTable;
  const made = emptyTable(line);
  table.entries.set(name, made);
  return made;
}

function addPair(table: TomlTable, pair: AST.TOMLKeyValue): void {
  const line = lineOf(pair);
  const names = pair.key.keys.map(nameOf);
  let parent = table;
  for (const name of names.slice(0, -1)) parent = stepInto(parent, name, line);
  parent.entries.set(names.at(-1)!, nodeOf(pair.value, line));
}

function nodeOf(content: AST.TOMLContentNode, line: number): TomlNode {
  switch (content.type) {
    case 'TOMLArray':
      return { kind: 'array', line, items: content.elements.map((element) => nodeOf(element, lineOf(element))) };
    case 'TOMLInlineTable': {
      const table = emptyTable(line);
      for (const pair of content.body) addPair(table, pair);
      return table;
    }
    default:
      return { kind: 'value', line, value: content.value };
  }
}

function emptyTable(line: number): TomlTable {
  return { kind: 'table', line, entries: new Map() };
}

function nameOf(key: AST.TOMLBare | AST.TOMLQuoted): string {
  return getStaticTOMLValue(key);
}

function lineOf(node: AST.TOMLNode): number {
  return node.loc.start.line;
}

/** As TOML's values are in JSON, for a message. */
export function plainOf(node: TomlNode): unknown {
  switch (node.kind) {
    case 'value':
      return node.value;
    case 'array':
      return node.items.map(plainOf);
    case 'table':
      return Object.fromEntries([...node.entries].map(([name, child]) => [name, plainOf(child)]));
  }
}
