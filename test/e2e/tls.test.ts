/** An origin over TLS whose certificate only the configuration makes trusted. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import type { EmbeddedOrigin } from '../../src/demo/origin/api.ts';
import { ended, loaded, submit } from '../support/api.ts';
import { makeCertificate } from '../support/certificate.ts';
import { openPlace, type Place } from '../support/node.ts';
import { originEnvironment, startTestOrigin } from '../support/origin.ts';
import { readBack } from '../support/scene.ts';

const objects = [
  { key: 'data/large.bin', sizeBytes: 20 * MiB + 12_345 },
  { key: 'data/small.bin', sizeBytes: 16 * KiB },
];
const path = 's3://demo/data/';
const certificate = makeCertificate();
let origin: EmbeddedOrigin;
let place: Place;
beforeAll(async () => {
  origin = await startTestOrigin({ objects, tls: certificate });
  place = openPlace('tls');
  writeFileSync(join(place.path, 'ca.pem'), certificate.cert);
});
afterAll(async () => {
  await place?.close();
  await origin?.close();
});

afterEach(() => origin?.clearFaults());

const start = (toml: string) => place.start(toml, { env: originEnvironment(origin) });
const trusting = '[[ufs]]\nprefix = "s3://demo/"\nca_file = "ca.pem"\n';

it('with its ca_file a load is trusted, whole and verified, and reads back the same', async () => {
  const daemon = await start(trusting);
  await loaded(daemon.api, path, { verify: 'true' });
  await readBack(daemon, 'demo', objects);
  await daemon.terminate();
});

it('so it is when the fast reader does not take the answers, and the SDK fetches them', async () => {
  const daemon = await start(trusting);
  const id = origin.setFault({ fault: { kind: 'chunked' } });
  await loaded(daemon.api, path, { verify: 'true' });
  expect(origin.fired(id)).toBeGreaterThan(0);
  const metrics = await (await fetch(`${daemon.api}/metrics`)).text();
  expect(metrics).toMatch(/^primed_origin_general_way_total 4$/m); // 3 parts of the large file, and the small one
  await readBack(daemon, 'demo', objects);
  await daemon.terminate();
});

it('without one the load fails in bounded time, and the report says that the certificate is the reason', async () => {
  const daemon = await start('');
  const asked = origin.requests.length;
  await submit(daemon.api, path);
  const report = await ended(daemon.api, path);
  expect(report).toMatchObject({ mJobState: 'FAILED', mLoadedByteCount: 0 });
  expect(report.reason).toMatch(/^ORIGIN_UNREACHABLE: s3:.*: self-signed certificate; .*ca_file/);
  expect(origin.requests.length).toBe(asked);
});
