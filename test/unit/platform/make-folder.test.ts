import { statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { makeFolder } from '../../../src/platform/folder.ts';
import { temporaryFolder } from '../../support/files.ts';

it('a folder is made with those above it, and again without complaint', () => {
  const base = temporaryFolder('folders');
  const path = join(base.path, 'a', 'b', 'c');
  makeFolder(path);
  makeFolder(path);
  expect(statSync(path).isDirectory()).toBe(true);
  base.remove();
});

it('a folder that cannot be made is named, and nothing hangs', () => {
  expect(() => makeFolder('/proc/primed/data')).toThrow(/\/proc\/primed cannot be made: ENOENT.*another folder/);
});
