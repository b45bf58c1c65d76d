/** The rooms of src/ and who may import whom: one way only. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const sources = resolve(import.meta.dirname, '../../src');

/** Files that lie in src/ itself wire the rooms together, and may import everything. */
const arrows: Readonly<Record<string, readonly string[]>> = {
  core: [],
  platform: ['core'],
  telemetry: ['core'],
  config: ['core'],
  store: ['core', 'platform', 'telemetry'],
  origin: ['core', 'platform', 'telemetry'],
  ingest: ['core', 'platform', 'telemetry', 'store', 'origin'],
  client: ['core'],
  cluster: ['core', 'telemetry', 'client', 'store', 'ingest', 'origin'],
  serving: ['core', 'platform', 'telemetry', 'store', 'server'],
  server: ['core', 'config', 'telemetry', 'store', 'ingest', 'cluster'],
  // Runs in the browser.
  console: ['core'],
  cli: ['core', 'config', 'client'],
  doctor: ['core', 'config', 'client', 'origin', 'platform', 'store'],
  demo: ['core', 'client', 'server', 'config'],
};

interface Import {
  readonly file: string;
  readonly specifier: string;
}

/** Every `import … from`, `export … from`, `import('…')` and bare import of a file, those of types too. */
function importsOf(file: string, text: string): Import[] {
  const found = text.matchAll(/(?:\bfrom\s*|\bimport\s*\(\s*|^\s*import\s+)(['"])([^'"\n]+)\1/gm);
  return [...found].map(([, , specifier]) => ({ file, specifier: specifier! }));
}

function roomOf(file: string): string | undefined {
  const parts = relative(sources, file).split('/');
  return parts.length > 1 ? parts[0] : undefined;
}

/** What is wrong with one import, or undefined. */
function problemWith({ file, specifier }: Import): string | undefined {
  const from = roomOf(file);
  if (!specifier.startsWith('.') || from === undefined) return undefined;
  const target = resolve(dirname(file), specifier);
  const name = relative(sources, file);
  if (relative(sources, target).startsWith('..')) return `${name} reaches out of src/: ${specifier}`;
  const to = roomOf(target);
  if (to === undefined) return `${name} imports ${specifier}, which wires the rooms together`;
  if (to === from || arrows[from]?.includes(to)) return undefined;
  return `${name}: ${from} may not import ${to} (${specifier})`;
}

const files = readdirSync(sources, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
  .map((name) => join(sources, name));
const imports = files.flatMap((file) => importsOf(file, readFileSync(file, 'utf8')));

test('every room has its row in the table', () => {
  const rooms = new Set(files.map(roomOf).filter((room) => room !== undefined));
  expect([...rooms].filter((room) => !(room in arrows))).toEqual([]);
});

test('the arrows of the table go one way', () => {
  const done: string[] = [];
  const rooms = Object.keys(arrows);
  while (done.length < rooms.length) {
    const free = rooms.filter((room) => !done.includes(room) && arrows[room]!.every((other) => done.includes(other)));
    expect(
      free,
      `these rooms import each other in a circle: ${rooms.filter((room) => !done.includes(room))}`,
    ).not.toEqual([]);
    done.push(...free);
  }
});

test('the imports of src/ keep to the table', () => {
  expect(imports.length).toBeGreaterThan(100);
  expect(imports.map(problemWith).filter((problem) => problem !== undefined)).toEqual([]);
});

test('a wrong import of each kind would be found', () => {
  const file = join(sources, 'core', 'x.ts');
  const found = (text: string) => importsOf(file, text).map(problemWith);
  expect(found("import { a } from '../store/types.ts';")).toEqual([
    'core/x.ts: core may not import store (../store/types.ts)',
  ]);
  expect(found('import type {\n  A,\n} from "../store/types.ts";')).toHaveLength(1);
  expect(found("export * from '../cli/run.ts';")).toEqual([expect.stringContaining('may not import cli')]);
  expect(found("const a = await import('../main.ts');")).toEqual([expect.stringContaining('wires the rooms')]);
  expect(found("type A = import('../store/types.ts').Store;")).toEqual([
    expect.stringContaining('may not import store'),
  ]);
  expect(found("import '../../test/x.ts';")).toEqual([expect.stringContaining('reaches out of src/')]);
  expect(found("import { readFileSync } from 'node:fs';\nimport { b } from './errors.ts';")).toEqual([
    undefined,
    undefined,
  ]);
});

test('nobody but a daemon with a collector loads OpenTelemetry', () => {
  const files = readdirSync(sources, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  const withText = files.map((file) => [file, readFileSync(join(sources, file), 'utf8')] as const);
  const importers = (specifier: RegExp): string[] =>
    withText
      .filter(([file, text]) => importsOf(file, text).some((one) => specifier.test(one.specifier)))
      .map(([file]) => file);
  expect(importers(/^@opentelemetry\//)).toEqual(['telemetry/otlp.ts']);
  expect(importers(/\/otlp\.ts$/)).toEqual(['traces.ts']);
  const [, traces] = withText.find(([file]) => file === 'traces.ts')!;
  // Not with the module that imports it, but when it is wanted.
  expect(traces).toContain("await import('./telemetry/otlp.ts')");
  expect(traces).not.toMatch(/from '\.\/telemetry\/otlp\.ts'/);
});
