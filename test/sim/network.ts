/**
 * The network between machines: bytes that are on their way, ways that are cut, connections that break.
 *
 * A connection is TCP's: what is said over it arrives in order and once, or not at all. What a cut holds up is sent again
 * when the cut ends. When a process is killed its machine closes its connections; when a machine loses power nobody does.
 */
import type { Machine, Process } from './world.ts';
import { here, type World } from './world.ts';

export interface Endpoint {
  receive(frame: unknown): void;
  closed(): void;
}

interface End {
  readonly process: Process;
  endpoint: Endpoint | undefined;
  /** It knows that the connection is over. */
  closed: boolean;
}

interface Waiting {
  readonly run: () => void;
  readonly process: Process;
}

export class Connection {
  readonly #network: Network;
  readonly ends: readonly [End, End];
  /** When the last thing that was sent arrives, by end that receives. */
  readonly #arrivesMs = [0, 0];
  /** Held up by a cut, by end that receives. */
  readonly held: [Waiting[], Waiting[]] = [[], []];
  broken = false;
  openedMs = here().nowMs;

  constructor(network: Network, a: Process, b: Process) {
    this.#network = network;
    this.ends = [
      { process: a, endpoint: undefined, closed: false },
      { process: b, endpoint: undefined, closed: false },
    ];
  }

  get over(): boolean {
    return this.ends.every(({ closed, process }) => closed || !process.alive);
  }

  send(from: 0 | 1, frame: unknown): void {
    if (this.broken) return;
    const to = this.ends[1 - from]!;
    this.#carry(from, () => {
      if (!to.closed) to.endpoint?.receive(frame);
    });
  }

  /** This end is done with it: what it has sent still arrives, then the other end hears the end. */
  close(from: 0 | 1): void {
    const end = this.ends[from]!;
    if (end.closed) return;
    end.closed = true;
    this.#network.forget(this);
    if (!this.broken) this.#carry(from, () => this.#tell((1 - from) as 0 | 1));
  }

  /** What is on its way is lost; each end hears of it at another time. */
  reset(): void {
    if (this.broken) return;
    this.broken = true;
    const world = here();
    this.held[0] = [];
    this.held[1] = [];
    for (const side of [0, 1] as const)
      world.after(world.chance(0.5) ? 0 : world.between(0, 400), this.ends[side].process, () => this.#tell(side));
    this.#network.forget(this);
  }

  #tell(side: 0 | 1): void {
    const end = this.ends[side];
    if (end.closed) return;
    end.closed = true;
    end.endpoint?.closed();
  }

  #carry(from: 0 | 1, run: () => void): void {
    const to = (1 - from) as 0 | 1;
    const [sender, receiver] = [this.ends[from].process, this.ends[to].process];
    const alive = (): void => {
      if (!this.broken) run();
    };
    if (this.#network.isCut(sender.machine, receiver.machine) || this.held[to].length > 0) {
      this.held[to].push({ run: alive, process: receiver });
      return;
    }
    const world = here();
    const atMs = Math.max(this.#arrivesMs[to]!, world.nowMs + this.#network.latencyMs());
    this.#arrivesMs[to] = atMs;
    world.after(atMs - world.nowMs, receiver, alive);
  }

  /** The way towards this end is free again. */
  release(to: 0 | 1): void {
    const world = here();
    let atMs = Math.max(this.#arrivesMs[to]!, world.nowMs + world.between(0, 300));
    for (const { run, process } of this.held[to].splice(0)) {
      world.after(atMs - world.nowMs, process, run);
      atMs += 0.01;
    }
    this.#arrivesMs[to] = atMs;
  }
}

export class Network {
  readonly #world: World;
  readonly #cuts = new Set<string>();
  readonly connections = new Set<Connection>();
  /** Some worlds have a slow network at times. */
  slow = false;

  constructor(world: World) {
    this.#world = world;
  }

  latencyMs(): number {
    const { random } = this.#world;
    const base = 0.2 + random() * 2;
    return this.slow && random() < 0.1 ? base + random() * 1500 : base;
  }

  isCut(from: Machine, to: Machine): boolean {
    return this.#cuts.has(`${from.name}>${to.name}`);
  }

  cut(from: Machine, to: Machine): void {
    this.#cuts.add(`${from.name}>${to.name}`);
  }

  heal(from: Machine, to: Machine): void {
    if (!this.#cuts.delete(`${from.name}>${to.name}`)) return;
    for (const connection of this.connections) {
      const { ends } = connection;
      for (const side of [0, 1] as const) {
        if (ends[1 - side]!.process.machine === from && ends[side].process.machine === to) connection.release(side);
      }
    }
  }

  healAll(machines: readonly Machine[]): void {
    for (const from of machines) for (const to of machines) if (from !== to) this.heal(from, to);
    this.slow = false;
  }

  connect(a: Process, b: Process): Connection {
    const connection = new Connection(this, a, b);
    this.connections.add(connection);
    for (const side of [0, 1] as const) {
      connection.ends[side].process.onDeath.push((how) => {
        if (how === 'kill') connection.close(side);
        else this.forget(connection);
      });
    }
    return connection;
  }

  forget(connection: Connection): void {
    if (connection.over || connection.broken) this.connections.delete(connection);
  }

  /**
   * One request of the process of now, and its answer, each on its way for a while. Rejects as `refused` says when nobody
   * listens there; where something is cut or dead it settles never: callers have time limits.
   */
  ask<T>(to: Machine, refused: () => Error, serve: (process: Process) => Promise<T>): Promise<T> {
    const world = this.#world;
    const from = world.current!;
    return new Promise((resolve, reject) => {
      const back = (run: () => void): void => {
        if (!this.isCut(to, from.machine)) world.after(this.latencyMs(), from, run);
      };
      if (this.isCut(from.machine, to)) return;
      world.after(this.latencyMs(), undefined, () => {
        const process = to.process;
        if (process === undefined) {
          back(() => reject(refused()));
          return;
        }
        world.after(0, process, () => {
          serve(process).then(
            (value) => back(() => resolve(value)),
            (error: unknown) => back(() => reject(error)),
          );
        });
      });
    });
  }
}
