/** Status objects, as Alluxio's clients read them. Sizes are bytes, times milliseconds. */
import type { FoundFile } from '../../cluster/reading/files.ts';
import { formatSize } from '../../core/sizes.ts';

export interface Status {
  readonly mType: 'file' | 'directory';
  readonly mName: string;
  /** The full UFS path: what a client can ask for again. */
  readonly mPath: string;
  readonly mUfsPath: string;
  readonly mLastModificationTimeMs: number;
  readonly mCreationTimeMs: number;
  readonly mLength: number;
  readonly mHumanReadableFileSize: string;
  /** False while it is being loaded. */
  readonly mCompleted: boolean;
  readonly mOwner: string;
  readonly mGroup: string;
  readonly mMode: number;
  readonly mPersisted: boolean;
  /** 0 to 100, and 100 only of all bytes; 0 of directories, whose bytes are not added up. */
  readonly mInAlluxioPercentage: number;
  /** The ETag. */
  readonly mContentHash: string;
}

/** What the origin has no word for: nobody in particular owns it, and everybody may read it. */
const anyone = { mOwner: '', mGroup: '', mPersisted: true };

export function fileStatus({ path, sizeBytes, etag, lastModifiedMs, state, cachedBytes }: FoundFile): Status {
  const share = sizeBytes === 0 ? 0 : Math.floor((100 * cachedBytes) / sizeBytes);
  return {
    mType: 'file',
    ...{ mName: nameOf(path), mPath: path, mUfsPath: path },
    ...{ mLastModificationTimeMs: lastModifiedMs, mCreationTimeMs: lastModifiedMs },
    ...{ mLength: sizeBytes, mHumanReadableFileSize: formatSize(sizeBytes) },
    ...{ mCompleted: state !== 'loading', ...anyone, mMode: 0o444 },
    ...{ mInAlluxioPercentage: state === 'complete' ? 100 : Math.min(99, share), mContentHash: etag },
  };
}

/** @param directory with its slash */
export function directoryStatus(directory: string): Status {
  const path = directory.endsWith('://') ? directory : directory.slice(0, -1);
  return {
    mType: 'directory',
    ...{ mName: nameOf(path), mPath: path, mUfsPath: path, mLastModificationTimeMs: 0, mCreationTimeMs: 0 },
    ...{ mLength: 0, mHumanReadableFileSize: formatSize(0), mCompleted: true, ...anyone, mMode: 0o555 },
    ...{ mInAlluxioPercentage: 0, mContentHash: '' },
  };
}

/** The last part; of a key that ends in a slash, what stands before it. */
function nameOf(path: string): string {
  const end = path.endsWith('/') ? path.length - 1 : path.length;
  return path.slice(path.lastIndexOf('/', end - 1) + 1, end);
}
