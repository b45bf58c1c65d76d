/** Plans while workers come and go, and over workers of an earlier release. */
import { expect, it } from 'vitest';
import { LoadPlanner } from '../../../src/cluster/load-planner.ts';
import { withoutPlans } from '../../../src/cluster/plan-members.ts';
import { defaultJobServiceSettings } from '../../../src/cluster/settings.ts';
import { parseLoadOptions } from '../../../src/core/load-options.ts';
import type { LoadPlan } from '../../../src/core/load-plan.ts';
import { fleetOf } from './fake-fleet.ts';
import { FakeCluster } from './fake-links.ts';
import { FakeOrigins } from './fakes.ts';
import { dir, ManualClock } from './stage.ts';

const never = new AbortController().signal;
const files = 60;
const pages = 6;

function stage(...names: string[]) {
  const cluster = new FakeCluster(...names);
  const origins = new FakeOrigins();
  for (let at = 0; at < files; at += 1) origins.put(`${dir}${at}`, 1000);
  const planner = new LoadPlanner({
    deps: {
      ...{ fleet: fleetOf(cluster), origins, clock: new ManualClock() },
      settings: { ...defaultJobServiceSettings, listingKeys: files / pages },
    },
    history: () => [],
  });
  const plan = (options: Record<string, unknown> = {}): Promise<LoadPlan> => {
    const order = { type: 'LOAD', source: { kind: 'path', path: dir }, key: dir } as const;
    return planner.plan({ ...order, options: parseLoadOptions(options) }, undefined, never);
  };
  return { cluster, origins, plan };
}

/** At this page of the listing, counted over all of them. */
function atPage(origins: FakeOrigins, page: number, act: () => void): void {
  const { before } = origins;
  origins.before = (request, path) => {
    if (request === 'list' && origins.asked.list === page) act();
    return before(request, path);
  };
}

const bytesOf = ({ workers }: LoadPlan) => workers.reduce((sum, { bytes }) => sum + bytes, 0);

it.each([true, false])(
  'is made anew over those that are left when a worker is lost (skipIfExists: %s)',
  async (skipIfExists) => {
    const { cluster, origins, plan } = stage('a', 'b', 'c');
    atPage(origins, 4, () => cluster.lose('b'));
    const planned = await plan({ skipIfExists });
    expect(planned.workers.map(({ id }) => id)).toEqual(['a', 'c']);
    expect([planned.load.files, planned.originBytes, bytesOf(planned)]).toEqual([files, files * 1000, files * 1000]);
    // Of the listing that counted.
    expect([planned.requests.list, planned.listing.files]).toEqual([pages, files]);
    expect(planned.notes).toContainEqual(expect.stringMatching(/Workers were lost \('b'\).*made anew/));
    expect(origins.asked.list).toBeGreaterThan(pages);
  },
);

it('counts one that joins, and says nothing where nobody came or went', async () => {
  const { cluster, origins, plan } = stage('a', 'b');
  expect((await plan()).notes.join()).not.toMatch(/made anew|Workers/);
  expect(origins.asked.list).toBe(pages);
  atPage(origins, pages + 2, () => cluster.join('c'));
  const planned = await plan();
  expect(planned.workers.map(({ id, bytes }) => [id, bytes > 0])).toEqual([
    ['a', true],
    ['b', true],
    ['c', true],
  ]);
  expect(planned.notes).toContainEqual(expect.stringMatching(/^Workers came or went while/));
});

it('is refused as a submission is, when too few workers are left', async () => {
  const { cluster, origins, plan } = stage('a', 'b');
  atPage(origins, 3, () => cluster.lose('b'));
  await expect(plan({ replicas: 2 })).rejects.toMatchObject({ code: 'OPTION_UNSUPPORTED' });
});

it('is given up when workers are lost again and again, and names them', async () => {
  const { cluster, origins, plan } = stage('a', 'b', 'c', 'd', 'e');
  const lostIn = new Set<number>();
  for (const link of cluster.links.values()) {
    const { missing } = link;
    link.missing = (...asked) => {
      const listing = Math.ceil(origins.asked.list / pages);
      if (!lostIn.has(listing)) cluster.lose(link.id);
      lostIn.add(listing);
      return missing.apply(link, asked);
    };
  }
  const given = plan({ skipIfExists: true });
  await expect(given).rejects.toMatchObject({ code: 'WORKER_LOST', facts: { listings: 3 } });
  await expect(given).rejects.toThrow(/each of the 3 times.*Plan again/);
  expect([lostIn.size, cluster.links.size]).toEqual([3, 2]);
  expect(origins.asked.list).toBeLessThanOrEqual(3 * pages);
});

it('answers all the same when one joins whenever it lists, and says what may be off', async () => {
  const { cluster, origins, plan } = stage('a');
  origins.before = (request) => {
    if (request === 'list' && origins.asked.list % pages === 3) cluster.join(`more-${origins.asked.list}`);
  };
  const planned = await plan();
  expect(origins.asked.list).toBe(3 * pages);
  expect([planned.load.files, planned.originBytes]).toEqual([files, files * 1000]);
  expect(planned.notes).toContainEqual(expect.stringMatching(/came or went whenever.*may be off/));
});

it('names every worker that is too old for it, with its release and version', async () => {
  const { cluster, origins, plan } = stage('a', 'b', 'c');
  for (const [id, release] of [
    ['a', '0.1.7'],
    ['c', undefined],
  ] as const)
    cluster.link(id).room = () => Promise.reject(withoutPlans([{ worker: id, protocol: 3, release }]));
  const given = plan();
  await expect(given).rejects.toMatchObject({ code: 'WORKER_REFUSED', facts: { worker: 'a', protocol: 3 } });
  await expect(given).rejects.toThrow(
    /too new for worker 'a' \(primed 0\.1\.7, version 3\) and worker 'c' \(version 3\)\. Upgrade them/,
  );
  // Before the origin was asked for anything.
  expect(origins.asked.list).toBe(0);
});
