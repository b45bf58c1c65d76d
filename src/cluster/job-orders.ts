/** From what is submitted to a job that has not begun; and from what people call a job to the job. */
import { randomUUID } from 'node:crypto';
import { newFree } from '../core/free-job.ts';
import type { JobSource, JobState, JobType, LoadOptions } from '../core/job.ts';
import { type JobProgress, newJob } from '../core/job-machine.ts';
import { checkReplicas, defaultLoadOptions } from '../core/load-options.ts';
import type { JobId, LoadId, RunId } from '../core/types.ts';
import type { Origins } from '../origin/types.ts';
import { freeKeyOf, keyOf, lookupKey, type Order } from './job-paths.ts';
import type { JobDefinition } from './job-store.ts';

type Resolving = Pick<Origins, 'resolve'>;

/** Throws PATH_WILDCARD, PATH_INVALID, and OPTION_UNSUPPORTED for more replicas than there are workers. */
export function orderOfLoad(
  { source, options, alias }: { source: JobSource; options: LoadOptions; alias: string | undefined },
  { origins, takers }: { origins: Resolving; takers: number },
): Order {
  const key = keyOf(source, origins);
  // While no worker is there, the job waits for one.
  checkReplicas(options, Math.max(1, takers));
  const name = source.kind === 'paths' ? source.path : alias;
  return { type: 'LOAD', source, options, key, ...(name === undefined ? {} : { alias: name }) };
}

/** Throws PATH_WILDCARD and PATH_INVALID. */
export function orderOfFree(path: string, dryRun: boolean, origins: Resolving): Order {
  const source = { kind: 'path', path } as const;
  return { type: 'FREE', source, options: defaultLoadOptions, key: freeKeyOf(path, origins), dryRun };
}

export function progressOf({ type, options, dryRun = false }: Order, nowMs: number): JobProgress {
  return type === 'FREE'
    ? newJob({ verify: false, free: newFree(dryRun) }, nowMs)
    : newJob({ verify: options.verify }, nowMs);
}

/** `latest`: the newest job of the same key; one that was stopped is resumed. */
export function definitionOf(
  order: Order,
  latest: { readonly state: JobState; readonly definition: Pick<JobDefinition, 'source' | 'loadId'> } | undefined,
): Omit<JobDefinition, 'number'> {
  const stopped =
    latest?.state === 'STOPPED' && latest.definition.source.kind === order.source.kind ? latest : undefined;
  const runId = randomUUID();
  return {
    ...order,
    jobId: randomUUID() as JobId,
    runId: runId as RunId,
    // By one name, so that the record of a file does not have to say by which run of the load it was fetched.
    loadId: stopped?.definition.loadId ?? (runId as LoadId),
    resumed: stopped !== undefined,
    repairRunId: randomUUID() as RunId,
    repairLoadId: randomUUID() as LoadId,
  };
}

export interface JobIndex<T> {
  /** The newest job of each path. */
  byKey(key: string): T | undefined;
  byAlias(alias: string): T | undefined;
  byId(jobId: string): T | undefined;
}

/** By path, index file, alias or id. */
export function findJob<T extends { readonly definition: Pick<JobDefinition, 'type'> }>(
  handle: string,
  type: JobType,
  origins: Resolving,
  index: JobIndex<T>,
): T | undefined {
  const key = lookupKey(handle, type, origins, (normal) => index.byKey(normal) !== undefined);
  const found = [index.byKey(key), index.byAlias(handle), index.byId(handle)];
  return found.find((job) => job?.definition.type === type);
}
