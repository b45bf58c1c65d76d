/** A plan says exactly what the load then does: requests as the origin counted them, bytes as the ledger has them. */
import { afterEach, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import type { EmbeddedOrigin } from '../../src/demo/origin/api.ts';
import { call, ended, type Json, submitRaw } from '../support/api.ts';
import { type Cluster, openCluster } from '../support/cluster.ts';

const many = Array.from({ length: 300 }, (_, at) => ({ key: `many/${at}.bin`, sizeBytes: 16 * KiB + at }));
const mixed = [
  { key: 'mixed/empty.bin', sizeBytes: 0 },
  { key: 'mixed/one.bin', sizeBytes: 1 },
  { key: 'mixed/part.bin', sizeBytes: 8 * MiB },
  { key: 'mixed/odd.bin', sizeBytes: 9 * MiB + 4097 },
  { key: 'mixed/cut.bin', sizeBytes: 33 * MiB + 12_345 },
  { key: 'mixed/sub/deep.txt', sizeBytes: 70_000 },
];

let cluster: Cluster;
afterEach(() => cluster?.close());

/** What the origin was asked for, by kind. */
function asked(origin: EmbeddedOrigin): Json {
  const counts = { list: 0, head: 0, rangedGet: 0, wholeGet: 0 };
  for (const { operation, range } of origin.requestLog()) {
    if (operation === 'ListObjectsV2') counts.list += 1;
    else if (operation === 'HeadObject') counts.head += 1;
    else if (operation === 'GetObject') counts[range === undefined ? 'wholeGet' : 'rangedGet'] += 1;
    else throw new Error(`nobody should ask for ${operation}`);
  }
  return counts;
}

type Target = { path: string } | { indexFile: string };
const nameOf = (target: Target): string => ('path' in target ? target.path : target.indexFile);

async function planned(target: Target, options: object): Promise<Json> {
  const answer = await call(cluster.coordinator.api, 'POST', '/api/v1/master/plan_job/load', { ...target, options });
  if (answer.status !== 200) throw new Error(answer.text);
  return answer.json();
}

/** Plans, then loads, and compares. */
async function hold(target: Target, options: object = {}): Promise<{ plan: Json; report: Json }> {
  const { origin, coordinator } = cluster;
  origin.resetStats();
  const plan = await planned(target, options);
  // It has listed, and read nothing of what is listed (a HEAD that is refused has a GET of one byte behind it, which is, too).
  const read = origin.requestLog().filter(({ operation, status }) => operation === 'GetObject' && status < 400);
  expect(read.map(({ key }) => `s3://demo/${key}`)).toEqual('indexFile' in target ? [target.indexFile] : []);
  origin.resetStats();
  const submitted = await submitRaw(coordinator.api, { ...target, options });
  expect(submitted.status, submitted.text).toBe(200);
  const report = await ended(coordinator.api, nameOf(target));
  expect(report.mJobState, JSON.stringify(report)).toBe('SUCCEEDED');
  const { total, copies, ...requests } = plan.requests;
  expect(requests).toEqual(asked(origin));
  expect(total).toBe(origin.stats().requests);
  expect(plan.originBytes).toBe(report.ledger.originBytes);
  expect(plan.copiedBytes).toBe(report.ledger.peerBytes);
  expect(plan.copiedBytes > 0).toBe(copies > 0);
  expect(plan.load).toEqual({ files: report.loadedFiles, bytes: report.mLoadedByteCount });
  expect(plan.cached).toEqual({ files: report.skippedFiles, bytes: report.mSkippedByteCount });
  expect(plan.listing.scannedFiles).toBe(report.scannedFiles);
  expect(plan.workers.reduce((sum: number, { bytes }: Json) => sum + bytes, 0)).toBe(report.ledger.cachedBytes);
  return { plan, report };
}

it('of many small files, of files that are cut, copied, verified, changed and filtered, and of an index', {
  timeout: 120_000,
}, async () => {
  cluster = await openCluster({ origin: { objects: [...many, ...mixed] }, workers: ['w1', 'w2', 'w3'] });
  const { plan: first } = await hold({ path: 's3://demo/many/' });
  expect(first.load.files).toBe(many.length);
  const { plan: again } = await hold({ path: 's3://demo/many/' }, { skipIfExists: true });
  expect(again.load).toEqual({ files: 0, bytes: 0 });
  const { plan: copied } = await hold({ path: 's3://demo/many/' }, { replicas: 2, skipIfExists: true });
  expect(copied.requests.copies).toBe(many.length);

  await hold({ path: 's3://demo/mixed' }, { replicas: 2, verify: true });
  cluster.origin.bump({ key: 'mixed/cut.bin' });
  await hold({ path: 's3://demo/mixed/' }, { replicas: 2, verify: true, skipIfExists: true });
  await hold({ path: 's3://demo/mixed/' }, { fileFilterRegx: '.*\\.txt' });
  await hold({ path: 's3://demo/mixed/cut.bin' }, { replicas: 3, segmentSize: '12MB' });
  // One segment, in several requests.
  const { plan: parts } = await hold({ path: 's3://demo/mixed/odd.bin' }, { segmentSize: '64MB' });
  expect(parts.requests).toMatchObject({ rangedGet: 2, wholeGet: 0 });
  await hold({ path: 's3://demo/mixed/' }, { loadMetadataOnly: true, verify: true });

  // An index that names a file twice, a directory, and one file that the directory has as well.
  const lines = [...many.slice(0, 100), ...mixed.slice(0, 3), mixed[0]!].map(({ key }) => `s3://demo/${key}`);
  cluster.origin.put({ key: 'lists/index.txt', body: [...lines, 's3://demo/mixed/sub/'].join('\n') });
  const { plan: named } = await hold({ indexFile: 's3://demo/lists/index.txt' }, { partialListing: true });
  expect(named.listing.files).toBe(104);

  // Its lease still holds, so it is asked, and waited for until it is known to be lost.
  await cluster.kill('w3');
  const left = await planned({ path: 's3://demo/many/' }, { skipIfExists: true });
  expect(left.workers.map(({ id }: Json) => id)).toEqual(['w1', 'w2']);
  expect(left.listing.files).toBe(many.length);
  expect(left.notes).toContainEqual(expect.stringContaining("Workers were lost ('w3') while the plan was made"));
});
