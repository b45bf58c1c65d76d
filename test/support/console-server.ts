/** The console's routes over jobs and workers that a test makes up, as many as it likes. */
import type { AddressInfo } from 'node:net';
import Fastify from 'fastify';
import type { JobSnapshot } from '../../src/core/job.ts';
import { countStates } from '../../src/core/job.ts';
import type { WorkerRow } from '../../src/core/membership.ts';
import type { JobId, WorkerId } from '../../src/core/types.ts';
import { GiB } from '../../src/core/units.ts';
import { bearerAuth } from '../../src/server/auth.ts';
import { consoleRoutes } from '../../src/server/console/index.ts';
import type { ConsoleParts } from '../../src/server/console/source.ts';
import { installErrorHandler } from '../../src/server/errors.ts';
import { silent } from './silent.ts';
import { snapshotOf } from './snapshot.ts';

/** The jobs are read at each look: a test changes them as it likes. */
export interface MadeCluster {
  jobs: JobSnapshot[];
  workers: WorkerRow[];
}

export function partsOf(made: MadeCluster): ConsoleParts {
  return {
    jobs: {
      list: () => made.jobs,
      counts: () => countStates(made.jobs.map(({ state }) => state)),
      trouble: () => undefined,
    },
    limits: { known: true, rows: () => [] },
    shares: () => [],
    registry: { workers: () => made.workers },
    version: 'test',
  };
}

export async function startConsole(made: MadeCluster): Promise<{ url: string; close(): Promise<void> }> {
  const app = Fastify({ forceCloseConnections: true });
  installErrorHandler(app, silent);
  app.register(bearerAuth, {});
  app.register(consoleRoutes, partsOf(made));
  await app.listen({ host: '127.0.0.1', port: 0 });
  const { port } = app.server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, close: () => app.close() };
}

/** A load that runs, `turn` seconds after its start. */
export function madeJob(number: number, turn: number, now = Date.now()): JobSnapshot {
  const totalBytes = 400 * GiB;
  const loadedBytes = Math.min(totalBytes, (number + 1) * turn * 50_000_000);
  return snapshotOf(`s3://datasets/set-${number}/`, {
    jobId: `job-${number}` as JobId,
    submittedAtMs: now - number * 60_000,
    totalFiles: 10_000,
    totalBytes,
    loadedBytes,
    processedFiles: Math.floor((loadedBytes / totalBytes) * 10_000),
    bytesPerSecond: (number + 1) * 50_000_000,
    etaMs: 600_000 - turn * 1000,
  });
}

export function madeWorker(number: number, freeBytes = (number % 100) * 10 * GiB): WorkerRow {
  return {
    ...{
      id: `w${String(number).padStart(4, '0')}` as WorkerId,
      instance: '',
      epoch: number + 1,
      state: 'LIVE' as const,
    },
    ...{ drains: false, host: `10.0.${number >> 8}.${number & 255}`, httpPort: 28_080, s3Port: 29_998 },
    ...{ version: '0.1.0', protocol: 4, capacityBytes: 1000 * GiB, freeBytes, files: number * 1000 },
    ...{ leaseEndsMs: 0, registeredAtMs: 0, lastSeenMs: 0 },
  };
}
