/** How a load begins a file: what is there of it is gone on with, where the load may use it, and begun anew where not. */
import { type DiscardReason, type RunId, sameVersion } from '../core/types.ts';
import { defaultSegmentBytes } from '../core/units.ts';
import { visibleRecord } from './catalog.ts';
import { type Durable, nothingFetched } from './durable.ts';
import { checkEntry, mayReuse, plainEntry } from './entries.ts';
import type { FileIds } from './file-ids.ts';
import type { IndexDb } from './index-db.ts';
import { LoadingFile } from './loading-file.ts';
import type { LoadingFiles } from './loading-files.ts';
import type { Readers } from './readers.ts';
import type { BeginOrder, Begun, FileRecord } from './types.ts';

export interface BeginningParts {
  readonly index: IndexDb;
  readonly loading: LoadingFiles;
  readonly readers: Readers;
  readonly durable: Durable;
  readonly ids: FileIds;
  /** Keeps a file that is whole from being evicted while the run is active. */
  readonly hold: (run: RunId, record: FileRecord) => void;
  /** Gives up what was begun before, by a later commit. */
  readonly drop: (file: LoadingFile, reason: DiscardReason) => void;
}

export class Beginning {
  readonly #parts: BeginningParts;

  constructor(parts: BeginningParts) {
    this.#parts = parts;
  }

  begin(order: BeginOrder): Begun {
    const { index, loading, readers, durable, ids, hold, drop } = this.#parts;
    const { run, load, entry, range = { offset: 0, length: entry.sizeBytes } } = order;
    checkEntry(entry);
    const visible = visibleRecord(index, entry.path);
    // What the commit that runs removes is not there any more.
    const stays = visible !== undefined && !readers.isRetired(visible.fileId);
    const reusable = stays && mayReuse(visible, visible.loadId, order);
    if (reusable && visible.state === 'complete') {
      hold(run, visible);
      return { state: 'complete', fileId: visible.fileId, record: visible, ...durable.fetched(run, visible, range) };
    }
    const current = loading.atPath(entry.path);
    if (current && mayReuse(current.entry, current.load, order)) {
      current.run = run;
      return this.#goOn(current, order);
    }
    if (current?.phase === 'loading') drop(current, sameVersion(current.entry, entry) ? 'replaced' : 'changed');
    // One that was given up a moment ago may still have parts on their way into the index.
    if (reusable && visible.state === 'partial' && !loading.inMemory(visible.fileId))
      return this.#goOn(loading.reopen(visible, run), order);
    const fileId = ids.next();
    const file = new LoadingFile({ fileId, entry: plainEntry(entry), load, run, segmentBytes: defaultSegmentBytes });
    loading.add(file);
    return this.#goOn(file, order);
  }

  #goOn(file: LoadingFile, order: BeginOrder): Begun {
    const { loading, durable } = this.#parts;
    const { run, entry, partBytes, range = { offset: 0, length: entry.sizeBytes }, segmentBytes } = order;
    loading.use(file, run);
    if (segmentBytes !== undefined) file.segmentBytes = segmentBytes;
    const missing = file.missing(range, partBytes);
    const own = file.durableBytes === 0 ? nothingFetched : durable.fetched(run, file.record(), range);
    return { state: 'loading', fileId: file.fileId, missing, ...own };
  }
}
