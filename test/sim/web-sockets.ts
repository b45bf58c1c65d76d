/** In place of `ws`: the same events and calls, over the network of the world. */
import { EventEmitter } from 'node:events';
import type { Connection, Endpoint, Network } from './network.ts';
import { here, type Machine, type Process } from './world.ts';

type Frame =
  | { readonly type: 'message' | 'ping' | 'pong'; readonly data: Buffer }
  | { readonly type: 'close'; readonly code: number; readonly reason: string };

const empty = Buffer.alloc(0);

/** A process that takes upgrades: what `attachControl` is given in place of an HTTP server. */
export interface Upgrades {
  readonly server: EventEmitter;
}

/** What a world must say about where workers listen. */
export interface Addresses {
  readonly network: Network;
  /** By `host:port`. */
  machineAt(host: string): Machine | undefined;
  upgradesOf(process: Process): Upgrades | undefined;
  /** Told of every frame before it is read, and of who reads it; undefined: it carries no message. */
  delivering(socket: WebSocket, process: Process, frame: Buffer | undefined): void;
}

let addresses: Addresses | undefined;

export function setAddresses(now: Addresses | undefined): void {
  addresses = now;
}

export class WebSocket extends EventEmitter {
  static readonly OPEN = 1;
  readyState = 0;
  /** Both sides are of one version: the first that is offered is chosen. */
  readonly protocol: string;
  /** Headers of the handshake, for those who watch. */
  readonly headers: Readonly<Record<string, string>>;
  #connection: Connection | undefined;
  #side: 0 | 1 = 0;
  #over = false;

  constructor(
    url: string | null,
    protocols?: readonly string[],
    options: { headers?: Record<string, string>; handshakeTimeout?: number } = {},
  ) {
    super();
    this.headers = { 'sec-websocket-protocol': protocols?.join(',') ?? '', ...options.headers };
    this.protocol = this.headers['sec-websocket-protocol']!.split(',')[0]!;
    if (url !== null) this.#dial(new URL(url), options.handshakeTimeout ?? 30_000);
  }

  static accepted(connection: Connection, headers: Readonly<Record<string, string>>): WebSocket {
    const socket = new WebSocket(null, undefined, { headers });
    socket.#open(connection, 1);
    return socket;
  }

  get side(): 0 | 1 {
    return this.#side;
  }

  send(data: Buffer): void {
    if (this.readyState === 1) this.#connection!.send(this.#side, { type: 'message', data });
  }

  ping(): void {
    if (this.readyState === 1) this.#connection!.send(this.#side, { type: 'ping', data: empty });
  }

  close(code: number, reason: string): void {
    if (this.readyState !== 1) return;
    this.readyState = 2;
    this.#connection!.send(this.#side, { type: 'close', code, reason });
    // So long it waits for the other side to say the same.
    setTimeout(() => this.#end(1006, ''), 30_000);
  }

  terminate(): void {
    if (this.readyState === 0 && this.#connection === undefined) this.#fail('the handshake was given up');
    else this.#end(1006, '');
  }

  #dial({ host, pathname }: URL, handshakeMs: number): void {
    const world = here();
    const { network, machineAt, upgradesOf } = addresses!;
    const from = world.current!;
    const to = machineAt(host);
    const timer = setTimeout(() => this.#fail('Opening handshake has timed out'), handshakeMs);
    this.once('open', () => clearTimeout(timer));
    this.once('close', () => clearTimeout(timer));
    if (to === undefined || network.isCut(from.machine, to)) return;
    world.after(network.latencyMs(), undefined, () => {
      const process = to.process;
      const upgrades = process === undefined ? undefined : upgradesOf(process);
      if (process === undefined || upgrades === undefined) {
        if (!network.isCut(to, from.machine))
          world.after(network.latencyMs(), from, () => this.#fail('connect ECONNREFUSED'));
        return;
      }
      const connection = network.connect(from, process);
      this.#connection = connection;
      connection.ends[0].endpoint = {
        receive: (answer) => this.#answered(connection, answer as HandshakeAnswer),
        closed: () => this.#fail('socket hang up'),
      };
      if (this.#over) connection.close(0);
      world.after(0, process, () => {
        const socket = new HandshakeSocket(connection, this.headers);
        upgrades.server.emit('upgrade', { ...requestOf(pathname, this.headers, from) }, socket, empty);
      });
    });
  }

  #answered(connection: Connection, answer: HandshakeAnswer): void {
    if (this.#over) return;
    if (answer.status === 101) {
      this.#open(connection, 0);
      this.emit('open');
      return;
    }
    async function* body(): AsyncGenerator<Buffer> {
      yield Buffer.from(answer.body);
    }
    this.emit('unexpected-response', {}, Object.assign(body(), { statusCode: answer.status }));
  }

  #open(connection: Connection, side: 0 | 1): void {
    this.#connection = connection;
    this.#side = side;
    this.readyState = 1;
    const { process } = connection.ends[side];
    const endpoint: Endpoint = {
      receive: (frame) => {
        const { type, ...more } = frame as Frame;
        addresses!.delivering(this, process, type === 'message' && 'data' in more ? more.data : undefined);
        this.#receive(frame as Frame);
      },
      closed: () => this.#end(1006, ''),
    };
    connection.ends[side].endpoint = endpoint;
  }

  #receive(frame: Frame): void {
    if (this.#over) return;
    if (frame.type === 'close') {
      if (this.readyState === 1) this.#connection!.send(this.#side, { type: 'close', code: frame.code, reason: '' });
      this.#end(frame.code, frame.reason);
      return;
    }
    if (frame.type === 'ping' && this.readyState === 1)
      this.#connection!.send(this.#side, { type: 'pong', data: empty });
    if (frame.type === 'message') this.emit('message', frame.data, true);
    else this.emit(frame.type, frame.data);
  }

  #fail(message: string): void {
    if (this.#over) return;
    const world = here();
    this.#over = true;
    this.readyState = 3;
    this.#connection?.close(this.#side);
    world.after(0, world.current, () => {
      this.emit('error', new Error(message));
      this.emit('close', 1006, empty);
    });
  }

  #end(code: number, reason: string): void {
    if (this.#over) return;
    const world = here();
    this.#over = true;
    this.readyState = 3;
    this.#connection?.close(this.#side);
    world.after(0, world.current, () => this.emit('close', code, Buffer.from(reason)));
  }
}

interface HandshakeAnswer {
  readonly status: number;
  readonly body: string;
}

function requestOf(url: string, headers: Readonly<Record<string, string>>, from: Process): object {
  return {
    url,
    method: 'GET',
    headers,
    rawHeaders: [],
    httpVersion: '1.1',
    socket: { remoteAddress: from.machine.name },
  };
}

/** The raw socket of an upgrade: it is refused on it, or becomes a WebSocket. */
class HandshakeSocket extends EventEmitter {
  readonly connection: Connection;
  readonly headers: Readonly<Record<string, string>>;

  constructor(connection: Connection, headers: Readonly<Record<string, string>>) {
    super();
    this.connection = connection;
    this.headers = headers;
  }

  end(text: string, done: () => void): void {
    const [head, body] = text.split('\r\n\r\n') as [string, string];
    this.connection.send(1, { status: Number(head.split(' ')[1]), body });
    setImmediate(done);
  }

  destroy(): void {
    this.connection.close(1);
  }
}

export class WebSocketServer {
  handleUpgrade(_request: unknown, raw: HandshakeSocket, _head: Buffer, opened: (socket: WebSocket) => void): void {
    const { connection, headers } = raw;
    // The other side gave up while this one stood still.
    if (connection.ends[1].closed) return;
    connection.send(1, { status: 101, body: '' });
    opened(WebSocket.accepted(connection, headers));
  }
}
