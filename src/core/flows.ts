/**
 * Whether requests that are under way together share what there is, or each has a pace of its own. Pure.
 *
 * As long as there are as many, both bring the same bytes in the same time; but not in the same way. Requests that share take
 * from each other: where one gets more for a moment, others get less, and all together are steadier than each. Those of which
 * each has a pace of its own know nothing of each other: how much all together change is what each of them changes, summed up
 * as chance does (in squares). And where an origin holds each to a limit, each is steady by itself, or they waver together with
 * the clock of whoever measures.
 *
 * So from look to look the change of pace is taken, of each request that was under way in between, and of all bytes.
 */

export interface Flow {
  readonly id: number;
  readonly receivedBytes: number;
}

/** Sums over looks, of which old ones count less; paces in bytes per millisecond. Those of several workers can be added. */
export interface FlowSums {
  readonly looks: number;
  /** Squares of how much the pace of each request has changed. */
  readonly own: number;
  /** Of how much that of these requests together has, and that of all bytes: by others too, and by those that ended or began. */
  readonly joint: number;
  readonly whole: number;
  /** Of how much that of each has, beside that of all of them. */
  readonly apart: number;
  /** Squares of the paces themselves. */
  readonly square: number;
  /** The paces, and how many they were. */
  readonly paces: number;
  readonly flows: number;
  /** Workers that have looked: what requests of several of them share cancels only in part at each. */
  readonly workers: number;
}

export interface FlowWatch {
  readonly atMs: number;
  readonly received: ReadonlyMap<number, number>;
  readonly totalBytes: number;
  /** Since the look before; none at the first one. */
  readonly paces: ReadonlyMap<number, number>;
  readonly totalPace: number;
  readonly sums: FlowSums;
}

export const noFlows: FlowSums = {
  looks: 0,
  own: 0,
  joint: 0,
  whole: 0,
  apart: 0,
  square: 0,
  paces: 0,
  flows: 0,
  workers: 0,
};

/** Shorter ones would see how a sender cuts what it sends. */
const lookMs = 240;
/** Behind a longer one nothing is compared. */
const longestLookMs = 750;
/** How much a look counts still when the next one comes: after half a minute, a quarter. */
const kept = 0.988;
const fewestFlows = 3;
/** Of all bytes: where less came by those requests, others may have taken from them. */
const leastShare = 0.75;
/** Of their pace: requests that change by no more beside each other take nothing from each other. */
const steady = 0.1;
/** Of all together, beside the sum of each: what is more is no chance, but something that befell all of them. */
const mostByChance = 2;
/** Of the same, where they share: pieces of some size are never seen to cancel wholly. */
const leastLeft = 0.2;
/** Neighbouring changes have a look in common, so that three say what two would say. */
const independent = 2 / 3;
/** Of a logarithm of odds: no sum of small signs is certain. */
const mostOdds = 8;

/**
 * The watch with what is under way now; the same, where the last look was just now.
 * @param flows requests whose body has begun and has not ended, a body each
 * @param totalBytes received by all of them, these and others, so far
 */
export function lookAtFlows(
  watch: FlowWatch | undefined,
  atMs: number,
  flows: () => readonly Flow[],
  totalBytes: number,
): FlowWatch {
  if (watch !== undefined && atMs - watch.atMs < lookMs) return watch;
  const seen = flows();
  const received = new Map(seen.map(({ id, receivedBytes }) => [id, receivedBytes]));
  const paces = new Map<number, number>();
  const next = { atMs, received, totalBytes, paces, totalPace: 0, sums: watch?.sums ?? noFlows };
  const ms = atMs - (watch?.atMs ?? atMs);
  if (watch === undefined || ms > longestLookMs) return next;
  for (const { id, receivedBytes } of seen) {
    const before = watch.received.get(id);
    if (before !== undefined && before > 0) paces.set(id, Math.max(0, receivedBytes - before) / ms);
  }
  const totalPace = Math.max(0, totalBytes - watch.totalBytes) / ms;
  return { ...next, totalPace, sums: sumsWith(watch, paces, totalPace) };
}

function sumsWith(watch: FlowWatch, paces: ReadonlyMap<number, number>, totalPace: number): FlowSums {
  const changes: number[] = [];
  let [all, square] = [0, 0];
  for (const [id, pace] of paces) {
    const before = watch.paces.get(id);
    if (before === undefined) continue;
    changes.push(pace - before);
    all += pace;
    square += pace ** 2;
  }
  if (changes.length < fewestFlows || all < leastShare * totalPace) return watch.sums;
  const own = changes.reduce((sum, change) => sum + change ** 2, 0);
  const mean = changes.reduce((sum, change) => sum + change, 0) / changes.length;
  const apart = ((own - changes.length * mean ** 2) * changes.length) / (changes.length - 1);
  const sums = addFlows(scaled(watch.sums, kept), {
    ...{ looks: 1, own, joint: (changes.length * mean) ** 2, whole: (totalPace - watch.totalPace) ** 2, apart },
    ...{ square, paces: all, flows: changes.length, workers: 0 },
  });
  return { ...sums, workers: 1 };
}

export function addFlows(a: FlowSums, b: FlowSums): FlowSums {
  return {
    looks: a.looks + b.looks,
    own: a.own + b.own,
    joint: a.joint + b.joint,
    whole: a.whole + b.whole,
    apart: a.apart + b.apart,
    square: a.square + b.square,
    paces: a.paces + b.paces,
    flows: a.flows + b.flows,
    workers: a.workers + b.workers,
  };
}

function scaled(sums: FlowSums, by: number): FlowSums {
  const { looks, own, joint, whole, apart, square, paces, flows, workers } = sums;
  return {
    ...{ looks: looks * by, own: own * by, joint: joint * by, whole: whole * by },
    ...{ apart: apart * by, square: square * by, paces: paces * by, flows: flows * by, workers },
  };
}

/** Logarithm of how much likelier it is that each request has a pace of its own than that they share; 0: nobody knows. */
export function oddsOfOwnPace({ looks, own, joint, whole, apart, square, workers }: FlowSums): number {
  if (looks <= 0 || own <= 0 || square <= 0) return 0;
  const ratio = Math.min(joint, whole) / own;
  const isSteady = Math.sqrt(Math.max(0, apart) / 2 / square) < steady;
  if (ratio > mostByChance && !isSteady) return 0;
  // Of normal deviations whose variance is that of all, against those with a part of it.
  const left = ratio >= 1 && isSteady ? leastLeft : Math.max(leastLeft, 1 - 1 / Math.max(1, workers));
  const seen = Math.min(1, ratio);
  const odds = ((looks * independent) / 2) * (Math.log(left) + seen / left - seen);
  return Math.max(-mostOdds, Math.min(mostOdds, odds));
}

/** Milliseconds that a request takes for a byte once its body has begun; undefined: nobody knows. */
export function ownMsOfAByte({ paces, flows }: FlowSums): number | undefined {
  return paces > 0 ? flows / paces : undefined;
}
