/** Objects that a KMS key encrypts: ETags that look like MD5s, and are not those of the bytes. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import { loaded } from '../support/api.ts';
import { openScene, type Scene } from '../support/scene.ts';

const objects = [
  { key: 'sealed/a.bin', sizeBytes: 70 * KiB },
  { key: 'sealed/b.bin', sizeBytes: 9 * MiB + 1 },
];
let scene: Scene;
beforeAll(async () => {
  scene = await openScene({ origin: { objects, encryption: 'aws:kms', checksums: [] } });
});
afterAll(() => scene?.close());

it('are verified by their pages, and stay: nothing is loaded twice or given up', async () => {
  const report = await loaded(scene.daemon.api, 's3://demo/sealed/', { verify: 'true' });
  expect(report).toMatchObject({ verifiedFiles: 2, mFailedFileCount: 0 });
  expect(scene.origin.stats().bytesByKey).toEqual({
    'sealed/a.bin': objects[0]!.sizeBytes,
    'sealed/b.bin': objects[1]!.sizeBytes,
  });
  await scene.readBack(objects);
  const { headers } = await fetch(`${scene.daemon.s3}/demo/sealed/a.bin`, { method: 'HEAD' });
  expect(headers.get('etag')).toMatch(/^"[0-9a-f]{32}"$/);
});
