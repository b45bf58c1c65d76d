/** Clients that are slow: thousands cost no page of memory and nobody's speed, and what one of them reads stays until it has it. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { memoryOf } from '../../bench/support/process.ts';
import { MiB } from '../../src/core/units.ts';
import { type Answer, call, loaded } from '../support/api.ts';
import { expectContent, smallDataset } from '../support/origin.ts';
import { compileProgram } from '../support/program.ts';
import { rawRequest } from '../support/raw-http.ts';
import { openScene, type Scene } from '../support/scene.ts';

/**
 * Asks for one object on many connections with small windows, and says so when each has the head of its answer. Then it reads
 * 512 bytes of one connection after the other, until its standard input ends.
 */
const clientSource = `
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>
int main(int, char** arguments) {
  rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(atoi(arguments[1]));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  char ask[1024], bytes[512];
  const int length = snprintf(ask, sizeof ask, "GET %s HTTP/1.1\\r\\nhost: slow\\r\\n\\r\\n", arguments[2]);
  std::vector<int> open(atoi(arguments[3]));
  const int window = 4096;
  for (int& fd : open) {
    fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0) { perror("socket"); return 1; }
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &window, sizeof window);
    if (connect(fd, (sockaddr*)&to, sizeof to) != 0 || write(fd, ask, length) != length) { perror("connect"); return 1; }
  }
  for (int fd : open) {
    const ssize_t got = read(fd, bytes, sizeof bytes - 1);
    if (got < 15 || memcmp(bytes, "HTTP/1.1 200 OK", 15) != 0) { fprintf(stderr, "no answer: %.*s\\n", (int)got, bytes); return 1; }
  }
  puts("all");
  fflush(stdout);
  for (;;) {
    for (int fd : open) {
      pollfd end = {0, POLLIN, 0};
      if (poll(&end, 1, 1) > 0) return 0;
      if (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) == 0) { fputs("closed\\n", stderr); return 1; }
    }
  }
}`;

/** Of each connection the daemon has one descriptor, and some hundred of its own. */
const ownDescriptors = 1000;
const mostDescriptors = Number(execFileSync('bash', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }));
const readers = Math.min(10_000, mostDescriptors - ownDescriptors);
const large = smallDataset.find(({ key }) => key === 'data/large.bin')!;
const cacheBytes = 64 * MiB;
let scene: Scene;
let client: ChildProcess | undefined;

beforeAll(async () => {
  scene = await openScene({ daemon: { env: { PRIMED_WORKER_READ_CACHE: `${cacheBytes}` } } });
  await loaded(scene.daemon.api, 's3://demo/data/');
});
afterAll(async () => {
  client?.kill();
  await scene?.close();
});

it(`serves others as before while ${readers} clients are slow, and forgets those that go`, async () => {
  const descriptors = (): number => readdirSync(`/proc/${scene.daemon.pid}/fd`).length;
  expect(descriptors()).toBeLessThan(ownDescriptors);
  const program = compileProgram(join(scene.dataDir, 'slow-readers'), clientSource);
  const before = memoryOf(scene.daemon.pid);
  const { s3 } = scene.daemon.ports;
  client = spawn(program, [String(s3), `/demo/${large.key}`, String(readers)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const ended = once(client, 'exit');
  const [said] = await Promise.race([once(client.stdout!, 'data'), ended.then(([code]) => [`ended with ${code}`])]);
  expect(String(said)).toBe('all\n');
  await expect.poll(() => gauge('primed_s3_bodies_open'), { timeout: 30_000 }).toBe(readers);
  expect(descriptors()).toBeLessThan(readers + ownDescriptors);

  // All of them want pages that do not fit into memory together with those of the others.
  const answer = await rawRequest(s3, `/demo/${large.key}`);
  expectContent(answer.body, large);
  const odd = smallDataset.find(({ key }) => key === 'data/odd.bin')!;
  // Again and again: what the slow ones leave in the kernel must not cost the others their connections.
  for (let time = 0; time < 15; time += 1) expectContent((await rawRequest(s3, `/demo/${odd.key}`)).body, odd);
  expect(await gauge('primed_s3_bodies_open')).toBe(readers);
  expect(await gauge('primed_page_cache_bytes')).toBeLessThanOrEqual(cacheBytes);
  const after = memoryOf(scene.daemon.pid);
  const eachBytes = (after.anonymousBytes - before.anonymousBytes) / readers;
  expect(eachBytes).toBeLessThan(64 * 1024);

  client.stdin!.end();
  expect(await ended).toEqual([0, null]);
  await expect.poll(() => gauge('primed_s3_bodies_open'), { timeout: 60_000 }).toBe(0);
  await expect.poll(() => gauge('primed_s3_connections_open'), { timeout: 60_000 }).toBe(0);
  expect(descriptors()).toBeLessThan(ownDescriptors);
  expectContent((await rawRequest(s3, `/demo/${odd.key}`)).body, odd);
});

it('gives all of a file that is freed while a client reads it, and keeps its room until then', async () => {
  const { s3 } = scene.daemon.ports;
  const { answer, begun } = await beginAndPause(scene);
  const pieces = [begun];
  await freeLarge(scene);
  expect((await rawRequest(s3, `/demo/${large.key}`)).status).toBe(404);
  expect(await gauge('primed_store_used_bytes')).toBeGreaterThanOrEqual(large.sizeBytes);

  for await (const piece of answer) pieces.push(piece as Buffer);
  expectContent(Buffer.concat(pieces), large);
  await expect.poll(() => gauge('primed_store_used_bytes'), { timeout: 30_000 }).toBeLessThan(large.sizeBytes);
});

it('cuts off who still reads a freed file when store.removed_limit is over, and has its room then', async () => {
  const other = await openScene({ daemon: { env: { PRIMED_STORE_REMOVED_LIMIT: '1s' } } });
  try {
    await loaded(other.daemon.api, 's3://demo/data/');
    const { answer } = await beginAndPause(other);
    await freeLarge(other);
    await expect.poll(() => gauge('primed_store_used_bytes', other), { timeout: 30_000 }).toBeLessThan(large.sizeBytes);
    expect(await gauge('primed_s3_bodies_cut_total', other)).toBe(1);
    const rest = async (): Promise<void> => {
      for await (const _ of answer);
    };
    await expect(rest()).rejects.toThrow('aborted');
  } finally {
    await other.close();
  }
});

/** A client that has the beginning of the large object, and takes no more. */
async function beginAndPause({ daemon }: Scene): Promise<{ answer: IncomingMessage; begun: Buffer }> {
  const answer = await new Promise<IncomingMessage>((resolve, reject) => {
    get({ host: '127.0.0.1', port: daemon.ports.s3, path: `/demo/${large.key}` }, resolve).once('error', reject);
  });
  expect(answer.statusCode).toBe(200);
  const begun = await new Promise<Buffer>((resolve) => answer.once('data', resolve));
  answer.pause();
  return { answer, begun };
}

async function freeLarge({ daemon }: Scene): Promise<void> {
  const path = `s3://demo/${large.key}`;
  const free = (verb: string): Promise<Answer> =>
    call(daemon.api, 'POST', `/api/v1/master/${verb}_job/free`, {
      path,
      ...(verb === 'submit' ? {} : { format: 'JSON' }),
    });
  expect((await free('submit')).status).toBe(200);
  await expect.poll(async () => (await free('progress')).text, { timeout: 30_000 }).toContain('SUCCEEDED');
}

async function gauge(name: string, of = scene): Promise<number> {
  const { text } = await call(`http://127.0.0.1:${of.daemon.ports.http}`, 'GET', '/metrics');
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
}
