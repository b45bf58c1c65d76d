/**
 * Who gets the next slot, of several claimants with weights: of those that hold less than their part of the slots, rounded
 * up, the one whose slot time, divided by its weight, is least.
 *
 * Slot time rather than turns: what is slow, or limited, keeps a slot longer, and turn by turn it would get hold of all of
 * them. Slot time rather than slots held alone: two slots cannot be held as 1 to 4, but over time they can. Slots held too,
 * because a slot cannot be taken back: what is stuck would be given one after the other before its time has summed up. A
 * slot that is held counts for as long as it is held and at least for what one usually is, so that several slots that become
 * free at once do not all go to one claimant.
 *
 * Whoever had nothing to do comes back as the one who has had least, not with credit for the time that it did not want.
 */
interface Claim {
  readonly weight: number;
  /** Slot time of what it has given back, in ms. */
  usedMs: number;
  /** When each slot that it holds was taken. */
  readonly since: number[];
  /** What a slot is held for, usually. */
  usualMs: number;
  /** It had nothing to do when it was asked last. */
  idle: boolean;
}

/** How much the latest of the times that slots were held counts for the usual one. */
const usualShare = 0.1;

export class FairShare<K> {
  /** In the order of their turns: of equals the first one is next. */
  readonly #claims = new Map<K, Claim>();
  readonly #slots: number;

  constructor(slots: number) {
    this.#slots = slots;
  }

  join(key: K, weight: number): void {
    this.#claims.set(key, { weight, usedMs: 0, since: [], usualMs: 0, idle: true });
  }

  leave(key: K): void {
    this.#claims.delete(key);
  }

  /** The next one, of those that want a slot; undefined: nobody does. There must be a free one. */
  next(wants: (key: K) => boolean, nowMs: number): K | undefined {
    const came: Claim[] = [];
    let least = Number.POSITIVE_INFINITY;
    for (const [key, claim] of this.#claims) {
      const wanted = wants(key);
      if (wanted && claim.idle) came.push(claim);
      else if (wanted) least = Math.min(least, had(claim, nowMs));
      claim.idle = !wanted;
    }
    if (least < Number.POSITIVE_INFINITY)
      for (const claim of came) claim.usedMs += (least - had(claim, nowMs)) * claim.weight;
    const weights = sumOf(this.#claims.values(), ({ idle, weight }) => (idle ? 0 : weight));
    let best: K | undefined;
    let bestHad = Number.POSITIVE_INFINITY;
    let bestHeld = 0;
    for (const [key, claim] of this.#claims) {
      if (claim.idle || claim.since.length >= Math.ceil((this.#slots * claim.weight) / weights)) continue;
      const has = had(claim, nowMs);
      const held = claim.since.length / claim.weight;
      if (best !== undefined && (has > bestHad || (has === bestHad && held >= bestHeld))) continue;
      best = key;
      bestHad = has;
      bestHeld = held;
    }
    if (best === undefined) return undefined;
    const claim = this.#claims.get(best)!;
    this.#claims.delete(best);
    this.#claims.set(best, claim);
    return best;
  }

  took(key: K, nowMs: number): void {
    this.#claims.get(key)?.since.push(nowMs);
  }

  /** `sinceMs`: when it was taken. */
  gaveBack(key: K, sinceMs: number, nowMs: number): void {
    const claim = this.#claims.get(key);
    const at = claim?.since.indexOf(sinceMs) ?? -1;
    if (claim === undefined || at < 0) return;
    claim.since.splice(at, 1);
    const heldMs = Math.max(0, nowMs - sinceMs);
    claim.usedMs += heldMs;
    claim.usualMs = claim.usualMs === 0 ? heldMs : claim.usualMs + (heldMs - claim.usualMs) * usualShare;
  }
}

function sumOf<T>(all: Iterable<T>, of: (one: T) => number): number {
  let sum = 0;
  for (const one of all) sum += of(one);
  return sum;
}

/** Slot time by weight. */
function had({ usedMs, since, usualMs, weight }: Claim, nowMs: number): number {
  let sum = usedMs;
  for (const sinceMs of since) sum += Math.max(usualMs, nowMs - sinceMs);
  return sum / weight;
}
