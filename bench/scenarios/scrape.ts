/** What a scrape of Prometheus costs a daemon, with few files and with many, and with a full list of jobs. */
import { join } from 'node:path';
import { KiB } from '../../src/core/units.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { hasEnded, progressOf, submitLoad } from '../support/jobs.ts';
import { makeIndex, storesFor } from '../support/made-index.ts';
import { cpuSecondsOf } from '../support/process.ts';
import { figure, quantile, ratioOfRuns, verdict } from '../support/results.ts';
import type { Scenario } from '../support/scenario.ts';

const msPerSecond = 1000;
const scrapesARun = 100;
const fewFiles = 10_000;

interface Scrapes {
  readonly medianMs: number;
  readonly slowMs: number;
  readonly cpuMs: number;
  readonly series: number;
  readonly bytes: number;
}

export const scrape: Scenario = {
  summary: '/metrics with a million files in the cache and a thousand jobs, beside a small cache',
  async run({ workspace, runs, quick, log }) {
    const [few, many, jobs] = quick ? [1_000, 20_000, 20] : [fewFiles, 1_000_000, 1_000];
    // Jobs of empty folders: nothing is loaded, and the S3 origin is only named.
    const folders = workspace.folder('empty');
    const daemonWith = async (files: number): Promise<Daemon> => {
      const dataDir = workspace.folder('data');
      const stores = storesFor(files, () => workspace.folder('store'));
      log(`making an index of ${files} files`);
      await makeIndex({ indexDir: join(dataDir, 'index'), stores, files });
      return startDaemon(workspace, { origin: { endpoint: 'http://127.0.0.1:9' }, stores, dataDir, files: folders });
    };
    const small = await daemonWith(few);
    const large = await daemonWith(many);
    log(`running ${jobs} jobs`);
    for (let job = 0; job < jobs; job += 1) await runJob(large.base, `file://${folders}/job-${job}/`);
    for (const daemon of [small, large]) await scrapes(daemon);

    const taken = { small: [] as Scrapes[], large: [] as Scrapes[] };
    for (let run = 1; run <= runs; run += 1) {
      log(`run ${run} of ${runs}`);
      const first = run % 2 === 1;
      if (first) taken.large.push(await scrapes(large));
      taken.small.push(await scrapes(small));
      if (!first) taken.large.push(await scrapes(large));
    }
    const figuresOf = (all: readonly Scrapes[]) => ({
      time: figure(
        'ms',
        all.map(({ medianMs }) => medianMs),
      ),
      '99 of 100 within': figure(
        'ms',
        all.map(({ slowMs }) => slowMs),
      ),
      CPU: figure(
        'ms',
        all.map(({ cpuMs }) => cpuMs),
      ),
      series: figure(
        '',
        all.map(({ series }) => series),
      ),
      answer: figure(
        'KiB',
        all.map(({ bytes }) => bytes / KiB),
      ),
    });
    const [rowSmall, rowLarge] = [figuresOf(taken.small), figuresOf(taken.large)];
    const nameOf = (files: number): string => `${files.toLocaleString('en-US')} files`;
    return {
      title: 'A scrape of /metrics',
      about:
        'A standalone daemon, which shows the metrics of both roles, is asked for /metrics over loopback, one scrape after the other. The figures of a scrape are kept while files come and go, and none is found by looking at files: that is why the time for a million is that for ten thousand, and holds for more.',
      parameters: { 'files in the cache': many, 'ended jobs': jobs, 'scrapes in a run': scrapesARun },
      rows: [
        { name: `${nameOf(many)}, ${jobs.toLocaleString('en-US')} ended jobs`, figures: rowLarge },
        { name: `${nameOf(few)}, no jobs`, figures: rowSmall },
      ],
      verdicts: [
        verdict(
          `/metrics with ${nameOf(many)}, 99 of 100 scrapes`,
          rowLarge['99 of 100 within'].value,
          'ms',
          'at most',
          50,
        ),
        verdict(`/metrics with ${nameOf(many)}: series`, rowLarge.series.value, '', 'at most', 3_000),
        verdict(
          `/metrics: CPU with ${nameOf(many)} against ${nameOf(few)}`,
          ratioOfRuns(rowLarge.CPU, rowSmall.CPU),
          'x',
          'at most',
          2,
        ),
      ],
      notes: [],
    };
  },
};

async function runJob(base: string, path: string): Promise<void> {
  await submitLoad(base, path);
  while (!hasEnded(await progressOf(base, path)));
}

/** Scrapes one after the other, without a pause. */
async function scrapes({ base, pid }: Pick<Daemon, 'base' | 'pid'>): Promise<Scrapes> {
  const times: number[] = [];
  let text = '';
  const cpuBefore = cpuSecondsOf(pid);
  for (let scraped = 0; scraped < scrapesARun; scraped += 1) {
    const startedMs = performance.now();
    const answer = await fetch(`${base}/metrics`);
    text = await answer.text();
    if (answer.status !== 200) throw new Error(`/metrics answered ${answer.status}: ${text.slice(0, 200)}`);
    times.push(performance.now() - startedMs);
  }
  return {
    medianMs: quantile(times, 0.5),
    slowMs: quantile(times, 0.99),
    cpuMs: ((cpuSecondsOf(pid) - cpuBefore) * msPerSecond) / scrapesARun,
    series: text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length,
    bytes: Buffer.byteLength(text),
  };
}
