/**
 * What is cached of files, as the workers say that they belong to, and what room the rest of them needs there. On request also
 * who else has what is missing there: workers that owned it before others joined, or before they were told to drain.
 */
import { type Segment, segmentCount, segmentsOf } from '../core/segments.ts';
import type { LoadId, ManifestEntry } from '../core/types.ts';
import { alignUp } from '../core/units.ts';
import type { RunOfLoad } from '../store/types.ts';
import type { Places } from './fleet-places.ts';
import type { FleetRun } from './fleet-run.ts';
import type { Member } from './members.ts';
import { type Need, needAt } from './need.ts';
import { type CachedSegment, isWorkerGone } from './worker-link.ts';

/** Who has segments of a file durable, by index; the best first. */
export type Holders = ReadonlyMap<number, readonly Member[]>;

/** What is cached of a file at its version. */
export interface CachedFile {
  /** Every byte is durable on as many workers as asked. */
  readonly complete: boolean;
  /** Durable bytes at its owners; a byte counts once, however many workers have it. */
  readonly bytes: number;
  /** Whether this very load put some of them there. */
  readonly ours: boolean;
  /** Whether this very run fetched some of it, or made it, if it has no bytes. */
  readonly own: boolean;
  /** What of `bytes` this run fetched. */
  readonly ownBytes: number;
  /** Of segments that not all owners have. Only where they were looked for, and found. */
  readonly holders?: Holders;
  /** As many workers as asked have every byte visible, owners or others. Only where it was looked for. */
  readonly held?: boolean;
}

export interface SurveyHow {
  /** Whose it may be. */
  readonly load: LoadId;
  /** Other workers are asked for what owners lack. */
  readonly elsewhere: boolean;
}

interface Question {
  readonly segment: Segment;
  /** Place of its file among the entries. */
  readonly file: number;
}

type Answers = readonly { readonly member: Member; readonly question: Question; readonly cached: CachedSegment }[];

interface Whereabouts {
  readonly holders: ReadonlyMap<number, Holders>;
  readonly short: ReadonlySet<number>;
}

const notLookedFor: Partial<Whereabouts> = {};

/** Segments that one question names at most. */
const segmentsAsked = 8192;

export async function survey(
  places: Places,
  run: FleetRun,
  entries: readonly ManifestEntry[],
  how: SurveyHow,
): Promise<{ files: CachedFile[]; need: Need }> {
  const need: Need = new Map();
  const files: CachedFile[] = [];
  for (let from = 0; from < entries.length; ) {
    let to = from;
    let segments = 0;
    do {
      const entry = entries[to]!;
      segments += segmentCount(entry.sizeBytes, places.segmentBytesOf(run, entry)) * run.replicas;
      to += 1;
    } while (to < entries.length && segments < segmentsAsked);
    files.push(...(await new Survey(places, run, entries.slice(from, to), how).take(need)));
    from = to;
  }
  return { files, need };
}

class Survey {
  readonly #places: Places;
  readonly #run: FleetRun;
  readonly #entries: readonly ManifestEntry[];
  readonly #how: SurveyHow;

  constructor(places: Places, run: FleetRun, entries: readonly ManifestEntry[], how: SurveyHow) {
    this.#places = places;
    this.#run = run;
    this.#entries = entries;
    this.#how = how;
  }

  async take(need: Need): Promise<CachedFile[]> {
    const questions = this.#entries.flatMap((entry, file) =>
      Array.from(this.#segmentsOf(entry), (segment) => ({ segment, file })),
    );
    const answers = await this.#ask(questions, ({ segment }) =>
      this.#places.of(this.#run, segment.file.path, segment.index),
    );
    const found = this.#entries.map(() => ({
      complete: true,
      replicas: 0,
      best: new Map<number, number>(),
      bestOwn: new Map<number, number>(),
      ours: false,
      own: false,
    }));
    for (const { member, question, cached } of answers) {
      const { segment, file } = question;
      const { complete, bytes, ours, own, ownBytes } = cached;
      const whole = found[file]!;
      whole.replicas += 1;
      whole.complete &&= complete;
      whole.ours ||= ours;
      whole.own ||= own;
      whole.best.set(segment.index, Math.max(bytes, whole.best.get(segment.index) ?? 0));
      if (ownBytes > 0) whole.bestOwn.set(segment.index, Math.max(ownBytes, whole.bestOwn.get(segment.index) ?? 0));
      const usable = this.#isUsable(cached) ? bytes : 0;
      const missing = complete && usable === segment.length ? 0 : Math.max(0, alignUp(segment.length) - usable);
      if (missing > 0) needAt(need, member.id, missing);
    }
    const { holders, short } = this.#how.elsewhere ? await this.#holders(questions, answers) : notLookedFor;
    return found.map(({ complete, replicas, best, bestOwn, ours, own }, at) => {
      const entry = this.#entries[at]!;
      const wanted = segmentCount(entry.sizeBytes, this.#segmentBytesOf(entry)) * this.#run.replicas;
      const bytes = sumOf(best.values());
      const ownBytes = sumOf(bestOwn.values());
      const elsewhere = holders?.get(at);
      return {
        ...{ complete: complete && replicas >= wanted, bytes, ours, own, ownBytes },
        ...(elsewhere && { holders: elsewhere }),
        ...(short && { held: !short.has(at) }),
      };
    });
  }

  /** By place of the file; and the places of those that too few workers have. */
  async #holders(questions: readonly Question[], atOwners: Answers): Promise<Whereabouts> {
    const owners = new Map<Segment, Member[]>();
    const have = new Map<Segment, Member[]>();
    const visible = new Map<Segment, number>();
    const note = (answers: Answers): void => {
      for (const { member, question, cached } of answers) {
        const { segment } = question;
        if (!this.#isUsable(cached) || cached.bytes !== segment.length) continue;
        have.set(segment, [...(have.get(segment) ?? []), member]);
        if (cached.complete) visible.set(segment, (visible.get(segment) ?? 0) + 1);
      }
    };
    for (const { member, question } of atOwners)
      owners.set(question.segment, [...(owners.get(question.segment) ?? []), member]);
    note(atOwners);
    const lacking = questions.filter(
      ({ segment }) => segment.length > 0 && (have.get(segment)?.length ?? 0) < this.#run.replicas,
    );
    note(
      await this.#ask(lacking, ({ segment }) =>
        this.#places.elsewhere(this.#run, segment.file.path, segment.index, owners.get(segment) ?? []),
      ),
    );
    const holders = new Map<number, Map<number, Member[]>>();
    for (const { segment, file } of lacking) {
      const members = have.get(segment);
      if (members === undefined) continue;
      const of = holders.get(file) ?? new Map<number, Member[]>();
      holders.set(file, of.set(segment.index, members));
    }
    const short = questions.filter(({ segment }) => (visible.get(segment) ?? 0) < this.#run.replicas);
    return { holders, short: new Set(short.map(({ file }) => file)) };
  }

  /** Each worker gets all of its questions at once. Answers are in the order of the questions, and of `whom`. */
  async #ask(questions: readonly Question[], whom: (question: Question) => readonly Member[]): Promise<Answers> {
    const asked = new Map<Member, { question: Question; at: number }[]>();
    let count = 0;
    for (const question of questions) {
      for (const member of whom(question)) {
        const of = asked.get(member) ?? [];
        asked.set(member, of);
        of.push({ question, at: count });
        count += 1;
      }
    }
    const answers = new Array<Answers[number]>(count);
    const whose = { run: this.#run.spec.run, load: this.#how.load };
    await Promise.all(
      Array.from(asked, async ([member, some]) => {
        const segments = some.map(({ question }) => question.segment);
        const cached = await cachedAt(member, whose, segments);
        some.forEach(({ question, at }, i) => {
          answers[at] = { member, question, cached: cached[i]! };
        });
      }),
    );
    return answers;
  }

  #isUsable({ ours }: CachedSegment): boolean {
    return this.#run.spec.reuse === 'any' || ours;
  }

  #segmentsOf(entry: ManifestEntry): Iterable<Segment> {
    return segmentsOf(entry, this.#segmentBytesOf(entry));
  }

  #segmentBytesOf(entry: ManifestEntry): number {
    return this.#places.segmentBytesOf(this.#run, entry);
  }
}

/** A worker that is lost while it is asked, or refuses to be, has nothing. */
async function cachedAt(
  member: Member,
  whose: RunOfLoad,
  segments: readonly Segment[],
): Promise<readonly CachedSegment[]> {
  try {
    return await member.link.cached(whose, segments);
  } catch (error) {
    if (!isWorkerGone(error)) throw error;
    return segments.map(() => ({ complete: false, bytes: 0, ours: false, own: false, ownBytes: 0 }));
  }
}

function sumOf(numbers: Iterable<number>): number {
  let sum = 0;
  for (const one of numbers) sum += one;
  return sum;
}
