/** A worker of a world, wired as src/nodes.ts wires it. */
import { EventEmitter } from 'node:events';
import type { Server } from 'node:http';
import { openEtcdRegistrar } from '../../src/cluster/etcd-registrar.ts';
import { LocalLink } from '../../src/cluster/local-link.ts';
import { openRegistrar, type Registrar } from '../../src/cluster/registrar.ts';
import { attachControl, type Control } from '../../src/cluster/wire/control-server.ts';
import { latestPeers, type PeerList } from '../../src/core/peers.ts';
import type { RunId, WorkerId } from '../../src/core/types.ts';
import type { RunSpec } from '../../src/ingest/types.ts';
import type { Cluster } from './cluster.ts';
import { Node } from './node.ts';
import { SimOrigins } from './origin.ts';
import { etcdMembers, leaseMs } from './settings.ts';
import { SimStore } from './store.ts';
import { SimWorker } from './worker.ts';
import type { Process } from './world.ts';

const httpPort = 28080;

export class WorkerNode extends Node {
  readonly id: WorkerId;
  readonly store: SimStore;
  readonly server = new EventEmitter();
  worker: SimWorker | undefined;
  goneForGood = false;
  drains = false;
  registrar: Registrar | undefined;
  #control: Control | undefined;
  /** Calls that changed something, ever. */
  changes = 0;
  readonly #calls = new Map<RunId, number>();
  /** Highest of each run that its process was given. */
  readonly #terms = new Map<RunId, number>();
  /** When it last went on after it stood still. */
  thawedMs = Number.NEGATIVE_INFINITY;
  /** The list of live workers that holds. */
  peers: PeerList | undefined;

  constructor(cluster: Cluster, name: string) {
    super(cluster, name);
    this.id = name as WorkerId;
    this.store = new SimStore(cluster.options.capacityBytes);
  }

  override leave(): void {
    if (this.up && !this.leaving) this.cluster.costs.leaves(this);
    super.leave();
  }

  protected async open(process: Process): Promise<void> {
    const { cluster, store } = this;
    const { world } = cluster;
    const log = cluster.logOf(process);
    if (this.machine.restarts > 1) store.restart();
    this.#terms.clear();
    process.onDeath.push(() => cluster.costs.died(this));
    this.server.removeAllListeners();
    const worker = new SimWorker({
      ...{ name: this.machine.name, process, store },
      ...{ bucket: cluster.bucket, origins: new SimOrigins(cluster.bucket) },
      askPeer: (url, serve) => this.#askPeer(url, serve),
      onCall: (method, run) => {
        this.changes += 1;
        if (run !== undefined) this.#calls.set(run, this.callsOf(run) + 1);
        if (method === 'stopRun') cluster.costs.stopped(this, run!);
        if (world.logging && method !== 'load') world.log(`${process.name} ${method} ${run?.slice(0, 8) ?? ''}`);
      },
      onStart: (spec) => this.#started(spec),
      onReserved: (run, totalBytes) => cluster.reservations.granted(this.id, run, totalBytes),
      onFetch: (spec, entry, range) => cluster.fetching(this, spec, entry, range),
    });
    this.worker = worker;
    // Ports are open a while after the process began.
    await new Promise((resolve) => setTimeout(resolve, world.between(1, 50)));
    const self = {
      id: this.id,
      address: { host: this.machine.name, httpPort, s3Port: 29998, version: 'test' },
      figures: () => ({ capacityBytes: store.capacityBytes, freeBytes: store.capacityBytes, files: 0 }),
      log,
    };
    const clock = { monotonicMs: () => world.nowMs, wallMs: () => Math.floor(world.wallMs) };
    const registrar =
      cluster.etcd === undefined
        ? openRegistrar({ coordinator: 'http://c:19999', ...self })
        : openEtcdRegistrar({ ...self, ...etcdMembers, etcd: cluster.etcdOf(process), clock });
    this.registrar = registrar;
    registrar.onEpoch((epoch) => {
      if (epoch === undefined) return;
      if (cluster.epochs.has(epoch)) world.wrong(`epoch ${epoch} was given twice, now to ${this.id}`);
      cluster.epochs.add(epoch);
    });
    this.#control = attachControl(this.server as unknown as Server, {
      link: new LocalLink(this.id, worker, (list) => {
        const before = this.peers;
        // Of etcd another coordinator may have heard less.
        if (cluster.etcd === undefined && before?.from === list.from && list.version < before.version)
          world.wrong(`${this.id} hears an older list of workers after a newer one`);
        this.peers = latestPeers(before, list);
      }),
      epoch: () => registrar.epoch(),
      leaseMs: () => leaseMs,
      version: 'test',
      log,
      timing: cluster.timing,
    });
  }

  callsOf(run: RunId): number {
    return this.#calls.get(run) ?? 0;
  }

  termOf(run: RunId): number {
    return this.#terms.get(run) ?? 0;
  }

  #started(spec: RunSpec): void {
    const { run, term } = spec;
    this.cluster.costs.started(this, spec);
    if (term < this.termOf(run))
      this.cluster.world.wrong(`${this.id} begins run ${run} under term ${term}, after ${this.termOf(run)}`);
    this.#terms.set(run, term);
  }

  protected async close(): Promise<void> {
    await this.registrar?.close();
    this.#control?.close();
    await this.worker?.close();
  }

  #askPeer(url: string, serve: (worker: SimWorker) => boolean): Promise<boolean> {
    const { cluster } = this;
    const machine = cluster.machineAt(new URL(url).host)!;
    const refused = (): Error => new Error('connect ECONNREFUSED');
    return cluster.network.ask(machine, refused, async (process) => {
      const worker = cluster.workerOf(process)?.worker;
      if (worker === undefined) throw refused();
      return serve(worker);
    });
  }
}
