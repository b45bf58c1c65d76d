/** The answer of a plan, put together of what was counted. Pure. */
import type { JobSnapshot } from '../core/job.ts';
import type { LoadPlan, PlannedWorker } from '../core/load-plan.ts';
import { limitOf, type OriginLimit } from '../core/origin-limits.ts';
import { type MeasuredLoad, noShorterThan, type TimeRange, timeRange } from '../core/plan-time.ts';
import { type RequestTally, requestKinds } from '../core/price.ts';
import type { WorkerRoom } from '../ingest/types.ts';
import type { PlannedFetches } from './fleet-plan.ts';
import type { JobDefinition } from './job-store.ts';
import type { PlannedListing } from './plan-listing.ts';
import type { WorkerId } from './worker-link.ts';

interface Counted {
  readonly definition: JobDefinition;
  readonly listed: PlannedListing;
  readonly planned: PlannedFetches;
  readonly tally: RequestTally;
  /** Undefined: there are no prices. */
  readonly currency: string | undefined;
  readonly rooms: ReadonlyMap<WorkerId, WorkerRoom>;
  readonly elapsedMs: number;
  readonly runningJobId: string | undefined;
  /** The newest first. */
  readonly measured: Iterable<MeasuredLoad>;
  readonly limits: readonly OriginLimit[];
}

export function planOf(counted: Counted): LoadPlan {
  const { definition, listed, planned, tally, currency, elapsedMs, runningJobId } = counted;
  const { source, resumed } = definition;
  const { counts } = tally;
  const { scannedFiles, files, bytes, refusedFiles, refused } = listed;
  const workers = workersOf(counted);
  const time = timeOf(counted);
  return {
    ...(source.kind === 'index' ? { indexFile: source.path } : { path: source.path }),
    ...(runningJobId === undefined ? {} : { runningJobId }),
    resumed,
    listing: { scannedFiles, files, bytes, elapsedMs },
    refused: { files: refusedFiles, named: refused },
    cached: { files: planned.skippedFiles, bytes: planned.skippedBytes },
    load: { files: planned.loadedFiles, bytes: planned.loadedBytes },
    requests: {
      ...counts,
      total: requestKinds.reduce((sum, kind) => sum + counts[kind], 0),
      copies: planned.copies,
    },
    originBytes: sumOf(planned.originBytesAt.values()),
    copiedBytes: planned.copiedBytes,
    ...(currency === undefined ? {} : { price: tally.price(currency) }),
    workers,
    fits: workers.length > 0 && workers.every(({ fits }) => fits),
    ...(time === undefined ? {} : { time }),
    notes: notesOf(counted, workers, time),
  };
}

/** Loads of the same kind that ended well, with what they fetched. */
export function* measuredLoads(jobs: Iterable<JobSnapshot>, { options }: JobDefinition): Generator<MeasuredLoad> {
  for (const { type, state, activeMs, loadedFiles, loadedBytes, options: theirs } of jobs) {
    const alike = theirs.verify === options.verify && theirs.loadMetadataOnly === options.loadMetadataOnly;
    if (type === 'LOAD' && state === 'SUCCEEDED' && alike) yield { files: loadedFiles, bytes: loadedBytes, activeMs };
  }
}

function workersOf({ rooms, planned }: Counted): PlannedWorker[] {
  const { bytesAt, originBytesAt, need } = planned;
  return Array.from(rooms, ([id, { freeBytes, capacityBytes, fits, evicted }]) => ({
    ...{ id, bytes: bytesAt.get(id) ?? 0, originBytes: originBytesAt.get(id) ?? 0, roomBytes: need.get(id) ?? 0 },
    ...{ freeBytes, capacityBytes, fits, evicted },
  })).sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** What was measured, and no shorter than what limits and the listing allow. */
function timeOf({ definition, planned, measured, elapsedMs, limits, tally }: Counted): TimeRange | undefined {
  const range = timeRange({ files: planned.loadedFiles, bytes: planned.loadedBytes }, measured);
  if (range === undefined) return undefined;
  const { bandwidthBytesPerSecond = Number.POSITIVE_INFINITY } = definition.options;
  const busiest = Math.max(0, ...planned.originBytesAt.values());
  const floors = [elapsedMs, (busiest / bandwidthBytesPerSecond) * 1000];
  const limit = originLimit(definition, limits);
  if (limit?.bytesPerSecond) floors.push((sumOf(planned.originBytesAt.values()) / limit.bytesPerSecond) * 1000);
  if (limit?.requestsPerSecond) {
    const { counts } = tally;
    const requests = requestKinds.reduce((sum, kind) => sum + counts[kind], 0);
    floors.push((requests / limit.requestsPerSecond) * 1000);
  }
  return noShorterThan(range, Math.max(...floors));
}

/** Of an index, which may name several origins, nothing is said. */
function originLimit({ source, key }: JobDefinition, limits: readonly OriginLimit[]): OriginLimit | undefined {
  return source.kind === 'path' ? limitOf(key, limits) : undefined;
}

function notesOf(
  { definition, listed, tally, currency, rooms }: Counted,
  workers: readonly PlannedWorker[],
  time: TimeRange | undefined,
): string[] {
  const notes: string[] = [];
  if (time === undefined)
    notes.push('No load of this kind has succeeded here of late: how long it takes is not known.');
  if (currency === undefined) notes.push('No prices are configured ([price]).');
  else if (tally.unpriced > 0) notes.push(`${tally.unpriced} requests have no price in the configuration.`);
  if (listed.refusedFiles > 0) notes.push('Some files would be refused, and the load would end as FAILED.');
  if (listed.mayRepeat) notes.push('The index names so many paths that repeated ones may be counted twice.');
  if (workers.some(({ evicted }) => !evicted.counted))
    notes.push('So much would be evicted that the number of files is estimated.');
  const evicts = workers.some(({ evicted }) => evicted.files > 0);
  if (evicts && definition.options.skipIfExists && definition.source.kind === 'index')
    notes.push(
      'Files that the index names may stand among those to be evicted; the load would keep them, and evict others.',
    );
  if (rooms.size === 0) notes.push('No worker is there.');
  return notes;
}

/** What is to be known of workers that came or went while files were counted. */
export function changeNotes(how: {
  /** How often the source was listed. */
  readonly listing: number;
  /** Nothing has changed during the last time. */
  readonly whole: boolean;
  readonly lost: ReadonlySet<string>;
}): string[] {
  const names = [...how.lost].map((id) => `'${id}'`).join(', ');
  const who = names === '' ? 'Workers came or went' : `Workers were lost (${names})`;
  if (!how.whole)
    return [
      `${who} whenever the source was listed: what is said of single workers, and of what is cached, may be off.`,
    ];
  if (how.listing === 1) return [];
  return [`${who} while the plan was made: it was made anew, and is of the workers that are there now.`];
}

function sumOf(numbers: Iterable<number>): number {
  let sum = 0;
  for (const one of numbers) sum += one;
  return sum;
}
