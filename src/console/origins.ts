/** How origins do, of what all workers say of them, of the loads that read from them, and of their limits. */
import type { ConsoleJob, ConsoleOrigin } from '../core/console-feed.ts';
import { limitOf } from '../core/origin-limits.ts';
import { type OriginTrouble, type OriginUse, originTroubles } from '../core/origin-use.ts';
import { countText, percentText, rateText } from './format.ts';
import { type ConsoleState, isActive, originOf } from './state.ts';

/** As the alerts have it: of more than this part of its requests something has to be done. */
const badShare = 0.05;

export const originStates = ['FAILING', 'THROTTLED', 'RETRYING', 'GOOD', 'IDLE'] as const;

/** Of late, by one worker or by all of them. */
export interface OriginFigures {
  readonly state: (typeof originStates)[number];
  readonly requestsPerSecond: number;
  readonly bytesPerSecond: number;
  /** Undefined: nothing was answered. */
  readonly firstByteMs: number | undefined;
  /** 0 to 1, of its requests. */
  readonly failed: Readonly<Record<OriginTrouble, number>>;
  readonly failedShare: number;
}

export interface OriginWorker extends OriginFigures {
  /** Of the worker. */
  readonly id: string;
}

export interface OriginRow extends OriginFigures {
  readonly id: string;
  readonly loads: readonly ConsoleJob[];
  readonly uses: readonly { readonly id: string; readonly use: OriginUse }[];
  /** The one that counts, and what all that it is for use together. */
  readonly limit:
    | (ConsoleOrigin & { readonly used: Pick<OriginFigures, 'bytesPerSecond' | 'requestsPerSecond'> })
    | undefined;
}

/** What needs somebody first, then the busiest. */
export function originRows({ jobs, workers, origins, head }: ConsoleState): OriginRow[] {
  const uses = new Map<string, { id: string; use: OriginUse }[]>();
  for (const { id, origins: told = [] } of workers.values())
    for (const use of told) push(uses, use.origin, { id, use });
  for (const use of head?.origins ?? []) push(uses, use.origin, { id: 'coordinator', use });
  // Of files each root is an origin, which a path alone does not tell.
  const known = [...uses.keys(), ...origins.keys()].filter((id) => id.startsWith('file:'));
  const loads = new Map<string, ConsoleJob[]>();
  for (const job of jobs.values())
    if (job.type === 'LOAD' && job.kind === 'path' && isActive(job))
      push(loads, longestOf(known, job.path) ?? originOf(job.path), job);
  const limits = [...origins.values()].map((limit) => ({
    ...{ ...limit, origin: limit.id },
    used: { bytesPerSecond: 0, requestsPerSecond: 0 },
  }));
  const rows = [...new Set([...origins.keys(), ...loads.keys(), ...uses.keys()])].map((id) => {
    const by = uses.get(id) ?? [];
    const figures = figuresOf(by.map(({ use }) => use));
    const limit = limitOf(id, limits);
    if (limit !== undefined) {
      limit.used.bytesPerSecond += figures.bytesPerSecond;
      limit.used.requestsPerSecond += figures.requestsPerSecond;
    }
    return { ...figures, id, loads: loads.get(id) ?? [], uses: by, limit };
  });
  return rows.sort((a, b) => worst(a, b) || b.requestsPerSecond - a.requestsPerSecond || (a.id < b.id ? -1 : 1));
}

/** The one that the path lies in. */
function longestOf(ids: readonly string[], path: string): string | undefined {
  const slashed = path.endsWith('/') ? path : `${path}/`;
  return ids.filter((id) => slashed.startsWith(id)).sort((a, b) => b.length - a.length)[0];
}

/** As each worker sees it, in the order of `originRows`. */
export function originWorkers({ uses }: OriginRow): OriginWorker[] {
  return uses
    .map(({ id, use }) => ({ id, ...figuresOf([use]) }))
    .sort((a, b) => worst(a, b) || b.requestsPerSecond - a.requestsPerSecond);
}

function worst(a: OriginFigures, b: OriginFigures): number {
  return originStates.indexOf(a.state) - originStates.indexOf(b.state);
}

function figuresOf(uses: readonly OriginUse[]): OriginFigures {
  const sum = (figure: (use: OriginUse) => number): number => uses.reduce((all, use) => all + figure(use), 0);
  const requests = sum(({ requestsPerMinute }) => requestsPerMinute);
  const counts = originTroubles.map((one) => [one, sum(({ failuresPerMinute }) => failuresPerMinute[one])] as const);
  const failed = Object.fromEntries(
    counts.map(([one, count]) => [one, requests === 0 ? 0 : Math.min(1, count / requests)]),
  ) as Record<OriginTrouble, number>;
  const failedShare = Math.min(
    1,
    Object.values(failed).reduce((all, one) => all + one, 0),
  );
  const answersOf = ({ requestsPerMinute, failuresPerMinute, firstByteMs }: OriginUse): number =>
    firstByteMs === 0
      ? 0
      : Math.max(0, requestsPerMinute - originTroubles.reduce((all, one) => all + failuresPerMinute[one], 0));
  const answers = sum(answersOf);
  return {
    state: stateOf(requests, failed, failedShare),
    requestsPerSecond: requests / 60,
    bytesPerSecond: sum(({ bytesPerSecond }) => bytesPerSecond),
    firstByteMs: answers === 0 ? undefined : sum((use) => use.firstByteMs * answersOf(use)) / answers,
    ...{ failed, failedShare },
  };
}

function stateOf(
  requests: number,
  { throttled }: OriginFigures['failed'],
  failedShare: number,
): OriginFigures['state'] {
  if (requests === 0) return 'IDLE';
  if (failedShare - throttled > badShare) return 'FAILING';
  if (throttled > badShare) return 'THROTTLED';
  return failedShare > 0 ? 'RETRYING' : 'GOOD';
}

const words: Readonly<Record<OriginTrouble, string>> = {
  throttled: 'told to slow down',
  server: 'server errors',
  refused: 'access refused',
  unreachable: 'not reachable',
  slow: 'no answer in time',
  broken: 'broken off or wrong',
  changed: 'changed or gone',
};

/** The largest first; empty: nothing fails. */
export function troubleText({ failed }: OriginFigures, most: number = originTroubles.length): string {
  return originTroubles
    .filter((one) => failed[one] > 0)
    .sort((a, b) => failed[b] - failed[a])
    .slice(0, most)
    .map((one) => `${words[one]} ${shareText(failed[one])}`)
    .join(', ');
}

/** `1.20 GiB/s of 2.00 GiB/s (60 %)`; undefined: there is no limit. */
export function limitText({ limit }: OriginRow): string | undefined {
  if (limit === undefined) return undefined;
  const { bytesPerSecond, requestsPerSecond } = limit.used;
  const shared = limit.id === 's3://' ? ' of all buckets without one of their own' : '';
  const parts = [
    limit.bytesPerSecond === undefined
      ? ''
      : `${rateText(bytesPerSecond)} of ${rateText(limit.bytesPerSecond)}${usedText(bytesPerSecond, limit.bytesPerSecond)}`,
    limit.requestsPerSecond === undefined
      ? ''
      : `${perSecondText(requestsPerSecond)} of ${countText(limit.requestsPerSecond)} requests/s${usedText(requestsPerSecond, limit.requestsPerSecond)}`,
  ].filter(Boolean);
  return parts.length === 0 ? undefined : `${parts.join(', ')}${shared}`;
}

function usedText(now: number, most: number): string {
  return most === 0 ? '' : ` (${percentText(now / most)})`;
}

/** Of failures: what is little is not nothing. */
export function shareText(share: number): string {
  return share > 0 && share < 0.01 ? '< 1 %' : percentText(share);
}

/** `1.5`, `120`. */
export function perSecondText(perSecond: number): string {
  return perSecond > 0 && perSecond < 9.95 ? perSecond.toFixed(1) : countText(perSecond);
}

function push<T>(lists: Map<string, T[]>, key: string, one: T): void {
  const known = lists.get(key);
  if (known === undefined) lists.set(key, [one]);
  else known.push(one);
}
