/** A coordinator of a world, wired as src/nodes.ts wires it. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { openEtcdRegistry } from '../../src/cluster/etcd-registry.ts';
import { Fleet } from '../../src/cluster/fleet.ts';
import { openJobService } from '../../src/cluster/job-service.ts';
import { countedLists, tellPeers } from '../../src/cluster/peer-news.ts';
import { ringPlacement } from '../../src/cluster/placement.ts';
import { openRegistry, type Registrations, type Registry } from '../../src/cluster/registry.ts';
import { type EndableLink, membersSettled, registryMembers, urlOf } from '../../src/cluster/registry-members.ts';
import { openSharedJobs } from '../../src/cluster/shared/shared-jobs.ts';
import type { JobService } from '../../src/cluster/types.ts';
import { RemoteLink } from '../../src/cluster/wire/remote-link.ts';
import type { BegunLoad } from '../../src/cluster/worker-link.ts';
import { isMember } from '../../src/core/membership.ts';
import type { Clock, Log, RunId, WorkerId } from '../../src/core/types.ts';
import { MiB } from '../../src/core/units.ts';
import { Node } from './node.ts';
import { SimOrigins } from './origin.ts';
import { etcdMembers, folder, jobsRoot, leaseMs } from './settings.ts';
import { StoodStill } from './stood-still.ts';
import type { Process } from './world.ts';

export class CoordinatorNode extends Node {
  registry: Registry | undefined;
  /** Where workers register with it. */
  registrations: (Registry & Registrations) | undefined;
  jobs: JobService | undefined;
  #members: { close(): void } | undefined;
  #ids: (() => string) | undefined;
  /** Calls on links that have not been answered, by what they are. */
  readonly pending = new Map<symbol, string>();
  readonly stoodStill = new StoodStill();
  /** When workers were last members. */
  readonly memberUntilMs = new Map<WorkerId, number>();

  protected async open(process: Process): Promise<void> {
    const { cluster } = this;
    const { world, options } = cluster;
    const log = cluster.logOf(process);
    this.jobs = undefined;
    this.pending.clear();
    const clock = { monotonicMs: () => world.nowMs, wallMs: () => Math.floor(world.wallMs) };
    const { etcd, registry, settled, order: shared } = this.#known(process, clock, log);
    this.registry = registry;
    const coordinator = randomUUID();
    const members = registryMembers({
      registry,
      connect: (row) => {
        const { id, epoch } = row;
        return this.#watched(new RemoteLink({ id, epoch, coordinator, log, url: urlOf(row), timing: cluster.timing }));
      },
    });
    this.#members = members;
    tellPeers({ members, settled, order: shared ?? countedLists(coordinator), log });
    this.#ids = undefined;
    void settled.then(() => {
      if (this.#members === members) this.#ids = () => idsOf(members.live());
    });
    registry.onChange(() => this.#noteMembers());
    const origins = new SimOrigins(cluster.bucket);
    const fleet = new Fleet({
      members,
      placement: ringPlacement(members),
      origins,
      maxRestarts: 2,
      log,
      followedAboveBytes: MiB,
      settled,
    });
    const order = {
      dir: join(folder, 'jobs'),
      ...{ fleet, origins, clock, log },
      settings: { listingKeys: 4, maxActive: 2, onChange: options.onChange, listingRetryMs: 100 },
    };
    const places = { root: jobsRoot, url: `http://${this.machine.name}:19999`, release: 'test', leaseMs };
    const jobs = await (etcd === undefined ? openJobService(order) : openSharedJobs({ ...order, ...places, etcd }));
    this.jobs = jobs;
    cluster.onJobs(jobs);
  }

  #known(process: Process, clock: Clock, log: Log) {
    if (this.cluster.etcd === undefined) {
      const registry = openRegistry({ dir: join(folder, 'workers'), leaseMs, clock, log });
      this.registrations = registry;
      return { etcd: undefined, order: undefined, registry, settled: membersSettled(registry, leaseMs) };
    }
    const etcd = this.cluster.etcdOf(process);
    const registry = openEtcdRegistry({ etcd, ...etcdMembers, timeoutMs: 2000, clock, log });
    return { etcd, order: () => registry.order(), registry, settled: registry.loaded };
  }

  /** The live workers, as it sees them; undefined while it waits for some to come back. */
  get livePeers(): string | undefined {
    return this.#ids?.();
  }

  isMember(id: WorkerId): boolean {
    return this.registry?.workers().some((row) => row.id === id && isMember(row)) === true;
  }

  /** Is a member, or was one at that time or later. */
  wasMember(id: WorkerId, sinceMs: number): boolean {
    return this.isMember(id) || (this.memberUntilMs.get(id) ?? Number.NEGATIVE_INFINITY) >= sinceMs;
  }

  protected async close(): Promise<void> {
    await this.jobs?.close(2500);
    this.#members?.close();
    await this.registry?.close();
  }

  #noteMembers(): void {
    const { world } = this.cluster;
    const rows = this.registry!.workers();
    let takers = 0;
    for (const row of rows) {
      if (isMember(row)) {
        this.memberUntilMs.set(row.id, Number.POSITIVE_INFINITY);
        if (!row.drains) takers += 1;
      } else if (this.memberUntilMs.get(row.id) === Number.POSITIVE_INFINITY)
        this.memberUntilMs.set(row.id, world.nowMs);
    }
    this.cluster.fewestTakers = Math.min(this.cluster.fewestTakers, takers);
  }

  /** The link, with an account of what it has not answered. */
  #watched(link: RemoteLink): EndableLink {
    const { pending } = this;
    const asked = new Map<RunId, number>();
    const ask = (run: RunId, bytes: number): void => {
      const totalBytes = (asked.get(run) ?? 0) + bytes;
      asked.set(run, totalBytes);
      this.cluster.reservations.asked(link.id, run, totalBytes);
    };
    return new Proxy(link, {
      get(target, name) {
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) => {
          const call = Symbol(String(name));
          const settled = (): void => void pending.delete(call);
          if (name === 'begin') {
            pending.set(call, `load at ${link.id}`);
            const told = args[1] as BegunLoad;
            const ended: BegunLoad['ended'] = (end) => {
              settled();
              told.ended(end);
            };
            args[1] = { segment: told.segment, how: told.how, ended };
          }
          if (name === 'reserveMore') ask(...(args as [RunId, number]));
          const result: unknown = Reflect.apply(value, target, args);
          if (!(result instanceof Promise)) return result;
          if (name === 'reserveMore')
            result.catch(() => {
              const [run, bytes] = args as [RunId, number];
              ask(run, -bytes);
            });
          pending.set(call, `${String(name)} at ${link.id}`);
          result.then(settled, settled);
          return result;
        };
      },
    });
  }
}

export function idsOf(list: readonly { readonly id: string }[]): string {
  return list
    .map(({ id }) => id)
    .sort()
    .join();
}
