/** Cached data from the S3 port, beside nginx with sendfile on the same bytes, and cold beside fio. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { GiB, KiB, MiB } from '../../src/core/units.ts';
import { runFio } from '../ceilings/fio.ts';
import { type Reading, type ReadOrder, runReader } from '../ceilings/reader.ts';
import type { Transfer } from '../ceilings/receiver.ts';
import { startNginx } from '../origins/nginx.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { type Dataset, makeDataset } from '../support/dataset.ts';
import { figure, type Row, ratioOfRuns, transferRow, verdict } from '../support/results.ts';
import type { Scenario } from '../support/scenario.ts';
import type { Workspace } from '../support/workspace.ts';

const partBytes = 8 * MiB;
const randomBytes = 64 * KiB;
const smallBytes = 4 * KiB;
/** Of each of the connections all pages of a part of 8 MiB are asked for at once. */
const coldDepth = 128;
/** What must have come from the disk; the cache holds a sixteenth of the object. */
const coldShare = 0.9;

/** As if of one machine: the same bytes for nginx and for us. */
interface Sides {
  readonly large: Dataset;
  readonly small: Dataset;
  readonly nginx: { readonly port: number; readonly servers: readonly number[] };
  readonly ours: Daemon;
}

export const serving: Scenario = {
  summary: 'ranges and small objects from the S3 port, beside nginx with sendfile, and fio',
  async run({ workspace, runs, quick, log }) {
    const objectBytes = (quick ? 0.5 : 4) * GiB;
    const smallCount = quick ? 500 : 2000;
    const sides = await open(workspace, { objectBytes, smallCount });
    const { large, small, nginx, ours } = sides;
    const mine = { port: ours.s3Port, servers: [ours.pid] };
    const largest = { bucket: large.bucket, objects: large.objects };
    const ranges = { ...largest, rangeBytes: partBytes, connections: 16, requests: (objectBytes / partBytes) * 2 };
    const random = {
      ...{ ...largest, rangeBytes: randomBytes, order: 'random' as const },
      ...{ connections: 64, requests: quick ? 5_000 : 40_000 },
    };
    const smalls = {
      ...{ bucket: small.bucket, objects: small.objects, order: 'random' as const },
      ...{ connections: 16, requests: quick ? 5_000 : 40_000 },
    };
    const asked: Record<string, Omit<ReadOrder, 'port' | 'servers'>> = {
      ranges,
      random,
      get: smalls,
      head: { ...smalls, method: 'HEAD' as const },
    };

    const none = (): Record<string, Reading[]> => Object.fromEntries(Object.keys(asked).map((name) => [name, []]));
    const taken = { ours: none(), nginx: none() };
    // What is in memory is measured, by code that has been compiled: the first readings fill and warm.
    for (const order of [{ ...ranges, requests: ranges.requests / 2 }, random, smalls]) {
      runReader({ ...order, ...mine });
      runReader({ ...order, ...nginx });
    }
    for (let run = 1; run <= runs; run += 1) {
      log(`run ${run} of ${runs}`);
      for (const [name, order] of Object.entries(asked)) {
        taken.ours[name]!.push(runReader({ ...order, ...mine }));
        taken.nginx[name]!.push(runReader({ ...order, ...nginx }));
      }
    }
    const cold = await coldReadings(workspace, sides, { runs, log });
    return outcome({ taken, cold, objectBytes, smallCount });
  },
};

async function open(
  workspace: Workspace,
  { objectBytes, smallCount }: { objectBytes: number; smallCount: number },
): Promise<Sides> {
  const root = workspace.folder('origin');
  const large = makeDataset({ root, bucket: 'bench-large', count: 1, objectBytes });
  const small = makeDataset({ root, bucket: 'bench-small', count: smallCount, objectBytes: smallBytes });
  const origin = await startNginx(workspace, { root, datasets: [large, small] });
  const ours = await startDaemon(workspace, {
    origin: { endpoint: origin.endpoint },
    stores: [{ dir: workspace.folder('store'), sizeBytes: Math.ceil((objectBytes * 1.2) / MiB) * MiB + 256 * MiB }],
    worker: [`read_cache = "${objectBytes + 256 * MiB}"`],
  });
  for (const { bucket } of [large, small]) await ours.load(`s3://${bucket}/`);
  return { large, small, ours, nginx: { port: origin.port, servers: origin.pids() } };
}

/** A daemon that keeps little in memory, so that every page comes from the SSD; fio reads the same store file. */
async function coldReadings(
  workspace: Workspace,
  { large, ours }: Sides,
  { runs, log }: { runs: number; log: (message: string) => void },
): Promise<{ ours: Reading[]; fio: (Transfer | undefined)[] }> {
  await ours.stop();
  const daemon = await startDaemon(workspace, { ...ours.order, worker: ['read_cache = "256MB"'] });
  const bytes = large.totalBytes;
  const order = { bucket: large.bucket, objects: large.objects, rangeBytes: partBytes, connections: 16 };
  const cold = { ours: [] as Reading[], fio: [] as (Transfer | undefined)[] };
  for (let run = 1; run <= runs; run += 1) {
    log(`cold run ${run} of ${runs}`);
    const before = readFromDisks(daemon.pid);
    cold.ours.push(
      runReader({ ...order, port: daemon.s3Port, servers: [daemon.pid], requests: Math.ceil(bytes / partBytes) }),
    );
    const read = readFromDisks(daemon.pid) - before;
    if (read < coldShare * bytes)
      throw new Error(`of ${bytes} bytes that were to be read cold only ${read} came from the disk`);
    const file = join(ours.order.stores[0]!.dir, 'store.dat');
    cold.fio.push(runFio({ file, bytes, direction: 'read', depth: coldDepth, blockBytes: MiB }));
  }
  return cold;
}

/** Bytes that a process had its disks read so far, proc(5). */
function readFromDisks(pid: number): number {
  return Number(/^read_bytes: (\d+)$/m.exec(readFileSync(`/proc/${pid}/io`, 'utf8'))![1]);
}

function outcome(of: {
  taken: { ours: Record<string, Reading[]>; nginx: Record<string, Reading[]> };
  cold: { ours: Reading[]; fio: (Transfer | undefined)[] };
  objectBytes: number;
  smallCount: number;
}) {
  const { taken, cold } = of;
  const ranges = transferRow('primed, ranges of 8 MiB from memory', taken.ours.ranges!)!;
  const rangesNginx = transferRow('nginx, ranges of 8 MiB, sendfile', taken.nginx.ranges!)!;
  const coldOurs = transferRow('primed, ranges of 8 MiB from the SSD', cold.ours)!;
  const coldFio = transferRow('fio, 1 MiB, O_DIRECT, as deep', cold.fio);
  const random = requestsRow('primed, 64 KiB anywhere, 64 connections', taken.ours.random!);
  const rates = (['get', 'head'] as const).map((name) => requestsRow(`primed, ${name} of 4 KiB`, taken.ours[name]!));
  const name = 'CPU per GiB';
  return {
    title: 'Serving cached data',
    about:
      'One client of one thread on the same machine (bench/ceilings/reader.c), keep-alive. CPU is that of the server alone, all of its threads. What is cold is read by a daemon whose page cache is a small part of the object.',
    parameters: { objectGiB: of.objectBytes / GiB, smallObjects: of.smallCount, connections: 16 },
    rows: [
      ...[ranges, rangesNginx, coldOurs, ...(coldFio ? [coldFio] : []), random],
      requestsRow('nginx, 64 KiB anywhere, 64 connections', taken.nginx.random!),
      ...rates,
      ...(['get', 'head'] as const).map((one) => requestsRow(`nginx, ${one} of 4 KiB`, taken.nginx[one]!)),
    ],
    verdicts: [
      verdict(
        'From memory against nginx: throughput',
        ratioOfRuns(ranges.figures.throughput!, rangesNginx.figures.throughput!),
        'x',
        'at least',
        0.8,
      ),
      verdict(
        'From memory against nginx: CPU',
        ratioOfRuns(ranges.figures[name]!, rangesNginx.figures[name]!),
        'x',
        'at most',
        1.5,
      ),
      ...(coldFio === undefined
        ? []
        : [
            verdict(
              'From the SSD against fio: throughput',
              ratioOfRuns(coldOurs.figures.throughput!, coldFio.figures.throughput!),
              'x',
              'at least',
              0.8,
            ),
          ]),
      verdict('64 KiB anywhere', random.figures.rate!.value, 'requests/s', 'at least', 10_000),
      verdict('64 KiB anywhere, p99', random.figures.p99!.value, 'ms', 'at most', 20),
      ...rates.map((row) => verdict(row.name, row.figures['per busy core']!.value, 'requests/s', 'at least', 8000)),
    ],
    notes: coldFio === undefined ? ['fio is not installed and was left out'] : [],
  };
}

function requestsRow(name: string, readings: readonly Reading[]): Row {
  const of = (value: (reading: Reading) => number): number[] => readings.map(value);
  return {
    name,
    figures: {
      rate: figure(
        'requests/s',
        of(({ requests, seconds }) => requests / seconds),
      ),
      'per busy core': figure(
        'requests/s',
        of(({ requests, cpuSeconds }) => requests / cpuSeconds),
      ),
      p50: figure(
        'ms',
        of(({ p50Ms }) => p50Ms),
      ),
      p99: figure(
        'ms',
        of(({ p99Ms }) => p99Ms),
      ),
    },
  };
}
