/** The operations that the group commit carries out, one function each. They decide in `apply`, in order. */
import { type Checksums, withChecksums } from '../core/attributes.ts';
import type { PrimedError } from '../core/errors.ts';
import type { DiscardReason, FileId, LoadId, ManifestEntry, RunId } from '../core/types.ts';
import { sameVersion } from '../core/types.ts';
import { defaultSegmentBytes } from '../core/units.ts';
import type { Changes, Why } from './changes.ts';
import type { Operation } from './commit.ts';
import type { LoadingFile } from './loading-file.ts';
import type { LoadingFiles } from './loading-files.ts';
import type { Place } from './records.ts';
import type { FileRecord, LandedPart } from './types.ts';

interface Settle<T> {
  resolve(value: T): void;
  reject(error: PrimedError): void;
}

/** Parts whose bytes lie in the store files. Resolves with the files that are complete now. */
export function landParts(
  files: LoadingFiles,
  run: RunId,
  parts: readonly LandedPart[],
  settle: Settle<FileId[]>,
): Operation {
  const complete = new Set<FileId>();
  let stores = 0;
  for (const part of parts) for (const extent of part.extents) stores |= 1 << extent.store;
  return {
    weight: parts.length,
    stores,
    apply(changes) {
      for (const part of parts) landPart(files, run, part, changes, complete);
    },
    done() {
      for (const { fileId } of parts) files.landed(fileId);
      settle.resolve([...complete]);
    },
    failed: settle.reject,
  };
}

function landPart(files: LoadingFiles, run: RunId, part: LandedPart, changes: Changes, complete: Set<FileId>): void {
  const { fileId, range } = part;
  const file = files.withId(fileId);
  if (file?.phase !== 'loading') {
    // Late: the file was given up, or somebody else's parts have completed it.
    const ending = file?.phase === 'landed' ? 'complete' : (file?.reason ?? files.ending(fileId) ?? 'replaced');
    changes.release(part.extents, run);
    changes.ledgers.discarded(run, ending === 'complete' ? 'replaced' : ending, range.length);
    if (ending === 'complete') complete.add(fileId);
    return;
  }
  const { segment, addedBytes, unused } = file.add(run, part);
  changes.release(unused, run);
  if (addedBytes < range.length) changes.ledgers.discarded(run, 'replaced', range.length - addedBytes);
  if (addedBytes === 0) return;
  changes.ledgers.cached(run, addedBytes);
  if (!file.small) changes.touch(file, segment);
  if (!file.whole) return;
  completeFile(files, file, changes);
  complete.add(fileId);
}

function completeFile(files: LoadingFiles, file: LoadingFile, changes: Changes): void {
  file.phase = 'landed';
  changes.show(file);
  changes.afterwards(() => files.end(file, 'complete'));
}

/** Segments of a file whose others are elsewhere. It goes on loading: runs may be at work on more of it. */
export function showFile(files: LoadingFiles, file: LoadingFile, settle: Settle<void>): Operation {
  return {
    weight: 1,
    stores: 0,
    apply(changes) {
      if (file.phase === 'loading' && file.landedBytes > file.shownBytes) changes.show(file);
    },
    done() {
      files.landed(file.fileId);
      settle.resolve();
    },
    failed: settle.reject,
  };
}

/** A file without bytes. */
export function completeEmpty(files: LoadingFiles, run: RunId, file: LoadingFile, settle: Settle<void>): Operation {
  return {
    weight: 1,
    stores: 0,
    apply(changes) {
      if (file.phase !== 'loading') return;
      file.madeBy(run);
      completeFile(files, file, changes);
    },
    done: () => settle.resolve(),
    failed: settle.reject,
  };
}

/**
 * A loading file is given up. Its phase is `dropped` from the call on: parts that are queued before it are not added. What
 * was added to a visible version stays with that, unless it was removed meanwhile.
 */
export function dropFile(
  files: LoadingFiles,
  file: LoadingFile,
  reason: DiscardReason,
  settle: Settle<void>,
): Operation {
  file.phase = 'dropped';
  file.reason = reason;
  files.hide(file);
  return {
    weight: 1 + file.stored.size,
    stores: 0,
    apply(changes) {
      if (file.reopened) {
        if (changes.visible(file.entry.path)?.fileId === file.fileId) changes.show(file);
      } else {
        for (const [run, bytes] of file.runs) {
          changes.ledgers.cached(run, -bytes);
          changes.ledgers.discarded(run, reason, bytes);
        }
        changes.drop(file);
      }
      changes.afterwards(() => files.end(file, reason));
    },
    done: () => settle.resolve(),
    failed: settle.reject,
  };
}

/** Size, ETag and times of files, without their data. */
export function putMetadata(
  load: LoadId,
  entries: readonly ManifestEntry[],
  nextId: () => FileId,
  nowMs: number,
  settle: Settle<void>,
): Operation {
  return {
    weight: entries.length,
    stores: 0,
    apply(changes) {
      for (const entry of entries) {
        const old = changes.visible(entry.path);
        if (old !== undefined && old.state !== 'metadata' && sameVersion(old, entry)) continue;
        const { path, etag, sizeBytes, lastModifiedMs, versionId } = entry;
        const version = versionId === undefined ? {} : { versionId };
        const record = { path, etag, sizeBytes, lastModifiedMs, ...version };
        changes.putMetadata({
          ...record,
          fileId: nextId(),
          state: 'metadata',
          loadId: load,
          cachedBytes: 0,
          cachedAtMs: nowMs,
          attributes: '',
          segmentBytes: defaultSegmentBytes,
        });
      }
    },
    done: () => settle.resolve(),
    failed: settle.reject,
  };
}

/**
 * Visible files are removed; with `only`, where they are this version. Resolves with what went.
 * @param order.records about so many records of files and blocks go.
 * @param order.why what is told of each; not told where all of a directory goes.
 */
export function removeVisible(
  order: { paths: readonly string[]; records: number; only?: FileId; why?: Why },
  settle: Settle<{ files: number; bytes: number }>,
): Operation {
  const { paths, records, only, why } = order;
  let files = 0;
  let bytes = 0;
  return {
    weight: records,
    stores: 0,
    apply(changes) {
      for (const path of paths) {
        if (only !== undefined && changes.visible(path)?.fileId !== only) continue;
        const record = changes.removeVisible(path, why);
        if (!record) continue;
        files++;
        bytes += record.cachedBytes;
      }
    },
    done: () => settle.resolve({ files, bytes }),
    failed: settle.reject,
  };
}

/**
 * Files are evicted, and others take the place in their queue that they should have had. Resolves with what went.
 * @param order.mayGo is asked again here, where nothing comes in between any more.
 */
export function evictFiles(
  order: {
    readonly files: readonly { readonly path: string; readonly fileId: FileId; readonly bytes: number }[];
    readonly moves: readonly { readonly path: string; readonly fileId: FileId; readonly place: Place }[];
    readonly mayGo: (record: FileRecord) => boolean;
    readonly why: Why;
  },
  settle: Settle<{ files: number; bytes: number }>,
): Operation {
  const { files, moves, mayGo, why } = order;
  const gone = { files: 0, bytes: 0 };
  return {
    weight: files.reduce((sum, { bytes }) => sum + recordsOf(bytes), moves.length),
    stores: 0,
    apply(changes) {
      for (const { path, fileId } of files) {
        const record = changes.visible(path);
        if (record?.fileId !== fileId || !mayGo(record)) continue;
        changes.removeVisible(path, why);
        gone.files++;
        gone.bytes += record.cachedBytes;
      }
      for (const { path, fileId, place } of moves) changes.place(path, fileId, place);
    },
    done: () => settle.resolve(gone),
    failed: settle.reject,
  };
}

/** About so many records of files and blocks a file has. */
export function recordsOf(bytes: number): number {
  return 1 + Math.ceil(bytes / defaultSegmentBytes);
}

/** The origin's checksums of the whole of a visible version are known. */
export function stateChecksums(
  of: { readonly path: string; readonly fileId: FileId; readonly checksums: Checksums },
  settle: Settle<void>,
): Operation {
  return {
    weight: 1,
    stores: 0,
    apply: (changes) => changes.describe(of.path, of.fileId, (text) => withChecksums(text, of.checksums)),
    done: () => settle.resolve(),
    failed: settle.reject,
  };
}

/** When files were read; those that are gone meanwhile are left out. */
export function writeUsed(rows: readonly (readonly [FileId, number])[], settle: Settle<void>): Operation {
  return {
    weight: rows.length,
    stores: 0,
    apply(changes) {
      for (const [file, atMs] of rows) if (!changes.recency.isGone(file)) changes.used(file, atMs);
    },
    done: () => settle.resolve(),
    failed: settle.reject,
  };
}

/** Files take their place in the class that they belong to now; what is recorded with it says how far that has come. */
export function sortFiles(
  files: readonly { readonly path: string; readonly fileId: FileId; readonly place: Place }[],
  meta: { readonly key: string; readonly value: unknown },
  settle: Settle<void>,
): Operation {
  return {
    weight: files.length,
    stores: 0,
    apply(changes) {
      for (const { path, fileId, place } of files) changes.place(path, fileId, place);
      changes.putMeta(meta.key, meta.value);
    },
    done: () => settle.resolve(),
    failed: settle.reject,
  };
}

/** Nothing of its own: whatever is booked by now becomes durable with it. */
export function barrier(settle: Settle<void>): Operation {
  return { weight: 0, stores: 0, apply: () => undefined, done: () => settle.resolve(), failed: settle.reject };
}
