/** How limits on bytes are applied by lanes, of runs and of origins alike. */
import { KiB, MiB } from '../core/units.ts';

/** So often tokens are added while something is limited. */
export const refillMs = 5;
/**
 * While something is limited, no more than this many seconds of its rate are in flight (but always one part): more would
 * make no load faster, and all of it is lost when the run is stopped.
 */
export const limitedWindowSeconds = 0.5;
/** Largest grant to one socket while it is limited, in seconds of the rate: as much debt can a window begin with. */
const grantSeconds = 0.01;
const smallestGrantBytes = 4 * KiB;
const largestGrantBytes = MiB;

/** 0: not limited. */
export function largestGrant(bytesPerSecond: number | undefined): number {
  if (bytesPerSecond === undefined) return 0;
  return Math.min(largestGrantBytes, Math.max(smallestGrantBytes, Math.floor(bytesPerSecond * grantSeconds)));
}
