/** `file://` origins of the real binary: a NAS or a folder, below configured roots and nowhere else. */
import { mkdirSync, renameSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { pathId } from '../../src/core/path-id.ts';
import { MiB } from '../../src/core/units.ts';
import { check, ended, fs, loaded, progress, submit } from '../support/api.ts';
import { patterned, sha256 } from '../support/bytes.ts';
import { primed } from '../support/cli.ts';
import type { Daemon } from '../support/daemon.ts';
import { cat, openPlace, type Place } from '../support/node.ts';

let place: Place;
let root: string;
let daemon: Daemon;
const at = (key: string) => `file://${root}/${key}`;
function put(key: string, bytes: Uint8Array): void {
  mkdirSync(dirname(join(root, key)), { recursive: true });
  writeFileSync(join(root, key), bytes);
}

const files = new Map<string, Buffer>([
  ['set/empty', Buffer.alloc(0)],
  ['set/one', patterned(1, 1)],
  ['set/page', patterned(MiB, 2)],
  ['set/odd', patterned(9 * MiB + 4097, 3)],
  ['set/sub/plus+and space', patterned(5000, 4)],
  ['set/sub/größe 数据 %41', patterned(70_000, 5)],
]);

beforeAll(async () => {
  place = openPlace('file-origin');
  root = join(place.path, 'nas');
  for (const [key, bytes] of files) put(key, bytes);
  writeFileSync(join(place.path, 'secret'), 'outside of the root');
  mkdirSync(join(place.path, 'private'));
  writeFileSync(join(place.path, 'private', 'key'), 'outside of the root as well');
  daemon = await place.start(`[[ufs]]\nprefix = "file://${root}"\n`);
});
afterAll(() => place?.close());

it('loads, verifies and gives back every file below a root, and needs no credentials', async () => {
  const report = await loaded(daemon.api, at('set/'), { verify: 'true' });
  expect(report).toMatchObject({ mTotalFileCount: files.size, verifiedFiles: files.size, verifiedByPages: files.size });
  for (const [key, bytes] of files) expect(sha256(await cat(daemon, at(key))), key).toBe(sha256(bytes));
  // By pages as well, and by another way to write the path.
  for (const [key, bytes] of files) {
    for (const path of [at(key), at(`./${key.replace('/', '//')}`)]) {
      const query = `ufsFullPath=${encodeURIComponent(path)}`;
      const answer = await fetch(`http://127.0.0.1:${daemon.ports.http}/v1/chunk/${pathId(path)}?${query}`);
      expect([path, sha256(Buffer.from(await answer.arrayBuffer()))]).toEqual([path, sha256(bytes)]);
    }
  }
  expect(await check(daemon.api, at('set/'))).toMatchObject({ ok: true, checkedFiles: files.size });
  const stat = await primed(daemon.api, ['fs', 'stat', at('set/sub/größe 数据 %41')]);
  expect([stat.code, stat.stderr]).toEqual([0, '']);
});

it('with skipIfExists reads nothing again', async () => {
  const report = await loaded(daemon.api, at('set/'), { skipIfExists: 'true' });
  expect(report).toMatchObject({ skippedFiles: files.size, mLoadedByteCount: 0, ledger: { originBytes: 0 } });
});

it('a symbolic link that leaves the root is not followed, in a listing or by name', async () => {
  put('links/real', patterned(100, 6));
  symlinkSync('real', join(root, 'links', 'inside'));
  symlinkSync(join(place.path, 'secret'), join(root, 'links', 'out'));
  symlinkSync('../../private', join(root, 'links', 'outdir'));
  const report = await loaded(daemon.api, at('links/'));
  expect(report).toMatchObject({ mTotalFileCount: 2 });
  expect(sha256(await cat(daemon, at('links/inside')))).toBe(sha256(patterned(100, 6)));
  expect(daemon.log()).toMatch(/leads out of the root/);

  for (const outside of ['links/out', 'links/outdir/', 'links/outdir/key']) {
    await submit(daemon.api, at(outside));
    const refused = await ended(daemon.api, at(outside));
    expect([outside, refused.mJobState, refused.mLoadedByteCount]).toEqual([outside, 'FAILED', 0]);
    expect(JSON.stringify([refused.reason, refused.mFailedFilesWithReasons])).toMatch(/root/);
    expect((await fs(daemon.api, 'stat', at(outside))).status).toBe(404);
  }
});

it('a path that leaves the root by dots is refused before anything is read', async () => {
  for (const path of [at('../secret'), at('set/../../secret'), 'file:///etc/hostname']) {
    const answer = await submit(daemon.api, path);
    expect([path, answer.status, answer.json().message]).toEqual([path, 400, expect.stringContaining('file:')]);
  }
});

/** Half of the file has been read when this resolves: by the ledger, which counts every byte from the origin. */
async function inTheMiddle(path: string, sizeBytes: number): Promise<void> {
  const fetched = async () => (await progress(daemon.api, path)).json().ledger.originBytes as number;
  await expect.poll(fetched, { timeout: 20_000, interval: 5 }).toBeGreaterThan(sizeBytes / 4);
  expect(await fetched()).toBeLessThan(sizeBytes);
}

it.each(['renamed into place', 'written in place'])(
  'a file that changes during the load, %s, is loaded whole at its new version',
  async (how) => {
    const key = how.replaceAll(' ', '-');
    const [before, after] = [patterned(12 * MiB, 7), patterned(11 * MiB + 3, 8)];
    put(key, before);
    await submit(daemon.api, at(key), { bandwidth: '8MB' });
    await inTheMiddle(at(key), before.length);
    if (how === 'written in place') put(key, after);
    else {
      put(`${key}.new`, after);
      renameSync(join(root, `${key}.new`), join(root, key));
    }
    const report = await ended(daemon.api, at(key));
    expect(report).toMatchObject({ mJobState: 'SUCCEEDED', ledger: { inFlightBytes: 0 } });
    // What was read of the old version counts for nothing: found out by a part of it that landed, or by one that broke off.
    const { changed, failed } = report.ledger.discardedBytes;
    expect(changed + failed).toBeGreaterThan(0);
    expect(sha256(await cat(daemon, at(key)))).toBe(sha256(after));
  },
);

it('a file that vanishes between its listing and its reading fails by name; the load after it is whole', async () => {
  const sizes = { a: 6 * MiB, b: 6 * MiB, c: 3 * MiB, z: MiB };
  const written = Object.entries(sizes).map(([name, sizeBytes], index) => ({
    key: `vanish/${name}`,
    bytes: patterned(sizeBytes, 20 + index),
  }));
  const [gone, ...left] = written.toReversed();
  for (const { key, bytes } of written) put(key, bytes);
  // With a batch size of 1 two files are with the worker, in the order of the listing: the last one of four is handed
  // over when two are done, which 4 MB/s keep from happening at once.
  await submit(daemon.api, at('vanish/'), { bandwidth: '4MB', batchSize: 1 });
  const report = async () => (await progress(daemon.api, at('vanish/'))).json();
  await expect
    .poll(async () => (await report()).ledger.originBytes, { timeout: 20_000, interval: 5 })
    .toBeGreaterThan(0);
  expect(await report()).toMatchObject({ mJobState: 'RUNNING', listingDone: true, mTotalFileCount: 4 });
  unlinkSync(join(root, gone!.key));
  expect((await report()).mProcessedFileCount).toBeLessThan(2);

  const failed = await ended(daemon.api, at('vanish/'));
  expect(failed).toMatchObject({ mJobState: 'FAILED', loadedFiles: 3, mFailedFileCount: 1 });
  expect(failed.mFailedFilesWithReasons).toEqual({ [at(gone!.key)]: expect.stringMatching(/ENOENT|no such file/) });
  expect((await fs(daemon.api, 'stat', at(gone!.key))).status).toBe(404);
  for (const { key, bytes } of left) expect(sha256(await cat(daemon, at(key))), key).toBe(sha256(bytes));

  const without = await loaded(daemon.api, at('vanish/'), { skipIfExists: 'true' });
  expect(without).toMatchObject({ mTotalFileCount: 3, skippedFiles: 3, ledger: { originBytes: 0 } });
  put(gone!.key, gone!.bytes);
  const whole = await loaded(daemon.api, at('vanish/'), { skipIfExists: 'true' });
  expect(whole).toMatchObject({ mTotalFileCount: 4, skippedFiles: 3, loadedFiles: 1, mLoadedByteCount: MiB });
  expect(sha256(await cat(daemon, at(gone!.key)))).toBe(sha256(gone!.bytes));
});

it('a file that nobody has loaded is read through the page API, kept, and read anew when it has changed', async () => {
  const other = openPlace('file-through');
  try {
    const nas = join(other.path, 'nas');
    mkdirSync(nas);
    const toml = `[reading]\nread_through = "always"\nmax_age = "0s"\n[[ufs]]\nprefix = "file://${nas}"\n`;
    const through = await other.start(toml);
    const path = `file://${nas}/dir file`;
    const read = async (): Promise<[number, string]> => {
      const query = `ufsFullPath=${encodeURIComponent(path)}&offset=0&length=-1`;
      const answer = await fetch(`http://127.0.0.1:${through.ports.http}/v1/range/${pathId(path)}?${query}`);
      return [answer.status, sha256(Buffer.from(await answer.arrayBuffer()))];
    };
    expect((await read())[0]).toBe(404);
    for (const bytes of [patterned(9 * MiB + 4097, 6), patterned(2 * MiB + 1, 7), patterned(1, 8)]) {
      writeFileSync(join(nas, 'next'), bytes);
      renameSync(join(nas, 'next'), join(nas, 'dir file'));
      await expect.poll(read, { timeout: 10_000 }).toEqual([200, sha256(bytes)]);
      expect(await read()).toEqual([200, sha256(bytes)]);
    }
    unlinkSync(join(nas, 'dir file'));
    await expect.poll(async () => (await read())[0], { timeout: 10_000 }).toBe(404);
  } finally {
    await other.close();
  }
});
