/** A worker whose disk stops answering while the worker itself is well: others load what it was to load. Needs root. */
import { execFileSync } from 'node:child_process';
import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import { call, ended, submit } from '../support/api.ts';
import { openCluster, placesOf, readBack, untilLive, workersOf } from '../support/cluster.ts';
import { temporaryFolder } from '../support/files.ts';
import { listedBy } from '../support/origin.ts';

const objects = Array.from({ length: 24 }, (_, n) => ({ key: `data/${n}.bin`, sizeBytes: 4 * MiB + n * 4097 }));
const totalBytes = objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
const path = 's3://demo/data/';
const eventually = { timeout: 60_000, interval: 50 };

interface Disk {
  freeze(): void;
  thaw(): void;
  unmount(): void;
}

/** A file system of its own, empty. What is written to a frozen one waits, and so does what is to be flushed. */
function mountDisk(image: string, at: string): Disk {
  mkdirSync(at, { recursive: true });
  execFileSync('truncate', ['--size=1G', image]);
  execFileSync('mkfs.ext4', ['-q', image]);
  execFileSync('mount', ['-o', 'loop', image, at]);
  rmdirSync(join(at, 'lost+found'));
  let frozen = false;
  const disk: Disk = {
    freeze() {
      execFileSync('fsfreeze', ['--freeze', at]);
      frozen = true;
    },
    thaw() {
      if (frozen) execFileSync('fsfreeze', ['--unfreeze', at]);
      frozen = false;
    },
    unmount() {
      disk.thaw();
      // The kernel may still be closing the files of a process that is gone.
      execFileSync('umount', ['--lazy', at]);
    },
  };
  return disk;
}

test('a worker whose disk hangs leaves, its files are loaded by others, and it is back when the disk is', async () => {
  const cluster = await openCluster({
    workers: ['w1', 'w3'],
    origin: { objects },
    env: { PRIMED_WORKER_DISK_TIMEOUT: '2s' },
  });
  const images = temporaryFolder('images');
  let disk: Disk | undefined;
  onTestFinished(async () => {
    disk?.thaw();
    await cluster.kill('w2').catch(() => undefined);
    disk?.unmount();
    await cluster.close();
    images.remove();
  });
  // Of the store alone: the index, and what else the main thread writes, is on a disk that is well.
  disk = mountDisk(join(images.path, 'w2.img'), join(cluster.dataDir('w2'), 'store'));
  const { api } = cluster.coordinator;
  const w2 = await cluster.start('w2');
  cluster.origin.setKnobs({ bytesPerSecond: 16 * MiB });
  expect((await submit(api, path)).status).toBe(200);
  // All files are on their way at once, and end all together.
  const sent = (): number => Object.values(cluster.origin.stats().bytesByKey).reduce((sum, bytes) => sum + bytes, 0);
  await expect.poll(sent, eventually).toBeGreaterThan(totalBytes / 8);
  disk.freeze();
  const stateOf = async (id: string) => (await workersOf(cluster)).find((row) => row.id === id)?.state;
  await expect.poll(() => stateOf('w2'), eventually).not.toBe('LIVE');
  // The process lives, and says what it is.
  const health = await call(w2.api, 'GET', '/health/ready');
  expect([health.status, health.json().reason]).toEqual([
    503,
    expect.stringContaining('the disk of the store has not'),
  ]);
  expect(w2.log()).toContain('the disk of the store hangs');
  cluster.origin.setKnobs({ bytesPerSecond: 0 });
  const report = await ended(api, path);
  expect(report).toMatchObject({ mJobState: 'SUCCEEDED', mLoadedByteCount: totalBytes, ledger: { inFlightBytes: 0 } });
  disk.thaw();
  await untilLive(cluster, ['w2']);
  await expect.poll(async () => (await call(w2.api, 'GET', '/health/ready')).status, eventually).toBe(200);
  const places = await placesOf(cluster, await listedBy(cluster.origin, 'data/'));
  expect(places.filter((ids) => !ids.includes('w1') && !ids.includes('w3'))).toEqual([]);
  await readBack(cluster, 'w2');
});
