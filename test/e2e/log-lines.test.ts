/** How much the log says when everything fails: lines are counted in runs with faults. */
import { afterEach, expect, it } from 'vitest';
import { ended, type Json, submit } from '../support/api.ts';
import { openScene, type Scene } from '../support/scene.ts';

let scene: Scene | undefined;
afterEach(async () => {
  await scene?.close();
  scene = undefined;
});

const refused = 1000;
/** Each is begun anew three times, with a line, and then given up. */
const changed = 40;
const restarts = 3;

it('an origin that refuses every file, or has another each time, is a handful of lines, with how many there would be', async () => {
  const keys = (dir: string, count: number) =>
    Array.from({ length: count }, (_, index) => ({ key: `${dir}/${index}.bin`, sizeBytes: 100 }));
  const objects = [...keys('refused', refused), ...keys('changed', changed)];
  scene = await openScene({ origin: { objects }, daemon: { env: { PRIMED_READING_READ_THROUGH: 'always' } } });
  const { daemon, origin } = scene;
  const before = daemon.log().split('\n').length - 1;
  const fails = async (dir: string, status: number): Promise<{ jobId: string; fired: number }> => {
    const fault = origin.setFault({ operation: 'GetObject', fault: { kind: 'status', status } });
    const { jobId } = (await submit(daemon.api, `s3://demo/${dir}/`)).json();
    expect((await ended(daemon.api, `s3://demo/${dir}/`)).mJobState).toBe('FAILED');
    return { jobId, fired: origin.fired(fault) };
  };
  const first = await fails('refused', 403);
  expect(first.fired).toBe(refused);
  for (let index = 0; index < 40; index += 1)
    expect((await fetch(`${daemon.s3}/demo/refused/${index}.bin`)).status).toBeGreaterThanOrEqual(400);
  origin.clearFaults();
  const second = await fails('changed', 412);
  expect(second.fired).toBe(changed * (1 + restarts));
  expect((await daemon.terminate()).code).toBe(0);
  const lines: Json[] = daemon
    .log()
    .split('\n')
    .slice(before)
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
  expect(lines.length).toBeLessThanOrEqual(60);
  // Every one of the others is accounted for.
  const anew = lines.filter(({ msg }) => msg === 'the object changed at the origin: loading it anew');
  expect(anew.length + anew.reduce((sum, { leftOut = 0 }) => sum + leftOut, 0)).toBe(changed * restarts);
  expect(anew.every(({ jobId }) => jobId === second.jobId)).toBe(true);
  const ends = (dir: string, jobId: string, failed: number, code: string) => [
    { msg: 'the job runs', level: 'info', jobId, path: `s3://demo/${dir}/` },
    {
      ...{ msg: 'the job has ended', level: 'warn', jobId, state: 'FAILED' },
      ...{ files: { loaded: 0, failed }, firstFailure: { code, path: expect.stringContaining(`s3://demo/${dir}/`) } },
    },
  ];
  expect(lines.filter(({ event }) => event === 'job')).toMatchObject([
    ...ends('refused', first.jobId, refused, 'ORIGIN_DENIED'),
    ...ends('changed', second.jobId, changed, 'ORIGIN_CHANGED'),
  ]);
}, 120_000);
