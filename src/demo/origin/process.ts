/**
 * The embedded origin as a process of its own: started by spawn.ts with an IPC channel, told what to do over it, and
 * gone when the channel is: an origin never outlives whoever started it.
 *
 *   parent                          child
 *     | --- { start: options } ------> |
 *     | <-- { started: address } ----- |   or { failed: message }
 *     | --- { id, call, args } ------> |
 *     | <-- { id, value | error } ---- |
 */
import type { EmbeddedOrigin, OriginAddress, OriginCommands, OriginOptions } from './api.ts';
import { startOrigin } from './server.ts';

export interface StartMessage {
  readonly start: OriginOptions;
}
export interface CallMessage {
  readonly id: number;
  readonly call: keyof OriginCommands | 'cpuSeconds' | 'close';
  readonly args: readonly unknown[];
}
export type ChildMessage =
  | { readonly started: OriginAddress }
  | { readonly failed: string }
  | { readonly id: number; readonly value?: unknown; readonly error?: string };

let origin: EmbeddedOrigin | undefined;

function answer(message: ChildMessage): void {
  // A parent that is gone cannot be told; `disconnect` ends this process.
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}

async function start(options: OriginOptions): Promise<void> {
  try {
    origin = await startOrigin(options);
    const { endpoint, host, port, bucket } = origin;
    answer({ started: { endpoint, host, port, bucket } });
  } catch (error) {
    answer({ failed: textOf(error) });
  }
}

async function call({ id, call: name, args }: CallMessage): Promise<void> {
  try {
    if (origin === undefined) throw new Error('the origin has not been started');
    if (name === 'cpuSeconds') {
      const { user, system } = process.cpuUsage();
      answer({ id, value: (user + system) / 1e6 });
      return;
    }
    const method = origin[name] as (...args: readonly unknown[]) => unknown;
    const value = await method.apply(origin, args as unknown[]);
    answer({ id, value });
    if (name === 'close') process.disconnect();
  } catch (error) {
    answer({ id, error: textOf(error) });
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

// A Ctrl-C at the terminal reaches the whole group; the parent decides when the origin ends.
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit(0));
process.on('message', (message: StartMessage | CallMessage) => {
  void ('start' in message ? start(message.start) : call(message));
});
