/**
 * Free space of one store, in grains of 4 KiB. Pure bookkeeping, no I/O.
 *
 *   region (8 MiB = 2048 grains)   free    nothing in it; only a bit in #freeMap
 *                                  full    every grain given out; no bitmap kept
 *                                  packed  some grains given out; has a bitmap of 64 words (bit set = given out)
 *
 *   heads[b] -> region <-> region  packed regions by log2 of their largest free run, so that "a run of at least n"
 *                                  is found without a search
 *
 * Why regions: an allocation of a region or more takes whole free regions, so large objects never leave small holes
 * behind; smaller ones fill one packed region after the other. Regions whose contents went away together become free
 * again, and that is what keeps writes large over years of filling and freeing. Only when no region is free, an
 * allocation is put together from the largest runs that are left: all free space is always usable.
 */

/** 8 MiB of 4 KiB grains: one part of a large object, so that the usual allocation is exactly one region. */
export const regionGrains = 2048;
/** 1 MiB. A packed run of this length is long enough for the SSD, so it is used before a free region is opened. */
export const goodRunGrains = 256;
/** A grain number is kept in 32 bits on disk: 16 TiB a store. */
export const maxGrains = 2 ** 32 - 1;

const words = regionGrains / 32;
const slabsAChunk = 256;
const bucketCount = 13; // 0: full, b: largest run in [2^(b-1), 2^b), up to 2^11 exclusive of a free region
/** How many regions of the borderline bucket are looked at before a bucket of surely longer runs is taken. */
const probeLimit = 16;

const stateFree = 0;
const stateFull = 1;
const statePacked = 2;

/** Start and length of runs, flat: [start, length, start, length, ...], in grains. */
export type Runs = number[];

export class GrainAllocator {
  readonly grains: number;
  #freeGrains: number;
  readonly #regions: number;
  readonly #state: Uint8Array;
  /** One bit a region, set when it is free. */
  readonly #freeMap: Uint32Array;
  /** No word of #freeMap below this one has a bit. */
  #freeHint = 0;
  #freeRegions = 0;
  readonly #slabOf: Int32Array;
  readonly #chunks: Uint32Array[] = [];
  readonly #idleSlabs: number[] = [];
  #slabs = 0;
  readonly #freeIn: Uint16Array;
  readonly #largest: Uint16Array;
  readonly #largestAt: Uint16Array;
  readonly #heads = new Int32Array(bucketCount).fill(-1);
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #bucket: Uint8Array;
  /** The packed region that small allocations fill at present. */
  #open = -1;
  /** While an index is being replayed, summaries are not kept; `seal` makes them. */
  #replaying = true;

  /** @param grains usable grains of the store, at most `maxGrains`; everything is free until `take` says otherwise. */
  constructor(grains: number) {
    if (!Number.isInteger(grains) || grains < 1 || grains > maxGrains)
      throw new RangeError(`allocator of ${grains} grains`);
    this.grains = grains;
    this.#regions = Math.ceil(grains / regionGrains);
    this.#state = new Uint8Array(this.#regions);
    this.#freeMap = new Uint32Array(Math.ceil(this.#regions / 32));
    this.#slabOf = new Int32Array(this.#regions).fill(-1);
    this.#freeIn = new Uint16Array(this.#regions);
    this.#largest = new Uint16Array(this.#regions);
    this.#largestAt = new Uint16Array(this.#regions);
    this.#next = new Int32Array(this.#regions).fill(-1);
    this.#previous = new Int32Array(this.#regions).fill(-1);
    this.#bucket = new Uint8Array(this.#regions);
    for (let region = 0; region < this.#regions; region++) this.#becomeFree(region);
    this.#freeGrains = this.#regions * regionGrains;
    // A short last region is a packed one whose missing tail was given out for ever.
    const tail = this.#regions * regionGrains - grains;
    if (tail > 0) this.#claim(grains, tail);
  }

  get freeGrains(): number {
    return this.#freeGrains;
  }

  /** Regions of which nothing is given out. */
  get freeRegions(): number {
    return this.#freeRegions;
  }

  /**
   * Marks a run as given out while an index is replayed, before `seal`.
   * @returns false, with nothing changed in that region, when part of it was given out already.
   */
  take(start: number, length: number): boolean {
    if (start < 0 || length < 1 || start + length > this.grains) return false;
    return this.#claim(start, length);
  }

  /** Ends the replay: from here on `allocate` and `free` work. */
  seal(): void {
    this.#replaying = false;
    for (let region = 0; region < this.#regions; region++) {
      if (this.#state[region] === statePacked) this.#summarize(region);
    }
  }

  /**
   * Gives out `grains` in as few runs as the policy above allows, adjacent ones merged.
   * @returns undefined only if fewer than `grains` are free; then nothing changed.
   */
  allocate(grains: number): Runs | undefined {
    if (this.#replaying) throw new Error('allocate before seal');
    if (!Number.isInteger(grains) || grains < 1) throw new RangeError(`allocation of ${grains} grains`);
    if (grains > this.#freeGrains) return undefined;
    const runs: Runs = [];
    let left = grains;
    while (left >= regionGrains && this.#freeRegions > 0) left -= this.#giveRegions(left, runs);
    while (left > 0) left -= this.#givePacked(left, runs);
    return runs;
  }

  /** Takes a run back, or any part of one. Throws when a grain of it was not given out: that is a defect, not the world. */
  free(start: number, length: number): void {
    if (start < 0 || length < 1 || start + length > this.grains) throw new RangeError(`free of ${start}+${length}`);
    const end = start + length;
    for (let at = start; at < end; ) {
      const region = Math.floor(at / regionGrains);
      const from = at - region * regionGrains;
      const count = Math.min(regionGrains - from, end - at);
      this.#freeInRegion(region, from, count);
      at += count;
    }
  }

  /** The longest run that one allocation could get now, in grains: for figures and tests. */
  largestRun(): number {
    const free = this.#freeRegions > 0 ? this.#findFreeRun(this.#regions).count * regionGrains : 0;
    for (let bucket = bucketCount - 1; bucket > 0; bucket--) {
      let best = 0;
      for (let region = this.#heads[bucket]!; region >= 0; region = this.#next[region]!) {
        best = Math.max(best, this.#largest[region]!);
      }
      if (best > 0) return Math.max(free, best);
    }
    return free;
  }

  /** Whether a grain is given out: for tests. */
  isTaken(grain: number): boolean {
    const region = Math.floor(grain / regionGrains);
    const state = this.#state[region]!;
    if (state !== statePacked) return state === stateFull;
    const bit = grain - region * regionGrains;
    return (this.#chunk(region)[this.#slabStart(region) + (bit >>> 5)]! & (1 << (bit & 31))) !== 0;
  }

  // ---- giving out

  /** One run of whole free regions, the first that is long enough, else the longest. */
  #giveRegions(grains: number, runs: Runs): number {
    const wanted = Math.floor(grains / regionGrains);
    const { region, count } = this.#findFreeRun(wanted);
    for (let i = region; i < region + count; i++) {
      this.#leaveFree(i);
      this.#state[i] = stateFull;
      this.#freeIn[i] = 0;
    }
    this.#freeGrains -= count * regionGrains;
    push(runs, region * regionGrains, count * regionGrains);
    return count * regionGrains;
  }

  /** One run out of a packed region, or out of a free one that becomes packed by it. */
  #givePacked(grains: number, runs: Runs): number {
    let region = this.#choosePacked(grains);
    if (region < 0 && this.#freeRegions > 0) region = this.#openRegion(runs);
    if (region < 0) region = this.#choosePacked(1);
    this.#open = region;
    const at = this.#largestAt[region]!;
    const count = Math.min(grains, this.#largest[region]!);
    push(runs, region * regionGrains + at, count);
    this.#claimInRegion(region, at, count);
    return count;
  }

  /** A packed region with a run for all of it, else with one of 1 MiB at least; -1 when there is none. */
  #choosePacked(grains: number): number {
    if (this.#open >= 0 && this.#state[this.#open] === statePacked && this.#largest[this.#open]! >= grains)
      return this.#open;
    const enough = Math.min(grains, goodRunGrains);
    for (let bucket = bucketCount - 1; bucket > 0; bucket--) {
      const head = this.#heads[bucket]!;
      if (head < 0) continue;
      if (2 ** (bucket - 1) >= enough) return head;
      let region = head;
      for (let probes = 0; region >= 0 && probes < probeLimit; probes++, region = this.#next[region]!) {
        if (this.#largest[region]! >= enough) return region;
      }
      return -1;
    }
    return -1;
  }

  /** Turns a free region into a packed one, the one behind what was just given out if that is free. */
  #openRegion(runs: Runs): number {
    let region = -1;
    if (runs.length > 0) {
      const behind = (runs.at(-2)! + runs.at(-1)!) / regionGrains;
      if (Number.isInteger(behind) && behind < this.#regions && this.#state[behind] === stateFree) region = behind;
    }
    if (region < 0) region = this.#findFreeRun(1).region;
    this.#becomePacked(region);
    this.#summarize(region);
    return region;
  }

  /** The first run of `wanted` free regions, else the longest one. There is at least one free region. */
  #findFreeRun(wanted: number): { region: number; count: number } {
    while (this.#freeMap[this.#freeHint] === 0) this.#freeHint++;
    let best = -1;
    let bestCount = 0;
    let run = 0;
    for (let region = this.#freeHint * 32; region < this.#regions; region++) {
      if ((region & 31) === 0 && this.#freeMap[region >>> 5] === 0) {
        run = 0;
        region += 31;
        continue;
      }
      if (this.#state[region] !== stateFree) {
        run = 0;
        continue;
      }
      run++;
      if (run > bestCount) {
        bestCount = run;
        best = region - run + 1;
        if (bestCount === wanted) break;
      }
    }
    return { region: best, count: bestCount };
  }

  // ---- one region

  #claim(start: number, length: number): boolean {
    const end = start + length;
    for (let at = start; at < end; ) {
      const region = Math.floor(at / regionGrains);
      const from = at - region * regionGrains;
      const count = Math.min(regionGrains - from, end - at);
      if (!this.#claimInRegion(region, from, count)) return false;
      at += count;
    }
    return true;
  }

  #claimInRegion(region: number, from: number, count: number): boolean {
    if (this.#state[region] === stateFull) return false;
    if (this.#state[region] === stateFree) this.#becomePacked(region);
    if (!setBits(this.#chunk(region), this.#slabStart(region), from, count, true)) return false;
    this.#freeIn[region] = this.#freeIn[region]! - count;
    this.#freeGrains -= count;
    if (this.#freeIn[region] === 0) this.#becomeFull(region);
    else if (!this.#replaying) this.#summarize(region);
    return true;
  }

  #freeInRegion(region: number, from: number, count: number): void {
    if (this.#state[region] === stateFull) {
      this.#state[region] = statePacked;
      this.#takeSlab(region, 0xffffffff);
    } else if (this.#state[region] === stateFree) {
      throw new Error(`grains ${region * regionGrains + from}+${count} freed twice`);
    }
    if (!setBits(this.#chunk(region), this.#slabStart(region), from, count, false)) {
      throw new Error(`grains ${region * regionGrains + from}+${count} freed twice`);
    }
    this.#freeIn[region] = this.#freeIn[region]! + count;
    this.#freeGrains += count;
    if (this.#freeIn[region] === regionGrains) {
      this.#leaveBucket(region);
      this.#dropSlab(region);
      this.#becomeFree(region);
    } else this.#summarize(region);
  }

  #becomeFree(region: number): void {
    this.#state[region] = stateFree;
    this.#freeIn[region] = regionGrains;
    this.#freeMap[region >>> 5]! |= 1 << (region & 31);
    this.#freeHint = Math.min(this.#freeHint, region >>> 5);
    this.#freeRegions++;
  }

  #leaveFree(region: number): void {
    this.#freeMap[region >>> 5]! &= ~(1 << (region & 31));
    this.#freeRegions--;
  }

  #becomePacked(region: number): void {
    this.#leaveFree(region);
    this.#state[region] = statePacked;
    this.#takeSlab(region, 0);
  }

  #becomeFull(region: number): void {
    this.#leaveBucket(region);
    this.#dropSlab(region);
    this.#state[region] = stateFull;
  }

  /** Finds the largest free run of a packed region and puts it into the bucket of that length. */
  #summarize(region: number): void {
    const chunk = this.#chunk(region);
    const start = this.#slabStart(region);
    let run = 0;
    let best = 0;
    let bestEnd = 0;
    for (let word = 0; word < words; word++) {
      const taken = chunk[start + word]!;
      if (taken === 0) {
        run += 32;
        if (run > best) {
          best = run;
          bestEnd = word * 32 + 32;
        }
        continue;
      }
      let bit = 0;
      while (bit < 32) {
        const rest = taken >>> bit;
        const zeros = rest === 0 ? 32 - bit : Math.min(32 - bit, 31 - Math.clz32(rest & -rest));
        run += zeros;
        bit += zeros;
        if (run > best) {
          best = run;
          bestEnd = word * 32 + bit;
        }
        if (bit === 32) break;
        run = 0;
        const ones = ~(taken >>> bit);
        bit += ones === 0 ? 32 : Math.min(32 - bit, 31 - Math.clz32(ones & -ones));
      }
    }
    this.#largest[region] = best;
    this.#largestAt[region] = bestEnd - best;
    const bucket = best === 0 ? 0 : 32 - Math.clz32(best);
    if (bucket === this.#bucket[region]) return;
    this.#leaveBucket(region);
    this.#enterBucket(region, bucket);
  }

  #enterBucket(region: number, bucket: number): void {
    this.#bucket[region] = bucket;
    if (bucket === 0) return;
    const head = this.#heads[bucket]!;
    this.#next[region] = head;
    this.#previous[region] = -1;
    if (head >= 0) this.#previous[head] = region;
    this.#heads[bucket] = region;
  }

  #leaveBucket(region: number): void {
    const bucket = this.#bucket[region]!;
    if (bucket === 0) return;
    const next = this.#next[region]!;
    const previous = this.#previous[region]!;
    if (previous >= 0) this.#next[previous] = next;
    else this.#heads[bucket] = next;
    if (next >= 0) this.#previous[next] = previous;
    this.#bucket[region] = 0;
    this.#largest[region] = 0;
  }

  // ---- bitmaps, kept only for packed regions: 256 bytes each, in chunks of 64 KiB

  #takeSlab(region: number, fill: number): void {
    if (this.#idleSlabs.length === 0) {
      if (this.#slabs === this.#chunks.length * slabsAChunk) this.#chunks.push(new Uint32Array(slabsAChunk * words));
      this.#idleSlabs.push(this.#slabs++);
    }
    this.#slabOf[region] = this.#idleSlabs.pop()!;
    const start = this.#slabStart(region);
    this.#chunk(region).fill(fill, start, start + words);
  }

  #dropSlab(region: number): void {
    this.#idleSlabs.push(this.#slabOf[region]!);
    this.#slabOf[region] = -1;
  }

  #chunk(region: number): Uint32Array {
    return this.#chunks[Math.floor(this.#slabOf[region]! / slabsAChunk)]!;
  }

  #slabStart(region: number): number {
    return (this.#slabOf[region]! % slabsAChunk) * words;
  }
}

/** Sets or clears `count` bits. False, with nothing changed, when one of them had that value already. */
function setBits(bits: Uint32Array, base: number, from: number, count: number, value: boolean): boolean {
  for (let pass = 0; pass < 2; pass++) {
    const end = from + count;
    for (let at = from; at < end; ) {
      const word = base + (at >>> 5);
      const bit = at & 31;
      const length = Math.min(32 - bit, end - at);
      const mask = length === 32 ? 0xffffffff : ((1 << length) - 1) << bit;
      if (pass === 0) {
        if ((value ? bits[word]! & mask : ~bits[word]! & mask) !== 0) return false;
      } else bits[word] = value ? bits[word]! | mask : bits[word]! & ~mask;
      at += length;
    }
  }
  return true;
}

function push(runs: Runs, start: number, length: number): void {
  const last = runs.length - 2;
  if (last >= 0 && runs[last]! + runs[last + 1]! === start) runs[last + 1]! += length;
  else runs.push(start, length);
}
