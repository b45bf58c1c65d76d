/** What an index has named: kept with the job, by pass, over restarts, and gone with its manifest. */
import { afterEach, expect, it } from 'vitest';
import type { JobRecord } from '../../../src/cluster/job-store.ts';
import { JobStore } from '../../../src/cluster/job-store.ts';
import { SeenPaths } from '../../../src/cluster/seen-paths.ts';
import { entryOf } from './fakes.ts';
import { cleanUp, folder } from './stage.ts';

afterEach(cleanUp);

const record = (number: number) => ({ definition: { number } }) as JobRecord;
const named = (...paths: string[]) => ({ entries: paths.map((path) => entryOf(path, 1)), refused: [] });
const pathsOf = ({ entries }: { entries: readonly { path: string }[] }) => entries.map(({ path }) => path);

it('a path is named once a pass and job, whether it is on its way to the store, in it, or was before a restart', async () => {
  const dir = folder();
  let store = new JobStore(dir);
  const seen = new SeenPaths(store, 7, 'load');
  const first = seen.take(named('s3://b/a', 's3://b/b', 's3://b/a'));
  expect(pathsOf(first)).toEqual(['s3://b/a', 's3://b/b']);
  expect(pathsOf(seen.take(named('s3://b/b', 's3://b/c')))).toEqual(['s3://b/c']);
  await store.saveJob(record(7), first.keys);
  seen.stored(first.keys);
  expect(pathsOf(seen.take(named('s3://b/a')))).toEqual([]);
  await store.close();
  store = new JobStore(dir);
  // what was not stored before the restart is named for the first time again
  expect(pathsOf(new SeenPaths(store, 7, 'load').take(named('s3://b/a', 's3://b/c')))).toEqual(['s3://b/c']);
  expect(pathsOf(new SeenPaths(store, 7, 'verify 0').take(named('s3://b/a')))).toEqual(['s3://b/a']);
  expect(pathsOf(new SeenPaths(store, 8, 'load').take(named('s3://b/a')))).toEqual(['s3://b/a']);
  await store.close();
});

it('it goes with the manifest of its job, and no other', async () => {
  const store = new JobStore(folder());
  for (const number of [6, 7, 8]) {
    const seen = new SeenPaths(store, number, number === 8 ? 'verify 0' : 'load');
    await store.saveJob(record(number), seen.take(named('s3://b/a', 's3://b/b')).keys);
  }
  expect(store.manifests()).toEqual([6, 7, 8]);
  await store.dropManifest(7);
  expect(store.manifests().sort()).toEqual([6, 8]);
  await store.close();
});
