/** What a node does, in one line: for `systemctl status`. */
import type { JobService } from './cluster/types.ts';
import { isMember, type WorkerRow } from './core/membership.ts';
import { formatSize } from './core/sizes.ts';
import { countOf } from './core/text.ts';
import type { Store } from './store/types.ts';
import { type LaneCounters, laneColumns } from './telemetry/lane-columns.ts';

const settingsNamed = 5;

export interface StatusParts {
  readonly lanes?: LaneCounters;
  readonly store?: Pick<Store, 'usage'>;
  readonly jobs?: Pick<JobService, 'counts'>;
  readonly registry?: { workers(): readonly WorkerRow[] };
  /** That another configuration was refused. */
  readonly refusedConfig?: string;
  /** Settings that have changed and do not hold yet. */
  readonly needsRestart?: readonly string[];
}

/** A function that says what goes on now, with the rate since it was last called. `nowMs` must not go backwards. */
export function statusLine(parts: StatusParts, nowMs: () => number = () => performance.now()): () => string {
  let before = { bytes: receivedBytes(parts), ms: nowMs() };
  return () => {
    const { lanes, store, jobs, registry } = parts;
    const now = { bytes: receivedBytes(parts), ms: nowMs() };
    const rate = now.ms > before.ms ? ((now.bytes - before.bytes) * 1000) / (now.ms - before.ms) : 0;
    before = now;
    const said: string[] = [];
    if (jobs !== undefined) {
      const counts = jobs.counts();
      const active = (counts.get('RUNNING') ?? 0) + (counts.get('VERIFYING') ?? 0);
      const waiting = counts.get('WAITING') ?? 0;
      said.push(`${countOf(active, 'job')} at work${waiting === 0 ? '' : `, ${waiting} waiting`}`);
    }
    if (registry !== undefined) {
      const workers = registry.workers();
      said.push(`${workers.filter(isMember).length} of ${countOf(workers.length, 'worker')} live`);
    }
    if (lanes !== undefined) said.push(`${formatSize(Math.round(rate))}/s received`);
    if (store !== undefined) {
      const { usedBytes, capacityBytes } = store.usage();
      said.push(`${formatSize(usedBytes)} of ${formatSize(capacityBytes)} in use`);
    }
    if (parts.refusedConfig !== undefined) said.push(parts.refusedConfig);
    if (parts.needsRestart !== undefined) said.push(`needs a restart: ${someOf(parts.needsRestart)}`);
    return said.join('; ');
  };
}

function receivedBytes({ lanes }: StatusParts): number {
  return lanes === undefined ? 0 : lanes.total(laneColumns.originBytes) + lanes.total(laneColumns.peerBytes);
}

/** A line has room for a few. */
function someOf(settings: readonly string[]): string {
  const more = settings.length - settingsNamed;
  return `${settings.slice(0, settingsNamed).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
