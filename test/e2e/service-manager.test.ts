/** The daemon under a service manager that wants to be told, sd_notify(3): systemd's Type=notify. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { freePort } from '../../bench/support/process.ts';
import { openPlace, type Place } from '../support/node.ts';
import { compileProgram } from '../support/program.ts';

/**
 * Prints every datagram that reaches the socket, after asking the daemon for its health: what the daemon is at the moment
 * in which it says so. Node has no AF_UNIX datagrams.
 */
const managerSource = `
#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
static int health(int port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM, 0), status = 0;
  const char ask[] = "GET /health/ready HTTP/1.1\\r\\nhost: manager\\r\\nconnection: close\\r\\n\\r\\n";
  char answer[512] = "";
  if (connect(fd, (sockaddr*)&to, sizeof to) == 0 && write(fd, ask, sizeof ask - 1) > 0 && read(fd, answer, sizeof answer - 1) > 0)
    sscanf(answer, "HTTP/1.1 %d", &status);
  close(fd);
  return status;
}
int main(int, char** arguments) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strcpy(address.sun_path, arguments[1]);
  if (address.sun_path[0] == '@') address.sun_path[0] = 0;
  int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  alarm(60);
  const bool named = arguments[1][0] == '/';
  if (bind(fd, (sockaddr*)&address, offsetof(sockaddr_un, sun_path) + strlen(arguments[1]) + (named ? 1 : 0)) != 0) return 1;
  setvbuf(stdout, nullptr, _IOLBF, 0);
  puts("bound");
  char text[4096];
  for (;;) {
    const ssize_t length = recv(fd, text, sizeof text - 1, 0);
    if (length < 0) return 2;
    text[length] = 0;
    printf("%s %d\\n", text, health(atoi(arguments[2])));
  }
}`;

/** Stops one thread of a process (ptrace) until its standard input ends. */
const freezerSource = `
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
int main(int, char** arguments) {
  const pid_t thread = atoi(arguments[1]);
  if (ptrace(PTRACE_SEIZE, thread, 0, 0) != 0 || ptrace(PTRACE_INTERRUPT, thread, 0, 0) != 0) { perror("ptrace"); return 1; }
  int status;
  if (waitpid(thread, &status, __WALL) != thread) { perror("waitpid"); return 1; }
  setvbuf(stdout, nullptr, _IONBF, 0);
  fputs("frozen\\n", stdout);
  while (getchar() != EOF) {}
  ptrace(PTRACE_DETACH, thread, 0, 0);
  return 0;
}`;

let place: Place;
let program: string;
let freezer: string;
let manager: ChildProcess | undefined;
beforeAll(() => {
  place = openPlace('service-manager');
  program = compileProgram(join(place.path, 'manager'), managerSource);
  freezer = compileProgram(join(place.path, 'freezer'), freezerSource);
});
afterEach(() => void manager?.kill());
afterAll(() => place?.close());

/** Each message, with the status of /health/ready when it came (0: the port is closed). */
async function listenAt(socketPath: string, port: number): Promise<() => string[]> {
  manager = spawn(program, [socketPath, String(port)], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  manager.stdout!.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
  });
  await once(manager.stdout!, 'data');
  expect(text).toBe('bound\n');
  return () => text.split('\n').slice(1, -1);
}

it.each([
  ['a path', () => join(place.path, 'notify')],
  ['an abstract name', () => `@primed-test-${process.pid}`],
])('hears at %s when the daemon is ready, and when it stops', async (_, nameOf) => {
  const ports = { api: await freePort(), http: await freePort(), s3: await freePort() };
  const heard = await listenAt(nameOf(), ports.api);
  const daemon = await place.start('', { ports, env: { NOTIFY_SOCKET: nameOf() } });
  const states = () => heard().filter((line) => !line.startsWith('STATUS='));
  await expect.poll(states, { timeout: 10_000, interval: 5 }).toEqual(['READY=1 200']);
  await expect
    .poll(heard, { timeout: 10_000, interval: 5 })
    .toContainEqual(expect.stringMatching(/^STATUS=0 jobs at work; 0B\/s received; .* in use 200$/));
  expect(await daemon.terminate()).toEqual({ code: 0, signal: null });
  await expect
    .poll(states, { timeout: 10_000, interval: 5 })
    .toEqual(['READY=1 200', expect.stringMatching(/^STOPPING=1 (503|0)$/)]);
});

it.each([
  ['lane', 'lane-0', /"lane":0,.*a lane hangs/g],
  ['serving thread', 'serving-0', /"serving":0,.*a serving thread hangs/g],
])('hears signs of life as often as it asks for them, and none while a %s hangs', async (_, name, said) => {
  const ports = { api: await freePort(), http: await freePort(), s3: await freePort() };
  const socketPath = join(place.path, `watchdog-${name}`);
  const heard = await listenAt(socketPath, ports.api);
  const daemon = await place.start('', { ports, env: { NOTIFY_SOCKET: socketPath, WATCHDOG_USEC: '900000' } });
  const signs = () => heard().filter((line) => line.startsWith('WATCHDOG=1')).length;
  const many = { timeout: 20_000, interval: 10 };
  await expect.poll(signs, many).toBeGreaterThanOrEqual(3);
  const frozen = await freeze(daemon.pid, name);
  const hangs = () => daemon.log().match(said)?.length ?? 0;
  await expect.poll(hangs, many).toBeGreaterThanOrEqual(1);
  const before = signs();
  await expect.poll(hangs, many).toBeGreaterThanOrEqual(4);
  expect(signs()).toBe(before);
  frozen.stdin!.end();
  await expect.poll(signs, many).toBeGreaterThanOrEqual(before + 2);
  expect(await daemon.terminate()).toEqual({ code: 0, signal: null });
});

/** A thread is found by its name. */
async function freeze(pid: number, name: string): Promise<ChildProcess> {
  const thread = readdirSync(`/proc/${pid}/task`).find(
    (one) => readFileSync(`/proc/${pid}/task/${one}/comm`, 'utf8').trim() === name,
  );
  const child = spawn(freezer, [thread!], { stdio: ['pipe', 'pipe', 'inherit'] });
  expect(String(await once(child.stdout!, 'data'))).toBe('frozen\n');
  return child;
}

it('hears that the configuration is read again, when, and in the status that it was refused', async () => {
  const ports = { api: await freePort(), http: await freePort(), s3: await freePort() };
  const socketPath = join(place.path, 'reload');
  const heard = await listenAt(socketPath, ports.api);
  const daemon = await place.start('[log]\nlevel = "info"', { ports, env: { NOTIFY_SOCKET: socketPath } });
  const states = () => heard().filter((line) => !line.startsWith('STATUS='));
  const many = { timeout: 20_000, interval: 10 };
  await expect.poll(states, many).toEqual(['READY=1 200']);
  const before = process.hrtime.bigint();
  process.kill(daemon.pid, 'SIGHUP');
  const told = ['READY=1 200', 'RELOADING=1', expect.stringMatching(/^MONOTONIC_USEC=\d+ 200$/), 'READY=1 200'];
  await expect.poll(states, many).toEqual(told);
  // The clock is the one of the machine since its start: that of this process too.
  const at = BigInt(/\d+/.exec(states()[2]!)![0]) * 1000n;
  expect([at >= before, at <= process.hrtime.bigint()]).toEqual([true, true]);
  writeFileSync(/"set":\{[^}]*?"log\.level":"([^"]+?\.toml)/.exec(daemon.log())![1]!, 'wrong = 1');
  process.kill(daemon.pid, 'SIGHUP');
  await expect
    .poll(heard, many)
    .toContainEqual(expect.stringMatching(/^STATUS=.*; the configuration was read again and refused/));
  expect(states().slice(4)).toEqual(told.slice(1));
  expect(await daemon.terminate()).toEqual({ code: 0, signal: null });
});

it('hears nothing of a daemon that cannot start', async () => {
  const port = await freePort();
  const socketPath = join(place.path, 'nothing');
  const heard = await listenAt(socketPath, port);
  const daemon = await place.spawn('', {
    ports: { api: port, http: port, s3: port },
    env: { NOTIFY_SOCKET: socketPath },
  });
  expect(await daemon.exited).toEqual({ code: 78, signal: null });
  expect(daemon.log()).toMatch(/--http: \S+ is the address of api\.listen as well/);
  expect(heard()).toEqual([]);
});

it('that is not there does not keep the daemon from its work, and is missed in the log', async () => {
  const daemon = await place.start('', { env: { NOTIFY_SOCKET: join(place.path, 'nobody') } });
  const said = daemon
    .log()
    .split('\n')
    .find((line) => line.includes('READY=1'));
  expect(JSON.parse(said!)).toMatchObject({ level: 'warn', problem: expect.stringMatching(/nobody: ENOENT/) });
  expect(await daemon.terminate()).toEqual({ code: 0, signal: null });
});

it('sees a crash as the crash that it is', async () => {
  const daemon = await place.start('');
  process.kill(daemon.pid, 'SIGSEGV');
  expect(await daemon.exited).toEqual({ code: null, signal: 'SIGSEGV' });
});
