import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { sdNotify } from '../../../src/platform/index.ts';
import { makeFolder } from './folder.ts';

const folder = makeFolder();
const manager = join(folder, 'manager');

// Node has no AF_UNIX datagrams, so a small program plays the service manager: one message, then its end.
const managerSource = `
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cstddef>
#include <cstring>
int main(int, char** arguments) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  strcpy(address.sun_path, arguments[1]);
  if (address.sun_path[0] == '@') address.sun_path[0] = 0;
  int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  alarm(20);
  if (bind(fd, (sockaddr*)&address, offsetof(sockaddr_un, sun_path) + strlen(arguments[1])) != 0) return 1;
  if (write(1, "bound;", 6) != 6) return 2;
  char text[4096];
  ssize_t length = recv(fd, text, sizeof text, 0);
  return length > 0 && write(1, text, length) == length ? 0 : 3;
}`;

beforeAll(() => {
  // The compiler that made the addon is there.
  const compiler = process.env.CXX ?? 'g++';
  execFileSync(compiler, ['-x', 'c++', '-o', manager, '-'], { input: managerSource });
});

async function receivedAt(socketPath: string, send: () => void): Promise<string> {
  const child = spawn(manager, [socketPath], { stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  let sent = false;
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
    if (sent || !text.startsWith('bound;')) return;
    sent = true;
    send();
  });
  expect(await once(child, 'close')).toEqual([0, null]);
  return text.slice('bound;'.length);
}

describe('sdNotify', () => {
  it.each([join(folder, 'notify.sock'), `@primed-test-${process.pid}`])(
    'reaches the service manager at %s',
    async (socketPath) => {
      const received = await receivedAt(socketPath, () => {
        expect(sdNotify('READY=1\nSTATUS=läuft', socketPath)).toEqual({ sent: true });
      });
      expect(received).toBe('READY=1\nSTATUS=läuft');
    },
  );

  it('is silent without a service manager, and says what is wrong with a bad one', () => {
    expect(sdNotify('READY=1', undefined)).toEqual({ sent: false });
    expect(sdNotify('READY=1', '')).toEqual({ sent: false });
    expect(sdNotify('READY=1', join(folder, 'nobody')).problem).toMatch(/nobody: ENOENT/);
    expect(sdNotify('READY=1', 'relative').problem).toMatch(/EINVAL/);
    expect(sdNotify('READY=1', `/${'x'.repeat(200)}`).problem).toMatch(/ENAMETOOLONG/);
  });

  it('takes the socket from the environment', () => {
    process.env.NOTIFY_SOCKET = join(folder, 'from-environment');
    try {
      expect(sdNotify('READY=1').problem).toMatch(/from-environment: ENOENT/);
    } finally {
      delete process.env.NOTIFY_SOCKET;
    }
  });
});
