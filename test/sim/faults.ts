/** What a seed does to its world, and how often each of it met work. */
import type { Cluster } from './cluster.ts';
import type { CoordinatorNode } from './coordinator-node.ts';
import { leaseMs } from './settings.ts';
import type { WorkerNode } from './worker-node.ts';
import type { Machine, World } from './world.ts';

export type FaultKind =
  | 'worker killed'
  | 'worker without power'
  | 'worker gone for good'
  | 'worker shut down'
  | 'worker frozen'
  | 'worker joins'
  | 'worker drains'
  | 'coordinator killed'
  | 'coordinator without power'
  | 'coordinator shut down'
  | 'coordinator frozen'
  | 'both killed'
  | 'partition'
  | 'partition one way'
  | 'partition of workers'
  | 'etcd is away'
  | 'connection reset'
  | 'slow network'
  | 'object changes'
  | 'object vanishes'
  | 'object fails for a while'
  | 'object fails for good'
  | 'object is silent'
  | 'listing fails'
  | 'page goes bad';

export const faultKinds: readonly FaultKind[] = [
  'worker killed',
  'worker without power',
  'worker gone for good',
  'worker shut down',
  'worker frozen',
  'worker joins',
  'worker drains',
  'coordinator killed',
  'coordinator without power',
  'coordinator shut down',
  'coordinator frozen',
  'both killed',
  'partition',
  'partition one way',
  'partition of workers',
  'etcd is away',
  'connection reset',
  'slow network',
  'object changes',
  'object vanishes',
  'object fails for a while',
  'object fails for good',
  'object is silent',
  'listing fails',
  'page goes bad',
];

export class Faults {
  readonly #cluster: Cluster;
  readonly #world: World;
  /** How often each met work that was under way. */
  readonly fired = new Map<FaultKind, number>();
  /** Faults that last, and have not ended. */
  #lasting = 0;
  /** Workers that must be left. */
  readonly #needed: number;

  constructor(cluster: Cluster, needed: number) {
    this.#cluster = cluster;
    this.#world = cluster.world;
    this.#needed = needed;
  }

  get over(): boolean {
    return this.#lasting === 0;
  }

  plan(kind: FaultKind, atMs: number): void {
    this.#lasting += 1;
    this.#world.after(atMs, undefined, () => {
      if (this.#cluster.atWork) this.fired.set(kind, (this.fired.get(kind) ?? 0) + 1);
      this.#world.log(`fault: ${kind}`);
      this[kind]();
      this.#lasting -= 1;
    });
  }

  /** A fault that ends after a while. */
  #lasts(durationMs: number, end: () => void): void {
    this.#lasting += 1;
    this.#world.after(durationMs, undefined, () => {
      end();
      this.#lasting -= 1;
    });
  }

  #duration(): number {
    const world = this.#world;
    // Shorter than a lease, about one, and much longer.
    return world.pick([
      world.between(50, 2500),
      world.between(2000, 1.6 * leaseMs),
      world.between(leaseMs, 4 * leaseMs),
    ]);
  }

  #worker(): WorkerNode | undefined {
    const up = this.#cluster.workers.filter((worker) => worker.up);
    return up.length === 0 ? undefined : this.#world.pick(up);
  }

  #back(node: WorkerNode | CoordinatorNode): void {
    this.#lasts(this.#duration(), () => node.start());
  }

  #leave(node: WorkerNode | CoordinatorNode): void {
    const { process } = node;
    if (process === undefined || !node.up) return;
    this.#lasting += 1;
    process.onDeath.push(() => {
      this.#lasting -= 1;
      this.#back(node);
    });
    node.leave();
  }

  #freeze(node: WorkerNode | CoordinatorNode): void {
    const { process } = node;
    if (process === undefined || !node.up || process.frozen) return;
    this.#world.freeze(process);
    const over = 'stoodStill' in node ? node.stoodStill.begins(this.#world.nowMs) : () => undefined;
    process.onDeath.push(() => over(this.#world.nowMs));
    this.#lasts(this.#duration(), () => {
      over(this.#world.nowMs);
      this.#world.log(`${process.name} goes on`);
      if (process.alive) this.#world.thaw(process);
      this.#cluster.thawed(process);
    });
  }

  #object() {
    const objects = [...this.#cluster.bucket.objects.values()].filter(({ trouble, gone }) => !gone && !trouble);
    return objects.length === 0 ? undefined : this.#world.pick(objects);
  }

  'worker killed'(): void {
    const worker = this.#worker();
    worker?.die('kill');
    if (worker !== undefined) this.#back(worker);
  }

  'worker without power'(): void {
    const worker = this.#worker();
    worker?.die('power');
    if (worker !== undefined) this.#back(worker);
  }

  'worker gone for good'(): void {
    const { workers } = this.#cluster;
    const left = workers.filter(({ goneForGood, drains }) => !goneForGood && !drains);
    if (left.length <= this.#needed) return;
    const worker = this.#world.pick(left);
    worker.goneForGood = true;
    worker.die(this.#world.pick(['kill', 'power']));
  }

  'worker shut down'(): void {
    const worker = this.#worker();
    if (worker !== undefined) this.#leave(worker);
  }

  'worker frozen'(): void {
    const worker = this.#worker();
    if (worker !== undefined) this.#freeze(worker);
  }

  'worker joins'(): void {
    if (this.#cluster.workers.length < 6) this.#cluster.addWorker().start();
  }

  'worker drains'(): void {
    const { workers, coordinator } = this.#cluster;
    const left = workers.filter(({ goneForGood, drains }) => !goneForGood && !drains);
    const { registry, process } = coordinator;
    if (left.length <= this.#needed || registry === undefined || process === undefined || !coordinator.up) return;
    const worker = this.#world.pick(left);
    this.#world.after(0, process, () => {
      registry.drain(worker.id).then(
        () => {
          worker.drains = true;
        },
        () => undefined,
      );
    });
  }

  'coordinator killed'(): void {
    const { coordinator } = this.#cluster;
    coordinator.die('kill');
    this.#back(coordinator);
  }

  'coordinator without power'(): void {
    const { coordinator } = this.#cluster;
    coordinator.die('power');
    this.#back(coordinator);
  }

  'coordinator shut down'(): void {
    this.#leave(this.#cluster.coordinator);
  }

  'coordinator frozen'(): void {
    this.#freeze(this.#cluster.coordinator);
  }

  'both killed'(): void {
    this['coordinator killed']();
    this['worker killed']();
  }

  partition(): void {
    const ways = this.#ends();
    if (ways === undefined) return;
    const { network } = this.#cluster;
    const [a, b] = ways;
    network.cut(a, b);
    network.cut(b, a);
    this.#lasts(this.#duration(), () => {
      network.heal(a, b);
      network.heal(b, a);
    });
  }

  'partition one way'(): void {
    const ways = this.#ends();
    if (ways === undefined) return;
    const { network } = this.#cluster;
    const [from, to] = this.#world.chance(0.5) ? ways : [ways[1], ways[0]];
    network.cut(from, to);
    this.#lasts(this.#duration(), () => network.heal(from, to));
  }

  /** A coordinator and a worker, or one of them and etcd. */
  #ends(): readonly [Machine, Machine] | undefined {
    const { coordinator, etcd } = this.#cluster;
    const worker = this.#worker();
    if (worker === undefined) return undefined;
    if (etcd === undefined || this.#world.chance(0.5)) return [coordinator.machine, worker.machine];
    return [this.#world.pick([coordinator, worker]).machine, etcd.machine];
  }

  'partition of workers'(): void {
    const [a, b] = [this.#worker(), this.#worker()];
    if (a === undefined || b === undefined || a === b) return;
    const { network } = this.#cluster;
    network.cut(a.machine, b.machine);
    this.#lasts(this.#duration(), () => network.heal(a.machine, b.machine));
  }

  /** For some machines, each a moment sooner or later than for another. */
  'etcd is away'(): void {
    const { etcd, network, machines } = this.#cluster;
    if (etcd === undefined) return;
    const world = this.#world;
    const durationMs = world.chance(0.3) ? this.#duration() : world.between(1.1, 2) * leaseMs;
    for (const machine of machines) {
      if (machine === etcd.machine || world.chance(0.3)) continue;
      this.#lasts(world.between(0, 1500), () => {
        network.cut(machine, etcd.machine);
        network.cut(etcd.machine, machine);
        this.#lasts(durationMs + world.between(0, 1500), () => {
          network.heal(machine, etcd.machine);
          network.heal(etcd.machine, machine);
        });
      });
    }
  }

  'connection reset'(): void {
    const open = [...this.#cluster.network.connections];
    if (open.length > 0) this.#world.pick(open).reset();
  }

  'slow network'(): void {
    const { network } = this.#cluster;
    network.slow = true;
    this.#lasts(this.#duration(), () => {
      network.slow = false;
    });
  }

  'object changes'(): void {
    const object = this.#object();
    if (object === undefined) return;
    const world = this.#world;
    this.#cluster.bucket.put(object.path, this.#cluster.sizeBytes());
    if (world.chance(0.2)) this.plan('object changes', world.between(100, 3000));
  }

  'object vanishes'(): void {
    const object = this.#object();
    if (object !== undefined) object.gone = true;
  }

  'object fails for a while'(): void {
    const object = this.#object();
    // Fewer than a part has attempts.
    if (object !== undefined) object.trouble = { kind: 'passing', left: this.#world.integer(1, 4) };
  }

  'object fails for good'(): void {
    const object = this.#object();
    if (object === undefined) return;
    object.trouble = this.#world.pick([
      { kind: 'poison', cause: 'server', code: 'ORIGIN_SERVER_ERROR' },
      { kind: 'poison', cause: 'denied', code: 'ORIGIN_DENIED' },
    ] as const);
  }

  'object is silent'(): void {
    const object = this.#object();
    // Less than the attempts of a part.
    const untilMs = this.#world.nowMs + this.#world.between(500, 8000);
    if (object !== undefined) object.trouble = { kind: 'silent', untilMs };
  }

  'listing fails'(): void {
    // Fewer than a page has attempts.
    this.#cluster.bucket.listingTroubles = this.#world.integer(1, 3);
    this.#cluster.bucket.listingFaults += 1;
  }

  'page goes bad'(): void {
    const worker = this.#worker();
    if (worker === undefined) return;
    const complete = [...worker.store.model.visible.values()].filter(({ state }) => state === 'complete');
    if (complete.length > 0) worker.store.spoil(this.#world.pick(complete).entry.path);
  }
}
