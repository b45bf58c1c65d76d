/**
 * Who has what of a file: from what workers say of a path to its versions, which of them is to be read, and from whom. Pure.
 *
 * A version is *shown* as soon as one worker has it visible: then every byte of it is durable somewhere, and what other
 * workers call loading is a part of it that is shown a moment later.
 */
import { bytesOf, joined, missingOf, runFrom } from './ranges.ts';
import { type ByteRange, type LoadId, type ObjectVersion, sameVersion, type UfsPath } from './types.ts';

/** What one worker says of one version of a path. */
export interface HeldFile extends ObjectVersion {
  readonly path: UfsPath;
  readonly state: 'complete' | 'partial' | 'metadata' | 'loading';
  readonly cachedAtMs: number;
  readonly loadId: LoadId;
  readonly segmentBytes: number;
  /** What the origin says of it beside its version: core/attributes. */
  readonly attributes: string;
  /** What is durable there, as a set. */
  readonly ranges: readonly ByteRange[];
}

/** What a worker is called by those who only compare. */
export type Holder = string;

export interface Holding {
  readonly holder: Holder;
  readonly ranges: readonly ByteRange[];
}

/** One version of a file, over all workers that were asked. */
export interface HeldVersion {
  readonly file: HeldFile;
  readonly shown: boolean;
  readonly holdings: readonly Holding[];
  /** What is durable anywhere, as a set. */
  readonly ranges: readonly ByteRange[];
}

export interface Said {
  readonly holder: Holder;
  readonly file: HeldFile;
}

/** All versions of one path, the one to be read first: of those that are whole the newest, else of those that are shown. */
export function versionsOf(said: readonly Said[]): HeldVersion[] {
  const groups: { file: HeldFile; shown: boolean; holdings: Map<Holder, ByteRange[]> }[] = [];
  for (const { holder, file } of said) {
    let group = groups.find((one) => sameVersion(one.file, file));
    if (group === undefined) {
      group = { file, shown: false, holdings: new Map() };
      groups.push(group);
    }
    // Whoever has no bytes of it yet may not know what the origin says of it, or not its checksums: the longer text says more.
    const before = group.file.attributes;
    const attributes = file.attributes.length > before.length ? file.attributes : before;
    if (isNewer(file, group.file)) group.file = file;
    if (group.file.attributes !== attributes) group.file = { ...group.file, attributes };
    group.shown ||= file.state !== 'loading';
    group.holdings.set(holder, [...(group.holdings.get(holder) ?? []), ...file.ranges]);
  }
  const versions = groups.map(({ file, shown, holdings }): HeldVersion => {
    const sets = Array.from(holdings, ([holder, ranges]) => ({ holder, ranges: joined(ranges) }));
    return { file, shown, holdings: sets, ranges: joined(sets.flatMap(({ ranges }) => ranges)) };
  });
  return versions.sort(byPreference);
}

/** Something is missing of it, or only its metadata is known. */
export function isWhole({ file, ranges, shown }: HeldVersion): boolean {
  return shown && (file.sizeBytes === 0 ? file.state !== 'metadata' : bytesOf(ranges) === file.sizeBytes);
}

function byPreference(a: HeldVersion, b: HeldVersion): number {
  const rank = (one: HeldVersion): number => (isWhole(one) ? 2 : one.shown ? 1 : 0);
  return rank(b) - rank(a) || (isNewer(a.file, b.file) ? -1 : 1);
}

function isNewer(a: HeldFile, b: HeldFile): boolean {
  return (a.lastModifiedMs - b.lastModifiedMs || a.cachedAtMs - b.cachedAtMs) > 0;
}

/** What is to be read next, and from whom. */
export interface Piece {
  readonly holder: Holder;
  readonly offset: number;
  readonly length: number;
}

/**
 * The next piece of `[at, end)`: from the first holder that has the byte, up to where it has no more, or where one that
 * stands before it has the bytes. Undefined: nobody has the byte.
 * @param holdings the best one first
 */
export function nextPiece(at: number, end: number, holdings: readonly Holding[]): Piece | undefined {
  for (let place = 0; place < holdings.length; place += 1) {
    const { holder, ranges } = holdings[place]!;
    const run = runFrom(ranges, at);
    if (run === 0) continue;
    let stop = Math.min(end, at + run);
    for (const better of holdings.slice(0, place)) {
      const start = better.ranges.find(({ offset }) => offset > at)?.offset;
      if (start !== undefined && start < stop) stop = start;
    }
    return { holder, offset: at, length: stop - at };
  }
  return undefined;
}

/** What of a range none of these has. */
export function uncovered(range: ByteRange, holdings: readonly Holding[]): ByteRange[] {
  return missingOf(range, joined(holdings.flatMap(({ ranges }) => ranges)));
}
