/** Whether a path is a file or a directory of what is cached. */
import type { Found, ReadableFiles } from '../../cluster/reading/files.ts';
import { directoryOf, nothingBelow } from '../../cluster/reading/fs-source.ts';
import type { UfsPath } from '../../core/types.ts';

export type Place =
  | { readonly file: Found; readonly asked: string }
  /** With its slash. */
  | { readonly file?: undefined; readonly directory: string };

/**
 * What the first of several readings of a path names that names anything. With a slash at its end it is a directory, else the
 * file of that name and else the directory.
 * @throws FILE_NOT_CACHED, PATH_INVALID, PEER_FAILED
 */
export async function placeOf(
  files: ReadableFiles,
  normal: (path: string) => UfsPath,
  readings: readonly string[],
): Promise<Place> {
  for (const asked of readings) {
    const path = normal(asked);
    const directory = directoryOf(path);
    const file = path === directory ? undefined : await files.find(path);
    if (file !== undefined) return { file, asked };
    if (await files.knows(directory)) return { directory };
  }
  throw nothingBelow(readings[0]!);
}
