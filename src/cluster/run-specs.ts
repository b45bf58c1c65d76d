/** The runs of a job at the workers: what they are told of each, and how those end that an earlier process has begun. */
import type { RunSpec } from '../ingest/types.ts';
import type { Fleet } from './fleet.ts';
import type { JobClaim, JobDefinition } from './job-store.ts';
import type { JobDeps } from './run-context.ts';

/** The run that loads. */
export function loadSpec(
  definition: JobDefinition,
  claim: JobClaim | undefined,
  { onChange }: JobDeps['settings'],
): RunSpec {
  const { runId, loadId, options } = definition;
  const reuse = options.skipIfExists ? 'any' : 'load';
  return { ...commonOf(definition, claim), run: runId, load: loadId, reuse, onChange };
}

/** The run that loads again what verification has found bad or missing. */
export function repairSpec(definition: JobDefinition, claim: JobClaim | undefined): RunSpec {
  const { repairRunId, repairLoadId } = definition;
  return { ...commonOf(definition, claim), run: repairRunId, load: repairLoadId, reuse: 'load', onChange: 'fail' };
}

function commonOf({ jobId, options }: JobDefinition, claim: JobClaim | undefined) {
  const { segmentBytes, priority, bandwidthBytesPerSecond } = options;
  return {
    job: jobId,
    term: claim?.term ?? 0,
    segmentBytes,
    weight: priority,
    ...(bandwidthBytesPerSecond === undefined ? {} : { bandwidthBytesPerSecond }),
  };
}

/**
 * Ends what goes on at the workers of runs that an earlier process, or another coordinator, has begun: for up to a lease they
 * would. A worker that is told to begin such a run drops what it had under way of it first. Resolves when all workers have
 * answered that are there once the fleet has settled; the others stop by themselves at the end of the lease.
 */
export async function endEarlierRuns(fleet: Fleet, specs: readonly RunSpec[], replicas: number): Promise<void> {
  await fleet.settled();
  const ended = await Promise.allSettled(
    specs.map(async (spec) => {
      try {
        await fleet.startRun(spec, replicas);
      } finally {
        await fleet.stopRun(spec.run);
        await fleet.endRun(spec.run);
      }
    }),
  );
  for (const one of ended) if (one.status === 'rejected') throw one.reason;
}
