/**
 * The query of a request of the page API, from the raw target: some clients write a path into it as it is, so that `+` means
 * itself, `%` may stand alone, and `&` is part of the path. Pure.
 */
import { pathId } from '../../core/path-id.ts';
import { decodePercent } from '../percent.ts';

export interface PageQuery {
  /** What `ufsFullPath` says, in the decoding that has the id. */
  readonly path?: string;
  /** The other parameters; of one that is given twice the first. */
  readonly values: ReadonlyMap<string, string>;
}

/** Ampersands that a path may have where it is not encoded. */
const mostParts = 64;

/** @param target as Node hands it out, one character a byte */
export function pageQuery(target: string, id: string): PageQuery {
  const parts = partsOf(target);
  const first = parts.findIndex((part) => part.startsWith('ufsFullPath='));
  if (first < 0) return { values: valuesOf(parts) };
  const last = Math.min(parts.length, first + mostParts);
  for (let end = first + 1; end <= last; end += 1) {
    const sent = parts.slice(first, end).join('&').slice('ufsFullPath='.length);
    const path = meaningsOf(sent).find((meaning) => pathId(meaning) === id);
    if (path !== undefined) return { path, values: valuesOf([...parts.slice(0, first), ...parts.slice(end)]) };
  }
  return { values: valuesOf(parts.toSpliced(first, 1)) };
}

/**
 * What `path=` of a request without an id may mean, the likeliest first; none where it is not given. One that shows its `://` is
 * not encoded as a form encodes, and goes on to the end.
 */
export function pathQuery(target: string): readonly string[] {
  const parts = partsOf(target);
  const first = parts.findIndex((part) => part.startsWith('path='));
  if (first < 0) return [];
  const sent = parts[first]!.slice('path='.length);
  if (sent.includes('://')) return meaningsOf(parts.slice(first).join('&').slice('path='.length));
  const meaning = decodePercent(sent, { plusIsSpace: true });
  return meaning === undefined ? [] : [meaning];
}

/** Each once: decoded with `+` literal; not decoded; decoded beyond ASCII only; decoded as a form. */
function meaningsOf(sent: string): string[] {
  const meanings = [{}, { from: 0x100 }, { from: 0x80 }, { plusIsSpace: true }].map((how) => decodePercent(sent, how));
  return [...new Set(meanings.filter((one) => one !== undefined))];
}

function partsOf(target: string): string[] {
  const cut = target.indexOf('?');
  return cut < 0 ? [] : target.slice(cut + 1).split('&');
}

function valuesOf(parts: readonly string[]): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const part of parts) {
    const [name = '', ...rest] = part.split('=');
    if (!values.has(name)) values.set(name, decodePercent(rest.join('=')) ?? '');
  }
  return values;
}
