/** Tells the service manager how the daemon is, sd_notify(3). */
import { addon } from './addon.ts';
import { errnoName } from './errno.ts';

export interface SdNotified {
  /** False when no service manager listens, or the message did not get there. */
  readonly sent: boolean;
  /** Why not; absent where there is no service manager. */
  readonly problem?: string;
}

/**
 * Sends `state`, lines such as `READY=1`, `STOPPING=1`, `WATCHDOG=1`, `STATUS=…`, to $NOTIFY_SOCKET. Does not block
 * and does not throw for the socket's sake: a daemon runs on without its service manager.
 */
export function sdNotify(state: string, socketPath: string | undefined = process.env.NOTIFY_SOCKET): SdNotified {
  if (socketPath === undefined || socketPath === '') return { sent: false };
  const error = addon().sdNotify(socketPath, state);
  if (error === 0) return { sent: true };
  return { sent: false, problem: `NOTIFY_SOCKET ${socketPath}: ${errnoName(error)}` };
}
