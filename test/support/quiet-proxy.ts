/** A TCP proxy that can fall silent: connections stay, and nothing passes any more. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

export interface QuietProxy {
  /** `http://127.0.0.1:port` */
  readonly url: string;
  /** Connections that are there fall silent for good; new ones pass. Returns how many there were. */
  silence(): number;
  /** While true, connections are cut, and new ones too. */
  refuse(refused: boolean): void;
  close(): Promise<void>;
}

export async function startQuietProxy(target: string): Promise<QuietProxy> {
  const { hostname, port } = new URL(target);
  const pairs = new Set<readonly [Socket, Socket]>();
  let refusing = false;
  const server = createServer((near) => {
    if (refusing) {
      near.destroy();
      return;
    }
    const far = connect({ host: hostname, port: Number(port) });
    const pair = [near, far] as const;
    pairs.add(pair);
    near.pipe(far);
    far.pipe(near);
    const end = (): void => {
      pairs.delete(pair);
      near.destroy();
      far.destroy();
    };
    for (const socket of pair) socket.on('error', end).on('close', end);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    silence() {
      for (const [near, far] of pairs) {
        near.unpipe(far);
        far.unpipe(near);
      }
      return pairs.size;
    },
    refuse(refused) {
      refusing = refused;
      if (refused) for (const sockets of pairs) for (const socket of sockets) socket.destroy();
    },
    async close() {
      for (const sockets of pairs) for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
