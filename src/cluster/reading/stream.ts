/**
 * The bytes of a range of one version, from whoever has them, in order and each once.
 *
 * Who waits for whom: the consumer takes a piece of bytes after the other; what it does not take stays with the worker that
 * has it. While the last MiB of a piece are taken, the next one is asked for, and no more than that is ahead.
 *
 * A holder that fails is left at the byte where it failed: another that has it goes on from there, and the one that failed is
 * tried once more after them. Nothing is given out of order or twice, and an end before the last byte is an error.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { PrimedError } from '../../core/errors.ts';
import { type Holder, type Holding, nextPiece, type Piece } from '../../core/holdings.ts';
import type { ByteRange } from '../../core/types.ts';
import { MiB } from '../../core/units.ts';

export interface Source {
  /** The best one first. */
  holdings(): readonly Holding[];
  /** Bytes of a piece; fewer are taken for a failure of the holder. */
  open(piece: Piece): Promise<AsyncIterable<Uint8Array>>;
  /** Asks who else has it; resolves when nobody is left to ask. */
  askMore(): Promise<void>;
  /** A holder failed, and somebody else, or the same, is asked from here on. */
  onFailure(failed: { readonly piece: Piece; readonly at: number; readonly error: unknown }): void;
  /** Whether nobody else, nor the same once more, would give anything else. */
  isFinal?(error: unknown): boolean;
}

/** The next holder is asked when so much of this one's piece is left: it hides a round trip. */
const aheadBytes = 4 * MiB;
/** Failures of a holder in a row, without a byte in between. */
const mostFailures = 2;
/** So long is waited for holders that have no turn. */
const busyLimitMs = 20_000;
const busyPauseMs = 100;

interface Opening {
  readonly piece: Piece;
  readonly body: Promise<AsyncIterable<Uint8Array>>;
}

/** Throws what the last holder failed with, or FILE_NOT_CACHED, when nobody is left that has the next byte. */
export async function* readThrough(source: Source, range: ByteRange): AsyncGenerator<Uint8Array> {
  const end = range.offset + range.length;
  const failures = new Map<Holder, number>();
  const failuresOf = ({ holder }: { readonly holder: Holder }): number => failures.get(holder) ?? 0;
  const begin = (at: number, limit: number): Opening | undefined => {
    const usable = source.holdings().filter((one) => failuresOf(one) < mostFailures);
    const piece = nextPiece(
      at,
      limit,
      [...usable].sort((a, b) => failuresOf(a) - failuresOf(b)),
    );
    if (piece === undefined) return undefined;
    const body = source.open(piece);
    // It is observed when its turn comes.
    body.catch(() => undefined);
    return { piece, body };
  };
  let at = range.offset;
  let ahead: Opening | undefined;
  let last: unknown;
  let busySinceMs: number | undefined;
  let askedMore = false;
  try {
    while (at < end) {
      let current: Opening | undefined;
      if (ahead?.piece.offset === at) {
        current = ahead;
        ahead = undefined;
      } else current = begin(at, ahead?.piece.offset ?? end);
      if (current === undefined) {
        if (!askedMore) {
          askedMore = true;
          await source.askMore();
        } else if (isBusy(last) && !isOver(busySinceMs)) {
          busySinceMs ??= performance.now();
          await sleep(busyPauseMs);
          failures.clear();
        } else throw last ?? new PrimedError('FILE_NOT_CACHED', `byte ${at} is on no worker any more`, { offset: at });
        continue;
      }
      const { piece } = current;
      const pieceEnd = piece.offset + piece.length;
      try {
        for await (const bytes of await current.body) {
          at += bytes.length;
          failures.delete(piece.holder);
          busySinceMs = undefined;
          if (ahead === undefined && pieceEnd < end && pieceEnd - at <= aheadBytes) ahead = begin(pieceEnd, end);
          yield bytes;
        }
        if (at !== pieceEnd)
          throw new PrimedError('PEER_FAILED', `a piece of ${piece.length} bytes ended ${pieceEnd - at} bytes early`);
      } catch (error) {
        if (source.isFinal?.(error) === true) throw error;
        last = error;
        failures.set(piece.holder, failuresOf(piece) + 1);
        source.onFailure({ piece, at, error });
      }
    }
  } finally {
    if (ahead !== undefined) void discard(ahead.body);
  }
}

function isOver(sinceMs: number | undefined): boolean {
  return sinceMs !== undefined && performance.now() - sinceMs > busyLimitMs;
}

function isBusy(error: unknown): boolean {
  return error instanceof PrimedError && error.code === 'TOO_BUSY';
}

/** Nobody will take it. */
async function discard(body: Promise<AsyncIterable<Uint8Array>>): Promise<void> {
  try {
    await (await body)[Symbol.asyncIterator]().return?.();
  } catch {
    // It had failed already.
  }
}
