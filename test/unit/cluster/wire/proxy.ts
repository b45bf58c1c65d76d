/** A way between two sockets that the test cuts, closes to newcomers, and lets bytes vanish on, in one direction or both. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface Way {
  readonly port: number;
  /** How often somebody connected. */
  readonly connections: number;
  /** Bytes that vanished. */
  readonly swallowedBytes: number;
  /** Resets all connections. */
  cut(): void;
  /** Newcomers are reset at once while it is set. */
  refusing: boolean;
  /** Bytes towards the server, and from it, are read and dropped; nobody is told. */
  swallow(directions: { readonly up?: boolean; readonly down?: boolean }): void;
  close(): Promise<void>;
}

export async function startProxy(target: number): Promise<Way> {
  const pairs = new Set<readonly [Socket, Socket]>();
  let swallowing: { readonly up?: boolean; readonly down?: boolean } = {};
  let connections = 0;
  let swallowedBytes = 0;
  const server = createServer((near) => {
    near.on('error', () => undefined);
    if (proxy.refusing) {
      near.resetAndDestroy();
      return;
    }
    connections += 1;
    const far = connect(target, '127.0.0.1');
    far.on('error', () => undefined);
    const pair = [near, far] as const;
    pairs.add(pair);
    const pipe = (from: Socket, to: Socket, direction: 'up' | 'down'): void => {
      from.on('data', (bytes) => {
        if (swallowing[direction] === true) swallowedBytes += bytes.length;
        else to.write(bytes);
      });
      from.on('close', () => {
        pairs.delete(pair);
        // Who lets bytes vanish does not tell of an end either.
        if (swallowing[direction] !== true) to.destroy();
      });
    };
    pipe(near, far, 'up');
    pipe(far, near, 'down');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = (): void => {
    for (const sockets of pairs) for (const socket of sockets) socket.resetAndDestroy();
    pairs.clear();
  };
  const proxy: Way = {
    port: (server.address() as AddressInfo).port,
    get connections() {
      return connections;
    },
    get swallowedBytes() {
      return swallowedBytes;
    },
    refusing: false,
    cut,
    swallow(directions) {
      swallowing = directions;
    },
    async close() {
      cut();
      server.close();
      await once(server, 'close');
    },
  };
  return proxy;
}
