/** How far the load of one version of one file is: which segments are done, on which workers. Plain bookkeeping. */
import { type Segment, segmentCount, segmentsOf } from '../core/segments.ts';
import type { ManifestEntry } from '../core/types.ts';
import type { Holders } from './fleet-survey.ts';
import type { Member } from './members.ts';
import { isBad } from './segment-failure.ts';
import type { SegmentOutcome, WorkerLink } from './worker-link.ts';

export class VersionLoad {
  readonly #file: ManifestEntry;
  readonly #segmentBytes: number;
  readonly #holders: Holders | undefined;
  readonly #done = new Map<number, SegmentOutcome>();
  /** Who has got segments by this load, by link. */
  readonly #placed = new Map<WorkerLink, { readonly member: Member; readonly indexes: Set<number> }>();
  readonly #spoiled = new Map<WorkerLink, Member>();
  /** How a segment ended that the file cannot do without. */
  bad: SegmentOutcome | undefined;

  constructor(file: ManifestEntry, segmentBytes: number, holders: Holders | undefined) {
    this.#file = file;
    this.#segmentBytes = segmentBytes;
    this.#holders = holders;
  }

  /** It has several segments, and becomes visible when it is published. */
  get cut(): boolean {
    return this.#segmentBytes < this.#file.sizeBytes;
  }

  get complete(): boolean {
    return this.#done.size === segmentCount(this.#file.sizeBytes, this.#segmentBytes);
  }

  *missing(): Generator<Segment> {
    for (const segment of segmentsOf(this.#file, this.#segmentBytes)) if (!this.#done.has(segment.index)) yield segment;
  }

  /** What this load has placed comes first: that is not older than what was said before it. */
  holdersOf(index: number): Member[] {
    const placed = [...this.#placed.values()].filter(({ indexes }) => indexes.has(index)).map(({ member }) => member);
    return [...placed, ...(this.#holders?.get(index) ?? [])];
  }

  placed(index: number, member: Member): void {
    const known = this.#placed.get(member.link) ?? { member, indexes: new Set() };
    this.#placed.set(member.link, known);
    known.indexes.add(index);
  }

  /** A page of the segment is bad there. */
  spoiled(index: number, member: Member): void {
    this.placed(index, member);
    this.#spoiled.set(member.link, member);
  }

  settled({ index }: Segment, outcome: SegmentOutcome): void {
    if (!isBad(outcome)) this.#done.set(index, outcome);
    // A change says more than a failure: the file starts anew.
    else if (this.bad === undefined || outcome.result === 'changed') this.bad = outcome;
  }

  links(): WorkerLink[] {
    return [...this.#placed.keys()];
  }

  /** Forgets what is on workers with bad pages, and returns those. */
  takeSpoiled(): Member[] {
    const members = [...this.#spoiled.values()];
    this.forget([...this.#spoiled.keys()]);
    this.#spoiled.clear();
    return members;
  }

  /** What these workers had is not there any more. */
  forget(links: readonly WorkerLink[]): void {
    for (const link of links) {
      for (const index of this.#placed.get(link)?.indexes ?? []) this.#done.delete(index);
      this.#placed.delete(link);
    }
  }

  /** Of the file as it is now. */
  outcome(): SegmentOutcome {
    const verdict: SegmentOutcome = this.bad ?? { result: 'loaded', loadedBytes: 0, skippedBytes: 0 };
    let { loadedBytes, skippedBytes } = verdict;
    for (const segment of this.#done.values()) {
      loadedBytes += segment.loadedBytes;
      skippedBytes += segment.skippedBytes;
    }
    const [only] = this.#done.values();
    const skipped = this.bad === undefined && [...this.#done.values()].every((one) => one.result === 'skipped');
    const result = skipped ? 'skipped' : verdict.result;
    const version = !this.cut && only?.version !== undefined ? { version: only.version } : {};
    return { ...verdict, ...version, result, loadedBytes, skippedBytes };
  }
}
