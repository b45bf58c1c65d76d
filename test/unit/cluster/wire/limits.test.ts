/** Limits of origins over the control link: down what a worker may do, up what it would do. */
import { afterEach, expect, test } from 'vitest';
import { makeLimit, type OriginLimit } from '../../../../src/core/origin-limits.ts';
import { until, WireStage } from './stage.ts';

let stage: WireStage;
afterEach(() => stage.close());

const limitOf = (bytesPerSecond: number): OriginLimit[] => [makeLimit('s3://data/', { bytesPerSecond })];
const told = (): unknown => stage.worker.calls.filter(([method]) => method === 'setOriginLimits').at(-1)?.[1];

test('demand is told when it changes, also over a new connection, and the last limits are told again', async () => {
  stage = await new WireStage().open();
  const link = stage.link();
  await link.setOriginLimits(limitOf(5));
  expect(told()).toEqual(limitOf(5));
  let heard = 0;
  link.onOriginDemand(() => {
    heard += 1;
  });
  stage.worker.demand = [makeLimit('s3://data/', { bytesPerSecond: Number.POSITIVE_INFINITY })];
  for (const listener of stage.worker.demandListeners) listener();
  await until(() => heard === 1);
  expect(link.originDemand()).toEqual(stage.worker.demand);
  stage.proxy.cut();
  await until(() => stage.worker.count('setOriginLimits') === 2 && heard >= 2);
  expect(told()).toEqual(limitOf(5));
});

test('a worker keeps to the least of what several coordinators say, and to the last word of one that is gone', async () => {
  stage = await new WireStage().open();
  stage.leaseMs = 30;
  const [first, second] = [stage.link(), stage.link({ coordinator: 'coordinator-2' })];
  await first.setOriginLimits(limitOf(5));
  await second.setOriginLimits(limitOf(7));
  expect(told()).toEqual(limitOf(5));
  first.lost();
  await until(() => stage.worker.count('setOriginLimits') === 3);
  expect(told()).toEqual(limitOf(7));
  second.lost();
  await until(() => stage.workerLog.having('is down').length === 2);
  expect(told()).toEqual(limitOf(7));
});

test('what a coordinator that is gone for longer than its lease has said is forgotten as soon as another one speaks', async () => {
  stage = await new WireStage().open();
  stage.leaseMs = 30;
  const gone = await stage.begun();
  await gone.setOriginLimits(limitOf(0));
  gone.lost();
  await until(() => stage.workerLog.having('away for longer than the lease').length === 1);
  const next = stage.link({ coordinator: 'coordinator-2' });
  await next.setOriginLimits(limitOf(7));
  expect(told()).toEqual(limitOf(7));
});
