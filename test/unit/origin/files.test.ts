import { execFileSync } from 'node:child_process';
import { appendFileSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { ManifestEntry, UfsPath } from '../../../src/core/types.ts';
import { openOrigins } from '../../../src/origin/origins.ts';
import { makeRangeClient } from '../../../src/origin/range-client.ts';
import type { Origins, RangeClient, RangeRequest } from '../../../src/origin/types.ts';
import { type Fetched, fetchRange, timeouts } from './raw-server.ts';

let top: string;
let root: string;
let origins: Origins;
let warnings: object[];
let client: RangeClient;

beforeEach(() => {
  top = realpathSync(mkdtempSync(join(tmpdir(), 'primed-files-')));
  root = join(top, 'root');
  mkdirSync(root);
  writeFileSync(join(top, 'secret'), 'secret');
  warnings = [];
  const log = {
    debug: () => undefined,
    info: () => undefined,
    warn: (facts: object) => void warnings.push(facts),
    error: () => undefined,
  };
  origins = openOrigins({ ufs: [{ prefix: `file://${root}/` }], timeouts, retry: { attempts: 1 }, log });
  client = makeRangeClient({ maxSockets: 4, timeouts, idleMs: 1000 });
});
afterEach(async () => {
  await client.close();
  await origins.close();
  rmSync(top, { recursive: true });
});

function put(name: string, content = name): void {
  const path = join(root, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, content);
}

async function listAll(prefix: string, maxKeys: number): Promise<{ entries: ManifestEntry[]; pages: number }> {
  const entries: ManifestEntry[] = [];
  let after: string | undefined;
  let pages = 0;
  do {
    const page = await origins.list(`file://${root}/${prefix}` as UfsPath, {
      maxKeys,
      ...(after !== undefined && { after }),
    });
    entries.push(...page.entries);
    expect(page.scanned).toBeLessThanOrEqual(maxKeys);
    after = page.next;
    pages += 1;
  } while (after !== undefined);
  return { entries, pages };
}
const keysOf = (entries: readonly ManifestEntry[]): string[] =>
  entries.map((e) => e.path.slice(`file://${root}/`.length));

describe('listing', () => {
  const names = ['a-b', 'a.txt', 'a/1', 'a/b/c', 'a/b-d', 'a0', 'é/x', 'Z', '𝒳', '\uffee'];
  const inByteOrder = [...names].sort((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)));

  test.each([1, 2, 3, 1000])('in byte order of whole keys, %i a page', async (maxKeys) => {
    for (const name of names) put(name);
    expect(keysOf((await listAll('', maxKeys)).entries)).toEqual(inByteOrder);
    expect(keysOf((await listAll('a', maxKeys)).entries)).toEqual(['a/1', 'a/b-d', 'a/b/c']);
  });

  test('goes on from any key after a restart', async () => {
    for (const name of names) put(name);
    for (const [i, key] of inByteOrder.entries()) {
      const fresh = openOrigins({
        ufs: [{ prefix: `file://${root}/` }],
        timeouts,
        retry: { attempts: 1 },
        log: console,
      });
      const page = await fresh.list(`file://${root}/` as UfsPath, { after: key });
      expect(keysOf(page.entries)).toEqual(inByteOrder.slice(i + 1));
    }
  });

  test('sizes and versions are those of head', async () => {
    put('x', 'hello');
    const [entry] = (await listAll('', 10)).entries;
    expect(entry).toMatchObject({ sizeBytes: 5, etag: expect.stringMatching(/^[0-9a-f]+-5-[0-9a-f]+$/) });
    expect(await origins.head(`file://${root}/x` as UfsPath)).toMatchObject(entry!);
  });

  test('links that lead out, loops, dangling links and special files are no part of it', async () => {
    put('in/file');
    symlinkSync(join(top, 'secret'), join(root, 'out'));
    symlinkSync(top, join(root, 'outdir'));
    symlinkSync('..', join(root, 'in', 'loop'));
    symlinkSync('nowhere', join(root, 'dangling'));
    symlinkSync('in/file', join(root, 'link'));
    symlinkSync('in', join(root, 'linkdir'));
    execFileSync('mkfifo', [join(root, 'fifo')]);
    expect(keysOf((await listAll('', 10)).entries)).toEqual(['in/file', 'link', 'linkdir/file']);
    expect(warnings.length).toBeGreaterThanOrEqual(4);
    await expect(origins.list(`file://${root}/outdir` as UfsPath, {})).rejects.toMatchObject({ code: 'ORIGIN_DENIED' });
  });

  test('what is not there lists empty; a missing root is an error', async () => {
    expect((await listAll('nothing/here', 10)).entries).toEqual([]);
    rmSync(root, { recursive: true });
    await expect(origins.list(`file://${root}/` as UfsPath, {})).rejects.toMatchObject({ code: 'ORIGIN_NOT_FOUND' });
  });
});

describe('control plane', () => {
  test('head and read', async () => {
    put('d/f', 'content');
    const path = (key: string): UfsPath => `file://${root}/${key}` as UfsPath;
    expect(await origins.head(path('d/f'))).toMatchObject({ sizeBytes: 7 });
    await expect(origins.head(path('nope'))).rejects.toMatchObject({ code: 'ORIGIN_NOT_FOUND' });
    const chunks: Uint8Array[] = [];
    for await (const chunk of origins.read(path('d/f'))) chunks.push(chunk);
    expect(Buffer.concat(chunks).toString()).toBe('content');
    await expect(origins.head(path('d'))).rejects.toMatchObject({ code: 'ORIGIN_NOT_FOUND' });
    symlinkSync(join(top, 'secret'), join(root, 'out'));
    await expect(origins.head(path('out'))).rejects.toMatchObject({ code: 'ORIGIN_DENIED' });
    await expect(origins.read(path('out'))[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      code: 'ORIGIN_DENIED',
    });
  });

  test('needs no credentials', async () => {
    const { originIndex } = origins.resolve(`file://${root}/x`);
    expect(await origins.credentials(originIndex)).toBeUndefined();
  });
});

describe('reading ranges', () => {
  async function fetch(
    key: string,
    offset: number,
    length: number,
    version?: RangeRequest['version'],
  ): Promise<Fetched> {
    const lane = await origins.laneOrigin(`file://${root}/` as UfsPath);
    client.addOrigin(lane);
    const pinned = version ?? (await origins.head(`file://${root}/${key}` as UfsPath));
    return fetchRange(client, { originIndex: lane.originIndex, key, offset, length, version: pinned, run: 1 });
  }

  test('lands exactly', async () => {
    const content = 'x'.repeat(1_500_000) + 'y'.repeat(1_500_000);
    put('big', content);
    const fetched = await fetch('big', 1_000_000, 1_500_000);
    expect(fetched.result.failure).toBeUndefined();
    expect(fetched.bytes.toString() === content.slice(1_000_000, 2_500_000)).toBe(true);
    expect(fetched.guardsIntact).toBe(true);
    expect(fetched.landed.reduce((at, piece) => (piece.at === at ? at + piece.count : Number.NaN), 0)).toBe(1_500_000);
  });

  test('a changed file', async () => {
    put('f', 'one');
    const version = await origins.head(`file://${root}/f` as UfsPath);
    appendFileSync(join(root, 'f'), '!');
    expect((await fetch('f', 0, 3, version)).result).toMatchObject({ failure: { cause: 'changed' }, receivedBytes: 0 });
  });

  test('a file that changes while it is read', async () => {
    put('f', 'x'.repeat(3_000_000));
    const lane = await origins.laneOrigin(`file://${root}/f` as UfsPath);
    client.addOrigin(lane);
    const version = await origins.head(`file://${root}/f` as UfsPath);
    let touched = false;
    const cause = await new Promise((resolve) => {
      client.get(
        { originIndex: lane.originIndex, key: 'f', offset: 0, length: 3_000_000, version, run: 1 },
        new Uint8Array(3_000_000),
        () => {
          if (!touched) appendFileSync(join(root, 'f'), 'more');
          touched = true;
        },
        (result) => resolve(result.failure?.cause),
      );
    });
    expect(touched).toBe(true);
    expect(cause).toBe('changed');
  });

  test('what is missing, a directory, a FIFO, or outside', async () => {
    put('d/f');
    const version = { etag: 'x', sizeBytes: 1, lastModifiedMs: 0 };
    symlinkSync(join(top, 'secret'), join(root, 'out'));
    execFileSync('mkfifo', [join(root, 'fifo')]);
    expect((await fetch('nope', 0, 1, version)).result.failure?.cause).toBe('missing');
    expect((await fetch('d', 0, 1, version)).result.failure?.cause).toBe('missing');
    expect((await fetch('fifo', 0, 1, version)).result.failure?.cause).toBe('missing');
    expect((await fetch('out', 0, 1, version)).result.failure?.cause).toBe('denied');
    expect((await fetch('../secret', 0, 1, version)).result.failure?.cause).toBe('denied');
  });

  test('cancel and pacing', async () => {
    put('f', 'x'.repeat(100_000));
    await client.close();
    let refuse = true;
    client = makeRangeClient({
      maxSockets: 4,
      timeouts,
      idleMs: 1000,
      paceRetryMs: 1,
      grant: (_, wanted) => (refuse ? 0 : Math.min(wanted, 30_000)),
    });
    const waiting = fetch('f', 0, 100_000);
    await expect.poll(() => client.active).toBe(1);
    client.cancel(1);
    expect((await waiting).result.failure?.cause).toBe('cancelled');
    refuse = false;
    const fetched = await fetch('f', 0, 100_000);
    expect(fetched.landed.map((piece) => piece.count)).toEqual([30_000, 30_000, 30_000, 10_000]);
  });
});
