/** The workers' part of a coordinator: the real routes on a real socket, over a real registry. */
import type { AddressInfo } from 'node:net';
import Fastify, { type FastifyInstance } from 'fastify';
import { openRegistry, type Registrations, type Registry } from '../../src/cluster/registry.ts';
import type { Clock } from '../../src/core/types.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { bearerAuth } from '../../src/server/auth.ts';
import { installErrorHandler } from '../../src/server/errors.ts';
import { type WorkerApiOptions, workerApi } from '../../src/server/worker-api.ts';
import { silent } from './silent.ts';
import { memoryLog } from './store-fixture.ts';

export interface CoordinatorOrder {
  readonly dir: string;
  readonly leaseMs: number;
  readonly port?: number;
  readonly clock?: Clock;
  readonly apiToken?: string;
  readonly clusterToken?: string;
  readonly refusalOf?: WorkerApiOptions['refusalOf'];
}

export interface WorkersCoordinator {
  readonly url: string;
  readonly port: number;
  readonly registry: Registry & Registrations;
  readonly app: FastifyInstance;
  readonly log: ReturnType<typeof memoryLog>;
  close(): Promise<void>;
}

export async function startWorkersCoordinator(order: CoordinatorOrder): Promise<WorkersCoordinator> {
  const { dir, leaseMs, port = 0, clock = systemClock, apiToken, clusterToken, refusalOf } = order;
  const log = memoryLog();
  const registry = openRegistry({ dir, leaseMs, clock, log });
  const app = Fastify({ forceCloseConnections: true });
  installErrorHandler(app, silent);
  app.register(bearerAuth, apiToken === undefined ? {} : { token: apiToken });
  app.register(workerApi, {
    registry,
    registrations: registry,
    log,
    ...(clusterToken === undefined ? {} : { clusterToken }),
    ...(refusalOf === undefined ? {} : { refusalOf }),
  });
  await app.listen({ host: '127.0.0.1', port });
  const { port: bound } = app.server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${bound}`,
    port: bound,
    registry,
    app,
    log,
    close: async () => {
      await app.close();
      await registry.close();
    },
  };
}
