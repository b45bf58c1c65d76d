/** What is cached of files, as the workers say that they belong to, and what room the rest of them needs there. */
import { type Segment, segmentCount, segmentsOf } from '../core/segments.ts';
import type { LoadId, ManifestEntry } from '../core/types.ts';
import { alignUp } from '../core/units.ts';
import type { Places } from './fleet-places.ts';
import type { FleetRun } from './fleet-run.ts';
import type { Member } from './members.ts';
import { type Need, needAt } from './need.ts';
import { type CachedSegment, isWorkerLost } from './worker-link.ts';

/** What is cached of a file at its version. */
export interface CachedFile {
  /** Every byte is durable on as many workers as asked. */
  readonly complete: boolean;
  /** Durable bytes; a byte counts once, however many workers have it. */
  readonly bytes: number;
  /** Whether this very load put some of them there. */
  readonly ours: boolean;
}

/** Segments that one question names at most. */
const segmentsAsked = 8192;

/** @param load whose it may be. */
export async function survey(
  places: Places,
  run: FleetRun,
  entries: readonly ManifestEntry[],
  load: LoadId,
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
    files.push(...(await surveyed(places, run, load, entries.slice(from, to), need)));
    from = to;
  }
  return { files, need };
}

async function surveyed(
  places: Places,
  run: FleetRun,
  load: LoadId,
  entries: readonly ManifestEntry[],
  need: Need,
): Promise<CachedFile[]> {
  const { reuse } = run.spec;
  const asked = new Map<Member, { segments: Segment[]; file: number[] }>();
  entries.forEach((entry, file) => {
    for (const segment of segmentsOf(entry, places.segmentBytesOf(run, entry))) {
      for (const member of places.of(run, entry.path, segment.index)) {
        const of = asked.get(member) ?? { segments: [], file: [] };
        asked.set(member, of);
        of.segments.push(segment);
        of.file.push(file);
      }
    }
  });
  const found = entries.map(() => ({ complete: true, replicas: 0, best: new Map<number, number>(), ours: false }));
  await Promise.all(
    Array.from(asked, async ([member, { segments, file }]) => {
      const cached = await cachedAt(member, load, segments);
      segments.forEach((segment, at) => {
        const { complete, bytes, ours } = cached[at]!;
        const whole = found[file[at]!]!;
        whole.replicas += 1;
        whole.complete &&= complete;
        whole.ours ||= ours;
        whole.best.set(segment.index, Math.max(bytes, whole.best.get(segment.index) ?? 0));
        const usable = reuse === 'any' || ours ? bytes : 0;
        const missing = complete && usable === segment.length ? 0 : Math.max(0, alignUp(segment.length) - usable);
        if (missing > 0) needAt(need, member.id, missing);
      });
    }),
  );
  return found.map(({ complete, replicas, best, ours }, at) => {
    const entry = entries[at]!;
    const wanted = segmentCount(entry.sizeBytes, places.segmentBytesOf(run, entry)) * run.replicas;
    let bytes = 0;
    for (const some of best.values()) bytes += some;
    return { complete: complete && replicas >= wanted, bytes, ours };
  });
}

/** A worker that is lost while it is asked has nothing. */
async function cachedAt(member: Member, load: LoadId, segments: readonly Segment[]): Promise<readonly CachedSegment[]> {
  try {
    return await member.link.cached(load, segments);
  } catch (error) {
    if (!isWorkerLost(error)) throw error;
    return segments.map(() => ({ complete: false, bytes: 0, ours: false }));
  }
}
