/** Listening sockets that threads have one each of, on one port. */
import { closeSync } from 'node:fs';
import { addon } from './addon.ts';
import { errnoName } from './errno.ts';

export interface SharedListen {
  /** Numeric. */
  readonly address: string;
  /** 0: any. */
  readonly port: number;
  readonly count: number;
  /** Connections that wait to be accepted, for each. */
  readonly backlog: number;
}

/**
 * `count` sockets on one port; the kernel spreads connections over them. Each is its taker's to close.
 *
 * Sockets that share a port share it with those of other processes of the user, too; so that a second daemon is refused as it
 * should be, one that shares with nobody listens there first, for a moment.
 * @throws Error with `code`, as Node's own `listen`
 */
export function listenShared({ address, port, count, backlog }: SharedListen): { port: number; fds: number[] } {
  const native = addon();
  const first = taken(native.listenOn(address, port, false, backlog), address, port);
  const actual = native.socketPort(first);
  closeSync(first);
  const fds: number[] = [];
  try {
    while (fds.length < count) fds.push(taken(native.listenOn(address, actual, true, backlog), address, actual));
  } catch (error) {
    for (const fd of fds) closeSync(fd);
    throw error;
  }
  return { port: actual, fds };
}

function taken(fd: number, address: string, port: number): number {
  if (fd >= 0) return fd;
  const code = errnoName(-fd);
  throw Object.assign(new Error(`listen ${code}: ${address}:${port}`), { code });
}
