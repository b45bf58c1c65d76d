/** `[store]`: rules by prefix, and what is refused of them. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { GiB } from '../../../src/core/units.ts';
import { loadConfig } from '../../support/config.ts';

const folder = mkdtempSync(join(tmpdir(), 'primed-retention-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function load(contents: string) {
  const file = join(folder, 'primed.toml');
  writeFileSync(file, contents);
  return loadConfig({ role: 'standalone', env: {}, flags: { data: folder }, file });
}

test('rules say what a prefix is worth; without them what was not used for longest goes', () => {
  expect(load('').store).toEqual({ eviction: 'lru', rules: [], removedLimitMs: 1_800_000 });
  const rules = [
    '[[store.rule]]\nprefix = "s3://models/"\npriority = 10',
    '[[store.rule]]\nprefix = "file:///nas/"\nttl = "1d"\nquota = "2GB"',
    '[[store.rule]]\nprefix = "s3://models/base/"\npinned = true',
  ];
  expect(load(`[store]\neviction = "none"\n${rules.join('\n')}`).store).toEqual({
    eviction: 'none',
    removedLimitMs: 1_800_000,
    rules: [
      { prefix: 's3://models/', priority: 10, pinned: false },
      { prefix: 'file:///nas/', priority: 0, pinned: false, ttlMs: 86_400_000, quotaBytes: 2 * GiB },
      { prefix: 's3://models/base/', priority: 0, pinned: true },
    ],
  });
});

test.each([
  ['eviction = "fifo"', /store\.eviction: .*lru.*none/],
  ['[[store.rule]]\npriority = 1', /store\.rule\[0\]\.prefix/],
  ['[[store.rule]]\nprefix = "models/"', /store\.rule\[0\]\.prefix: must begin with s3:\/\/bucket or file:\/\/\/dir/],
  [
    '[[store.rule]]\nprefix = "s3://a"\n[[store.rule]]\nprefix = "s3://a"',
    /rule\[1\].*is the prefix of store\.rule\[0\] as well/,
  ],
  ['[[store.rule]]\nprefix = "s3://a"\npinned = true\nttl = "1d"', /ttl: is of no use with pinned = true/],
  ['[[store.rule]]\nprefix = "s3://a"\npriority = 5000', /priority.*1000/],
  ['[[store.rule]]\nprefix = "s3://a"\nquota = "much"', /quota/],
])('%s is refused by name', (contents, reason) => {
  expect(() => load(`[store]\n${contents}`)).toThrow(reason);
});
