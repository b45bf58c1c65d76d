/**
 * A worker with ten million files beside one with a million: a scrape of Prometheus with a full list of jobs, its start,
 * what it answers, and making room. What takes longer with more files is seen in one table.
 */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { GiB, KiB, MiB } from '../../src/core/units.ts';
import type { SpawnedOrigin } from '../../src/demo/origin/api.ts';
import { startDemoOrigin } from '../origins/demo.ts';
import { clusterCredentials } from '../support/cluster.ts';
import { type Daemon, type DaemonOrder, startDaemon } from '../support/daemon.ts';
import { hasEnded, progressOf, submitLoad } from '../support/jobs.ts';
import { madeFilesPerFolder, madeFolder, madeRoot, makeIndex, storesFor } from '../support/made-index.ts';
import { type Answered, answersTo, type Room, roomFor, type Scrapes, scrapes } from '../support/many-files.ts';
import { type Figure, figure, type Row, ratioOfRuns, verdict } from '../support/results.ts';
import type { Scenario } from '../support/scenario.ts';
import type { Workspace } from '../support/workspace.ts';

const mostStarts = 2;

/** A worker, and what was measured of it. */
interface Subject {
  readonly name: string;
  readonly files: number;
  daemon: Daemon;
  readonly indexBytes: number;
  readonly starts: Daemon[];
  readonly peaks: number[];
  readonly scrapes: Scrapes[];
  readonly folders: Answered[];
  readonly folder: Answered[];
  readonly all: Answered[];
  readonly rooms: Room[];
}

export const scrape: Scenario = {
  summary: 'ten million files in the cache beside one million: /metrics, start, ls and stat, eviction',
  async run({ workspace, runs, quick, log }) {
    const [few, many, jobs] = quick ? [20_000, 60_000, 20] : [1_000_000, 10_000_000, 1_000];
    // What the load of each run needs room for.
    const objectBytes = quick ? 4 * MiB : 64 * MiB;
    const objects = Array.from({ length: runs + 1 }, (_, run) => ({ key: `room/${run}.bin`, sizeBytes: objectBytes }));
    const origin = await startDemoOrigin(workspace, objects);
    // Jobs of empty folders: nothing is loaded.
    const folders = workspace.folder('empty');
    const subjects: Subject[] = [];
    for (const files of [few, many])
      subjects.push(await subject({ workspace, origin, files, folders, starts: Math.min(runs, mostStarts), log }));
    const [small, large] = subjects as [Subject, Subject];
    log(`running ${jobs} jobs`);
    for (let job = 0; job < jobs; job += 1) await runJob(large.daemon.base, `file://${folders}/job-${job}/`);
    for (const { daemon } of subjects) {
      await daemon.load(`s3://${origin.bucket}/room/0.bin`);
      await scrapes(daemon);
    }
    for (let run = 1; run <= runs; run += 1) {
      log(`run ${run} of ${runs}`);
      for (const one of run % 2 === 1 ? [large, small] : [small, large])
        await measure(one, `s3://${origin.bucket}/room/${run}.bin`);
    }
    for (const { daemon, all } of subjects) all.push(await answersTo(daemon.base, 'stat', [madeRoot]));

    const [rowLarge, rowSmall] = [scrapeFigures(large.scrapes), scrapeFigures(small.scrapes)];
    const cpuOfRoom = ({ rooms }: Subject): Figure =>
      figure(
        's',
        rooms.map(({ cpuSeconds }) => cpuSeconds),
      );
    return {
      title: 'Ten million files',
      about: `A standalone daemon, which shows the metrics of both roles, with a made index that lies in the page cache: one block of 4 KiB a file, paths of 50 bytes, ids of paths left out, and a store that is full. /metrics is scraped over loopback, one scrape after the other; a start is from the start of the process to 200 on /health/ready; \`fs ls\` shows 1,000 folders; \`fs stat\` sums up a folder of 1,000 files, and all files, while /health/live is asked again and again; and a load of ${objectBytes / MiB} MiB from an origin on loopback evicts as much.`,
      parameters: {
        'files in the cache': many,
        'files beside': few,
        'ended jobs': jobs,
        'evicted by a load': `${objectBytes / MiB} MiB`,
      },
      rows: [
        { name: `/metrics: ${large.name}, ${jobs.toLocaleString('en-US')} ended jobs`, figures: rowLarge },
        { name: `/metrics: ${small.name}, no jobs`, figures: rowSmall },
        ...[large, small].flatMap(rowsOf),
      ],
      verdicts: [
        verdict(`/metrics with ${large.name}, median`, rowLarge.time.value, 'ms', 'at most', 50),
        verdict(
          `/metrics with ${large.name}, 99 of 100 scrapes`,
          rowLarge['99 of 100 within'].value,
          'ms',
          'at most',
          50,
        ),
        verdict(`/metrics with ${large.name}: series`, rowLarge.series.value, '', 'at most', 3_000),
        verdict(
          `/metrics: CPU with ${large.name} against ${small.name}`,
          ratioOfRuns(rowLarge.CPU, rowSmall.CPU),
          'x',
          'at most',
          2,
        ),
        verdict(
          `Making room: CPU with ${large.name} against ${small.name}`,
          ratioOfRuns(cpuOfRoom(large), cpuOfRoom(small)),
          'x',
          'at most',
          1.5,
        ),
        verdict(`Start with ${large.name}: CPU`, figure('s', cpuOfStarts(large)).value, 's', 'at most', 30),
      ],
      notes: [],
    };
  },
};

/** A daemon over a new index, started some times; the last one stays. */
async function subject(order: {
  workspace: Workspace;
  origin: SpawnedOrigin;
  files: number;
  folders: string;
  starts: number;
  log: (message: string) => void;
}): Promise<Subject> {
  const { workspace, origin, files, folders, log } = order;
  const dataDir = workspace.folder('data');
  const stores = storesFor(files, () => workspace.folder('store'), 0);
  const name = `${files.toLocaleString('en-US')} files`;
  log(`making an index of ${name}`);
  await makeIndex({ indexDir: join(dataDir, 'index'), stores, files });
  const indexBytes = statSync(join(dataDir, 'index', 'data.mdb')).size;
  const at: DaemonOrder['origin'] = { endpoint: origin.endpoint, ...clusterCredentials };
  const starts: Daemon[] = [];
  const peaks: number[] = [];
  for (let start = 0; start < order.starts; start += 1) {
    log(`start ${start + 1} of ${order.starts}`);
    await starts.at(-1)?.stop();
    const daemon = await startDaemon(workspace, { origin: at, stores, dataDir, files: folders });
    peaks.push(daemon.memory().peakBytes / MiB);
    starts.push(daemon);
  }
  const nothing = { scrapes: [], folders: [], folder: [], all: [], rooms: [] };
  return { name, files, daemon: starts.at(-1)!, indexBytes, starts, peaks, ...nothing };
}

async function measure(subject: Subject, path: string): Promise<void> {
  const { daemon, files } = subject;
  subject.scrapes.push(await scrapes(daemon));
  subject.folders.push(await answersTo(daemon.base, 'ls', [madeRoot]));
  // Of the half that goes last.
  const half = files / madeFilesPerFolder / 2;
  const some = Array.from({ length: 20 }, (_, at) => madeFolder(Math.floor(half + (at * half) / 20)));
  subject.folder.push(await answersTo(daemon.base, 'stat', some));
  subject.rooms.push(await roomFor(daemon, path));
}

function scrapeFigures(all: readonly Scrapes[]) {
  const of = (unit: string, each: (one: Scrapes) => number): Figure => figure(unit, all.map(each));
  return {
    time: of('ms', ({ medianMs }) => medianMs),
    '99 of 100 within': of('ms', ({ slowMs }) => slowMs),
    CPU: of('ms', ({ cpuMs }) => cpuMs),
    series: of('', ({ series }) => series),
    answer: of('KiB', ({ bytes }) => bytes / KiB),
  };
}

const cpuOfStarts = ({ starts }: Subject): number[] => starts.map(({ startCpuSeconds }) => startCpuSeconds);

function rowsOf(subject: Subject): Row[] {
  const { name, starts, peaks, indexBytes, folders, folder, all, rooms, daemon } = subject;
  const times = (answered: readonly Answered[]) => ({
    time: figure(
      'ms',
      answered.map(({ medianMs }) => medianMs),
    ),
    'others waited': figure(
      'ms',
      answered.map(({ othersMs }) => othersMs),
    ),
  });
  return [
    {
      name: `start: ${name}`,
      figures: {
        time: figure(
          's',
          starts.map(({ startSeconds }) => startSeconds),
        ),
        CPU: figure('s', cpuOfStarts(subject)),
        'peak memory': figure('MiB', peaks),
        index: figure('GiB', [indexBytes / GiB]),
      },
    },
    { name: `ls of 1,000 folders: ${name}`, figures: times(folders) },
    { name: `stat of a folder: ${name}`, figures: times(folder) },
    { name: `stat of everything: ${name}`, figures: times(all) },
    {
      name: `room for a load: ${name}`,
      figures: {
        time: figure(
          's',
          rooms.map(({ seconds }) => seconds),
        ),
        CPU: figure(
          's',
          rooms.map(({ cpuSeconds }) => cpuSeconds),
        ),
        evicted: figure(
          'files',
          rooms.map(({ evictedFiles }) => evictedFiles),
        ),
        'peak memory': figure('MiB', [daemon.memory().peakBytes / MiB]),
      },
    },
  ];
}

async function runJob(base: string, path: string): Promise<void> {
  await submitLoad(base, path);
  while (!hasEnded(await progressOf(base, path)));
}
