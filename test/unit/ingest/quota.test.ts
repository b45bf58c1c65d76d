/** A file waits until there is room below the quota of its prefix: what may have changed by then counts. */

import { expect, it } from 'vitest';
import { PrimedError } from '../../../src/core/errors.ts';
import { noTeller } from '../../../src/core/file-events.ts';
import type { FileId, ManifestEntry, UfsPath } from '../../../src/core/types.ts';
import { MiB } from '../../../src/core/units.ts';
import { Files } from '../../../src/ingest/files.ts';
import { Run } from '../../../src/ingest/run.ts';
import type { RunSpec } from '../../../src/ingest/types.ts';
import type { Store } from '../../../src/store/types.ts';
import { openBench } from './bench.ts';

it('a version that takes the place of another during the load has to fit below the quota, too', async () => {
  const prefix = 's3://demo/quota/';
  const bench = await openBench({}, 64 * MiB, { rules: [{ prefix, priority: 0, pinned: false, quotaBytes: 4 * MiB }] });
  try {
    expect(`s3://${bench.origin.bucket}/quota/`, 'where the rule is').toBe(prefix);
    bench.origin.add({ key: 'quota/grows', sizeBytes: 3 * MiB });
    const [entry] = (await bench.list('quota/')) as [ManifestEntry];
    bench.origin.add({ key: 'quota/grows', sizeBytes: 6 * MiB, version: 2 });
    const run = bench.start();
    const outcome = await bench.worker.load(run, entry);
    expect(outcome).toMatchObject({ result: 'failed', error: { code: 'STORE_QUOTA' } });
    expect(bench.store.ledger(run).originBytes, 'none of the new version').toBeLessThan(6 * MiB);
    await bench.worker.endRun(run);
  } finally {
    await bench.close();
  }
});

it('a run that has lost its origin meanwhile asks for nothing of the file', async () => {
  const entry = { path: 's3://b/late' as UfsPath, etag: 'v1', sizeBytes: MiB, lastModifiedMs: 0 };
  let admit: () => void = () => undefined;
  const admitted = new Promise<void>((resolve) => (admit = resolve));
  const whole = [{ offset: 0, length: entry.sizeBytes }];
  const store = {
    beginFile: () => ({ state: 'loading', fileId: 1 as FileId, missing: whole, own: false, ownBytes: 0 }),
    admit: () => admitted,
  } as Partial<Store> as Store;
  let planned = 0;
  const files = new Files({
    ...{ store, partBytes: MiB, maxRestarts: 1 },
    origins: undefined as never,
    log: undefined as never,
    follows: undefined as never,
    onPlanned: () => planned++,
    tell: noTeller,
  });
  const run = new Run({ run: 'run', load: 'run', reuse: 'any', segmentBytes: 64 * MiB } as RunSpec, 0);
  const outcome = files.load(run, { entry, address: { originIndex: 0, key: 'late' }, hasty: false });
  run.lost = new PrimedError('ORIGIN_UNREACHABLE', 'it is gone');
  admit();
  await expect(outcome).rejects.toBe(run.lost);
  expect({ planned, files: run.files.size }).toEqual({ planned: 0, files: 0 });
});
