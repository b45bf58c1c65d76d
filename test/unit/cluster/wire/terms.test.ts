/** Which coordinator a worker obeys, when more than one thinks that a run is its own. */
import { afterEach, expect, test } from 'vitest';
import type { UfsPath } from '../../../../src/core/types.ts';
import { alert, codeOf, how, run, segmentAt, spec, until, WireStage } from './stage.ts';

let stage: WireStage;
afterEach(() => stage.close());

const under = (term: number) => ({ ...spec, term });

test('a higher term takes the run over: what the one before had under way is dropped, and it is asked for nothing more', async () => {
  stage = await new WireStage().open();
  const [old, young] = [stage.link({ coordinator: 'old' }), stage.link({ coordinator: 'young' })];
  await old.startRun(under(5));
  await old.reserveMore(run, 10);
  const load = old.load(run, segmentAt(1), how);
  await until(() => stage.worker.loads.length === 1);
  await young.startRun(under(9));
  expect((await load).result).toBe('stopped');
  expect(stage.worker.calls.map(([method]) => method)).toEqual([
    'startRun',
    'reserveMore',
    'stopRun',
    'endRun',
    'startRun',
  ]);
  expect(await codeOf(old.load(run, segmentAt(2), how))).toMatch(/^RUN_UNKNOWN/);
  expect(await codeOf(old.reserveMore(run, 1))).toMatch(/^RUN_UNKNOWN/);
  await old.stopRun(run);
  await old.endRun(run);
  expect([stage.worker.count('stopRun'), stage.worker.count('endRun')]).toEqual([1, 1]);
  const again = young.load(run, segmentAt(2), how);
  await until(() => stage.worker.loads.length === 2);
  stage.worker.loads[1]!.resolve();
  expect((await again).result).toBe('loaded');
});

test('a lower term is refused with both, also after the run has ended, and nothing is done for it', async () => {
  stage = await new WireStage().open();
  const [old, young] = [stage.link({ coordinator: 'old' }), stage.link({ coordinator: 'young' })];
  await young.startRun(under(9));
  expect(await codeOf(old.startRun(under(5)))).toMatch(/^RUN_SUPERSEDED: Run run-1 .* claim 9 .*'worker-1'.* claim 5/);
  expect(await codeOf(old.startRun(spec))).toMatch(/^RUN_SUPERSEDED/);
  const load = young.load(run, segmentAt(1), how);
  await until(() => stage.worker.loads.length === 1);
  stage.worker.loads[0]!.resolve();
  expect((await load).result).toBe('loaded');
  await young.endRun(run);
  expect(await codeOf(old.startRun(under(8)))).toMatch(/^RUN_SUPERSEDED/);
  expect(stage.worker.count('startRun')).toBe(1);
});

test('a coordinator that comes back late does not get its run by beginning it again with its connection', async () => {
  stage = await new WireStage().open({ timing: alert });
  const old = stage.link({ coordinator: 'old', timing: alert });
  await old.startRun(under(5));
  stage.proxy.refusing = true;
  stage.proxy.cut();
  await until(() => stage.workerLog.having('is down').length === 1);
  const direct = stage.link({ coordinator: 'young', url: `http://127.0.0.1:${stage.port}` });
  await direct.startRun(under(9));
  const load = old.load(run, segmentAt(1), how);
  stage.proxy.refusing = false;
  expect(await codeOf(load)).toMatch(/^RUN_UNKNOWN/);
  await until(() => stage.workerLog.having('a run could not be begun again').length === 1);
  expect(stage.workerLog.having('a run could not be begun again')[0]!.facts.error).toMatch(/claim 9/);
  expect(stage.worker.loads).toEqual([]);
  const mine = direct.load(run, segmentAt(2), how);
  await until(() => stage.worker.loads.length === 1);
  stage.worker.loads[0]!.resolve();
  expect((await mine).result).toBe('loaded');
});

test('a coordinator that claims its own run anew begins it anew: nothing of the time before is reserved or stopped', async () => {
  stage = await new WireStage().open();
  const link = stage.link();
  await link.startRun(under(5));
  await link.reserveMore(run, 10);
  await link.stopRun(run);
  await link.startRun(under(9));
  await link.reserveMore(run, 3);
  expect(stage.worker.reserved.get(run)).toBe(3);
  expect(stage.worker.count('endRun')).toBe(1);
  stage.proxy.cut();
  await until(() => stage.proxy.connections === 2);
  const load = link.load(run, segmentAt(1), how);
  await until(() => stage.worker.loads.length === 1);
  stage.worker.loads[0]!.resolve();
  expect((await load).result).toBe('loaded');
  expect(stage.worker.count('stopRun')).toBe(2);
});

test('what is freed for a run is freed under its newest term only', async () => {
  stage = await new WireStage().open();
  const [old, young] = [stage.link({ coordinator: 'old' }), stage.link({ coordinator: 'young' })];
  const order = { path: 's3://bucket/dir/' as UfsPath, stopLoads: true };
  await old.free(order, { run, term: 5 });
  await young.free(order, { run, term: 9 });
  expect(await codeOf(old.free(order, { run, term: 5 }))).toMatch(/^RUN_SUPERSEDED: .*claim 9 .*claim 5/);
  expect(stage.worker.count('free')).toBe(2);
});
