/** Where blocks lie and how they are written: several stores, a store in memory, io_uring and threads. */
import { mkdtempSync, readFileSync, rmSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KiB, MiB } from '../../src/core/units.ts';
import { contentAt } from '../../src/demo/origin/content.ts';
import { probeDiskEngine } from '../../src/platform/index.ts';
import { check, loaded } from '../support/api.ts';
import type { Daemon, DaemonOrder } from '../support/daemon.ts';
import { openPlace, type Place } from '../support/node.ts';
import { originEnvironment, startTestOrigin } from '../support/origin.ts';
import { compileProgram } from '../support/program.ts';
import { readBack } from '../support/scene.ts';

const objects = [
  { key: 'data/large.bin', sizeBytes: 40 * MiB + 12_345 },
  { key: 'data/part.bin', sizeBytes: 8 * MiB },
  ...Array.from({ length: 40 }, (_, index) => ({ key: `data/small-${index}.bin`, sizeBytes: 16 * KiB + index })),
];
const totalBytes = objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
const path = 's3://demo/data/';
let origin: Awaited<ReturnType<typeof startTestOrigin>>;
let place: Place;
beforeEach(async () => {
  origin = await startTestOrigin({ objects });
  place = openPlace('stores');
});
afterEach(async () => {
  await place?.close();
  await origin?.close();
});

const order = (more: Partial<DaemonOrder> = {}) => ({ env: originEnvironment(origin), ...more });
const said = (daemon: Daemon, level: string) =>
  daemon
    .log()
    .split('\n')
    .filter((line) => line.startsWith(`{"level":"${level}"`))
    .map((line) => JSON.parse(line));
const ready = (daemon: Daemon) => said(daemon, 'info').find(({ msg }) => msg === 'ready');

async function expectLoads(daemon: Daemon): Promise<void> {
  await loaded(daemon.api, path);
  await readBack(daemon, 'demo', objects);
  expect(await check(daemon.api, path)).toMatchObject({ ok: true, checkedBytes: totalBytes });
}

describe('two stores', () => {
  const alignBytes = 4096;
  /** The places in all objects, one a MiB, whose first bytes lie in a store file. */
  function placesIn(file: string): Set<string> {
    const bytes = readFileSync(file);
    const blocks = new Set<string>();
    for (let at = 0; at < bytes.length; at += alignBytes) blocks.add(bytes.toString('latin1', at, at + 64));
    const found = new Set<string>();
    for (const { key, sizeBytes } of objects) {
      for (let offset = 0; offset < sizeBytes; offset += MiB) {
        const head = contentAt(key, 1, offset, Math.min(64, sizeBytes - offset)).toString('latin1');
        if (blocks.has(head)) found.add(`${key} ${offset}`);
      }
    }
    return found;
  }

  it('share the blocks, in whichever order they are configured, and give back what was loaded', async () => {
    const dirs = [join(place.path, 'nvme0'), join(place.path, 'nvme1')];
    const toml = (folders: readonly string[]) =>
      folders.map((dir) => `[[worker.store]]\ndir = "${dir}"\nsize = "64MB"\n`).join('');
    let daemon = await place.start(toml(dirs), order({ storeSize: null }));
    expect(ready(daemon).capacity).toMatch(/^12[67]/);
    await expectLoads(daemon);
    expect(await daemon.terminate()).toEqual({ code: 0, signal: null });

    const [first, second] = dirs.map((dir) => placesIn(join(dir, 'store.dat'))) as [Set<string>, Set<string>];
    const places = objects.reduce((sum, { sizeBytes }) => sum + Math.ceil(sizeBytes / MiB), 0);
    expect(first.size + second.size).toBe(places);
    expect(new Set([...first, ...second]).size).toBe(places);
    for (const { size } of [first, second]) expect(size).toBeGreaterThan(places / 4);

    origin.setFault({ fault: { kind: 'reset' }, operation: '*' });
    daemon = await place.start(toml(dirs.toReversed()), order({ storeSize: null }));
    await readBack(daemon, 'demo', objects);
    expect(await check(daemon.api, path)).toMatchObject({ ok: true, checkedBytes: totalBytes });
  });
});

it('a store in memory works, and the log says what it lacks', async () => {
  const dir = mkdtempSync('/dev/shm/primed-store-');
  try {
    expect(statfsSync(dir).type, '/dev/shm is a tmpfs').toBe(0x01021994);
    const toml = `[[worker.store]]\ndir = "${join(dir, 'store')}"\nsize = "56MB"\n`;
    const daemon = await place.start(toml, order({ storeSize: null }));
    const file = join(dir, 'store', 'store.dat');
    expect(said(daemon, 'warn')).toMatchObject([{ path: file, msg: expect.stringMatching(/no O_DIRECT/) }]);
    await expectLoads(daemon);
  } finally {
    await place.close();
    rmSync(dir, { recursive: true });
  }
});

describe('the disk engine', () => {
  it('is io_uring where the kernel allows it, and the log says so', async () => {
    const { engine, reason } = await probeDiskEngine();
    const daemon = await place.start('', order());
    expect(ready(daemon).diskEngine).toBe(engine);
    expect(said(daemon, 'warn').map((line) => line.reason)).toEqual(engine === 'io_uring' ? [] : [reason]);
  });

  it('is threads when they are configured, and loads', async () => {
    const daemon = await place.start('worker.disk_engine = "threads"', order());
    expect(ready(daemon).diskEngine).toBe('threads');
    expect(said(daemon, 'warn')).toEqual([]);
    await expectLoads(daemon);
  });

  /** Runs a program as seccomp profiles of container runtimes do: every io_uring_setup is EPERM. */
  const forbidding = `
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int, char** arguments) {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program = {sizeof code / sizeof *code, code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return 11;
  if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) return 12;
  execv(arguments[1], arguments + 1);
  return 13;
}`;
  const forbiddenBy = () => order({ by: [compileProgram(join(place.path, 'forbidding'), forbidding)] });

  it('is threads where io_uring is forbidden, and the log says why', async () => {
    const daemon = await place.start('', forbiddenBy());
    expect(ready(daemon).diskEngine).toBe('threads');
    expect(said(daemon, 'warn')).toMatchObject([{ reason: expect.stringMatching(/io_uring .*EPERM/) }]);
    await expectLoads(daemon);
  });

  it('is an error where io_uring is forced and forbidden', async () => {
    const daemon = await place.spawn('worker.disk_engine = "io_uring"', forbiddenBy());
    expect(await daemon.exited).toEqual({ code: 1, signal: null });
    expect(daemon.log()).toMatch(/io_uring cannot be used.*EPERM.*auto or threads/);
  });
});
