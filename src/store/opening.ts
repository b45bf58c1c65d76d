/** Files that are opened to be read: what is visible at a path, or a version that somebody else knows of, visible or not. */
import { PrimedError } from '../core/errors.ts';
import type { ByteRange, UfsPath } from '../core/types.ts';
import type { StoreObserver } from './commit.ts';
import type { Durable } from './durable.ts';
import type { IndexDb } from './index-db.ts';
import type { LoadingFiles } from './loading-files.ts';
import { CachedFile, checkRange } from './open-file.ts';
import type { Readers } from './readers.ts';
import { type Block, decodeFile, inlineBlock, pathKey } from './records.ts';
import type { FileRecord, Reader, WantedVersion } from './types.ts';
import type { Volume } from './volume.ts';

export interface OpeningParts {
  readonly index: IndexDb;
  readonly loading: LoadingFiles;
  readonly durable: Durable;
  readonly readers: Readers;
  readonly volumes: readonly Volume[];
  readonly observe: Pick<StoreObserver, 'onBadPage' | 'onReadError'>;
}

export class Opening {
  readonly #parts: OpeningParts;

  constructor(parts: OpeningParts) {
    this.#parts = parts;
  }

  /** What is visible. Throws FILE_NOT_CACHED. */
  open(path: UfsPath, by: Reader): CachedFile {
    const { index, loading } = this.#parts;
    const bytes = index.get(index.files, pathKey(path));
    const record = bytes === undefined ? undefined : decodeFile(bytes, path);
    if (record?.state !== 'complete' && record?.state !== 'partial') {
      const state = record?.state ?? loading.recordAt(path)?.state ?? 'unknown';
      throw new PrimedError('FILE_NOT_CACHED', `${path} is not completely in the cache (${state}); load it first`, {
        path,
        state,
      });
    }
    return this.#reader(record, inlineBlock(bytes!), by);
  }

  /** Undefined: not all that is wanted of it is durable here. Throws RANGE_INVALID. */
  openVersion(version: WantedVersion, wanted: ByteRange | undefined): CachedFile | undefined {
    const { index, durable } = this.#parts;
    const bytes = index.get(index.files, pathKey(version.path));
    const visible = bytes === undefined ? undefined : decodeFile(bytes, version.path);
    for (const record of durable.recordsOf(version, visible)) {
      const { sizeBytes } = record;
      const range = wanted ?? { offset: 0, length: sizeBytes };
      checkRange(record, range);
      if (durable.bytes(record, range) !== range.length) continue;
      return this.#reader(record, record === visible ? inlineBlock(bytes!) : undefined, 'serve');
    }
    return undefined;
  }

  #reader(record: FileRecord, inline: Block | undefined, by: Reader): CachedFile {
    const { volumes, observe, readers } = this.#parts;
    const { onBadPage, onReadError } = observe;
    return new CachedFile({ record, inline, by, readers, volumes, onBadPage, onReadError });
  }
}
