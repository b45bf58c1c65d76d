/** Signals that do not stop the daemon. Those that do are close-with-grace's. */
import { closeSync, openSync } from 'node:fs';
import type { Log } from './core/types.ts';
import type { Opened } from './node.ts';

/** After one of these no JavaScript can run: a handler would have the instruction that failed repeated for ever. */
const crashes = ['SIGILL', 'SIGTRAP', 'SIGABRT', 'SIGBUS', 'SIGFPE', 'SIGSEGV'] as const;

export const notOfClosing = ['SIGHUP', 'SIGUSR2', ...crashes] as const;

/**
 * SIGHUP asks to read the configuration again; SIGUSR2 means nothing here, and must not end the daemon. Returns how to end
 * that.
 */
export function hearSignals(opened: Opened, { log, stop }: { log: Log; stop: () => void }): () => void {
  const terminal = process.stdout.isTTY === true;
  const onHangUp = (): void => {
    if (terminal && terminalIsGone()) stop();
    else if (opened.reload !== undefined && opened.closing === undefined) void opened.reload.read();
    else log.warn({}, 'SIGHUP is not for a daemon that starts or stops: its configuration is not read again');
  };
  const onUser = (): void => log.info({}, 'SIGUSR2 means nothing to this daemon');
  process.on('SIGHUP', onHangUp).on('SIGUSR2', onUser);
  return () => void process.off('SIGHUP', onHangUp).off('SIGUSR2', onUser);
}

/** Whoever closes the terminal of a daemon in the foreground wants it to end. */
function terminalIsGone(): boolean {
  try {
    closeSync(openSync('/dev/tty', 'r'));
    return false;
  } catch {
    return true;
  }
}
