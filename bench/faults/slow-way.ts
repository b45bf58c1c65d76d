/** A way to a worker, by which its coordinator and other workers reach it, and on which data can be made slow to come. */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

export interface SlowWay {
  readonly port: number;
  /** Bytes a second of each connection that is opened from now on, towards who asks; 0: as fast as it goes. */
  setRate(bytesPerSecond: number): void;
  /** Bytes that came slowly. */
  readonly slowBytes: number;
  close(): Promise<void>;
}

/** Of the control link only orders come this way, and they are not what is to be slow. */
const control = '/internal/v1/control';
const pieceBytes = 4096;

/** @param order where it listens, and what it leads to (on 127.0.0.1) */
export async function startSlowWay(order: { host: string; port: number; to: number }): Promise<SlowWay> {
  let rate = 0;
  let slowBytes = 0;
  const sockets = new Set<Socket>();
  const lead = (near: Socket): void => {
    const far = connect({ host: '127.0.0.1', port: order.to });
    let isControl = false;
    const end = (): void => {
      near.destroy();
      far.destroy();
      sockets.delete(near);
      sockets.delete(far);
    };
    for (const socket of [near, far]) sockets.add(socket.on('error', end).on('close', end).setNoDelay(true));
    near.on('data', (piece: Buffer) => {
      isControl ||= piece.includes(control);
      far.write(piece);
    });
    const dole = (piece: Buffer): void => {
      if (isControl || rate === 0 || near.destroyed) {
        near.write(piece);
        far.resume();
        return;
      }
      const some = piece.subarray(0, pieceBytes);
      slowBytes += some.length;
      near.write(some);
      const rest = piece.subarray(some.length);
      setTimeout(() => (rest.length > 0 ? dole(rest) : far.resume()), (some.length * 1000) / rate);
    };
    far.on('data', (piece: Buffer) => {
      far.pause();
      dole(piece);
    });
  };
  const server = createServer(lead);
  server.listen(order.port, order.host);
  await once(server, 'listening');
  return {
    port: order.port,
    setRate(bytesPerSecond) {
      rate = bytesPerSecond;
    },
    get slowBytes() {
      return slowBytes;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}
