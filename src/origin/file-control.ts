/**
 * List, head and read of file:// on the main thread.
 *
 * A listing walks the tree in the order in which S3 would list the same keys: by the bytes of the whole key, so that a
 * directory sorts as its name with a slash. Only the directories on the way to the current file are held. The walk of a
 * listing in progress is kept for its next page; a page whose walk is gone walks anew and skips what is behind it.
 */
import { type BigIntStats, constants, createReadStream } from 'node:fs';
import { type FileHandle, open, readdir, readlink, realpath, stat } from 'node:fs/promises';
import { PrimedError } from '../core/errors.ts';
import type { ByteRange, Log, UfsPath } from '../core/types.ts';
import { errorOfFailure } from './failure.ts';
import { fileEtag, isBelow } from './file-etag.ts';
import { failureOfErrno } from './file-reader.ts';
import type { ListingPage, ObjectDetails } from './types.ts';

/** Listings in progress whose walk is kept. */
const walksMax = 16;
/** Linux resolves at most 40 links; a tree this deep is a loop of mounts. */
const depthMax = 256;
/** Files asked for their size at once. */
const statsAtOnce = 32;
const readChunkBytes = 256 * 1024;

interface Found {
  readonly key: string;
  readonly absolute: string;
}

export interface FileControl {
  /** The root with symbolic links resolved; throws ORIGIN_NOT_FOUND. */
  realRoot(): Promise<string>;
  list(prefix: string, options: { after?: string; maxKeys: number; signal?: AbortSignal }): Promise<ListingPage>;
  head(key: string): Promise<ObjectDetails>;
  read(key: string, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /** Rejects with ORIGIN_CHANGED where the file is, or gets while it is read, another one than `etag` says. */
  readRange(key: string, etag: string, range: ByteRange, signal?: AbortSignal): AsyncIterable<Uint8Array>;
}

export function makeFileControl(options: { root: string; log: Log }): FileControl {
  const { root, log } = options;
  const pathOf = (key: string): UfsPath => `file://${root === '/' ? '' : root}/${key}` as UfsPath;
  /** By the prefix and the key after which the walk stands. */
  const walks = new Map<string, AsyncGenerator<Found>>();
  let resolvedRoot: Promise<string> | undefined;

  const realRoot = (): Promise<string> => {
    resolvedRoot ??= realpath(root).catch((error: NodeJS.ErrnoException) => {
      resolvedRoot = undefined; // the mount may come
      throw errorOfFailure(failureOfErrno(error), `file://${root}`, { cause: error });
    });
    return resolvedRoot;
  };

  /** The files of one directory and below, with keys after `after`. */
  async function* walk(
    base: string,
    folder: string,
    after: string,
    ancestors: readonly string[],
  ): AsyncGenerator<Found> {
    if (ancestors.length > depthMax)
      throw new PrimedError('ORIGIN_REJECTED', `${pathOf(folder)}: more than ${depthMax} directories deep`);
    const children = await sortedChildren(base, folder, ancestors);
    for (const { name, isFolder } of children) {
      const key = folder + name;
      if (isFolder) {
        // A whole subtree lies behind the cursor when its greatest possible key does.
        if (after !== '' && compareKeys(key, after) < 0 && !after.startsWith(key)) continue;
        const real = await realpath(`${base}/${key}`).catch(() => undefined);
        if (real !== undefined) yield* walk(base, key, after, [...ancestors, real]);
      } else if (after === '' || compareKeys(key, after) > 0) yield { key, absolute: `${base}/${key}` };
    }
  }

  const sortedChildren = async (
    base: string,
    folder: string,
    ancestors: readonly string[],
  ): Promise<{ name: string; isFolder: boolean }[]> => {
    const children: { name: string; isFolder: boolean; bytes: Buffer }[] = [];
    const add = (name: string, isFolder: boolean): void => {
      const full = isFolder ? `${name}/` : name;
      children.push({ name: full, isFolder, bytes: Buffer.from(full) });
    };
    for (const entry of await readdir(`${base}/${folder}`, { withFileTypes: true })) {
      if (entry.isDirectory()) add(entry.name, true);
      else if (entry.isFile()) add(entry.name, false);
      else if (entry.isSymbolicLink()) {
        const kind = await followLink(base, folder + entry.name, ancestors);
        if (kind !== undefined) add(entry.name, kind === 'folder');
      }
    }
    return children.sort((a, b) => Buffer.compare(a.bytes, b.bytes));
  };

  const followLink = async (
    base: string,
    key: string,
    ancestors: readonly string[],
  ): Promise<'file' | 'folder' | undefined> => {
    try {
      const real = await realpath(`${base}/${key}`);
      if (!isBelow(base, real)) {
        log.warn({ path: pathOf(key), target: real }, 'skipped a symbolic link that leads out of the root');
        return undefined;
      }
      const target = await stat(real);
      if (target.isFile()) return 'file';
      if (!target.isDirectory()) return undefined;
      if (!ancestors.some((ancestor) => isBelow(real, ancestor))) return 'folder';
      log.warn({ path: pathOf(key), target: real }, 'skipped a symbolic link that leads to a directory above itself');
    } catch (error) {
      log.warn(
        { path: pathOf(key), error: (error as Error).message },
        'skipped a symbolic link that cannot be followed',
      );
    }
    return undefined;
  };

  const beginWalk = async (prefix: string, after: string): Promise<AsyncGenerator<Found>> => {
    const base = await realRoot();
    const top = await realpath(`${base}/${prefix}`);
    if (!isBelow(base, top))
      throw new PrimedError('ORIGIN_DENIED', `${pathOf(prefix)}: a symbolic link leads out of the root`);
    return walk(base, prefix, after, [top]);
  };

  return {
    realRoot,
    async list(prefix, { after = '', maxKeys, signal }) {
      const walkKey = `${prefix}\0${after}`;
      const entries = [];
      let scanned = 0;
      let lastKey = after;
      let more = true;
      try {
        const files = walks.get(walkKey) ?? (await beginWalk(prefix, after));
        walks.delete(walkKey);
        while (scanned < maxKeys && more) {
          signal?.throwIfAborted();
          const batch: Found[] = [];
          while (batch.length < Math.min(statsAtOnce, maxKeys - scanned)) {
            const next = await files.next();
            if (next.done === true) {
              more = false;
              break;
            }
            batch.push(next.value);
          }
          const stats = await Promise.all(
            batch.map((found) => stat(found.absolute, { bigint: true }).catch(() => undefined)),
          );
          for (const [i, found] of batch.entries()) {
            scanned += 1;
            lastKey = found.key;
            const facts = stats[i]; // undefined: it was removed since the directory was read
            if (facts?.isFile() === true) entries.push({ path: pathOf(found.key), ...versionOf(facts) });
            else if (found.key.includes('\ufffd'))
              log.warn({ path: pathOf(found.key) }, 'skipped a file whose name is not UTF-8');
          }
        }
        if (more) {
          if (walks.size >= walksMax) walks.delete(walks.keys().next().value!);
          walks.set(`${prefix}\0${lastKey}`, files);
        }
      } catch (error) {
        // Like S3: a prefix below which there is nothing lists empty.
        const code = (error as NodeJS.ErrnoException).code;
        if (prefix === '' || (code !== 'ENOENT' && code !== 'ENOTDIR')) throw fileError(error, pathOf(prefix));
        return { entries: [], scanned: 0 };
      }
      return { entries, scanned, ...(more && { next: lastKey }) };
    },
    async head(key) {
      const path = pathOf(key);
      let file: FileHandle | undefined;
      try {
        file = await openBelow(await realRoot(), key);
        const facts = await file.stat({ bigint: true });
        if (!facts.isFile()) throw new PrimedError('ORIGIN_NOT_FOUND', `${path}: not a regular file`, { path });
        return { path, ...versionOf(facts), checksums: {} };
      } catch (error) {
        throw fileError(error, path);
      } finally {
        await file?.close();
      }
    },
    async *read(key, signal) {
      const path = pathOf(key);
      try {
        const file = await openBelow(await realRoot(), key);
        yield* createReadStream(path, {
          fd: file,
          highWaterMark: readChunkBytes,
          ...(signal !== undefined && { signal }),
        });
      } catch (error) {
        throw fileError(error, path);
      }
    },
    async *readRange(key, etag, { offset, length }, signal) {
      const path = pathOf(key);
      let file: FileHandle | undefined;
      try {
        file = await openBelow(await realRoot(), key);
        await refuseChanged(file, etag, path);
        for (let at = 0; at < length; ) {
          signal?.throwIfAborted();
          const chunk = Buffer.allocUnsafe(Math.min(readChunkBytes, length - at));
          const { bytesRead } = await file.read(chunk, 0, chunk.length, offset + at);
          // What was read of a file that is being written to belongs to no version.
          await refuseChanged(file, etag, path);
          if (bytesRead === 0) throw new PrimedError('ORIGIN_CHANGED', `${path}: the file is shorter now`, { path });
          at += bytesRead;
          yield chunk.subarray(0, bytesRead);
        }
      } catch (error) {
        throw fileError(error, path);
      } finally {
        await file?.close();
      }
    },
  };
}

/** Looked at before and after: bytes of two versions never pass as one. */
async function refuseChanged(file: FileHandle, etag: string, path: string): Promise<void> {
  const found = fileEtag(await file.stat({ bigint: true }));
  if (found === etag) return;
  const message = `${path}: the file changed: ${found} in place of ${etag}`;
  throw new PrimedError('ORIGIN_CHANGED', message, { path });
}

function versionOf(facts: BigIntStats): { etag: string; sizeBytes: number; lastModifiedMs: number } {
  return { etag: fileEtag(facts), sizeBytes: Number(facts.size), lastModifiedMs: Number(facts.mtimeMs) };
}

async function openBelow(base: string, key: string): Promise<FileHandle> {
  if (key === '' || key.endsWith('/')) throw Object.assign(new Error('a directory is not a file'), { code: 'EISDIR' });
  const file = await open(`${base}/${key}`, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  const place = await readlink(`/proc/self/fd/${file.fd}`);
  if (isBelow(base, place)) return file;
  await file.close();
  throw Object.assign(new Error(`a symbolic link leads out of the root, to ${place}`), { code: 'EACCES' });
}

function fileError(error: unknown, path: string): Error {
  if (error instanceof PrimedError || (error as Error).name === 'AbortError') return error as Error;
  return errorOfFailure(failureOfErrno(error as NodeJS.ErrnoException), path, { cause: error });
}

function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}
