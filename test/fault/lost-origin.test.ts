/** An origin that answers no more ends the load soon, by name, whatever the number of files; what is durable stays. */
import { afterEach, expect, it } from 'vitest';
import { KiB } from '../../src/core/units.ts';
import type { EmbeddedOrigin } from '../../src/demo/origin/api.ts';
import { ended, loaded, progress, submit } from '../support/api.ts';
import { startTestOrigin } from '../support/origin.ts';
import { openScene, type Scene } from '../support/scene.ts';

const files = 3000;
const sizeBytes = 20 * KiB;
const objects = Array.from({ length: files }, (_, n) => ({ key: `data/${String(n).padStart(5, '0')}`, sizeBytes }));
const path = 's3://demo/data/';

let scene: Scene | undefined;
let again: EmbeddedOrigin | undefined;
afterEach(async () => {
  await scene?.close();
  await again?.close();
});

const open = () =>
  openScene({
    origin: { objects, logLimit: 20_000 },
    daemon: {
      env: {
        PRIMED_INGEST_MAX_ATTEMPTS: '3',
        PRIMED_INGEST_RETRY_BASE: '10ms',
        PRIMED_INGEST_RETRY_MAX: '50ms',
        PRIMED_INGEST_RETRY_BUDGET: '0',
        PRIMED_INGEST_RETRY_BUDGET_FLOOR: '20',
        PRIMED_INGEST_FIRST_BYTE_TIMEOUT: '1500ms',
        PRIMED_WORKER_SOCKETS_PER_LANE: '32',
      },
    },
  });

/** Some files are durable, and most are still to come. */
async function untilUnderWay(api: string): Promise<void> {
  await expect
    .poll(async () => (await progress(api, path)).json().loadedFiles, { timeout: 20_000, interval: 10 })
    .toBeGreaterThan(50);
}

it('that closes its port in the middle', async () => {
  scene = await open();
  const { api } = scene.daemon;
  const { origin } = scene;
  origin.setKnobs({ bytesPerSecond: 8 * 1024 * KiB });
  expect((await submit(api, path)).status).toBe(200);
  await untilUnderWay(api);
  const { port, endpoint } = origin;
  await origin.close();
  const report = await ended(api, path);
  expect(report.mJobState).toBe('FAILED');
  expect(report.reason).toMatch(/^ORIGIN_LOST: origin lost: .*ECONNREFUSED.*skipIfExists/);
  expect(report.reason).toContain(endpoint);
  expect(report.loadedFiles).toBeGreaterThan(50);
  expect(report.mFailedFileCount).toBeLessThan(100);
  expect(report.mProcessedFileCount).toBeLessThan(files);
  expect(report.ledger.inFlightBytes).toBe(0);

  again = await startTestOrigin({ objects, port });
  const rest = await loaded(api, path, { skipIfExists: 'true' });
  // What became durable while the load was being ended is there as well.
  expect(rest.skippedFiles).toBeGreaterThanOrEqual(report.loadedFiles);
  expect(rest.skippedFiles + rest.loadedFiles).toBe(files);
  const fetched = again.requests.filter((one) => one.operation === 'GetObject').map((one) => one.key);
  expect(new Set(fetched).size).toBe(rest.loadedFiles);
});

it('that takes connections and says nothing', async () => {
  scene = await open();
  const { api } = scene.daemon;
  const { origin } = scene;
  const rule = origin.setFault({ fault: { kind: 'stall' }, skip: 200 });
  expect((await submit(api, path)).status).toBe(200);
  const report = await ended(api, path);
  expect(origin.fired(rule)).toBeGreaterThan(16);
  // Fewer than there are files: the others were never asked for.
  expect(origin.fired(rule)).toBeLessThan(500);
  expect(report.mJobState).toBe('FAILED');
  expect(report.reason).toMatch(/^ORIGIN_LOST: .*no answer within the time limit/);
  expect(report.reason).toContain(origin.endpoint);
  expect(report.loadedFiles).toBe(200);
});

it('while the load is verified', async () => {
  scene = await open();
  const { api } = scene.daemon;
  const { origin } = scene;
  const hold = origin.setFault({ fault: { kind: 'latency', delayMs: 1500 }, key: objects[7]!.key, times: 1 });
  expect((await submit(api, path, { verify: 'true' })).status).toBe(200);
  await expect.poll(() => origin.fired(hold), { timeout: 20_000, interval: 10 }).toBe(1);
  // What is new at the second listing has to be fetched then, and cannot be.
  for (let n = 0; n < 1000; n += 1) origin.add({ key: `data/new-${n}`, sizeBytes });
  const lost = origin.setFault({ fault: { kind: 'reset' }, keyPattern: '^data/new-' });
  const report = await ended(api, path);
  expect(origin.fired(lost)).toBeGreaterThan(16);
  expect(origin.fired(lost)).toBeLessThan(300);
  expect(report).toMatchObject({ mJobState: 'FAILED', loadedFiles: files });
  expect(report.reason).toMatch(/^ORIGIN_LOST: .*the connection broke/);
});
