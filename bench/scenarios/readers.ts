/** Readers of cached data at an even rate, without a load and beside one at full speed, in turns. */
import { KiB, MiB } from '../../src/core/units.ts';
import { type Reading, readMeanwhile } from '../ceilings/reader.ts';
import type { Transfer } from '../ceilings/receiver.ts';
import { startNginx } from '../origins/nginx.ts';
import { givingWay } from '../support/cluster.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { makeDataset } from '../support/dataset.ts';
import { figure, type Row, ratioOfRuns, transferRow, verdict } from '../support/results.ts';
import type { Scenario } from '../support/scenario.ts';

const rangeBytes = 64 * KiB;
/** A tenth of what serving reaches on two cores: readers that work, and do not fill the machine. */
const rate = 1000;
const connections = 32;
const secondsOfReading = 3;

export const readers: Scenario = {
  summary: 'p99 of cached reads at an even rate, without a load and beside one at full speed',
  async run({ workspace, runs, quick, log }) {
    const root = workspace.folder('origin');
    const cached = makeDataset({ root, bucket: 'bench-cached', count: 4, objectBytes: 64 * MiB });
    const loaded = makeDataset({ root, bucket: 'bench-loaded', count: 4, objectBytes: (quick ? 32 : 256) * MiB });
    const origin = await startNginx(workspace, {
      ...{ root, datasets: [cached, loaded] },
      machine: { address: '127.0.0.1', by: givingWay },
    });
    const sizeBytes = cached.totalBytes + Math.ceil((loaded.totalBytes * 2.5) / MiB) * MiB + 64 * MiB;
    const start = async (setting: string) => {
      const daemon = await startDaemon(workspace, {
        origin: { endpoint: origin.endpoint },
        stores: [{ dir: workspace.folder('store'), sizeBytes }],
        worker: [`read_cache = "${cached.totalBytes + 64 * MiB}"`, setting],
      });
      for (const { bucket } of [cached, loaded]) await daemon.load(`s3://${bucket}/`);
      return daemon;
    };
    const guarded = await start('yield_to_readers = true');
    const unguarded = await start('yield_to_readers = false');
    const read = (daemon: Daemon): Promise<Reading> =>
      readMeanwhile({
        ...{ port: daemon.s3Port, servers: [daemon.pid], bucket: cached.bucket, objects: cached.objects },
        ...{ rangeBytes, order: 'random' as const, connections, rate, requests: rate * secondsOfReading },
      });
    /** Load after load, until the reader has what it wants. */
    const beside = async (daemon: Daemon): Promise<{ reading: Reading; loads: Transfer[] }> => {
      let isOver = false;
      const loads: Transfer[] = [];
      const loading = (async () => {
        while (!isOver) loads.push(await daemon.load(`s3://${loaded.bucket}/`));
      })();
      const reading = await read(daemon).finally(() => {
        isOver = true;
      });
      await loading;
      return { reading, loads };
    };

    log('first runs');
    for (const daemon of [guarded, unguarded]) {
      await read(daemon);
      await beside(daemon);
    }
    const taken = { alone: [] as Reading[], beside: [] as Reading[], loads: [] as Transfer[] };
    const without = { beside: [] as Reading[], full: [] as Transfer[] };
    for (let run = 1; run <= runs; run += 1) {
      log(`run ${run} of ${runs}`);
      taken.alone.push(await read(guarded));
      const both = await beside(guarded);
      taken.beside.push(both.reading);
      taken.loads.push(both.loads[0]!);
      without.beside.push((await beside(unguarded)).reading);
      without.full.push(await guarded.load(`s3://${loaded.bucket}/`));
    }
    const alone = latencyRow('reads alone', taken.alone);
    const during = latencyRow('reads beside a load', taken.beside);
    const unmoved = latencyRow('reads beside a load that does not give way', without.beside);
    return {
      title: 'Readers beside a load',
      about:
        'Ranges of 64 KiB anywhere in cached objects, at an even rate; the time of an answer counts from when its request was due. Beside it the same objects are loaded again and again, as fast as it goes, and gives way to the readers; once with `worker.yield_to_readers` off. The origin, which would be on another machine, gives way (nice).',
      parameters: { rate, connections, rangeKiB: rangeBytes / KiB, loadedMiB: loaded.totalBytes / MiB },
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
