/** What a run counts on is not evicted before it ends; what it would load anew may be. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { LoadId, ManifestEntry } from '../../../src/core/types.ts';
import { MiB } from '../../../src/core/units.ts';
import { type Bench, openBench } from './bench.ts';

let bench: Bench;
let entry: ManifestEntry;
beforeAll(async () => {
  bench = await openBench({}, 64 * MiB);
  bench.origin.add({ key: 'held/object', sizeBytes: 3 * MiB });
  [entry] = (await bench.list('held/')) as [ManifestEntry];
  const run = bench.start();
  await bench.worker.load(run, entry);
  await bench.worker.endRun(run);
});
afterAll(() => bench?.close());

it.each([
  ['any', 3 * MiB],
  ['load', 0],
] as const)('a run that reuses %s holds %i bytes of what another load has loaded', async (reuse, heldBytes) => {
  const load = `load-${reuse}` as LoadId;
  const run = bench.start({ reuse, load });
  expect(bench.worker.cached({ run, load }, entry)).toMatchObject({ complete: true, ours: false });
  expect(bench.store.usage()).toMatchObject({ heldBytes, evictableBytes: 3 * MiB - heldBytes });
  await bench.worker.endRun(run);
  expect(bench.store.usage()).toMatchObject({ heldBytes: 0, evictableBytes: 3 * MiB });
});
