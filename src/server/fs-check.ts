/**
 * Reads every cached page of every file at or below a path again and checks it: identity and checksum, as on any read.
 *
 * Who waits for whom: a few workers draw pieces of files (64 MiB at most) from one generator; each waits for the SSD and
 * holds one page. Whoever listens is told now and then, and is waited for by nobody.
 */
import type { BadPage, CheckEvents, CheckSummary } from '../core/check.ts';
import { PrimedError } from '../core/errors.ts';
import type { ByteRange, UfsPath } from '../core/types.ts';
import { MiB, pageBytes } from '../core/units.ts';
import type { FileRecord, Store } from '../store/types.ts';

/** Pages read at once: enough for an SSD to be busy, few enough to leave it to the readers of the data. */
const workerCount = 4;
const pieceBytes = 64 * MiB;
const listedAtOnce = 1000;
/** Bad pages that are named one by one; a store with more is beyond naming. */
const namedBadPages = 1000;

interface Piece {
  readonly file: { readonly record: FileRecord; left: number; gone: boolean };
  readonly offset: number;
  readonly lengthBytes: number;
}

/** Throws the signal's reason when it is aborted. `records` yields the files at or below the path. */
export async function checkFiles(
  store: Pick<Store, 'open' | 'ranges'>,
  {
    path,
    records,
    signal,
    events = {},
  }: { path: string; records: Iterable<FileRecord>; signal: AbortSignal; events?: CheckEvents },
): Promise<CheckSummary> {
  const badPages: BadPage[] = [];
  const count = { checkedFiles: 0, checkedBytes: 0, badPageCount: 0, uncheckedFiles: 0, goneFiles: 0 };
  const pieces = piecesOf(store, records, () => (count.uncheckedFiles += 1));

  const checkPiece = async (piece: Piece): Promise<void> => {
    const { file } = piece;
    for await (const outcome of readPages(store, piece, signal)) {
      if (outcome === 'gone') file.gone = true;
      else if (typeof outcome === 'number') count.checkedBytes += outcome;
      else {
        count.badPageCount += 1;
        if (badPages.length < namedBadPages) badPages.push(outcome);
        events.onBadPage?.(outcome);
      }
      events.onProgress?.(count);
    }
    file.left -= 1;
    if (file.left > 0) return;
    if (file.gone) count.goneFiles += 1;
    else count.checkedFiles += 1;
    events.onProgress?.(count);
  };
  const work = async (): Promise<void> => {
    for (const piece of pieces) await checkPiece(piece);
  };
  // All workers end before this does, also when one fails: no reader is left in the store.
  const ended = await Promise.allSettled(Array.from({ length: workerCount }, work));
  for (const one of ended) if (one.status === 'rejected') throw one.reason;
  return { path, ok: count.badPageCount === 0, ...count, badPages };
}

/** Several workers draw from this one generator: each piece comes out once. */
function* piecesOf(
  store: Pick<Store, 'ranges'>,
  records: Iterable<FileRecord>,
  onUnchecked: () => void,
): Generator<Piece> {
  for (const record of records) {
    if (record.state !== 'complete' && record.state !== 'partial') {
      onUnchecked();
      continue;
    }
    const pieces = [...cuts(store.ranges(record))];
    // An empty file is opened, too.
    if (pieces.length === 0) pieces.push({ offset: 0, lengthBytes: 0 });
    const file = { record, left: pieces.length, gone: false };
    for (const piece of pieces) yield { file, ...piece };
  }
}

function* cuts(ranges: readonly ByteRange[]): Generator<{ offset: number; lengthBytes: number }> {
  for (const { offset, length } of ranges) {
    for (let at = 0; at < length; at += pieceBytes)
      yield { offset: offset + at, lengthBytes: Math.min(pieceBytes, length - at) };
  }
}

/** For each page the bytes that were right, or what was wrong with it. */
async function* readPages(
  store: Pick<Store, 'open'>,
  { file: { record }, offset: start, lengthBytes }: Piece,
  signal: AbortSignal,
): AsyncGenerator<number | BadPage | 'gone'> {
  signal.throwIfAborted();
  let opened: ReturnType<Store['open']>;
  try {
    opened = store.open(record.path, { uses: false });
  } catch (error) {
    if (!(error instanceof PrimedError) || error.code !== 'FILE_NOT_CACHED') throw error;
    yield 'gone';
    return;
  }
  try {
    if (opened.record.fileId !== record.fileId) {
      yield 'gone';
      return;
    }
    for (let offset = start; offset < start + lengthBytes; offset += pageBytes) {
      signal.throwIfAborted();
      const length = Math.min(pageBytes, start + lengthBytes - offset);
      try {
        let readBytes = 0;
        for await (const bytes of opened.read({ offset, length })) readBytes += bytes.length;
        if (readBytes !== length) {
          throw new PrimedError('STORE_IO', `${record.path} ended ${length - readBytes} bytes before its size.`);
        }
        yield length;
      } catch (error) {
        if (!(error instanceof PrimedError)) throw error;
        const { code, message } = error;
        yield { path: record.path, page: offset / pageBytes, offset, lengthBytes: length, code, message };
      }
    }
  } finally {
    opened.close();
  }
}

/**
 * Records in portions, so that no cursor of the index stays open while pages are read.
 */
export function* recordsBelow(store: Pick<Store, 'list'>, prefix: string): Generator<FileRecord> {
  let after: string | undefined;
  for (;;) {
    const portion: FileRecord[] = [
      ...store.list({ prefix, limit: listedAtOnce, includeLoading: true, ...(after === undefined ? {} : { after }) }),
    ];
    yield* portion;
    if (portion.length < listedAtOnce) return;
    after = portion.at(-1)!.path as UfsPath;
  }
}
