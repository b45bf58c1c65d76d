/** What an ended load means for one file of its path: by the load's own figures, and no more than they say. Pure. */
import type { FileFailure, JobSnapshot } from './job.ts';
import { failureReason } from './job-machine.ts';

/**
 * `not-reached`: the load ended before any file was settled, so this one was not either. `not-known`: it ended before all were, and
 * which of them is not kept. `settled`: all that its listing had were.
 */
export type LoadOutcome = 'failed' | 'cached' | 'not-kept' | 'not-reached' | 'not-known' | 'settled';

export interface FileOfLoad {
  readonly outcome: LoadOutcome;
  /** Behind `load ID of SOURCE ended, STATE: `. */
  readonly text: string;
  readonly failure?: FileFailure;
}

/** @param came what is cached of the file now came with this load */
export function outcomeOf(job: JobSnapshot, path: string, came: boolean): FileOfLoad {
  const failure = job.failures.find((one) => one.path === path);
  if (failure !== undefined) return { outcome: 'failed', failure, text: `the file FAILED: ${failureReason(failure)}` };
  if (came) return { outcome: 'cached', text: 'what is cached of the file came with it' };
  if (job.failedFiles > job.failures.length)
    return { outcome: 'not-kept', text: 'more files failed than are named; whether this one did is not kept' };
  return unnamed(job);
}

/** No file of this name failed. */
function unnamed({ listingDone, processedFiles, totalFiles, scannedFiles, ...job }: JobSnapshot): FileOfLoad {
  const { reason, startedAtMs, options, loadedFiles, skippedFiles } = job;
  const why = reason === undefined || job.state === 'SUCCEEDED' ? '' : `: ${reason}`;
  const done = `${loadedFiles} loaded, ${skippedFiles} there already`;
  if (startedAtMs === undefined) return { outcome: 'not-reached', text: `it ended before it began${why}` };
  if (!listingDone) {
    const listed = `before its listing did, after ${scannedFiles} keys`;
    if (processedFiles === 0)
      return { outcome: 'not-reached', text: `it ended ${listed}, and no file was loaded by it${why}` };
    const text = `it ended ${listed} and ${processedFiles} files (${done}); whether this one was among them is not kept${why}`;
    return { outcome: 'not-known', text };
  }
  if (totalFiles !== undefined && processedFiles < totalFiles) {
    const text =
      processedFiles === 0
        ? `it ended before any of the ${totalFiles} files of its listing was loaded${why}`
        : `it ended after ${processedFiles} of the ${totalFiles} files of its listing (${done}); whether this one was among them is not kept${why}`;
    return { outcome: processedFiles === 0 ? 'not-reached' : 'not-known', text };
  }
  const what = options.loadMetadataOnly ? 'what the origin says of it, and none of its bytes,' : 'it';
  const filter = options.fileFilterRegex === undefined ? '' : `, or the filter ${options.fileFilterRegex} left it out`;
  return {
    outcome: 'settled',
    text: `all files of its listing are accounted for (${done}, ${job.failedFiles} failed) and it did not fail: ${what} was loaded or there already, if the origin listed it${filter}`,
  };
}
