/** The source of a planned load, listed as the load would list it, each page counted and forgotten. */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FileFailure } from '../core/job.ts';
import { NumberSet } from '../core/number-set.ts';
import type { RequestTally } from '../core/price.ts';
import type { Origins } from '../origin/types.ts';
import { boundedFilter } from './bounded-filter.ts';
import { countedOrigins } from './counted-origins.ts';
import type { FleetPlan } from './fleet-plan.ts';
import { indexVersion } from './index-file.ts';
import type { JobDefinition } from './job-store.ts';
import { type ListedPage, listSource } from './lister.ts';
import { mapOrdered } from './ordered.ts';
import type { JobServiceSettings } from './settings.ts';
import { TurnTaking } from './turn-taking.ts';

export interface PlannedListing {
  scannedFiles: number;
  files: number;
  bytes: number;
  refusedFiles: number;
  /** The first ones. */
  readonly refused: FileFailure[];
  /** More paths than could be told apart: one that is named twice may be counted twice. */
  readonly mayRepeat: boolean;
}

/** Pages that the workers are asked about at a time, as by a load. */
const pagesAtOnce = 4;
const refusedNamed = 100;
/** Paths of an index that are told apart, at 16 to 64 B each. A load tells all of them apart, on disk. */
const mostSeen = 8_000_000;

/** Rejects with what would end the load while it lists: ORIGIN_*, PATH_INVALID, REQUEST_INVALID of the filter. */
export async function listPlanned(order: {
  readonly definition: JobDefinition;
  readonly origins: Origins;
  readonly settings: JobServiceSettings;
  readonly fetches: FleetPlan;
  readonly tally: RequestTally;
  readonly signal: AbortSignal;
}): Promise<PlannedListing> {
  const { definition, settings, fetches, tally, signal } = order;
  const { source, options } = definition;
  const counted = (passes: number): Origins =>
    countedOrigins(order.origins, (path, kind, count, bytes) => tally.add(path, kind, count * passes, bytes * passes));
  if (source.kind === 'index') await indexVersion(source.path, counted(1), signal);
  // A verification lists the source once more.
  const origins = counted(options.verify ? 2 : 1);
  const pause = (ms: number): Promise<void> => sleep(ms, undefined, { signal });
  const filter = boundedFilter(options.fileFilterRegex);
  const seen = source.kind === 'path' ? undefined : new Seen();
  const turns = new TurnTaking();
  const listed = { ...{ scannedFiles: 0, files: 0, bytes: 0, refusedFiles: 0 }, refused: [] as FileFailure[] };
  const countPage = async ({ entries: all, refused: allRefused, scanned }: ListedPage): Promise<void> => {
    const kept = filter(all.map(({ path }) => path));
    const named = all.filter((_, at) => kept[at]);
    const entries = seen === undefined ? named : named.filter((one) => seen.isNew(one));
    const refused = seen === undefined ? allRefused : allRefused.filter((one) => seen.isNew(one));
    listed.scannedFiles += scanned;
    listed.files += entries.length + refused.length;
    listed.bytes += options.loadMetadataOnly ? 0 : entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    listed.refusedFiles += refused.length;
    listed.refused.push(...refused.slice(0, Math.max(0, refusedNamed - listed.refused.length)));
    await turns.take();
    await fetches.add(entries);
  };
  const pages = listSource(source, { line: 0 }, { origins, settings, signal, pause });
  for await (const _ of mapOrdered(pages, pagesAtOnce, countPage)) signal.throwIfAborted();
  return { ...listed, mayRepeat: seen?.isFull === true };
}

class Seen {
  readonly #numbers = new NumberSet();

  get isFull(): boolean {
    return this.#numbers.size >= mostSeen;
  }

  /** Of a hash of 52 bits: two of a million paths are taken for one with a chance of 1 to 10,000. */
  isNew({ path }: { readonly path: string }): boolean {
    const hash = createHash('sha256').update(path).digest();
    const number = hash.readUIntBE(0, 6) * 16 + (hash[6]! >> 4) + 1;
    if (this.isFull) return !this.#numbers.has(number);
    return this.#numbers.add(number);
  }
}
