/** The file, its drop-ins, and secrets in files of their own. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readConfig } from '../../../src/config/load.ts';
import { allTables } from '../../../src/config/settings.ts';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'primed-files-'));
  file = join(folder, 'primed.toml');
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(contents: Record<string, string>): void {
  for (const [name, text] of Object.entries(contents)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
}

const read = (env: Record<string, string> = {}) =>
  readConfig({ role: 'standalone', flags: { data: folder }, env, file });
const errors = (env?: Record<string, string>) => read(env).errors.map((line) => line.replaceAll(`${folder}/`, ''));

test('drop-ins are read in the order of their names, the last word counts, and it is known where it stands', () => {
  write({
    'primed.toml': '[log]\nlevel = "warn"\n[worker]\nlanes = 1\n',
    'primed.toml.d/20-b.toml': '\n[worker]\nlanes = 3',
    'primed.toml.d/10-a.toml': 'worker.lanes = 2\njob.max_active = 9',
    'primed.toml.d/.hidden.toml': 'no toml',
    'primed.toml.d/notes.txt': 'no toml',
  });
  const { values, sources, files } = read();
  expect(errors()).toEqual([]);
  expect([values.get('worker.lanes'), values.get('job.max_active'), values.get('log.level')]).toEqual([3, 9, 'warn']);
  expect(sources.get('worker.lanes')).toMatchObject({ file: join(folder, 'primed.toml.d/20-b.toml'), line: 3 });
  expect(files).toEqual(
    ['primed.toml', 'primed.toml.d/10-a.toml', 'primed.toml.d/20-b.toml'].map((name) => join(folder, name)),
  );
  expect(read({ PRIMED_WORKER_LANES: '4' }).values.get('worker.lanes')).toBe(4);
});

test('entries of tables that repeat are added to those of the files before, and paths start at their own file', () => {
  write({
    'primed.toml': '[[worker.store]]\ndir = "a"\nsize = "1GB"\n[[ufs]]\nprefix = "s3://one/"',
    'primed.toml.d/x.toml': '[[ufs]]\nprefix = "s3://two/"\n[[worker.store]]\ndir = "b"\nsize = "90%"',
  });
  const { values, counts } = read();
  expect([counts.get('ufs'), counts.get('worker.store')]).toEqual([2, 2]);
  expect([0, 1].map((index) => values.get(`ufs[${index}].prefix`))).toEqual(['s3://one/', 's3://two/']);
  expect(values.get('worker.store[1].dir')).toBe(join(folder, 'primed.toml.d/b'));
  expect(values.get('worker.store[1].size')).toBe('90%');
});

test('errors of all files are listed, each with its line', () => {
  write({
    'primed.toml': 'insecur = true\n[[ufs]]\n',
    'primed.toml.d/1.toml': '[worker]\nlanes = 1\nlanes = 2',
    'primed.toml.d/2.toml': '\n[[ufs]]\nprefix = "gs://x"\n[[ufs]]\nregion = "x"',
  });
  expect(errors()).toEqual([
    'primed.toml:1: insecur: is unknown; did you mean insecure?',
    'primed.toml:2: ufs[0].prefix: is missing',
    'primed.toml.d/1.toml:3:1: is not TOML: Defining a key multiple times is invalid',
    'primed.toml.d/2.toml:4: ufs[2].prefix: is missing',
    'primed.toml.d/2.toml:3: ufs[1].prefix: must be s3://, s3://bucket/… or file:///dir, not "gs://x"',
  ]);
  rmSync(join(folder, 'primed.toml.d'), { recursive: true });
  write({ 'primed.toml': '', 'primed.toml.d': '' });
  expect(errors()).toEqual([expect.stringMatching(/^primed\.toml\.d: cannot be read: ENOTDIR/)]);
});

test('a share of the disk is above 0% and up to 100%', () => {
  const refused = 'must be a size such as "1.5TB", or a share of the disk such as "80%"';
  for (const right of ['80%', '0.5%', '100%', '12.25 %', '1GB', '16777216']) {
    write({ 'primed.toml': `worker.store_size = "${right}"` });
    expect(errors()).toEqual([]);
  }
  for (const wrong of ['0%', '101%', '-1%', '0.0%', '80 percent', '%']) {
    write({ 'primed.toml': `worker.store_size = "${wrong}"` });
    expect(errors()).toEqual([
      `primed.toml:1: worker.store_size: ${refused.replace('must be', 'must be')}, not "${wrong}"`,
    ]);
  }
});

test('a secret lies in a file of its own, with or without a line end, below the folder of credentials where there is one', () => {
  write({
    'primed.toml': 'api_token_file = "token"\n[cluster]\ntoken = "c"',
    token: 'abc\n',
    'credentials/token': 'def',
  });
  expect(read().values.get('api_token')).toBe('abc');
  const { values, sources } = read({ CREDENTIALS_DIRECTORY: join(folder, 'credentials') });
  expect(values.get('api_token')).toBe('def');
  expect(sources.get('api_token')).toMatchObject({ kind: 'file', line: 1 });
  const keys = '[[s3.key]]\naccess_key_id = "key1"\nsecret_access_key_file = "token"';
  write({ 'primed.toml': keys });
  expect(read().values.get('s3.key[0].secret_access_key')).toBe('abc');
});

test('a secret is said once in a layer, and a later layer counts', () => {
  write({ 'primed.toml': 'api_token = "in-file"', token: 'from-file' });
  const file = join(folder, 'token');
  expect(read({ PRIMED_API_TOKEN_FILE: file }).values.get('api_token')).toBe('from-file');
  write({ 'primed.toml': `api_token_file = "${file}"` });
  expect(read({ PRIMED_API_TOKEN: 'x' }).values.get('api_token')).toBe('x');
  write({ 'primed.toml': `api_token_file = "token"\napi_token = "b"` });
  expect(errors()).toEqual([
    'primed.toml:2: api_token: is there together with api_token_file; only one of them is needed',
  ]);
});

test('a secret that cannot be read or meant is one error, and is not shown', () => {
  write({
    'primed.toml':
      'api_token_file = "none"\napi.listen = "0.0.0.0:1"\n[cluster]\ntoken_file = "two words"\n[[s3.key]]\naccess_key_id = "key1"',
    'two words': 'very secret',
  });
  expect(errors()).toEqual([
    expect.stringMatching(/^primed\.toml:1: api_token_file: cannot be read: ENOENT/),
    expect.stringMatching(/^primed\.toml:4: cluster\.token_file: what two words holds /),
    'primed.toml:6: s3.key[0].access_key_id: needs secret_access_key, or secret_access_key_file, beside it',
  ]);
  expect(errors().join()).not.toContain('very');
});

test('what has a default need not be written in a table that repeats either', () => {
  for (const { repeats, settings } of allTables())
    for (const { leaf, required, path } of settings)
      if (repeats && leaf.default !== undefined) expect([path, required]).toEqual([path, false]);
  write({ 'primed.toml': '[[store.rule]]\nprefix = "s3://b/"' });
  expect(errors()).toEqual([]);
});
