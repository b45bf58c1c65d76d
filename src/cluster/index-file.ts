/**
 * An index file: one UFS path a line, UTF-8. Empty lines are skipped, a carriage return before the line feed and a byte
 * order mark are tolerated. A path that ends in `/` is a directory, any other one is a file.
 */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { PrimedError } from '../core/errors.ts';
import type { UfsPath } from '../core/types.ts';
import type { Origins } from '../origin/types.ts';

/** S3 keys have at most 1,024 bytes, file names of common file systems 4,096. */
const maxLineBytes = 8192;

export interface IndexLine {
  /** From 1. */
  readonly line: number;
  readonly path: UfsPath;
  readonly directory: boolean;
}

/** `/dir/list.txt` or `file:///dir/list.txt`: on the coordinator's own file system; undefined: in the UFS. */
export function localIndexPath(path: string): string | undefined {
  if (path.startsWith('/')) return path;
  if (!path.startsWith('file://')) return undefined;
  try {
    return fileURLToPath(path);
  } catch (cause) {
    throw new PrimedError(
      'PATH_INVALID',
      `'${path}' is not a local path: write file:///dir/name.`,
      { path },
      { cause },
    );
  }
}

/** What tells whether the index file is the one that was read before. Rejects with ORIGIN_* where it cannot be read. */
export async function indexVersion(path: string, origins: Origins, signal: AbortSignal): Promise<string> {
  const local = localIndexPath(path);
  if (local === undefined) {
    const { etag, sizeBytes } = await origins.head(origins.resolve(path).path, signal);
    return `${etag} ${sizeBytes}`;
  }
  try {
    const { mtimeMs, size, ino } = await stat(local);
    return `${mtimeMs} ${size} ${ino}`;
  } catch (cause) {
    throw localFailure(path, cause);
  }
}

/**
 * The lines of an index file after the first `skipLines` ones. Rejects with PATH_INVALID, naming the line, for one that
 * is no UFS path. What a line of a local file says is not repeated unless it is a URL: the file may be any file.
 */
export async function* indexLines(
  path: string,
  options: { origins: Origins; skipLines: number; signal: AbortSignal },
): AsyncGenerator<IndexLine> {
  const local = localIndexPath(path);
  const { origins, signal } = options;
  const chunks =
    local === undefined ? origins.read(origins.resolve(path).path, signal) : createReadStream(local, { signal });
  let line = 0;
  try {
    for await (const bytes of splitLines(chunks)) {
      line += 1;
      if (line <= options.skipLines || bytes.length === 0) continue;
      yield parseLine(bytes, { line, path, origins });
    }
  } catch (error) {
    throw error instanceof PrimedError ? error : localFailure(path, error);
  }
}

/** Lines without their ends. One that is too long is cut, which `parseLine` refuses. */
async function* splitLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let rest: Uint8Array = new Uint8Array(0);
  let first = true;
  const clean = (bytes: Uint8Array): Uint8Array => {
    let from = 0;
    if (first && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) from = 3;
    first = false;
    return bytes.subarray(from, bytes.at(-1) === 0x0d ? bytes.length - 1 : bytes.length);
  };
  for await (const chunk of chunks) {
    let from = 0;
    for (let at = chunk.indexOf(0x0a); at >= 0; at = chunk.indexOf(0x0a, from)) {
      const piece = chunk.subarray(from, at);
      yield clean(rest.length === 0 ? piece : Buffer.concat([rest, piece]));
      rest = new Uint8Array(0);
      from = at + 1;
    }
    if (rest.length <= maxLineBytes) rest = Buffer.concat([rest, chunk.subarray(from)]);
  }
  if (rest.length > 0) yield clean(rest);
}

function parseLine(bytes: Uint8Array, where: { line: number; path: string; origins: Origins }): IndexLine {
  const { line, path: index, origins } = where;
  const bad = (why: string, cause?: unknown) =>
    new PrimedError(
      'PATH_INVALID',
      `Line ${line} of the index file '${index}' ${why}`,
      { path: index, line },
      { cause },
    );
  if (bytes.length > maxLineBytes) throw bad(`is longer than ${maxLineBytes} bytes.`);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw bad('is not UTF-8.', cause);
  }
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(text))
    throw bad('is not a UFS path: each line is one, such as s3://bucket/key.');
  try {
    return { line, path: origins.resolve(text).path, directory: text.endsWith('/') };
  } catch (cause) {
    throw bad(`is refused: ${cause instanceof Error ? cause.message : String(cause)}`, cause);
  }
}

function localFailure(path: string, cause: unknown): PrimedError {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  const why = code ?? (cause instanceof Error ? cause.message : String(cause));
  if (code === 'ENOENT')
    return new PrimedError(
      'ORIGIN_NOT_FOUND',
      `The index file '${path}' does not exist on the coordinator.`,
      { path },
      { cause },
    );
  if (code === 'EACCES' || code === 'EPERM')
    return new PrimedError(
      'ORIGIN_DENIED',
      `The coordinator may not read the index file '${path}' (${code}).`,
      { path },
      { cause },
    );
  return new PrimedError('ORIGIN_REJECTED', `The index file '${path}' could not be read: ${why}.`, { path }, { cause });
}
