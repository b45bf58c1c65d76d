/** In place of `client/transport`: calls of a worker to the port of a coordinator of the world. */

import type { Registrations, Registry } from '../../src/cluster/registry.ts';
import { abortable } from '../../src/core/abortable.ts';
import { PrimedError } from '../../src/core/errors.ts';
import type { WorkerReport } from '../../src/core/membership.ts';
import type { WorkerId } from '../../src/core/types.ts';
import type { Network } from './network.ts';
import type { Machine, Process } from './world.ts';

export interface Coordinators {
  readonly network: Network;
  machineAt(host: string): Machine | undefined;
  /** Undefined: it does not listen (yet). */
  registryOf(process: Process): (Registry & Registrations) | undefined;
}

interface Ask {
  readonly method: 'PUT' | 'DELETE';
  readonly path: string;
  readonly query?: { readonly instance: string; readonly epoch: number };
  readonly body?: { readonly instance: string; readonly epoch?: number } & WorkerReport;
  readonly signal: AbortSignal;
}

let coordinators: Coordinators | undefined;

export function setCoordinators(now: Coordinators | undefined): void {
  coordinators = now;
}

const unreachable = (): Error => new PrimedError('COORDINATOR_UNREACHABLE', 'connect ECONNREFUSED');

export class Transport {
  readonly url: string;

  constructor({ coordinator }: { coordinator: string }) {
    this.url = coordinator;
  }

  async json(ask: Ask): Promise<unknown> {
    return this.#send(ask);
  }

  async text(ask: Ask): Promise<string> {
    await this.#send(ask);
    return '';
  }

  async close(): Promise<void> {}

  #send(ask: Ask): Promise<unknown> {
    const { network, machineAt, registryOf } = coordinators!;
    const machine = machineAt(new URL(this.url).host)!;
    const answer = network.ask(machine, unreachable, async (process) => {
      const registry = registryOf(process);
      if (registry === undefined) throw unreachable();
      return serve(registry, ask);
    });
    return abortable(answer, ask.signal);
  }
}

/** As server/worker-api does it. */
async function serve(registry: Registry & Registrations, { method, path, query, body }: Ask): Promise<unknown> {
  const id = path.split('/').at(-1) as WorkerId;
  if (method === 'DELETE') {
    await registry.goodbye({ id, ...query! });
    return undefined;
  }
  const { instance, epoch, ...report } = body!;
  const { capacityBytes, freeBytes, files } = report;
  const row =
    epoch === undefined
      ? await registry.register({ id, instance, report })
      : registry.renew({ id, instance, epoch }, { capacityBytes, freeBytes, files });
  return { epoch: row.epoch, leaseMs: registry.leaseMs };
}
