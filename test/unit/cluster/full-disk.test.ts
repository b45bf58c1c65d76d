/** What the operator says while nothing can be written: it is refused each time, and what is answered with success is on the disk. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { JobStore } from '../../../src/cluster/job-store.ts';
import { openRegistry, type Registrations, type Registry } from '../../../src/cluster/registry.ts';
import { parseLoadOptions } from '../../../src/core/load-options.ts';
import type { WorkerId } from '../../../src/core/types.ts';
import { silent } from './fakes.ts';
import { cleanUp, codeOf, crash, ManualClock, dir as path, type Stage, staged, storedJobs, until } from './stage.ts';

const disk = vi.hoisted(() => ({ full: false, refused: 0 }));
vi.mock('lmdb', async (original) => {
  const lmdb = await original<typeof import('lmdb')>();
  const open = (options: Parameters<typeof lmdb.open>[0]) => {
    const root = lmdb.open(options);
    if ((options as { readOnly?: boolean }).readOnly === true) return root;
    const batch = root.batch.bind(root);
    root.batch = (write) => {
      if (!disk.full) return batch(write);
      disk.refused += 1;
      return Promise.reject(new Error('No space left on device'));
    };
    // It waits for what others have begun since as well.
    const { flushed } = root;
    Object.defineProperty(root, 'flushed', { get: () => (disk.full ? root.batch(() => undefined) : flushed) });
    return root;
  };
  return { ...lmdb, open };
});

const [w, other] = ['w', 'other'] as WorkerId[] as [WorkerId, WorkerId];
const eventually = { timeout: 20_000, interval: 10 };
const clock = new ManualClock();
let dir: string;
let registry: Registry & Registrations;
let told: number;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'primed-full-'));
  registry = openRegistry({ dir: join(dir, 'workers'), leaseMs: 60_000, clock, log: silent });
  told = 0;
  await register(w, 1);
  registry.onChange(() => {
    told += 1;
  });
});
afterEach(async () => {
  disk.full = false;
  await registry.close();
  await cleanUp();
  rmSync(dir, { recursive: true, force: true });
});

const register = (id: WorkerId, httpPort: number) => {
  const address = { host: '127.0.0.1', httpPort, s3Port: 2, version: 'test', protocol: 1 };
  const figures = { capacityBytes: 1, freeBytes: 1, files: 0 };
  return registry.register({ id, instance: `instance of ${id}`, report: { ...address, ...figures } });
};

/** What the next process finds after a crash now. */
async function found() {
  const copy = mkdtempSync(join(dir, 'copy-'));
  cpSync(join(dir, 'workers', 'data.mdb'), join(copy, 'data.mdb'));
  const next = openRegistry({ dir: copy, leaseMs: 60_000, clock, log: silent });
  const rows = next.workers().map(({ id, drains }) => ({ id, drains }));
  await next.close();
  return rows;
}

test('a drain that could not be written down is refused again, and then written and told', async () => {
  disk.full = true;
  for (const refused of [1, 2]) {
    expect(await codeOf(registry.drain(w))).toContain('STORE_IO');
    expect([registry.workers()[0]!.drains, told, disk.refused]).toEqual([false, 0, refused]);
  }
  disk.full = false;
  expect((await registry.drain(w)).drains).toBe(true);
  expect([registry.workers()[0]!.drains, told]).toEqual([true, 1]);
  expect(await found()).toEqual([{ id: w, drains: true }]);
  // Said once more, there is nothing to do.
  await registry.drain(w);
  expect(told).toBe(1);
});

test('a removal that could not be written down can be said again', async () => {
  disk.full = true;
  for (let attempt = 0; attempt < 2; attempt += 1) expect(await codeOf(registry.remove(w))).toContain('STORE_IO');
  disk.full = false;
  expect(await found()).toEqual([{ id: w, drains: false }]);
  await registry.remove(w);
  expect(registry.workers()).toEqual([]);
  expect(await found()).toEqual([]);
  expect(await codeOf(registry.remove(w))).toContain('WORKER_UNKNOWN');
});

test('what could not be written down is written with the next, and one that waits does not hide another', async () => {
  disk.full = true;
  expect(await codeOf(registry.drain(w))).toContain('STORE_IO');
  disk.full = false;
  await Promise.all([register(other, 2), registry.remove(other), registry.drain(w)]);
  expect(await found()).toEqual([{ id: w, drains: true }]);
});

/** A load whose worker holds on to its files. */
async function underWay(): Promise<Stage> {
  const stage = await staged(5);
  stage.worker.flowing = false;
  await stage.jobs.submit({ kind: 'path', path }, parseLoadOptions({}));
  await until(() => stage.worker.pending.length > 0);
  return stage;
}

test('a stop that could not be written down is refused, and is written when there is room again', async () => {
  const stage = await underWay();
  disk.full = true;
  for (let attempt = 0; attempt < 2; attempt += 1)
    expect(await codeOf(stage.jobs.stop(path))).toMatch(/STORE_IO: .* is stopped, but a restart would go on with it/);
  expect(stage.jobs.snapshot(path)?.state).toBe('STOPPED');
  disk.full = false;
  expect(await stage.jobs.stop(path)).toBe(true);
  expect((await storedJobs(stage)).map(({ progress }) => progress.state)).toEqual(['STOPPED']);
  expect(await stage.jobs.stop(path)).toBe(false);
});

test('an end that could not be written down is written by itself when there is room again', async () => {
  const stage = await underWay();
  disk.full = true;
  stage.worker.flowing = true;
  stage.worker.release(5);
  const { jobId } = stage.jobs.snapshot(path)!;
  expect((await stage.jobs.ended(jobId)).state).toBe('FAILED');
  const { refused } = disk;
  await until(() => disk.refused > refused);
  expect((await storedJobs(stage)).map(({ progress }) => progress.state)).toEqual(['RUNNING']);
  disk.full = false;
  await vi.waitFor(async () => expect((await storedJobs(stage))[0]?.progress.state).toBe('FAILED'), eventually);
  const next = await crash(stage);
  expect(next.jobs.snapshot(path)?.state).toBe('FAILED');
});

test('a job that is on the disk is not refused because of what is written after it', async () => {
  const stage = await underWay();
  const [record] = await storedJobs(stage);
  const store = new JobStore(join(dir, 'jobs'));
  const written = store.putJob(record!);
  disk.full = true;
  expect(await codeOf(store.putJob(record!))).toContain('STORE_IO');
  expect(await codeOf(written)).toBe('none');
  disk.full = false;
  await store.close();
});
