/**
 * file:// in a lane: a part of a file into given memory.
 *
 * The file is opened first and asked afterwards where it really lies (/proc/self/fd), so that no exchange of a symbolic
 * link between check and use leads out of the root. Its identity is taken from the open descriptor before and after the
 * read: bytes of two versions never pass as one.
 */
import { constants } from 'node:fs';
import { type FileHandle, open, readlink } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Exchange } from './connection.ts';
import { fileEtag, isBelow } from './file-etag.ts';
import type { Admit, FailureCause, Grant, OriginFailure } from './types.ts';

/** One read: long enough for a disk, short enough that a stop waits only milliseconds for it. */
const readBytesMax = 1024 * 1024;
/** Opening a FIFO must not block, nor a terminal take over. */
const openFlags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;

export interface FileReader {
  /** Resolves when nothing will be written to the destination any more; `root` is a real path. */
  read(root: string, exchange: Exchange, signal: AbortSignal): Promise<OriginFailure | undefined>;
}

export function makeFileReader(options: {
  grant: Grant | undefined;
  admit: Admit | undefined;
  paceRetryMs: number;
}): FileReader {
  const readOpen = async (
    file: FileHandle,
    root: string,
    exchange: Exchange,
    signal: AbortSignal,
  ): Promise<OriginFailure | undefined> => {
    const { request, destination, onBytes } = exchange;
    const place = await readlink(`/proc/self/fd/${file.fd}`);
    if (!isBelow(root, place))
      return { cause: 'denied', message: `a symbolic link leads out of the root, to ${place}` };
    const before = await file.stat({ bigint: true });
    if (!before.isFile()) return { cause: 'missing', message: 'not a regular file' };
    if (fileEtag(before) !== request.version.etag) return changed(request.version.etag, fileEtag(before));
    let credit = 0;
    while (exchange.receivedBytes < request.length) {
      const at = exchange.receivedBytes;
      let wanted = Math.min(request.length - at, readBytesMax);
      if (options.grant !== undefined) {
        if (credit <= 0) credit += options.grant(request, wanted);
        exchange.paced = credit <= 0 ? 'bandwidth' : undefined;
        if (credit <= 0) await delay(options.paceRetryMs);
        wanted = Math.min(wanted, credit);
      }
      if (signal.aborted) return { cause: 'cancelled', message: 'the run was stopped' };
      if (wanted <= 0) continue;
      const { bytesRead } = await file.read(destination, at, wanted, request.offset + at);
      if (bytesRead === 0) return { cause: 'short', message: `the file ended after ${at} of ${request.length} B` };
      if (at === 0) exchange.firstByteAtMs = performance.now();
      credit -= bytesRead;
      exchange.receivedBytes = at + bytesRead;
      onBytes(at, bytesRead);
    }
    const after = await file.stat({ bigint: true });
    return fileEtag(after) === request.version.etag ? undefined : changed(request.version.etag, fileEtag(after));
  };

  return {
    async read(root, exchange, signal) {
      let file: FileHandle | undefined;
      try {
        while (options.admit?.(exchange.request) === false) {
          exchange.paced = 'requests';
          await delay(options.paceRetryMs);
          if (signal.aborted) return { cause: 'cancelled', message: 'the run was stopped' };
        }
        exchange.paced = undefined;
        file = await open(`${root}/${exchange.request.key}`, openFlags);
        return await readOpen(file, root, exchange, signal);
      } catch (error) {
        return failureOfErrno(error as NodeJS.ErrnoException);
      } finally {
        await file?.close().catch(() => undefined); // opened for reading only: nothing can be lost
      }
    },
  };
}

function changed(wanted: string, found: string): OriginFailure {
  return { cause: 'changed', message: `the file changed: ${found} in place of ${wanted}` };
}

/** What an error of the file system means for a read. */
export function failureOfErrno(error: NodeJS.ErrnoException): OriginFailure {
  const causes: Readonly<Record<string, FailureCause>> = {
    ENOENT: 'missing',
    ENOTDIR: 'missing',
    EISDIR: 'missing',
    ENXIO: 'missing',
    ELOOP: 'denied',
    EACCES: 'denied',
    EPERM: 'denied',
    ENAMETOOLONG: 'client',
  };
  return { cause: causes[error.code ?? ''] ?? 'server', message: error.message };
}
