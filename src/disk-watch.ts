/**
 * Whether the disk of the store still answers. A write, a read or a flush that does not end fails nothing: whoever waits for
 * it waits, here and at the coordinator. So a worker whose disk hangs is no member until it answers again.
 */
import type { Log } from './core/types.ts';
import type { Store } from './store/types.ts';
import { type LaneCounters, laneColumns } from './telemetry/lane-columns.ts';

export interface DiskWatchOptions {
  readonly store: Pick<Store, 'diskWaitMs'>;
  readonly lanes: Pick<LaneCounters, 'rows' | 'at'>;
  /** A disk that is only slow ends something in less. */
  readonly limitMs: number;
  readonly log: Log;
}

/** Returns what says why the disk is taken for hung; undefined: it is not. Cheap; asked at each renewal, and by the health. */
export function watchDisk({ store, lanes, limitMs, log }: DiskWatchOptions): () => string | undefined {
  let hung = false;
  return () => {
    let waitMs = store.diskWaitMs();
    for (let lane = 0; lane < lanes.rows; lane += 1) waitMs = Math.max(waitMs, lanes.at(lane, laneColumns.diskWaitMs));
    const isHung = waitMs >= limitMs;
    if (isHung !== hung) {
      if (isHung) log.error({ waitMs: Math.round(waitMs) }, 'the disk of the store hangs');
      else log.info({}, 'the disk of the store answers again');
    }
    hung = isHung;
    if (!isHung) return undefined;
    return `the disk of the store has not ended a write, read or flush for ${Math.round(waitMs / 1000)} s; look at its health (dmesg, smartctl)`;
  };
}
