/** What limits a load, asked of the real daemons while one resource is slow, and nothing else: the answer must name it. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type LimitStage, limitCases, openLimitStage, runLimitCase } from '../../bench/support/limit-cases.ts';
import { openWorkspace, type Workspace } from '../../bench/support/workspace.ts';
import { call, ended, list, progress, submit } from '../support/api.ts';

let workspace: Workspace;
let stage: LimitStage;
beforeAll(async () => {
  workspace = openWorkspace();
  stage = await openLimitStage(workspace);
}, 60_000);
afterAll(() => workspace.close());

it.each(limitCases.map((one) => [one.name, one] as const))('%s', async (name, limitCase) => {
  const more = { name: name.replaceAll(' ', '-'), objects: 1, slower: 1 };
  const { limits, slowed } = await runLimitCase(stage, limitCase, more);
  expect(slowed).toBeGreaterThan(0);
  expect(limits?.[0], JSON.stringify(limits)).toMatchObject({ cause: limitCase.cause });
});

it('says it while the load runs: in its progress, its row, its text, and the metrics of the workers', async () => {
  const { origin, coordinator, workers } = stage.cluster;
  await origin.setFault({ fault: { kind: 'latency', delayMs: 400 } });
  for (let n = 0; n < 64; n += 1) await origin.add({ key: `live/${n}`, sizeBytes: 1024 });
  await submit(coordinator.api, 's3://demo/live/');
  const first = async (): Promise<unknown> =>
    (await progress(coordinator.api, 's3://demo/live/')).json().limitedBy?.[0];
  await expect.poll(first, { timeout: 30_000, interval: 20 }).toMatchObject({ cause: 'origin-first-byte' });
  const [row] = (await list(coordinator.api, '&job-state=ACTIVE')).json();
  expect(row.limitedBy[0]).toMatchObject({ cause: 'origin-first-byte' });
  const text = await progress(coordinator.api, 's3://demo/live/', 'TEXT');
  expect(text.text).toMatch(/^\tLimited by: origin first byte \(\d+%\)$/m);
  await origin.clearFaults();
  await ended(coordinator.api, 's3://demo/live/');
  const metrics = await Promise.all(
    [...workers.values()].map(async ({ api }) => (await call(api, 'GET', '/metrics')).text),
  );
  for (const text of metrics)
    expect(text).toMatch(/^primed_load_limited_seconds_total\{cause="origin-first-byte"\} [\d.]+$/m);
});
