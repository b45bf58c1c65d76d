/** A row of the catalogue is a promise of a name: some test provokes it and looks at the name. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { errorCatalogue } from '../../src/core/errors.ts';
import { projectRoot } from '../support/files.ts';

const filesBelow = (folder: string): string[] =>
  readdirSync(join(projectRoot, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name));
const textOf = (files: readonly string[]): string => files.map((file) => readFileSync(file, 'utf8')).join('\n');
const codes = Object.keys(errorCatalogue);
const absentFrom = (text: string): string[] => codes.filter((code) => !new RegExp(`\\b${code}\\b`).test(text));

test('every code stands in a test', () => {
  const tests = filesBelow('test').filter((file) => file.endsWith('.test.ts') && !file.endsWith('unit/errors.test.ts'));
  expect(tests.length).toBeGreaterThan(50);
  expect(absentFrom(textOf(tests))).toEqual([]);
});

test('every code is used by the product', () => {
  const sources = filesBelow('src').filter((file) => !file.endsWith('core/errors.ts'));
  expect(absentFrom(textOf(sources))).toEqual([]);
});
