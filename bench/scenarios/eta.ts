/**
 * How right the time left is that a load says: asked often while it runs, and compared with when it ended. Of the dataset of
 * the demo, and from origins that are slow in one way or another; they set the pace, so that the machine need not be idle.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { KiB, MiB } from '../../src/core/units.ts';
import { planDataset } from '../../src/demo/dataset.ts';
import type { OriginKnobs } from '../../src/demo/origin/api.ts';
import type { ObjectSpec } from '../../src/demo/origin/objects.ts';
import { startDemoOrigin } from '../origins/demo.ts';
import { clusterCredentials } from '../support/cluster.ts';
import { startDaemon } from '../support/daemon.ts';
import { hasEnded, insistOnSuccess, progressOf, submitLoad } from '../support/jobs.ts';
import { figure, median, quantile, verdict } from '../support/results.ts';
import type { Scenario } from '../support/scenario.ts';

interface Case {
  readonly name: string;
  readonly prefix: string;
  readonly knobs: OriginKnobs;
}

interface Said {
  readonly atMs: number;
  /** Undefined: nothing. */
  readonly etaMs: number | undefined;
}

interface Judged {
  readonly seconds: number;
  /** How far each was off, as a share of the truth. */
  readonly off: readonly number[];
  readonly silent: number;
}

const askEveryMs = 100;
const firstShare = 1 / 3;
const wanted = 0.15;
/** The time left is shown in whole seconds: what is off by less than one looks right. */
const seenMs = 1000;

const files = (prefix: string, count: number, sizeBytes: number): ObjectSpec[] =>
  Array.from({ length: count }, (_, at) => ({ key: `${prefix}${String(at).padStart(5, '0')}.bin`, sizeBytes }));

export const eta: Scenario = {
  summary: 'the time left that a load says, against the truth: the dataset of the demo, and slow origins',
  async run({ workspace, quick, runs, log }) {
    const scale = quick ? 1 : 2;
    const demoBytes = quick ? 256 * MiB : 1024 * MiB;
    const demo = planDataset({ totalBytes: demoBytes, prefix: 'demo/' });
    const objects = [
      ...demo,
      ...files('small/', 500 * scale, 16 * KiB),
      ...files('large/', 3 * scale, 32 * MiB + 12_345),
      ...files('order/a/', 400 * scale, 16 * KiB),
      ...files('order/b/', 3 * scale, 32 * MiB),
    ];
    const cases: Case[] = [
      { name: 'the demo, at the pace of this machine', prefix: 'demo/', knobs: {} },
      { name: 'the demo, in 16 s', prefix: 'demo/', knobs: { bytesPerSecond: demoBytes / 16 } },
      { name: 'large files, 8 MiB/s', prefix: 'large/', knobs: { bytesPerSecond: 8 * MiB } },
      { name: 'small files, 1 s each', prefix: 'small/', knobs: { latencyMs: 1000 } },
      {
        name: 'small files first, then large ones, 8 MiB/s',
        prefix: 'order/',
        knobs: { bytesPerSecond: 8 * MiB, latencyMs: 100 },
      },
      { name: 'large files, 256 KiB/s a connection', prefix: 'large/', knobs: { connectionBytesPerSecond: 256 * KiB } },
    ];
    const origin = await startDemoOrigin(workspace, objects);
    const bytes = objects.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const daemon = await startDaemon(workspace, {
      origin: { endpoint: origin.endpoint, ...clusterCredentials },
      stores: [{ dir: workspace.folder('store'), sizeBytes: Math.ceil((bytes * 2.5) / MiB) * MiB + 64 * MiB }],
    });
    await daemon.load(`s3://${origin.bucket}/small/`);
    const rows = [];
    const all: number[] = [];
    for (const { name, prefix, knobs } of cases) {
      const judged: Judged[] = [];
      for (let run = 0; run < (quick ? 1 : runs); run += 1) {
        await origin.setKnobs({ latencyMs: 0, bytesPerSecond: 0, connectionBytesPerSecond: 0, ...knobs });
        const one = await followed(daemon.base, `s3://${origin.bucket}/${prefix}`);
        judged.push(one);
        log(`${name}: ${one.seconds.toFixed(1)} s, worst ${percent(Math.max(...one.off)).toFixed(1)}%`);
      }
      const off = judged.flatMap((one) => one.off);
      all.push(...off);
      rows.push({
        name,
        figures: {
          duration: figure(
            's',
            judged.map(({ seconds }) => seconds),
          ),
          'within 15%': figure(
            '%',
            judged.map((one) => percent(shareWithin(one.off))),
          ),
          'off by, median': figure('%', [percent(median(off))]),
          'off by, worst': figure('%', [percent(quantile(off, 1))]),
          'nothing said': figure(
            'times',
            judged.map(({ silent }) => silent),
          ),
        },
      });
    }
    return {
      title: 'The time left that a load says',
      about: `Asked every ${askEveryMs} ms from a third of the way on, and compared with the time that it took until the end. What is off by less than the second in which it is shown counts as right; where nothing is said, as wrong.`,
      parameters: { files: objects.length, bytes, runs: quick ? 1 : runs },
      rows,
      verdicts: [
        verdict('Time left: answers within 15% of the truth', percent(shareWithin(all)), '%', 'at least', 99),
        verdict('Time left: worst answer off by', percent(Math.max(...all)), '%', 'at most', 30),
      ],
      notes: [],
    };
  },
};

async function followed(base: string, path: string): Promise<Judged> {
  const said: Said[] = [];
  const startedMs = performance.now();
  await submitLoad(base, path);
  for (;;) {
    const askedMs = performance.now();
    const progress = await progressOf(base, path);
    if (hasEnded(progress)) {
      insistOnSuccess(path, progress);
      break;
    }
    said.push({ atMs: (askedMs + performance.now()) / 2, etaMs: progress.etaMs });
    await sleep(askEveryMs);
  }
  const endedMs = performance.now() - askEveryMs / 2;
  const judged = said.filter(({ atMs }) => atMs >= startedMs + (endedMs - startedMs) * firstShare);
  const off = judged.map(({ atMs, etaMs }) => {
    const leftMs = Math.max(0, endedMs - atMs);
    if (etaMs === undefined) return 1;
    const wrongMs = Math.abs(etaMs - leftMs);
    return wrongMs < seenMs ? 0 : wrongMs / Math.max(leftMs, seenMs);
  });
  return {
    seconds: (endedMs - startedMs) / 1000,
    off,
    silent: judged.filter(({ etaMs }) => etaMs === undefined).length,
  };
}

function shareWithin(off: readonly number[]): number {
  return off.filter((one) => one <= wanted).length / off.length;
}

function percent(share: number): number {
  return share * 100;
}
