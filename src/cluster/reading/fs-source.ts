/** What the file API stands on: the files of one worker, or those of a cluster. */
import type { CheckEvents, CheckSummary } from '../../core/check.ts';
import { PrimedError } from '../../core/errors.ts';
import type { ReadableFiles } from './files.ts';

export interface LsOrder {
  readonly path: string;
  readonly recursive: boolean;
  readonly limit: number;
  /** Empty: from the beginning. */
  readonly after: string;
}

/** Everything rejects with FILE_NOT_CACHED where nothing is at or below the path, and PATH_INVALID where it is none. */
export interface FsSource {
  readonly files: ReadableFiles;
  /** One level of a directory, or with `recursive` every file below it. */
  ls(order: LsOrder): Promise<object>;
  /** How much of a path is cached; of a file also its version and what is missing. */
  stat(path: string): Promise<object>;
  /** Looks whether there is something, and gives what reads every page of it again. */
  check(path: string): Promise<CheckRun>;
}

/** Rejects with the reason of the signal. */
export type CheckRun = (options: {
  readonly signal: AbortSignal;
  readonly events: CheckEvents;
}) => Promise<CheckSummary>;

/** A UFS path; a directory may be written without its slash. Throws PATH_INVALID. */
export function directoryOf(asked: string): string {
  if (!/^(s3|file):\/\//.test(asked)) {
    const why = `path '${asked}' is not a UFS path: s3://bucket/key or file:///dir.`;
    throw new PrimedError('PATH_INVALID', why, { path: asked });
  }
  return asked.endsWith('/') ? asked : `${asked}/`;
}

export function nothingBelow(path: string, more = ''): PrimedError {
  return new PrimedError('FILE_NOT_CACHED', `Nothing at or below ${path} is in the cache${more}.`, { path });
}
