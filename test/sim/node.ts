/** A node of a world: a machine on which a process starts, ends and dies. */
import type { Cluster } from './cluster.ts';
import { Machine, Process } from './world.ts';

export abstract class Node {
  readonly cluster: Cluster;
  readonly machine: Machine;
  process: Process | undefined;
  /** It was told to end. */
  leaving = false;

  constructor(cluster: Cluster, name: string) {
    this.cluster = cluster;
    this.machine = new Machine(name);
  }

  get up(): boolean {
    return this.process?.alive === true;
  }

  start(): void {
    if (this.up) return;
    const { machine, cluster } = this;
    machine.restarts += 1;
    const process = new Process(machine, `${machine.name}#${machine.restarts}`);
    machine.process = process;
    this.process = process;
    this.leaving = false;
    cluster.world.log(`${process.name} starts`);
    cluster.world.after(0, process, () => this.#run(() => this.open(process)));
  }

  die(how: 'kill' | 'power'): void {
    if (this.process === undefined || !this.up) return;
    this.cluster.world.log(`${this.process.name} dies (${how})`);
    this.cluster.world.kill(this.process, how);
  }

  /** As after SIGTERM: it has 5 s. */
  leave(): void {
    const { process, cluster } = this;
    if (process === undefined || !this.up) return;
    this.leaving = true;
    cluster.world.log(`${process.name} is told to end`);
    const end = (): void => {
      cluster.world.log(`${process.name} ends`);
      cluster.world.kill(process, 'kill');
    };
    cluster.world.after(5000, process, end, 'timer');
    cluster.world.after(0, process, () => this.#run(() => this.close().then(end)));
  }

  protected abstract open(process: Process): Promise<void>;
  protected abstract close(): Promise<void>;

  #run(act: () => Promise<void>): void {
    act().catch((error: unknown) =>
      this.cluster.world.wrong(`${this.process?.name}: ${error instanceof Error ? error.stack : String(error)}`),
    );
  }
}
