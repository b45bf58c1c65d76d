/** Origins: what is read from each now, how that goes, and which limits hold. */
import type { ConsoleJob, ConsoleOrigin } from '../../core/console-feed.ts';
import { countText, rateText } from '../format.ts';
import { type ConsoleState, isActive, originOf } from '../state.ts';
import { h, setAttribute, setText } from './dom.ts';
import { limitedText, showNoted, showState, titled } from './parts.ts';
import { Table } from './table.ts';
import type { MakeView } from './view.ts';

interface Row {
  readonly id: string;
  readonly health: 'GOOD' | 'RETRYING' | 'FAILING' | 'IDLE';
  readonly active: number;
  readonly bytesPerSecond: number;
  readonly retries: number;
  readonly failures: number;
  readonly slowest: string | undefined;
  readonly limit: ConsoleOrigin | undefined;
}

export const originsView: MakeView = (state) => {
  const { head, title } = titled('Origins');
  const table = new Table<Row>({
    label: 'Origins',
    empty: 'No load has asked an origin, and no limit is set.',
    columns: [
      { title: 'Health', by: (row) => row.health, class: 'c-state', fill: (cell, row) => showState(cell, row.health) },
      {
        title: 'Origin',
        names: true,
        by: (row) => row.id,
        class: 'path',
        fill: (cell, row) => {
          const note = row.slowest === undefined ? '' : `loads are limited by ${row.slowest}`;
          setText(showNoted(cell, note), row.id);
        },
      },
      {
        title: 'Active loads',
        num: true,
        by: (row) => row.active,
        fill: (cell, row) => setText(cell, countText(row.active)),
      },
      {
        title: 'Rate',
        num: true,
        by: (row) => row.bytesPerSecond,
        fill: (cell, row) => setText(cell, rateText(row.bytesPerSecond)),
      },
      {
        title: 'Retries',
        num: true,
        by: (row) => row.retries,
        fill: (cell, row) => setText(cell, countText(row.retries)),
      },
      {
        title: 'Files failed',
        num: true,
        by: (row) => row.failures,
        fill: (cell, row) => {
          setText(cell, countText(row.failures));
          setAttribute(cell, 'data-bad', row.failures > 0);
        },
      },
      {
        title: 'Limit',
        num: true,
        fill: (cell, { limit }) =>
          setText(cell, limit?.bytesPerSecond === undefined ? 'none' : rateText(limit.bytesPerSecond)),
      },
      {
        title: 'Requests a second',
        num: true,
        fill: (cell, { limit }) =>
          setText(cell, limit?.requestsPerSecond === undefined ? 'no limit' : countText(limit.requestsPerSecond)),
      },
      {
        title: 'Shared by',
        num: true,
        fill: (cell, { limit }) => setText(cell, limit === undefined ? '–' : countText(limit.takers)),
      },
    ],
  });
  const seen = h('p', { class: 'quiet' });
  return {
    name: 'Origins',
    el: h('div', {}, head, seen, table.el),
    title,
    update: () => {
      setText(seen, `${troubleOf(state)} Retries and failed files are those of loads that have not ended.`);
      table.show(rowsOf(state));
    },
  };
};

/** Workers count by cause, not by origin. */
function troubleOf({ workers }: ConsoleState): string {
  const sumOf = (name: 'originFailuresPerMinute' | 'originThrottledPerMinute'): number =>
    [...workers.values()].reduce((sum, worker) => sum + (worker[name] ?? 0), 0);
  const failures = sumOf('originFailuresPerMinute');
  if (failures === 0) return 'No request of any worker has failed of late.';
  return `${countText(failures)} requests a minute fail, of all workers; ${countText(sumOf('originThrottledPerMinute'))} of them are told to slow down.`;
}

function rowsOf({ jobs, origins }: ConsoleState): Row[] {
  const loads = new Map<string, ConsoleJob[]>();
  for (const job of jobs.values()) {
    if (job.type !== 'LOAD' || job.kind !== 'path') continue;
    const id = originOf(job.path);
    const known = loads.get(id);
    if (known === undefined) loads.set(id, [job]);
    else known.push(job);
  }
  const ids = [...new Set([...origins.keys(), ...loads.keys()])].sort();
  return ids.map((id) => rowOf(id, (loads.get(id) ?? []).filter(isActive), origins.get(id)));
}

function rowOf(id: string, active: readonly ConsoleJob[], limit: ConsoleOrigin | undefined): Row {
  const sumOf = (figure: (job: ConsoleJob) => number | undefined): number =>
    active.reduce((sum, job) => sum + (figure(job) ?? 0), 0);
  const [retries, failures] = [sumOf((job) => job.retries), sumOf((job) => job.failures)];
  const health = failures > 0 ? 'FAILING' : retries > 0 ? 'RETRYING' : active.length > 0 ? 'GOOD' : 'IDLE';
  const slowest = active.map((job) => limitedText(job.limitedBy)).find((text) => text !== undefined);
  return {
    id,
    health,
    active: active.length,
    bytesPerSecond: sumOf((job) => job.bytesPerSecond),
    retries,
    failures,
    slowest,
    limit,
  };
}
