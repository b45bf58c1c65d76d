/** The parts of the demo that touch the machine: folder, probes, ports, process figures, read-back. */
import { access, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { GiB, MiB } from '../../../src/core/units.ts';
import { cpuSecondsOf, DemoDaemon, freePorts } from '../../../src/demo/daemon.ts';
import { runDemo } from '../../../src/demo/demo.ts';
import { chooseFolder, makeDemoFolder } from '../../../src/demo/folder.ts';
import { startOrigin } from '../../../src/demo/origin/server.ts';
import { probeDisk, probeOrigin } from '../../../src/demo/probes.ts';
import { readBack } from '../../../src/demo/readback.ts';
import { makeShow } from '../../../src/demo/show.ts';
import { smallDataset, startTestOrigin, testCredentials } from '../../support/origin.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'primed-demo-test-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const startDaemon = async (executable: string): Promise<DemoDaemon> =>
  DemoDaemon.start({
    executable,
    dataDir: folder,
    storeBytes: MiB,
    ports: await freePorts(),
    logPath: join(folder, 'log'),
    awsEnvironment: {},
    signal: new AbortController().signal,
  });

/** A stream that is no terminal, and what was written to it. */
function collector(): { stream: NodeJS.WriteStream; text: () => string } {
  const stream = new PassThrough();
  const pieces: Buffer[] = [];
  stream.on('data', (piece: Buffer) => pieces.push(piece));
  return { stream: stream as unknown as NodeJS.WriteStream, text: () => Buffer.concat(pieces).toString() };
}

describe('where the data goes', () => {
  const disk = { path: '/disk', freeBytes: 10 * GiB, inMemory: false };
  const memory = { path: '/memory', freeBytes: 100 * GiB, inMemory: true };

  test('to the first disk with room, and to memory only where the user named it', () => {
    expect(chooseFolder([memory, disk], GiB, false)).toBe('/disk');
    expect(chooseFolder([memory], GiB, true)).toBe('/memory');
    expect(chooseFolder([{ ...disk, freeBytes: GiB }, memory], 2 * GiB, false)).toBeUndefined();
  });

  test('without room the message has the numbers', async () => {
    await expect(makeDemoFolder(1e18, folder)).rejects.toMatchObject({
      code: 'STORE_NO_ROOM',
      message: expect.stringContaining(folder),
    });
    await access(await makeDemoFolder(MiB, folder));
  });
});

describe('probes', () => {
  test('the disk probe measures and leaves nothing behind', async () => {
    const { bytesPerSecond } = await probeDisk(folder, 16 * MiB);
    expect(bytesPerSecond).toBeGreaterThan(0);
    expect(await readdir(folder)).toEqual([]);
  });

  test('the origin probe reads exactly what it was asked for, signed', async () => {
    const origin = await startTestOrigin();
    const object = smallDataset.find(({ key }) => key === 'data/large.bin')!;
    const target = { host: origin.host, port: origin.port, bucket: origin.bucket, region: 'us-east-1' };
    expect(await probeOrigin({ ...target, credentials: testCredentials }, object, 20 * MiB + 5)).toBeGreaterThan(0);
    expect(origin.stats().bytesByKey[object.key]).toBe(20 * MiB + 5);
    const wrong = { ...testCredentials, secretAccessKey: 'wrong' };
    await expect(probeOrigin({ ...target, credentials: wrong }, object, MiB)).rejects.toMatchObject({
      code: 'ORIGIN_PROTOCOL',
    });
    await origin.close();
  });
});

describe('reading back', () => {
  const options = { bucket: 'demo', objects: smallDataset, signal: new AbortController().signal };

  test('counts right objects', async () => {
    const origin = await startOrigin({ objects: smallDataset });
    let bytes = 0;
    const onBytes = (more: number) => {
      bytes += more;
    };
    expect(await readBack({ ...options, s3Url: origin.endpoint, onBytes })).toBe(smallDataset.length);
    expect(bytes).toBe(smallDataset.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
    await origin.close();
  });

  test.each([
    ['one wrong byte', { kind: 'corrupt', atByte: 8 * MiB }, /1 objects came back wrong.*data\/odd\.bin: other bytes/],
    ['a missing object', { kind: 'vanish' }, /data\/odd\.bin: HTTP 404/],
  ] as const)('%s is found and named', async (_name, fault, message) => {
    const origin = await startOrigin({ objects: smallDataset });
    const id = origin.setFault({ fault, key: 'data/odd.bin' });
    await expect(readBack({ ...options, s3Url: origin.endpoint, onBytes: () => {} })).rejects.toThrow(message);
    expect(origin.fired(id)).toBe(1);
    await origin.close();
  });
});

describe('processes', () => {
  test('CPU time is read from behind the name, whatever the name', () => {
    const stat = '123 (a b) c) S 1 123 123 0 -1 4194560 100 0 0 0 250 75 0 0 20 0 1 0 1 1 1';
    expect(cpuSecondsOf(stat)).toBe(3.25);
  });

  test('three free ports differ', async () => {
    const { api, http, s3 } = await freePorts();
    expect(new Set([api, http, s3]).size).toBe(3);
  });

  test('a daemon that cannot start is an error with its log', async () => {
    const daemon = await startDaemon(join(folder, 'nothing.js'));
    await expect(daemon.ready()).rejects.toThrow(/ended while it started[\s\S]*nothing\.js/);
    await daemon.stop();
  });
});

describe('what is shown', () => {
  test('without a terminal the bar is plain lines, with the result at the end', () => {
    const { stream, text } = collector();
    const bar = makeShow(stream).bar('load', 200);
    bar.update(50, 'first');
    bar.update(51, 'too soon for another line');
    bar.end('done');
    expect(text()).toBe('  load: 25%  first\n  load: done\n');
  });

  test('a demo that cannot begin says why, is 1, and leaves no folder', async () => {
    const { stream, text } = collector();
    const code = await runDemo({
      output: stream,
      dataDir: folder,
      sizeBytes: 16 * MiB,
      originScript: join(folder, 'none.js'),
    });
    expect(code).toBe(1);
    expect(text()).toContain('The demo failed: the origin process');
    expect(await readdir(folder)).toEqual([]);
    await expect(runDemo({ output: stream, sizeBytes: MiB })).rejects.toThrow('--size is 1.0 MiB');
  });

  test('a process of the demo is gone after killNow', async () => {
    const executable = join(folder, 'stays.mjs');
    await writeFile(executable, 'setInterval(() => {}, 1000);');
    const daemon = await startDaemon(executable);
    await daemon.mustRun();
    daemon.killNow();
    await daemon.kill();
    await expect(daemon.mustRun()).rejects.toThrow('ended by itself');
    expect(await daemon.cpuSeconds()).toBeUndefined();
  });
});
