/** Bits that turn on an SSD: never served, and put right from wherever the right ones are. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, it } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import { contentAt } from '../../src/demo/origin/content.ts';
import { call, type Json, loaded } from '../support/api.ts';
import { expectContent } from '../support/origin.ts';
import { rot } from '../support/rot.ts';
import { openScene, type Scene } from '../support/scene.ts';

const object = { key: 'data/victim.bin', sizeBytes: 9 * MiB + 4097 };
const path = 's3://demo/data/';

let scene: Scene | undefined;
afterEach(async () => {
  await scene?.close();
  scene = undefined;
});

/** A daemon that has the object, with one bit turned in the fourth page of it. */
async function rotten(env: Record<string, string> = {}): Promise<Scene> {
  scene = await openScene({ origin: { objects: [object] } });
  await loaded(scene.daemon.api, path);
  await scene.daemon.terminate();
  expect(await rot(join(scene.dataDir, 'store'), grainOf(object.key, 3 * MiB))).toBe(1);
  scene.origin.resetStats();
  await scene.restart({ env });
  return scene;
}

/** What lies in a grain of an object. */
function grainOf(key: string, offset: number): Buffer {
  return Buffer.from(contentAt(key, 1, offset, 4096));
}

async function metric({ daemon }: Scene, row: string): Promise<number> {
  const text = await (await fetch(`${daemon.api}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(`${row} `));
  return Number(line?.slice(row.length + 1));
}

async function check({ daemon }: Scene): Promise<Json> {
  return (await call(daemon.api, 'POST', `/api/v1/fs/check?path=${encodeURIComponent(path)}`)).json();
}

it('the reader that meets a bad page gets right bytes, and the page is put right by one request for it', async () => {
  const { daemon, origin } = await rotten();
  const readers = Array.from({ length: 8 }, async () => {
    const answer = await fetch(`${daemon.s3}/demo/${object.key}`);
    expectContent(new Uint8Array(await answer.arrayBuffer()), object);
  });
  await Promise.all(readers);
  expect(daemon.log()).toContain('does not have its checksum');
  const gets = origin.requests.filter(({ operation }) => operation === 'GetObject');
  expect(gets).toMatchObject([{ range: `bytes=${3 * MiB}-${4 * MiB - 1}`, bytesSent: MiB, status: 206 }]);
  expect(gets[0]!.ifMatch).toMatch(/^"\w+"$/);
  expect(await metric(scene!, 'primed_store_repaired_pages_total{source="origin"}')).toBe(1);
  expect(await check(scene!)).toMatchObject({ ok: true, badPageCount: 0 });
  await scene!.daemon.kill();
  await scene!.restart();
  expect(await check(scene!)).toMatchObject({ ok: true, badPageCount: 0 });
});

it('a page whose version is gone everywhere is an error, and never another byte', async () => {
  const { daemon, origin } = await rotten();
  origin.bump({ key: object.key });
  const inside = await fetch(`${daemon.s3}/demo/${object.key}`, {
    headers: { range: `bytes=${3 * MiB}-${3 * MiB + 9}` },
  });
  expect([inside.status, await inside.text()]).toEqual([500, expect.stringContaining('STORE_CORRUPT')]);
  const whole = await fetch(`${daemon.s3}/demo/${object.key}`);
  await expect(whole.arrayBuffer()).rejects.toThrow();
  expect(await metric(scene!, 'primed_store_repaired_pages_total{source="failed"}')).toBe(1);
  expect(daemon.log()).toContain('a bad page could not be replaced');
});

it('the scrub finds it before any reader does', async () => {
  await rotten({ PRIMED_SCRUB_PERIOD: '2s' });
  await expect
    .poll(() => metric(scene!, 'primed_store_repaired_pages_total{source="origin"}'), { timeout: 20_000 })
    .toBe(1);
  await expect.poll(() => metric(scene!, 'primed_scrub_bytes_total'), { timeout: 20_000 }).toBeGreaterThan(2 * MiB);
  expect(await metric(scene!, 'primed_store_checksum_failures_total{reader="scrub"}')).toBe(1);
  expect(await check(scene!)).toMatchObject({ ok: true, badPageCount: 0 });
  await scene!.readBack([object]);
});

it('a daemon that is killed in the middle of a scrub goes on there, and does not begin again', async () => {
  const keys = ['a', 'b', 'c'];
  const objects = keys.map((name) => ({ key: `data/${name}.bin`, sizeBytes: (name === 'b' ? 32 : 1) * MiB }));
  const [a, b, c] = objects.map(({ key }) => `s3://demo/${key}`);
  scene = await openScene({ origin: { objects } });
  await loaded(scene.daemon.api, path);
  await scene.daemon.terminate();
  // A round of about half a minute, of which the first seconds are seen.
  await scene.restart({ env: { PRIMED_SCRUB_PERIOD: '30s' } });
  const place = (): Json => JSON.parse(readFileSync(join(scene!.dataDir, 'scrub.json'), 'utf8'));
  await expect
    .poll(() => place().after === a && place().inside?.endBytes >= MiB, { timeout: 30_000, interval: 20 })
    .toBe(true);
  await scene.daemon.kill();
  const killedAt = place();
  expect(killedAt.inside.endBytes, 'in the middle').toBeLessThan(24 * MiB);
  expect(scene.daemon.log()).not.toContain('everything that is cached was read again');

  // Bits turn in what was read, the same file included, and in what was not.
  const store = join(scene.dataDir, 'store');
  for (const { key } of objects) expect(await rot(store, grainOf(key, 0)), key).toBe(1);
  expect(await rot(store, grainOf(objects[1]!.key, 28 * MiB))).toBe(1);
  await scene.restart({ env: { PRIMED_SCRUB_PERIOD: '3s' } });
  const said = (): Json[] =>
    scene!.daemon
      .log()
      .split('\n')
      .filter((line) => /a bad page was replaced|everything that is cached was read again/.test(line))
      .map((line) => JSON.parse(line));
  await expect.poll(() => said().length, { timeout: 30_000 }).toBeGreaterThanOrEqual(5);
  expect(
    said()
      .slice(0, 5)
      .map(({ path, page, checkedBytes }) => [path ?? checkedBytes, page]),
  ).toEqual([
    [b, 28],
    [c, 0],
    [34 * MiB, undefined],
    [a, 0],
    [b, 0],
  ]);
});
