/** Ids of paths over workers: who does not know one asks the others, and does not say that there is none while one is silent. */
import { afterEach, expect, it } from 'vitest';
import { pathId } from '../../../../src/core/path-id.ts';
import { openReading, type ReadingStage } from './stage.ts';

let stage: ReadingStage | undefined;
afterEach(async () => {
  await stage?.close();
  stage = undefined;
});

const path = 's3://b/ü & +';
const id = pathId(path);

it('asks the others, and keeps what they say', async () => {
  stage = await openReading('w1', 'w2', 'w3');
  const { names, ids } = stage.worker('w1');
  expect(await names.pathOf(id)).toBeUndefined();
  stage.worker('w3').ids.add(path);
  expect(await names.pathOf(id)).toBe(path);
  expect(ids.get(id)).toBe(path);
  const { asked } = stage.worker('w2');
  const before = asked.length;
  expect(await names.pathOf(id)).toBe(path);
  expect([before > 0, asked.length]).toEqual([true, before]);
});

it('does not know while a worker is silent, or has not read all of its paths', async () => {
  stage = await openReading('w1', 'w2', 'w3');
  const { names } = stage.worker('w1');
  stage.worker('w2').ids.whole = false;
  await expect(names.pathOf(id)).rejects.toMatchObject({ code: 'TOO_BUSY' });
  await stage.worker('w2').app.close();
  await expect(names.pathOf(id)).rejects.toMatchObject({ code: 'PEER_FAILED' });
  stage.worker('w3').ids.add(path);
  expect(await names.pathOf(id)).toBe(path);
});

it('takes nobody at his word', async () => {
  stage = await openReading('w1', 'w2');
  const other = stage.worker('w2').ids;
  other.get = () => 's3://b/another';
  expect(await stage.worker('w1').names.pathOf(id)).toBeUndefined();
  expect(await stage.worker('w1').names.pathOf('../../x')).toBeUndefined();
});
