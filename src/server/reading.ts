/** What every answer that carries bytes of a file has in common: which file, which range of it, and that it is somewhere. */
import type { Found, OpenedFile } from '../cluster/reading/files.ts';
import { PrimedError } from '../core/errors.ts';
import type { ByteRange } from '../core/types.ts';

/** Times that a file may be replaced between the look at its size and that for its bytes. */
const mostLooks = 4;

/** Throws FILE_NOT_CACHED for one that is being loaded. */
export function openedOf(found: Found): OpenedFile {
  const { path, state, cachedBytes, sizeBytes } = found.file;
  if (state !== 'loading') return found.open();
  const why = `${path} has ${cachedBytes} of ${sizeBytes} bytes in the cache; load it first.`;
  throw new PrimedError('FILE_NOT_CACHED', why, { path });
}

/**
 * The range, of the version that `opened` is by then.
 * @param pick which range of a file of this size, and may throw
 * @throws FILE_NOT_CACHED, PEER_FAILED, TOO_BUSY
 */
export async function rangeOf(opened: OpenedFile, pick: (sizeBytes: number) => ByteRange): Promise<ByteRange> {
  for (let looks = 0; looks < mostLooks; looks += 1) {
    const range = pick(opened.file.sizeBytes);
    if (await opened.prepare(range)) return range;
  }
  throw new PrimedError('TOO_BUSY', `${opened.file.path} is being replaced again and again; try again.`);
}

/** From an offset on, as much as is asked for or there is. Throws RANGE_INVALID for an offset behind the end. */
export function rangeFrom(path: string, offset: number, length: number, sizeBytes: number): ByteRange {
  if (offset > sizeBytes) {
    const why = `offset ${offset} lies behind the end of ${path}, which has ${sizeBytes} bytes.`;
    throw new PrimedError('RANGE_INVALID', why, { offset, sizeBytes });
  }
  return { offset, length: Math.min(length, sizeBytes - offset) };
}
