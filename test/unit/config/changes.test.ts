/** What a running daemon takes of another configuration, and what it leaves to a restart. */
import { expect, test } from 'vitest';
import { changesOf } from '../../../src/config/changes.ts';
import { allTables } from '../../../src/config/settings.ts';

const of = (before: Record<string, string | number>, after: Record<string, string | number>) =>
  changesOf(new Map(Object.entries(before)), new Map(Object.entries(after)));

test('settings are told apart by what their schema says', () => {
  expect(of({ 'log.level': 'info', 'worker.lanes': 1 }, { 'log.level': 'debug', 'worker.lanes': 2 })).toEqual({
    live: ['log.level'],
    restart: ['worker.lanes'],
  });
  expect(of({ 'job.max_active': 4 }, { 'job.max_active': 4 })).toEqual({ live: [], restart: [] });
  expect(of({ 'ufs[0].max_bandwidth': 1 }, { 'ufs[0].max_age': 2 })).toEqual({
    live: ['ufs[0].max_bandwidth', 'ufs[0].max_age'],
    restart: [],
  });
});

test('an origin that comes or goes moves the others, so that all of them wait for a restart', () => {
  const one = { 'ufs[0].prefix': 's3://b', 'ufs[0].max_bandwidth': 1 };
  const two = { 'ufs[0].prefix': 's3://a', 'ufs[1].prefix': 's3://b', 'ufs[1].max_bandwidth': 1 };
  expect(of(one, two).live).toEqual([]);
});

test('tokens and certificates are exchanged, and neither come nor go, without a restart', () => {
  expect(of({ api_token: 'a' }, { api_token: 'b' })).toEqual({ live: ['api_token'], restart: [] });
  expect(of({}, { api_token: 'b' })).toEqual({ live: [], restart: ['api_token'] });
  expect(of({ 'tls.cert_file': 'a' }, {})).toEqual({ live: [], restart: ['tls.cert_file'] });
});

test('the S3 port is not opened by a change that relies on another address', () => {
  const keys = { 's3.key[0].access_key_id': 'k', 's3.key[0].secret_access_key': 's' };
  expect(of(keys, {}).live).toEqual(Object.keys(keys));
  const moved = of({ ...keys, 'worker.s3_listen': '0.0.0.0:1' }, { 'worker.s3_listen': '127.0.0.1:1' });
  expect(moved).toEqual({ live: [], restart: [...Object.keys(keys), 'worker.s3_listen'] });
});

test('a secret that has moved into a file is the same secret', () => {
  expect(of({ api_token: 'a' }, { api_token: 'a', api_token_file: '/f' })).toEqual({ live: [], restart: [] });
});

test('what is live is live in its file as well', () => {
  const inFiles = allTables().flatMap(({ settings }) =>
    settings.flatMap(({ path, leaf }) => {
      const file = settings.find((other) => other.path === `${path}_file`);
      return leaf.secret && leaf.live && file !== undefined ? [[path, leaf.live, file.leaf.live]] : [];
    }),
  );
  expect(inFiles.length).toBeGreaterThan(2);
  for (const [path, live, inFile] of inFiles) expect([path, inFile]).toEqual([path, live]);
});
