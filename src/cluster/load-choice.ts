/** What of a listing a load leaves as it is. Asked by the load itself, and by the plan of one. Pure. */
import type { LoadOptions } from '../core/job.ts';
import type { CachedFile } from './fleet-survey.ts';
import type { JobDefinition } from './job-store.ts';

/**
 * Whether something may be there of files that nobody has handed out yet: not of a load that has only begun, and does not
 * want what others have loaded.
 */
export function mayBeThere({ resumed, options }: Pick<JobDefinition, 'resumed' | 'options'>): boolean {
  return resumed || options.skipIfExists;
}

/** Whether nothing is to be done about a file. */
export function countsAsThere({ complete, ours }: CachedFile, { skipIfExists }: LoadOptions): boolean {
  return complete && (skipIfExists || ours);
}
