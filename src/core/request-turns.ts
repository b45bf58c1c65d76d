/**
 * When requests that are alike will all have ended, each of which takes the place of one that has. Pure.
 *
 * What has begun by a time is what has ended and what is under way. So of the n-th request it is known when it began and when it
 * ended, and how long one takes; the last one begins where one that is known ends, and so many durations later. It does not
 * matter at which point of a wave one looks, whether waves are narrow or wide, or whether there are none.
 */

/** A stretch of time. */
export interface Stretch {
  readonly ms: number;
  /** How many ended in it; below 0 where it turns out that it was fewer before. */
  readonly ended: number;
  /** Under way in it. */
  readonly requests: number;
}

/** Until then, so many. */
interface Point {
  readonly atMs: number;
  readonly count: number;
}

/**
 * @param left those that have not ended, under way or not
 * @param halfMs what ended so long ago says half as much of how long one takes
 * @returns milliseconds from the end of the last stretch; undefined: none has ended that began in these stretches
 */
export function lastEndsInMs(stretches: readonly Stretch[], left: number, halfMs: number): number | undefined {
  const ends = endsOf(stretches);
  const begins = beginsOf(stretches, ends);
  const { atMs: nowMs, count: ended } = ends.at(-1)!;
  const durationMs = durationOf(ends, begins, halfMs);
  if (durationMs === undefined) return undefined;
  const begun = begins.at(-1)!.count;
  // Of the same time as the duration: where fewer share what there is, each takes less long, and as many end as before.
  const requests = requestsOf(stretches, halfMs);
  // In the middle of the last one: numbers of requests are whole, and what is told of them is not.
  const last = ended + left - 0.5;
  const rounds = Math.max(0, Math.ceil((last - begun) / requests));
  const beganMs = timeOf(begins, last - rounds * requests) ?? 0;
  // Where those that should have ended are late, so are all behind them.
  const dueMs = (timeOf(begins, Math.min(begun, ended + 0.5)) ?? 0) + durationMs;
  return Math.max(0, beganMs + (rounds + 1) * durationMs - Math.min(nowMs, dueMs));
}

function endsOf(stretches: readonly Stretch[]): Point[] {
  const points: Point[] = [{ atMs: 0, count: 0 }];
  let [atMs, sum] = [0, 0];
  for (const { ms, ended } of stretches) {
    atMs += ms;
    sum += ended;
    points.push({ atMs, count: Math.max(sum, points.at(-1)!.count) });
  }
  return points;
}

/** What was under way at first began at a time that is not known. */
function beginsOf(stretches: readonly Stretch[], ends: readonly Point[]): Point[] {
  let most = stretches[0]?.requests ?? 0;
  return ends.map(({ atMs, count }, at) => {
    most = Math.max(most, at === 0 ? 0 : count + stretches[at - 1]!.requests);
    return { atMs, count: most };
  });
}

/** When as many had; undefined: before the first point. As if they came evenly between two points. */
function timeOf(points: readonly Point[], count: number): number | undefined {
  const at = points.findIndex((point) => point.count >= count);
  const after = points[at];
  if (at === 0) return undefined;
  if (after === undefined) return points.at(-1)!.atMs;
  const before = points[at - 1]!;
  return before.atMs + ((after.atMs - before.atMs) * (count - before.count)) / (after.count - before.count);
}

/** How many were under way at a time. */
function requestsOf(stretches: readonly Stretch[], halfMs: number): number {
  let [weights, sum, ageMs] = [0, 0, 0];
  for (const { ms, requests } of [...stretches].reverse()) {
    const weight = ms * 2 ** (-(ageMs + ms / 2) / halfMs);
    weights += weight;
    sum += weight * requests;
    ageMs += ms;
  }
  return sum / weights;
}

/** How long one takes, from those that ended between two points. */
function durationOf(ends: readonly Point[], begins: readonly Point[], halfMs: number): number | undefined {
  const nowMs = ends.at(-1)!.atMs;
  let [weights, sum] = [0, 0];
  for (let at = 1; at < ends.length; at += 1) {
    const ended = ends[at]!.count - ends[at - 1]!.count;
    const count = ends[at]!.count - ended / 2;
    const beganMs = timeOf(begins, count);
    if (ended <= 0 || beganMs === undefined) continue;
    const endedMs = (ends[at]!.atMs + ends[at - 1]!.atMs) / 2;
    const weight = ended * 2 ** (-(nowMs - endedMs) / halfMs);
    weights += weight;
    sum += weight * Math.max(0, endedMs - beganMs);
  }
  return weights > 0 ? sum / weights : undefined;
}
