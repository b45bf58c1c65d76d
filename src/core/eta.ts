/**
 * When a load will have ended, from how it went so far. Pure.
 *
 * A file costs something, and a byte does. How many bytes a file costs is not known beforehand (a request to a slow origin may cost
 * as much as megabytes, one to a near one as little as a few KiB), and the mean size of what is left may be another than that of
 * what is done: so a rate of bytes alone, or of files, says too much or too little. Work is counted in bytes, each file as so many
 * more: by that number, of a grid, under which the pace so far was most even, where it was uneven; else by a usual one.
 */

/** What was done until then; both only grow. */
export interface Done {
  readonly files: number;
  readonly bytes: number;
}

interface Block extends Done {
  readonly ms: number;
}

export interface Pace {
  readonly atMs: number;
  readonly done: Done;
  /** What was done in each stretch of time, the oldest first. The last one may still grow. */
  readonly blocks: readonly Block[];
  /** Something was done. */
  readonly begun: boolean;
}

/** A block that lasts as long is closed: parts of some MiB do not make it look uneven. */
const blockMs = 250;
/** Beyond this many, of the older half two become one. */
const mostBlocks = 64;
/** Before this a pace would be noise. */
const leastElapsedMs = 500;
/** A load of which nothing was done for so long stands still, and nobody knows when it will have ended. */
const standstillMs = 10_000;
/** So long nothing may be done without anybody being late. */
const leastWaitMs = 500;
/** What was done so long ago counts half: a sixth of the time so far, within these. No single wave counts for much. */
const halfLife = { share: 1 / 6, leastMs: 3_000, mostMs: 60_000, waves: 4 };
/** Bytes that a file costs: what is tried, and what it usually is. */
const fileCosts = [0, ...Array.from({ length: 13 }, (_, power) => 2 ** (12 + power))];
const usualFileCost = 2 ** 18;
/** How far from the usual one, in powers of two, is as odd as a deviation of one sigma. */
const oddPowers = 3;
/** Neighbouring blocks are alike, so that many of them say little more than so many. */
const mostIndependent = 16;
/** Of pace, squared: what lies below it says nothing. */
const noiseFloor = 0.0004;

/** The pace with what is done by now. What was done never shrinks: where it does (a worker was lost), it stands. */
export function addDone(pace: Pace | undefined, atMs: number, done: Done): Pace {
  if (pace === undefined || atMs < pace.atMs) return { atMs, done, blocks: [], begun: false };
  const whole = { files: Math.max(done.files, pace.done.files), bytes: Math.max(done.bytes, pace.done.bytes) };
  const more = { ms: atMs - pace.atMs, files: whole.files - pace.done.files, bytes: whole.bytes - pace.done.bytes };
  const { blocks, begun } = pace;
  const isNothing = more.files === 0 && more.bytes === 0;
  // It begins behind what is done first: how long that took (a listing, the first answer of an origin) says nothing of the pace.
  if (!begun) return { ...pace, atMs, done: whole, begun: !isNothing };
  if (isNothing && more.ms === 0) return pace;
  const last = blocks.at(-1);
  const joined =
    last !== undefined && last.ms < blockMs ? [...blocks.slice(0, -1), sum(last, more)] : [...blocks, more];
  return { atMs, done: whole, begun, blocks: joined.length > mostBlocks ? withOldPaired(joined) : joined };
}

/** Milliseconds until what is left is done; undefined: that cannot be said. */
export function timeLeftMs(pace: Pace, left: Done, nowMs: number): number | undefined {
  if (left.files <= 0 && left.bytes <= 0) return 0;
  const all = [...pace.blocks, { ms: Math.max(0, nowMs - pace.atMs), files: 0, bytes: 0 }];
  const elapsedMs = all.reduce((total, { ms }) => total + ms, 0);
  const lastDone = all.findLastIndex((block) => !isIdle(block));
  const idleMs = all.slice(lastDone + 1).reduce((total, { ms }) => total + ms, 0);
  if (elapsedMs < leastElapsedMs || lastDone < 0 || idleMs >= standstillMs) return undefined;
  // Some loads go in waves. Between two of them nobody is late.
  const waveMs = longestIdleMs(all.slice(0, lastDone));
  const waits = idleMs <= Math.max(leastWaitMs, 2 * waveMs);
  const blocks = weighted(byWaves(waits ? all.slice(0, lastDone + 1) : all), waveMs);
  let best: { readonly oddity: number; readonly msOfAByte: number; readonly fileCost: number } | undefined;
  for (const fileCost of fileCosts) {
    const found = judged(blocks, fileCost);
    if (found !== undefined && (best === undefined || found.oddity < best.oddity)) best = { ...found, fileCost };
  }
  if (best === undefined) return undefined;
  const work = Math.max(0, left.bytes) + best.fileCost * Math.max(0, left.files);
  return Math.max(0, work * best.msOfAByte - (waits ? idleMs : 0));
}

function isIdle({ files, bytes }: Block): boolean {
  return files === 0 && bytes === 0;
}

/** What is done at the end of a wait took that wait. */
function byWaves(blocks: readonly Block[]): Block[] {
  const waves: Block[] = [];
  let waitMs = 0;
  for (const block of blocks) {
    if (isIdle(block)) waitMs += block.ms;
    else {
      waves.push({ ...block, ms: block.ms + waitMs });
      waitMs = 0;
    }
  }
  if (waitMs > 0) waves.push({ ms: waitMs, files: 0, bytes: 0 });
  return waves;
}

function longestIdleMs(blocks: readonly Block[]): number {
  let [longest, ms] = [0, 0];
  for (const block of blocks) {
    ms = isIdle(block) ? ms + block.ms : 0;
    longest = Math.max(longest, ms);
  }
  return longest;
}

interface Weighted extends Block {
  readonly weight: number;
}

/** The newest first. */
function weighted(blocks: readonly Block[], waveMs: number): Weighted[] {
  const elapsedMs = blocks.reduce((total, { ms }) => total + ms, 0);
  const leastMs = Math.max(halfLife.leastMs, halfLife.waves * waveMs);
  const halfMs = Math.max(leastMs, Math.min(halfLife.mostMs, elapsedMs * halfLife.share));
  let ageMs = 0;
  const result: Weighted[] = [];
  for (const block of [...blocks].reverse()) {
    if (block.ms > 0) result.push({ ...block, weight: 2 ** (-(ageMs + block.ms / 2) / halfMs) });
    ageMs += block.ms;
  }
  return result;
}

/** How odd it were if a file cost so many bytes, and what a byte took then. Undefined: nothing was done. */
function judged(blocks: readonly Weighted[], fileCost: number): { oddity: number; msOfAByte: number } | undefined {
  let [weights, ms, work, squares] = [0, 0, 0, 0];
  for (const block of blocks) {
    const weight = block.weight * block.ms;
    weights += weight;
    squares += weight * weight;
    ms += block.weight * block.ms;
    work += block.weight * (block.bytes + fileCost * block.files);
  }
  if (work <= 0) return undefined;
  const msOfAByte = ms / work;
  let unevenness = 0;
  for (const block of blocks) {
    const pace = ((block.bytes + fileCost * block.files) * msOfAByte) / block.ms;
    unevenness += block.weight * block.ms * (pace - 1) ** 2;
  }
  const independent = Math.min(mostIndependent, weights ** 2 / squares);
  const powers = Math.log2(Math.max(fileCost, fileCosts[1]! / 2) / usualFileCost) / oddPowers;
  return { oddity: independent * Math.log(unevenness / weights + noiseFloor) + powers ** 2, msOfAByte };
}

function sum(a: Block, b: Block): Block {
  return { ms: a.ms + b.ms, files: a.files + b.files, bytes: a.bytes + b.bytes };
}

/** The older half of them, two by two: what is long ago is known less finely. */
function withOldPaired(blocks: readonly Block[]): Block[] {
  const newer = mostBlocks / 2;
  const paired: Block[] = [];
  for (let at = 0; at < newer; at += 2) paired.push(sum(blocks[at]!, blocks[at + 1]!));
  return [...paired, ...blocks.slice(newer)];
}
