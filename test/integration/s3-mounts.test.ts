/** The cache as a file system, by s3fs and rclone mount: what POSIX programs see is what the origin has. */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, readSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { plainEnvironment } from '../../bench/support/process.ts';
import { MiB } from '../../src/core/units.ts';
import { run } from '../support/cli.ts';
import { contentOfSpec, type KeyedPort, openKeyedPort, sha256 } from '../support/s3-keyed.ts';

const objects = [
  { key: 'data/größe + plus.txt', sizeBytes: 5_000 },
  { key: 'data/deep/er/large.bin', sizeBytes: 20 * MiB + 7 },
  { key: 'data/deep/small.bin', sizeBytes: 1 },
  { key: 'top.bin', sizeBytes: 100_000 },
];
const large = objects[1]!;
let port: KeyedPort;
let configuration: string;
let passwords: string;
let mounted: { readonly child: ChildProcess; readonly folder: string } | undefined;

beforeAll(async () => {
  port = await openKeyedPort('s3-mounts', objects);
  const { accessKeyId, secretAccessKey } = port.keys;
  passwords = join(port.path, 'passwd-s3fs');
  writeFileSync(passwords, `${accessKeyId}:${secretAccessKey}`, { mode: 0o600 });
  configuration = join(port.path, 'rclone.conf');
  const keys = `access_key_id = ${accessKeyId}\nsecret_access_key = ${secretAccessKey}\n`;
  writeFileSync(configuration, `[cache]\ntype = s3\nprovider = Other\nendpoint = ${port.daemon.s3}\n${keys}`);
});
afterEach(async () => {
  if (mounted === undefined) return;
  const { child, folder } = mounted;
  mounted = undefined;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  const { code, stderr } = await run('/usr/bin/fusermount3', ['-u', folder]);
  if (code !== 0) {
    await run('/usr/bin/fusermount3', ['-uz', folder]);
    child.kill('SIGKILL');
  }
  await gone;
  expect([code, stderr]).toEqual([0, '']);
});
afterAll(async () => {
  await port?.close();
});

/** Mounts in the foreground, and waits until the folder is another file system. */
async function mount(program: string, args: readonly string[], folder: string): Promise<void> {
  mkdirSync(folder);
  const before = statSync(folder).dev;
  let said = '';
  const child = spawn(program, args, { env: plainEnvironment(port.env), stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      said += String(chunk);
    });
  await expect
    .poll(
      () => {
        if (child.exitCode !== null) throw new Error(`${program} has ended: ${said}`);
        return statSync(folder).dev !== before;
      },
      { timeout: 30_000, interval: 50 },
    )
    .toBe(true);
  mounted = { child, folder };
}

const mounts = {
  s3fs: (folder: string) => [
    ...[port.bucket, folder, '-f', '-o', `url=${port.daemon.s3}`, '-o', 'use_path_request_style'],
    ...['-o', `passwd_file=${passwords}`, '-o', 'ro'],
  ],
  rclone: (folder: string) => ['--config', configuration, 'mount', `cache:${port.bucket}`, folder, '--read-only'],
};

it.each(['s3fs', 'rclone'] as const)(
  '%s: folders, sizes, whole files and places in them are those of the origin; nothing can be written',
  async (name) => {
    const folder = join(port.path, `mount-${name}`);
    await mount(`/usr/bin/${name}`, mounts[name](folder), folder);

    const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    expect(files.map((file) => file.slice(folder.length + 1)).toSorted()).toEqual(
      objects.map(({ key }) => key).toSorted(),
    );
    expect(statSync(join(folder, 'data/deep')).isDirectory()).toBe(true);
    for (const object of objects) {
      const file = join(folder, object.key);
      expect(statSync(file).size).toBe(object.sizeBytes);
      expect(sha256(readFileSync(file))).toBe(sha256(contentOfSpec(object)));
    }
    const content = contentOfSpec(large);
    const descriptor = openSync(join(folder, large.key), 'r');
    for (const at of [19 * MiB, 3, 20 * MiB, 7 * MiB + 11]) {
      const bytes = Buffer.alloc(5000);
      const count = readSync(descriptor, bytes, 0, bytes.length, at);
      expect(count).toBe(Math.min(5000, large.sizeBytes - at));
      expect(bytes.subarray(0, count).equals(content.subarray(at, at + count))).toBe(true);
    }
    closeSync(descriptor);
    const { code, stdout } = await run('/usr/bin/find', [folder, '-size', '+1M', '-printf', '%P %s\n']);
    expect([code, stdout]).toEqual([0, `${large.key} ${large.sizeBytes}\n`]);
    expect(() => writeFileSync(join(folder, 'new'), 'x')).toThrow(/EROFS/);
    expect(() => statSync(join(folder, 'none'))).toThrow(/ENOENT/);
  },
);
