/** Readers of cached data at an even rate, without a load and beside one at full speed, in turns. */
import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { KiB, MiB } from '../../src/core/units.ts';
import { type Reading, readMeanwhile } from '../ceilings/reader.ts';
import type { Transfer } from '../ceilings/receiver.ts';
import { startNginx } from '../origins/nginx.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { makeDataset } from '../support/dataset.ts';
import { readMetrics } from '../support/metrics.ts';
import { cpuSecondsOf } from '../support/process.ts';
import { figure, type Row, ratioOfRuns, transferRow, verdict } from '../support/results.ts';
import type { Scenario } from '../support/scenario.ts';

const rangeBytes = 64 * KiB;
/** A tenth of what serving reaches on two cores: readers that work, and do not fill the machine. */
const rate = 1000;
const connections = 32;
const secondsOfReading = 5;
/** What is loaded, each by a job of its own: while one is asked for, the others go on. */
const buckets = 4;
const askEveryMs = 250;

/** Who is on another machine elsewhere: an origin that takes no core which somebody wants, and a client that has one when it wants. */
const originElsewhere: readonly string[] = ['chrt', '--idle', '0'];
const clientElsewhere: readonly string[] = ['chrt', '--fifo', '10'];

export const readers: Scenario = {
  summary: 'p99 of cached reads at an even rate, without a load and beside one at full speed',
  async run({ workspace, runs, quick, log }) {
    const root = workspace.folder('origin');
    const cached = makeDataset({ root, bucket: 'bench-cached', count: 4, objectBytes: 64 * MiB });
    const loaded = Array.from({ length: buckets }, (_, at) =>
      makeDataset({ root, bucket: `bench-loaded-${at}`, count: 1, objectBytes: (quick ? 64 : 512) * MiB }),
    );
    const loadedBytes = loaded.reduce((sum, { totalBytes }) => sum + totalBytes, 0);
    const origin = await startNginx(workspace, {
      ...{ root, datasets: [cached, ...loaded] },
      machine: { address: '127.0.0.1', by: originElsewhere },
    });
    const sizeBytes = cached.totalBytes + Math.ceil((loadedBytes * 2.5) / MiB) * MiB + 64 * MiB;
    const start = async (setting: string) => {
      const daemon = await startDaemon(workspace, {
        origin: { endpoint: origin.endpoint },
        stores: [{ dir: workspace.folder('store'), sizeBytes }],
        worker: [`read_cache = "${cached.totalBytes + 64 * MiB}"`, setting],
      });
      for (const { bucket } of [cached, ...loaded]) await daemon.load(`s3://${bucket}/`);
      return daemon;
    };
    const guarded = await start('yield_to_readers = true');
    const unguarded = await start('yield_to_readers = false');
    const by =
      spawnSync(clientElsewhere[0]!, [...clientElsewhere.slice(1), 'true']).status === 0 ? clientElsewhere : [];
    const read = (daemon: Daemon): Promise<Reading> =>
      readMeanwhile(
        {
          ...{ port: daemon.s3Port, servers: [daemon.pid], bucket: cached.bucket, objects: cached.objects },
          ...{ rangeBytes, order: 'random' as const, connections, rate, requests: rate * secondsOfReading },
        },
        by,
      );
    /** Loads without a pause, as long as `during` takes. */
    const loading = async <T>(daemon: Daemon, during: () => Promise<T>): Promise<{ outcome: T; load: Transfer }> => {
      let isOver = false;
      const jobs = loaded.map(async ({ bucket }) => {
        while (!isOver) await daemon.load(`s3://${bucket}/`, {}, askEveryMs);
      });
      const before = await loadedSoFar(daemon);
      const outcome = await during().finally(() => {
        isOver = true;
      });
      const after = await loadedSoFar(daemon);
      await Promise.all(jobs);
      return {
        outcome,
        load: {
          bytes: after.bytes - before.bytes,
          seconds: (after.atMs - before.atMs) / 1000,
          cpuSeconds: after.cpuSeconds - before.cpuSeconds,
        },
      };
    };

    log('first runs');
    for (const daemon of [guarded, unguarded]) {
      await read(daemon);
      await loading(daemon, () => read(daemon));
    }
    const taken = { alone: [] as Reading[], beside: [] as Reading[], loads: [] as Transfer[] };
    const without = { beside: [] as Reading[], full: [] as Transfer[] };
    for (let run = 1; run <= runs; run += 1) {
      log(`run ${run} of ${runs}`);
      taken.alone.push(await read(guarded));
      const both = await loading(guarded, () => read(guarded));
      taken.beside.push(both.outcome);
      taken.loads.push(both.load);
      without.beside.push((await loading(unguarded, () => read(unguarded))).outcome);
      without.full.push((await loading(guarded, () => sleep(secondsOfReading * 1000))).load);
    }
    const alone = latencyRow('reads alone', taken.alone);
    const during = latencyRow('reads beside a load', taken.beside);
    const unmoved = latencyRow('reads beside a load that does not give way', without.beside);
    return {
      title: 'Readers beside a load',
      about:
        'Ranges of 64 KiB anywhere in cached objects, at an even rate; the time of an answer counts from when its request was due. Beside it four jobs load other objects again and again, as fast as it goes, and give way to the readers; once with `worker.yield_to_readers` off. Origin and client, which would be on other machines, share the cores: the origin runs where nobody else wants to (SCHED_IDLE), the client at once (SCHED_FIFO, where that is allowed), so that what is measured is the daemon.',
      parameters: {
        rate,
        connections,
        rangeKiB: rangeBytes / KiB,
        loadedMiB: loadedBytes / MiB,
        client: by.join(' ') || 'as any process',
      },
      rows: [
        alone,
        during,
        unmoved,
        transferRow('the load beside them', taken.loads)!,
        transferRow('the load without readers', without.full)!,
      ],
      verdicts: [
        verdict(
          'Beside a load at full speed: p99 of cached reads, against without',
          ratioOfRuns(during.figures.p99!, alone.figures.p99!),
          'x',
          'at most',
          3,
        ),
      ],
      notes: [],
    };
  },
};

function latencyRow(name: string, readings: readonly Reading[]): Row {
  const of = (unit: string, value: (reading: Reading) => number) => figure(unit, readings.map(value));
  return {
    name,
    figures: {
      rate: of('requests/s', ({ requests, seconds }) => requests / seconds),
      p50: of('ms', ({ p50Ms }) => p50Ms),
      p99: of('ms', ({ p99Ms }) => p99Ms),
    },
  };
}

/** What has come from the origin since the daemon started. */
async function loadedSoFar({ base, pid }: Daemon): Promise<{ atMs: number; bytes: number; cpuSeconds: number }> {
  const [bytes] = await readMetrics(base, ['primed_origin_bytes_total']);
  return { atMs: performance.now(), bytes: bytes!, cpuSeconds: cpuSecondsOf(pid) };
}
