/** What a daemon with many files is asked to do: to be scraped, to answer, to make room. */
import type { Daemon } from './daemon.ts';
import { readMetrics } from './metrics.ts';
import { cpuSecondsOf } from './process.ts';
import { median, quantile } from './results.ts';

const msPerSecond = 1000;
const scrapesARun = 100;

export interface Scrapes {
  readonly medianMs: number;
  /** 99 of 100 within. */
  readonly slowMs: number;
  readonly cpuMs: number;
  readonly series: number;
  readonly bytes: number;
}

/** Scrapes one after the other, without a pause. */
export async function scrapes({ base, pid }: Pick<Daemon, 'base' | 'pid'>): Promise<Scrapes> {
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
    medianMs: median(times),
    slowMs: quantile(times, 0.99),
    cpuMs: ((cpuSecondsOf(pid) - cpuBefore) * msPerSecond) / scrapesARun,
    series: text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length,
    bytes: Buffer.byteLength(text),
  };
}

export interface Answered {
  readonly medianMs: number;
  /** The longest that another request waited meanwhile. */
  readonly othersMs: number;
}

/** Asks for each path, one after the other. */
export async function answersTo(base: string, verb: 'ls' | 'stat', paths: readonly string[]): Promise<Answered> {
  let asking = true;
  const others = longestAnswer(`${base}/health/live`, () => asking);
  const times: number[] = [];
  for (const path of paths) times.push(await answerMs(`${base}/api/v1/fs/${verb}?path=${encodeURIComponent(path)}`));
  asking = false;
  return { medianMs: median(times), othersMs: await others };
}

async function longestAnswer(url: string, goOn: () => boolean): Promise<number> {
  let longestMs = 0;
  while (goOn()) longestMs = Math.max(longestMs, await answerMs(url));
  return longestMs;
}

async function answerMs(url: string): Promise<number> {
  const startedMs = performance.now();
  const answer = await fetch(url);
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`${url} answered ${answer.status}: ${text.slice(0, 200)}`);
  return performance.now() - startedMs;
}

export interface Room {
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly evictedFiles: number;
}

/** Loads a path into a full store. */
export async function roomFor(daemon: Daemon, path: string): Promise<Room> {
  const evicted = async (): Promise<number> => (await readMetrics(daemon.base, ['primed_store_evictions_total']))[0]!;
  const before = await evicted();
  const { seconds, cpuSeconds } = await daemon.load(path);
  const evictedFiles = (await evicted()) - before;
  if (evictedFiles === 0) throw new Error(`nothing was evicted for ${path}`);
  return { seconds, cpuSeconds, evictedFiles };
}
