/** The console's routes on a port of their own, over a cluster that a test makes up. */
import type { AddressInfo } from 'node:net';
import Fastify from 'fastify';
import { type MadeCluster, partsOf } from '../../bench/support/made-cluster.ts';
import { bearerAuth } from '../../src/server/auth.ts';
import { consoleRoutes } from '../../src/server/console/index.ts';
import { installErrorHandler } from '../../src/server/errors.ts';
import { memoryLog } from './store-fixture.ts';

export async function startConsole(made: MadeCluster): Promise<{ url: string; close(): Promise<void> }> {
  const app = Fastify({ forceCloseConnections: true });
  installErrorHandler(app, memoryLog());
  app.register(bearerAuth, {});
  app.register(consoleRoutes, partsOf(made));
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, close: () => app.close() };
}
