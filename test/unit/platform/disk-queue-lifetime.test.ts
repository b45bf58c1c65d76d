/** The disk queue where JavaScript threads and processes end around it. */

import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, existsSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { beforeAll, describe, expect, it } from 'vitest';
import { addon } from '../../../src/platform/addon.ts';
import { type DiskEngine, probeDiskEngine } from '../../../src/platform/index.ts';
import { bundlePlatform, runToEnd, writeScript } from './bundled.ts';
import { makeFolder } from './folder.ts';

const folder = makeFolder();
const uring = (await probeDiskEngine()).engine === 'io_uring';
const engines: readonly DiskEngine[] = uring ? ['io_uring', 'threads'] : ['threads'];

beforeAll(() => bundlePlatform(folder));

const head = (engine: DiskEngine): string => `
  import fs from 'node:fs';
  import { parentPort } from 'node:worker_threads';
  import * as p from './platform.mjs';
  const engine = ${JSON.stringify(engine)};
  const open = async (name, bytes) => {
    const path = new URL(name, import.meta.url).pathname;
    fs.writeFileSync(path, '');
    const { fd } = p.openDirect(path, { write: true });
    await p.allocateFile(fd, bytes);
    return fd;
  };
`;

describe.each(engines)('the disk queue by %s', (engine) => {
  it('works in a worker thread, and leaves nothing behind', async () => {
    const before = addon().diskQueueCount();
    const script = writeScript(
      folder,
      `worker-${engine}.mjs`,
      `${head(engine)}
      const fd = await open('worker-file-' + engine, 1 << 20);
      const slots = p.makeSlots({ slotBytes: 65536, slotCount: 16 });
      let left = 16, sum = 0;
      const queue = p.openDiskQueue({ engine, depth: 16, onCompletions(count, tokens, results) {
        for (let i = 0; i < count; i++) sum += results[i];
        if ((left -= count) > 0) return;
        queue.close().then(() => { fs.closeSync(fd); parentPort.postMessage({ sum, inFlight: queue.inFlight }); });
      } });
      for (let i = 0; i < 16; i++)
        queue.write({ fd, buffer: slots.view(i).fill(i), offset: 0, length: 65536, fileOffset: i * 65536, token: i });
      queue.submit();`,
    );
    const worker = new Worker(script);
    const warnings: unknown[] = [];
    process.on('warning', (warning) => warnings.push(warning.message));
    // Both at once: the thread may be gone before its message was looked at.
    const [[message], ended] = await Promise.all([once(worker, 'message'), once(worker, 'exit')]);
    expect(message).toEqual({ sum: 1 << 20, inFlight: 0 });
    expect(ended).toEqual([0]);
    const written = readFileSync(join(folder, `worker-file-${engine}`));
    expect(written.every((byte, i) => byte === i >> 16)).toBe(true);
    expect(addon().diskQueueCount()).toBe(before);
    expect(warnings).toEqual([]);
  });

  it('lets a worker thread be terminated with operations that it was never told about', async () => {
    const before = addon().diskQueueCount();
    const script = writeScript(
      folder,
      `terminated-${engine}.mjs`,
      `${head(engine)}
      const depth = 32, bytes = 4 << 20;
      const fd = await open('terminated-file-' + engine, depth * bytes);
      const slots = p.makeSlots({ slotBytes: bytes, slotCount: 4 });
      const queue = p.openDiskQueue({ engine, depth, onCompletions() { parentPort.postMessage('delivered'); } });
      for (let i = 0; i < depth; i++)
        queue.write({ fd, buffer: slots.view(i % 4), offset: 0, length: bytes, fileOffset: i * bytes, token: i });
      queue.submit();
      parentPort.postMessage(queue.inFlight);
      // The event loop never runs again: the thread ends with all of them in flight.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);`,
    );
    const worker = new Worker(script);
    const messages: unknown[] = [];
    worker.on('message', (message) => messages.push(message));
    await once(worker, 'message');
    expect(addon().diskQueueCount()).toBe(before + 1);
    await worker.terminate();
    expect(messages).toEqual([32]);
    expect(addon().diskQueueCount()).toBe(before);
  });

  it('keeps a process alive while something is in flight, and not a moment longer', async () => {
    const script = writeScript(
      folder,
      `alive-${engine}.mjs`,
      `${head(engine)}
      const fd = await open('alive-file-' + engine, 32 << 20);
      const view = p.makeAligned(4 << 20);
      const idle = p.openDiskQueue({ engine, depth: 1, onCompletions() {} });
      const queue = p.openDiskQueue({ engine, depth: 8, onCompletions(count, tokens, results) {
        for (let i = 0; i < count; i++) console.log('done', tokens[i], results[i]);
      } });
      for (let i = 0; i < 8; i++)
        queue.write({ fd, buffer: view, offset: 0, length: 4 << 20, fileOffset: i * (4 << 20), token: i });
      queue.submit();
      console.log('end of the script', idle.inFlight);`,
    );
    const ran = await runToEnd(process.execPath, [script]);
    expect(ran).toMatchObject({ code: 0, signal: null, stderr: '' });
    const lines = ran.stdout.trim().split('\n');
    expect(lines[0]).toBe('end of the script 0');
    expect(lines.slice(1).sort()).toEqual(Array.from({ length: 8 }, (_, i) => `done ${i} ${4 << 20}`));
  });

  it('hands an exception of the callback to uncaughtException', async () => {
    const script = writeScript(
      folder,
      `throws-${engine}.mjs`,
      `${head(engine)}
      const fd = await open('throws-file-' + engine, 4096);
      process.on('uncaughtException', (error) => { console.log('caught', error.message); queue.close(); });
      const queue = p.openDiskQueue({ engine, depth: 1, onCompletions() { throw new Error('from the callback'); } });
      queue.write({ fd, buffer: p.makeAligned(4096), offset: 0, length: 4096, fileOffset: 0, token: 0 });
      queue.submit();`,
    );
    expect(await runToEnd(process.execPath, [script])).toMatchObject({
      code: 0,
      stdout: 'caught from the callback\n',
      stderr: '',
    });
  });

  it('lets the callback end the process', async () => {
    const script = writeScript(
      folder,
      `exits-${engine}.mjs`,
      `${head(engine)}
      const fd = await open('exits-file-' + engine, 64 << 20);
      const view = p.makeAligned(8 << 20);
      const queue = p.openDiskQueue({ engine, depth: 8, onCompletions() { process.exit(7); } });
      for (let i = 0; i < 8; i++)
        queue.write({ fd, buffer: view, offset: 0, length: 8 << 20, fileOffset: i * (8 << 20), token: i });
      queue.submit();`,
    );
    expect(await runToEnd(process.execPath, [script])).toMatchObject({ code: 7, signal: null, stderr: '' });
  });
});

describe.runIf(uring)('the disk queue by io_uring, on a pipe', () => {
  /** Both ends: opened without waiting for the other, a FIFO counts as a pipe that blocks for readers. */
  function makePipe(name: string): { path: string; writer: number } {
    const path = join(folder, name);
    expect(spawnSync('mkfifo', [path]).status).toBe(0);
    return { path, writer: openSync(path, constants.O_RDWR) };
  }

  it('is called off when the thread ends during a read that would wait for ever', async () => {
    const before = addon().diskQueueCount();
    const { path, writer } = makePipe('fifo-terminate');
    const script = writeScript(
      folder,
      'forever.mjs',
      `${head('io_uring')}
      const fd = fs.openSync(${JSON.stringify(path)}, 'r+');
      const queue = p.openDiskQueue({ engine, depth: 4, onCompletions() {} });
      for (let i = 0; i < 4; i++)
        queue.read({ fd, buffer: p.makeAligned(4096), offset: 0, length: 100, fileOffset: 0, token: i });
      queue.submit();
      parentPort.postMessage(queue.inFlight);`,
    );
    const worker = new Worker(script);
    expect(await once(worker, 'message')).toEqual([4]);
    await worker.terminate();
    expect(addon().diskQueueCount()).toBe(before);
    closeSync(writer);
  });

  it('keeps the memory of an operation alive until it was delivered', async () => {
    const { path, writer } = makePipe('fifo-gc');
    const script = writeScript(
      folder,
      'collected.mjs',
      `${head('io_uring')}
      import { setImmediate as turn } from 'node:timers/promises';
      const fd = fs.openSync(${JSON.stringify(path)}, 'r+');
      let got;
      const queue = p.openDiskQueue({ engine, depth: 1, onCompletions: (count, tokens, results) => { got = results[0]; } });
      const reference = (() => {
        const buffer = new Uint8Array(100_000);
        queue.read({ fd, buffer, offset: 0, length: 5, fileOffset: 0, token: 0 });
        queue.submit();
        return new WeakRef(buffer);
      })();
      const collected = async () => {
        for (let i = 0; i < 20; i++) { globalThis.gc(); await turn(); }
        return reference.deref() === undefined;
      };
      const during = await collected();
      fs.writeSync(fd, 'hello');
      while (got === undefined) await turn();
      const text = (() => Buffer.from(reference.deref() ?? []).toString('latin1', 0, 5))();
      console.log(JSON.stringify({ during, got, text: text === 'hello' || text === '', after: await collected() }));
      await queue.close();`,
    );
    const ran = await runToEnd(process.execPath, ['--expose-gc', script]);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(ran.stdout)).toEqual({ during: false, got: 5, text: true, after: true });
    closeSync(writer);
  });

  it('continues a short read until the whole length is there', async () => {
    const { path, writer } = makePipe('fifo-short');
    const script = writeScript(
      folder,
      'short.mjs',
      `${head('io_uring')}
      import { setImmediate as turn } from 'node:timers/promises';
      const fd = fs.openSync(${JSON.stringify(path)}, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
      const view = new Uint8Array(new SharedArrayBuffer(300_000));
      let calls = 0;
      const queue = p.openDiskQueue({ engine, depth: 1, onCompletions(count, tokens, results) {
        calls++;
        const right = view.every((byte, i) => byte === (i % 241));
        queue.close().then(() => console.log(JSON.stringify({ calls, result: results[0], right })));
      } });
      queue.read({ fd, buffer: view, offset: 0, length: view.length, fileOffset: 0, token: 0 });
      queue.submit();
      // A pipe holds 64 KiB, so this takes many reads; the writer goes on when there is room.
      const bytes = Uint8Array.from(view, (_, i) => i % 241);
      for (let at = 0; at < bytes.length; ) {
        try { at += fs.writeSync(fd, bytes, at, Math.min(7001, bytes.length - at)); }
        catch (error) { if (error.code !== 'EAGAIN') throw error; await turn(); }
      }`,
    );
    const ran = await runToEnd(process.execPath, [script]);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(ran.stdout)).toEqual({ calls: 1, result: 300_000, right: true });
    closeSync(writer);
  });

  it('is replaced by threads where a ring cannot be made, and said so when it was forced', async () => {
    const script = writeScript(
      folder,
      'refused.mjs',
      `${head('io_uring')}
      p.addon();
      const spare = [];
      // No descriptor is left for a ring.
      try { for (;;) spare.push(fs.openSync('/dev/null')); } catch (error) { if (error.code !== 'EMFILE') throw error; }
      const queue = p.openDiskQueue({ engine: 'auto', depth: 4, onCompletions() {} });
      let forced;
      try { p.openDiskQueue({ engine: 'io_uring', depth: 4, onCompletions() {} }); } catch (error) { forced = error; }
      const probed = await p.probeDiskEngine();
      for (const fd of spare) fs.closeSync(fd);
      await queue.close();
      console.log(JSON.stringify({ engine: queue.engine, forced: forced?.code, message: forced?.message, probed }));`,
    );
    const ran = await runToEnd('sh', ['-c', `ulimit -n 80; exec "${process.execPath}" "${script}"`]);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    const said = JSON.parse(ran.stdout);
    expect(said).toMatchObject({ engine: 'threads', forced: 'STORE_IO', probed: { engine: 'threads' } });
    expect(said.message).toMatch(/io_uring cannot be used: the kernel answered EMFILE/);
    expect(said.probed.reason).toBe(said.message);
  });
});

describe('a missing addon', () => {
  it('is NATIVE_MISSING, with what to install', async () => {
    const script = writeScript(
      folder,
      'missing.mjs',
      `import fs from 'node:fs';
      const text = fs.readFileSync(new URL('platform.mjs', import.meta.url), 'utf8');
      const moved = new URL('moved.mjs', import.meta.url);
      fs.writeFileSync(moved, text.replaceAll(/"file:[^"]*addon\\.ts"/g, JSON.stringify(import.meta.url)));
      const p = await import(moved);
      try { p.crc32c(new Uint8Array(1)); } catch (error) { console.log(error.code, error.message); }`,
    );
    expect(existsSync(join(folder, 'native'))).toBe(false);
    const ran = await runToEnd(process.execPath, [script]);
    expect(ran.stdout).toMatch(/^NATIVE_MISSING .*apt install g\+\+ make.*npm run setup/);
  });
});
