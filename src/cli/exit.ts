/** Exit codes, and which of them an error means. */
import { PrimedError } from '../core/errors.ts';

export const exitCodes = {
  done: 0,
  failed: 1,
  usage: 2,
  unreachable: 3,
  noSuchJob: 4,
  /** A daemon whose configuration cannot work: EX_CONFIG of sysexits.h. */
  configuration: 78,
  /** Left by Ctrl-C: 128 and the number of SIGINT, as shells have it. */
  interrupted: 130,
  /** Ended by SIGHUP and SIGTERM, in the same way. */
  hungUp: 129,
  terminated: 143,
} as const;

/** A command line that cannot be meant. */
export class UsageError extends Error {}

export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return exitCodes.usage;
  if (!(error instanceof PrimedError)) return exitCodes.failed;
  if (error.code === 'COORDINATOR_UNREACHABLE') return exitCodes.unreachable;
  if (error.code === 'JOB_NOT_FOUND') return exitCodes.noSuchJob;
  return error.status === 'INVALID_ARGUMENT' ? exitCodes.usage : exitCodes.failed;
}
