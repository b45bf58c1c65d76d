/** The S3 port of the real binary over the real store; what the gateway does with odd requests is in its unit tests. */

import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { HeadObjectCommand, paginateListObjectsV2, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { MiB } from '../../src/core/units.ts';
import { contentAt } from '../../src/demo/origin/content.ts';
import { mayYield } from '../../src/platform/index.ts';
import { call, check, loaded } from '../support/api.ts';
import { expectContent, listedBy, manifestEntry, smallDataset, testCredentials } from '../support/origin.ts';
import { rawRequest } from '../support/raw-http.ts';
import { rot } from '../support/rot.ts';
import { openScene, type Scene, s3Of } from '../support/scene.ts';

const path = 's3://demo/data/';
const large = smallDataset.find(({ key }) => key === 'data/large.bin')!;
let scene: Scene;
let client: S3Client;

beforeAll(async () => {
  scene = await openScene();
  client = s3Of(scene.daemon);
  await loaded(scene.daemon.api, path);
});
afterAll(async () => {
  client?.destroy();
  await scene?.close();
});

it('lists what was loaded, with the sizes, ETags and times of the origin', async () => {
  const listed = [];
  for await (const page of paginateListObjectsV2({ client, pageSize: 5 }, { Bucket: 'demo', Prefix: 'data/' })) {
    expect(page.Contents!.length).toBeLessThanOrEqual(5);
    listed.push(...page.Contents!.map((one) => manifestEntry('demo', one)));
  }
  expect(listed).toHaveLength(smallDataset.length);
  expect(listed).toEqual(await listedBy(scene.origin, 'data/'));
});

it('has the checksum that the origin states, of what was loaded in one piece', async () => {
  const object = smallDataset.find(({ sizeBytes }) => sizeBytes > 0 && sizeBytes < MiB)!;
  const headers = { 'x-amz-checksum-mode': 'ENABLED' };
  const sum = (answer: { headers: Readonly<Record<string, string>> }) => answer.headers['x-amz-checksum-crc64nvme'];
  const stated = await client.send(new HeadObjectCommand({ Bucket: 'demo', Key: object.key, ChecksumMode: 'ENABLED' }));
  const originPort = Number(new URL(scene.origin.endpoint).port);
  expect(stated.ChecksumCRC64NVME).toHaveLength(12);
  expect(sum(await rawRequest(scene.daemon.ports.s3, `/demo/${object.key}`, { headers }))).toBe(
    stated.ChecksumCRC64NVME,
  );
  const direct = new S3Client({
    endpoint: `http://127.0.0.1:${originPort}`,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: testCredentials,
  });
  const atOrigin = await direct.send(
    new HeadObjectCommand({ Bucket: 'demo', Key: object.key, ChecksumMode: 'ENABLED' }),
  );
  direct.destroy();
  expect(stated.ChecksumCRC64NVME).toBe(atOrigin.ChecksumCRC64NVME);
});

it.each([
  [0, 1],
  [MiB - 1, 2],
  [8 * MiB - 3, 6],
  [64 * MiB - 5000, 10_000],
  [large.sizeBytes - 1, 1],
  [3 * MiB + 7, 40 * MiB],
])('gives the range %i+%i across pages, parts and segments', async (offset, length) => {
  const range = `bytes=${offset}-${offset + length - 1}`;
  const answer = await rawRequest(scene.daemon.ports.s3, `/demo/${large.key}`, { headers: { range } });
  expect(answer.status).toBe(206);
  expectContent(answer.body, large, offset, length);
});

it('gives many files at once, each its own bytes', async () => {
  const ports = scene.daemon.ports.s3;
  const answers = await Promise.all(
    Array.from({ length: 60 }, async (_, index) => {
      const object = smallDataset[index % (smallDataset.length - 2)]!;
      return { object, answer: await rawRequest(ports, `/demo/${object.key}`) };
    }),
  );
  expect(answers.map(({ answer }) => answer.status)).toEqual(answers.map(() => 200));
  for (const { object, answer } of answers) expectContent(answer.body, object);
});

it('answers what is sent ahead on a connection in order, what others know and what is not there between', async () => {
  const [first, second] = smallDataset.filter(({ sizeBytes }) => sizeBytes > 0 && sizeBytes < MiB);
  const targets = [first!.key, 'none', large.key, second!.key, first!.key].map((key) => `/demo/${key}`);
  const ranged = `bytes=${7 * MiB}-${9 * MiB}`;
  const socket = connect(scene.daemon.ports.s3, '127.0.0.1');
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.write(
    targets
      .map((target, at) => {
        const more = target.endsWith(large.key)
          ? `range: ${ranged}\r\n`
          : at === targets.length - 1
            ? 'connection: close\r\n'
            : '';
        return `GET ${target} HTTP/1.1\r\nhost: x\r\n${more}\r\n`;
      })
      .join(''),
  );
  await once(socket, 'close');
  let left = Buffer.concat(chunks);
  const answers = targets.map(() => {
    const end = left.indexOf('\r\n\r\n') + 4;
    const head = left.toString('latin1', 0, end);
    const length = Number(/content-length: (\d+)/i.exec(head)![1]);
    const body = left.subarray(end, end + length);
    left = left.subarray(end + length);
    return { status: Number(head.slice(9, 12)), body };
  });
  expect([left.length, ...answers.map(({ status }) => status)]).toEqual([0, 200, 404, 206, 200, 200]);
  expectContent(answers[0]!.body, first!);
  expectContent(answers[2]!.body, large, 7 * MiB, 2 * MiB + 1);
  expectContent(answers[3]!.body, second!);
  expectContent(answers[4]!.body, first!);
});

it('what is too large for a head, or none, is refused and closed; others are served', async () => {
  const refused = async (text: string): Promise<string> => {
    const socket = connect(scene.daemon.ports.s3, '127.0.0.1');
    const chunks: Buffer[] = [];
    socket.on('data', (chunk) => chunks.push(chunk));
    socket.write(text, 'latin1');
    await once(socket, 'close');
    return Buffer.concat(chunks).toString();
  };
  expect(await refused(`GET /demo/x HTTP/1.1\r\nhost: x\r\nx-large: ${'y'.repeat(20_000)}\r\n\r\n`)).toContain(
    '<Code>RequestHeaderSectionTooLarge</Code>',
  );
  expect(await refused('\x16\x03\x01\x02\x00\x01\x00')).toContain('<Code>BadRequest</Code>');
  expect((await rawRequest(scene.daemon.ports.s3, `/demo/${smallDataset[0]!.key}`)).status).toBe(200);
});

it('a page that rots on the SSD is never served, and check names it', async () => {
  const victim = smallDataset.find(({ key }) => key === 'data/odd.bin')!;
  await scene.daemon.terminate();
  // Somewhere in the store lie the bytes of the file: the start of its fourth page is found, and one bit of it turned.
  const needle = contentAt(victim.key, 1, 3 * MiB, 4096);
  expect(await rot(join(scene.dataDir, 'store'), needle)).toBe(1);

  await scene.restart();
  // The page cannot be had anywhere else.
  const refused = scene.origin.setFault({ operation: '*', fault: { kind: 'status', status: 403 } });
  const answer = await rawRequest(scene.daemon.ports.s3, `/demo/${victim.key}`);
  expect(answer.promisedBytes).toBe(victim.sizeBytes);
  expect(answer.body.length).toBeLessThanOrEqual(3 * MiB);
  expectContent(answer.body, victim, 0, answer.body.length);
  const inside = await rawRequest(scene.daemon.ports.s3, `/demo/${victim.key}`, {
    headers: { range: `bytes=${3 * MiB}-${3 * MiB + 9}` },
  });
  expect(inside.status).toBe(500);
  expect(inside.body.toString()).toContain('STORE_CORRUPT');
  const good = await rawRequest(scene.daemon.ports.s3, `/demo/${victim.key}`, {
    headers: { range: `bytes=${4 * MiB}-` },
  });
  expectContent(good.body, victim, 4 * MiB);

  const summary = await check(scene.daemon.api, path);
  expect(summary).toMatchObject({
    ok: false,
    badPageCount: 1,
    badPages: [{ path: `s3://demo/${victim.key}`, page: 3, code: 'STORE_CORRUPT' }],
  });
  expect((await call(scene.daemon.api, 'GET', '/health/live')).status).toBe(200);

  // Loading it again heals it.
  expect(scene.origin.fired(refused)).toBeGreaterThan(0);
  scene.origin.clearFaults();
  await loaded(scene.daemon.api, path);
  expect(await check(scene.daemon.api, path)).toMatchObject({ ok: true, badPageCount: 0 });
  await scene.readBack(smallDataset);
});

it('lets loads have what readers leave: lanes give way while somebody reads, and come back', async () => {
  const lanes = lanePolicies(scene.daemon.pid);
  expect(lanes.length).toBeGreaterThan(0);
  const all = (policy: number) => lanes.every((lane) => lane() === policy);
  // A system that would not let them come back has them stay as they are; the log says so.
  if (mayYield().refused !== undefined) {
    expect(scene.daemon.log()).toContain('loads do not give way to readers');
    return;
  }
  await vi.waitFor(() => expect(all(schedOther)).toBe(true), { timeout: 20_000 });
  await vi.waitFor(
    async () => {
      await rawRequest(scene.daemon.ports.s3, `/demo/${large.key}`, { headers: { range: 'bytes=0-99' } });
      expect(all(schedIdle)).toBe(true);
    },
    { timeout: 20_000 },
  );
  await vi.waitFor(() => expect(all(schedOther)).toBe(true), { timeout: 20_000 });
  const text = await (await fetch(`${scene.daemon.api}/metrics`)).text();
  expect(text).toMatch(/primed_load_yielded_seconds_total\{mode="yielding"\}/);
});

const schedOther = 0;
const schedIdle = 5;

/** What each lane's thread is scheduled as, field 41 of proc_pid_stat(5), asked each time. */
function lanePolicies(pid: number): (() => number)[] {
  const tasks = `/proc/${pid}/task`;
  const isLane = (tid: string) => readFileSync(join(tasks, tid, 'comm'), 'utf8').startsWith('lane-');
  // The thread that waits for the kernel, which has the name too, only wakes the other one up.
  const lowest = new Map<string, string>();
  for (const tid of readdirSync(tasks).filter(isLane)) {
    const name = readFileSync(join(tasks, tid, 'comm'), 'utf8');
    const known = lowest.get(name);
    if (known === undefined || Number(tid) < Number(known)) lowest.set(name, tid);
  }
  return [...lowest.values()].map((tid) => () => {
    const fields = readFileSync(join(tasks, tid, 'stat'), 'utf8')
      .split(') ')[1]!
      .split(' ');
    return Number(fields[38]);
  });
}
