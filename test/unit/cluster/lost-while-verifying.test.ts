/** A worker that is lost takes with it what was verified on it: the job is not over before that is somewhere else. */
import { afterEach, expect, test } from 'vitest';
import { Fleet } from '../../../src/cluster/fleet.ts';
import { openJobService } from '../../../src/cluster/job-service.ts';
import { ringPlacement } from '../../../src/cluster/placement.ts';
import type { WorkerId } from '../../../src/cluster/worker-link.ts';
import { parseLoadOptions } from '../../../src/core/load-options.ts';
import type { ManifestEntry } from '../../../src/core/types.ts';
import { FakeCluster } from './fake-links.ts';
import { entryOf, FakeOrigins, silent } from './fakes.ts';
import { cleanUp, dir, folder, ManualClock } from './stage.ts';

afterEach(cleanUp);

const paths = Array.from({ length: 12 }, (_, at) => `${dir}${String(at).padStart(2, '0')}`);
const whole = (file: ManifestEntry) => ({ file, index: 0, offset: 0, length: file.sizeBytes });

test('files that were verified on a worker that is lost before the last one are loaded and verified again', async () => {
  const cluster = new FakeCluster('a', 'b', 'c');
  const origins = new FakeOrigins();
  for (const path of paths) origins.put(path, 5000);
  const placement = ringPlacement(cluster);
  const last = paths.at(-1)!;
  const victim = placement.owners(paths[0]!, 0, 1)[0]!.id;
  let lost = false;
  for (const link of cluster.links.values()) {
    const verify = link.verify.bind(link);
    link.verify = (run, file, segments) => {
      if (file.path === last && !lost) {
        lost = true;
        cluster.lose(victim);
      }
      return verify(run, file, segments);
    };
  }
  const fleet = new Fleet({ members: cluster, placement, origins, maxRestarts: 1, log: silent });
  const settings = { listingKeys: 4, verifyConcurrency: 1 };
  const jobs = await openJobService({ dir: folder(), fleet, origins, clock: new ManualClock(), log: silent, settings });
  const { jobId } = await jobs.submit({ kind: 'path', path: dir }, parseLoadOptions({ verify: 'true' }));
  const job = await jobs.ended(jobId);
  await jobs.close();

  expect(lost).toBe(true);
  expect(job).toMatchObject({
    state: 'SUCCEEDED',
    totalFiles: 12,
    verifiedFiles: 12,
    verifiedByPages: 12,
    totalBytes: 60_000,
  });
  const left = (['a', 'b', 'c'] as WorkerId[]).filter((id) => id !== victim);
  for (const path of paths) {
    const [holder, ...others] = cluster.holders(whole(entryOf(path, 5000)));
    expect(left).toContain(holder);
    expect(others).toEqual([]);
  }
});
