/** The console: how soon it is painted and how much comes over the wire, and what telling it costs the coordinator. */
import { setTimeout as sleep } from 'node:timers/promises';
import { KiB } from '../../src/core/units.ts';
import { ConsoleFeed } from '../../src/server/console/feed.ts';
import { consoleSource } from '../../src/server/console/source.ts';
import { countBytes, launchChromium } from '../support/chromium.ts';
import { startDaemon } from '../support/daemon.ts';
import { hasEnded, progressOf, submitLoad } from '../support/jobs.ts';
import { type MadeCluster, madeJob, madeWorker, partsOf } from '../support/made-cluster.ts';
import { cpuSecondsOf } from '../support/process.ts';
import { figure, type Row, verdict } from '../support/results.ts';
import type { Context, Scenario } from '../support/scenario.ts';

const msPerSecond = 1000;
const rowsOfEach = 1_000;
const turns = 100;
const watchedMs = 10_000;

interface Opening {
  readonly paintMs: number;
  readonly rowsMs: number;
  readonly kib: number;
}

export const consolePage: Scenario = {
  summary: 'the console: first paint, bytes, and what a look at 1,000 jobs and 1,000 workers costs',
  async run(context) {
    const { workspace, runs, quick, log } = context;
    const jobs = quick ? 60 : rowsOfEach;
    const folders = workspace.folder('empty');
    const stores = [{ dir: workspace.folder('store'), sizeBytes: 64 * 1024 * KiB }];
    const daemon = await startDaemon(workspace, { origin: { endpoint: 'http://127.0.0.1:9' }, stores, files: folders });
    log(`running ${jobs} jobs`);
    for (let job = 0; job < jobs; job += 1) {
      const path = `file://${folders}/job-${job}/`;
      await submitLoad(daemon.base, path);
      while (!hasEnded(await progressOf(daemon.base, path)));
    }
    const openings: Opening[] = [];
    const watched: number[] = [];
    const alone: number[] = [];
    for (let run = 1; run <= runs; run += 1) {
      log(`run ${run} of ${runs}`);
      // A browser that has never been here: nothing of the page is kept.
      const browser = await launchChromium(workspace.folder('profile'));
      try {
        alone.push(await cpuShare(daemon.pid, quick));
        const { opening, share } = await open(browser, daemon, quick);
        openings.push(opening);
        watched.push(share);
      } finally {
        await browser.close();
      }
    }
    const looks = await looksOf(context);
    const of = (name: keyof Opening) => openings.map((one) => one[name]);
    const rows: Row[] = [
      {
        name: `opened anew, ${jobs.toLocaleString('en-US')} jobs in its list`,
        figures: {
          'first paint': figure('ms', of('paintMs')),
          'all rows': figure('ms', of('rowsMs')),
          transferred: figure('KiB', of('kib')),
        },
      },
      { name: 'CPU of the daemon while nobody looks', figures: { 'CPU of a core': figure('%', alone) } },
      { name: 'while a page is open', figures: { 'CPU of a core': figure('%', watched) } },
      ...looks,
    ];
    const worst = looks[0]!.figures['CPU a look']!.value;
    return {
      title: 'The console',
      about:
        'A Chromium that has never been there opens the console of a standalone daemon over loopback: until something is painted, until all rows are there, and what has come over the network by then, heads included. Below, what telling consoles costs: the daemon with and without an open page, and looks by themselves (a look is once a second, for all listeners together).',
      parameters: { 'ended jobs': jobs, 'made jobs': rowsOfEach, 'made workers': rowsOfEach, looks: turns },
      rows,
      verdicts: [
        verdict('Console: first paint', figure('ms', of('paintMs')).value, 'ms', 'at most', 1_000),
        verdict('Console: transferred', figure('KiB', of('kib')).value, 'KiB', 'at most', 300),
        verdict('Console: CPU of a look, all of 1,000 jobs and 1,000 workers changed', worst, 'ms', 'at most', 50),
      ],
      notes: [],
    };
  },
};

async function open(
  browser: Awaited<ReturnType<typeof launchChromium>>,
  { base, pid }: { readonly base: string; readonly pid: number },
  quick: boolean,
): Promise<{ opening: Opening; share: number }> {
  const page = await browser.newPage();
  const bytes = await countBytes(browser, page);
  const startedMs = performance.now();
  await page.goto(`${base}/console/`);
  await page.locator('tbody tr').first().waitFor();
  const rowsMs = performance.now() - startedMs;
  const kib = bytes() / KiB;
  const paintMs = (await page.evaluate(
    `new Promise((resolve) => new PerformanceObserver((list) => resolve(list.getEntries()[0].startTime)).observe({ type: 'paint', buffered: true }))`,
  )) as number;
  const share = await cpuShare(pid, quick);
  await page.close();
  return { opening: { paintMs, rowsMs, kib }, share };
}

/** Percent of a core. */
async function cpuShare(pid: number, quick: boolean): Promise<number> {
  const forMs = quick ? watchedMs / 5 : watchedMs;
  const before = cpuSecondsOf(pid);
  await sleep(forMs);
  return ((cpuSecondsOf(pid) - before) * 100 * msPerSecond) / forMs;
}

/** CPU time of one look, packing included, with one listener and with as many as there may be. */
async function looksOf({ log }: Context): Promise<Row[]> {
  const rows: Row[] = [];
  for (const [name, change, listeners] of [
    ['a look, every job and worker changed', true, 1],
    ['the same, 64 listeners', true, 64],
    ['a look, nothing changed', false, 1],
  ] as const) {
    log(name);
    const made = madeAt(1);
    const feed = new ConsoleFeed({ source: consoleSource(partsOf(made)), intervalMs: 3_600_000 });
    let bytes = 0;
    for (let one = 0; one < listeners; one += 1)
      feed.join({
        write: ({ packed }) => {
          bytes += packed.length;
          return true;
        },
        may: () => true,
        end() {},
      });
    const told: number[] = [];
    const sizes: number[] = [];
    for (let turn = 2; turn < turns + 2; turn += 1) {
      if (change) Object.assign(made, madeAt(turn));
      bytes = 0;
      const before = process.cpuUsage();
      feed.tick();
      const { user, system } = process.cpuUsage(before);
      told.push((user + system) / msPerSecond);
      sizes.push(bytes / listeners / KiB);
    }
    feed.close();
    rows.push({ name, figures: { 'CPU a look': figure('ms', told), 'to each listener': figure('KiB', sizes) } });
  }
  return rows;
}

function madeAt(turn: number): MadeCluster {
  const all = Array.from({ length: rowsOfEach }, (_, number) => number);
  return {
    jobs: all.map((number) => madeJob(number, turn, 0)),
    workers: all.map((number) => madeWorker(number, turn)),
  };
}
