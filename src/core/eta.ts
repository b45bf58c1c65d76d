/**
 * When a load will have ended, from how it went so far. Pure.
 *
 * A file costs something, and a byte does. How many bytes a file costs is not known beforehand (a request to a slow origin may cost
 * as much as megabytes, one to a near one as little as a few KiB), and the mean size of what is left may be another than that of
 * what is done: so a rate of bytes alone, or of files, says too much or too little. Work is counted in bytes, each file as so many
 * more: by that number, of a grid, under which the pace so far was most even, where its mix changed; else by a usual one.
 *
 * Where an origin is as fast as it is, fewer requests at the end are no slower than many before; where each connection is, they
 * are. Both look the same for as long as there are as many. So what was done is held against the time, and against the time of
 * requests; of both, that counts under which the pace was the more even one, and for which the paces of the requests speak
 * (core/flows); of two that are alike, time. Where it is the time of requests, what waits is given out to those under way.
 *
 * Small files whose like have been done need none of that: each is a request, and those take turns (core/request-turns).
 */
import { type FlowSums, noFlows, oddsOfOwnPace, ownMsOfAByte } from './flows.ts';
import { type InTurn, nothingInTurn } from './in-turn.ts';
import { lastEndsInMs } from './request-turns.ts';

/** What was done until then; all only grow. */
export interface Done {
  readonly files: number;
  /** Received. */
  readonly bytes: number;
  /** Of them durable, so that their files are counted; absent: all. */
  readonly cachedBytes?: number;
}

interface Block {
  readonly files: number;
  readonly bytes: number;
  readonly cachedBytes: number;
  readonly ms: number;
  /** Of all requests that were under way together, at least one at a time. */
  readonly requestMs: number;
}

export interface Pace {
  readonly atMs: number;
  readonly done: Required<Done>;
  /** What was done in each stretch of time, the oldest first. The last one may still grow. */
  readonly blocks: readonly Block[];
  /** Requests under way at the last look. */
  readonly requests: number;
  /** Something was done. */
  readonly begun: boolean;
  /** Requests that were under way then and had not ended, of which each may have been a file. */
  readonly firstFiles: number;
}

/** A block that lasts as long is closed: parts of some MiB do not make it look uneven. */
const blockMs = 250;
/** Files are alike whose mean size is not so many times that of others. */
const mostUnlike = 4;
/** Beyond this many, of the older half two become one. */
const mostBlocks = 64;
/** Before this a pace would be noise. */
const leastElapsedMs = 150;
/** A load of which nothing was done for so long stands still, and nobody knows when it will have ended. */
const standstillMs = 10_000;
/** So long nothing may be done without anybody being late. */
const leastWaitMs = 500;
/** What was done so long ago counts half: a sixth of the time so far, within these. No single wave counts for much. */
const halfLife = { share: 1 / 6, leastMs: 2_500, mostMs: 60_000, waves: 8 };
/** Bytes that a file costs: what is tried, and what it usually is. */
const fileCosts = [0, ...Array.from({ length: 13 }, (_, power) => 2 ** (12 + power))];
const usualFileCost = 2 ** 19;
/** How far from the usual one, in powers of two, is as odd as a deviation of one sigma. */
const oddPowers = 3;
/** That a request is as fast as it is, however many there are, is less usual than that all together are. */
const oddBasis = { ms: 0, requestMs: 2 };
/** Nor is it nothing that blocks say of what a file costs whose mix of files and bytes goes to and fro. */
const leastTelling = 0.05;
/** Of the mix of files and bytes, whose range is 1: where what is left has another one by so much, it matters what a file costs. */
const otherMix = 0.2;
/** Squared: a mix that changes by less has not changed. */
const leastVariance = 0.001;
/** Neighbouring blocks are alike, so that many of them say little more than so many. */
const mostIndependent = 16;
/** Of pace, squared: what lies below it says nothing. */
const noiseFloor = 0.0004;

/** The pace with what is done by now. What was done never shrinks: where it does (a worker was lost), it stands. */
export function addDone(pace: Pace | undefined, atMs: number, done: Done, requests: number): Pace {
  const { files, bytes, cachedBytes = bytes } = done;
  if (pace === undefined || atMs < pace.atMs)
    return { atMs, done: { files, bytes, cachedBytes }, requests, blocks: [], begun: false, firstFiles: 0 };
  const whole = {
    files: Math.max(files, pace.done.files),
    bytes: Math.max(bytes, pace.done.bytes),
    cachedBytes: Math.max(cachedBytes, pace.done.cachedBytes),
  };
  const ms = atMs - pace.atMs;
  const more: Block = {
    ms,
    requestMs: ms * Math.max(1, (pace.requests + requests) / 2),
    files: whole.files - pace.done.files,
    bytes: whole.bytes - pace.done.bytes,
    cachedBytes: whole.cachedBytes - pace.done.cachedBytes,
  };
  const { blocks, begun, firstFiles } = pace;
  const isNothing = more.files === 0 && more.bytes === 0;
  // It begins behind what is done first: how long that took (a listing, the first answer of an origin) says nothing of the pace.
  if (!begun) {
    const underWay = Math.max(0, Math.max(pace.requests, requests) - more.files);
    return { ...pace, atMs, done: whole, requests, begun: !isNothing, firstFiles: underWay };
  }
  if (isNothing && more.ms === 0) return pace;
  const last = blocks.at(-1);
  const joined =
    last !== undefined && last.ms < blockMs ? [...blocks.slice(0, -1), sum(last, more)] : [...blocks, more];
  return {
    ...{ atMs, done: whole, requests, begun, firstFiles },
    blocks: joined.length > mostBlocks ? withOldPaired(joined) : joined,
  };
}

export interface Left {
  readonly files: number;
  readonly bytes: number;
  /** What requests under way, and those behind them, receive in turn; absent: that is not known. */
  readonly turn?: InTurn;
  /** How the paces of requests have changed. */
  readonly flows?: FlowSums;
}

/** Milliseconds until what is left is done; undefined: that cannot be said. */
export function timeLeftMs(pace: Pace, left: Left, nowMs: number): number | undefined {
  if (left.files <= 0 && left.bytes <= 0) return 0;
  const blocks = [...pace.blocks, nothingFor(Math.max(0, nowMs - pace.atMs), pace.requests)];
  const lastDone = blocks.findLastIndex((block) => !isIdle(block));
  const idleMs = msOf(blocks.slice(lastDone + 1));
  if (msOf(blocks) < leastElapsedMs || lastDone < 0 || idleMs >= standstillMs) return undefined;
  return byTurnsMs(pace, blocks, left) ?? byWorkMs(pace, blocks, left);
}

/**
 * Of small files, if those that are left are like those that were: each is a request. They are counted when they are durable, sooner
 * or later behind their bytes; so those tell when a request ended, and the others how many bytes that was. Undefined: they are not.
 */
function byTurnsMs({ blocks: known, done, requests }: Pace, blocks: readonly Block[], left: Left): number | undefined {
  if (left.files <= 0) return undefined;
  const leftBytes = left.bytes / left.files;
  // Files that hardly any bytes came for were empty, or had been loaded before.
  const isAlike = ({ files, cachedBytes }: Block): boolean =>
    cachedBytes > 0 && leftBytes * files <= mostUnlike * cachedBytes;
  const told = known.filter(isAlike).reduce(sum, nothingFor(0, 0));
  const meanBytes = told.cachedBytes / told.files;
  if (told.files <= 0 || meanBytes < 1 || Math.max(meanBytes, leftBytes) > usualFileCost) return undefined;
  const stretches = blocks.map((block) => ({
    ms: block.ms,
    ended: (isAlike(block) ? block.files : 0) + (block.bytes - block.cachedBytes) / meanBytes,
    requests: block.ms > 0 ? block.requestMs / block.ms : Math.max(1, requests),
  }));
  const inHand = Math.max(0, done.bytes - done.cachedBytes) / meanBytes;
  return lastEndsInMs(stretches, Math.max(0, left.files - inHand), halfMsOf(blocks, halfLife.leastMs));
}

function byWorkMs({ requests, firstFiles }: Pace, all: readonly Block[], left: Left): number | undefined {
  const lastDone = all.findLastIndex((block) => !isIdle(block));
  const idleMs = msOf(all.slice(lastDone + 1));
  // Some loads go in waves. Between two of them nobody is late.
  const waveMs = longestIdleMs(all.slice(0, lastDone));
  const waits = idleMs <= Math.max(leastWaitMs, 2 * waveMs);
  const counted = waits ? all.slice(0, lastDone + 1) : all;
  const blocks = weighted(byWaves(behindFirst(counted, firstFiles)), waveMs);
  const guess = likeliest(blocks, left);
  if (guess === undefined) return undefined;
  const bytes = Math.max(0, left.bytes);
  const files = Math.max(0, left.files);
  // Of large files those under way have paid already.
  const paid = bytes > guess.fileCost * files ? Math.min(files, requests) : 0;
  const wholeMs = (bytes + guess.fileCost * (files - paid)) * guess.msOfAByte;
  const spentMs = guess.basis === 'ms' ? wholeMs : inTurnMs(left, { ...guess, wholeMs, requests: requestsOf(counted) });
  return Math.max(0, spentMs - (waits ? idleMs : 0));
}

/** Where each request has a pace of its own: no sooner than what it receives in turn. Where nothing waits, that is known to the byte. */
function inTurnMs(
  { bytes, turn = nothingInTurn, flows = noFlows }: Left,
  { wholeMs, requests, msOfAByte }: { wholeMs: number; requests: number; msOfAByte: number },
): number {
  const ownMs = ownMsOfAByte(flows);
  const beyondBytes = Math.max(0, bytes - turn.ofBytes);
  const turnMs = (turn.bytes + beyondBytes / requests) * (ownMs ?? msOfAByte);
  return ownMs !== undefined && turn.waiting === 0 && beyondBytes < 1 ? turnMs : Math.max(wholeMs / requests, turnMs);
}

/** Under way of late. */
function requestsOf(blocks: readonly Block[]): number {
  let lately = nothingFor(0, 0);
  for (const block of [...blocks].reverse()) {
    if (lately.ms >= blockMs) break;
    lately = sum(lately, block);
  }
  return lately.requestMs / lately.ms;
}

function nothingFor(ms: number, requests: number): Block {
  return { ms, requestMs: ms * Math.max(1, requests), files: 0, bytes: 0, cachedBytes: 0 };
}

function isIdle({ files, bytes }: Block): boolean {
  return files === 0 && bytes === 0;
}

/** What is done at the end of a wait took that wait. */
function byWaves(blocks: readonly Block[]): Block[] {
  const waves: Block[] = [];
  let wait = nothingFor(0, 0);
  for (const block of blocks) {
    wait = sum(wait, block);
    if (isIdle(block)) continue;
    waves.push(wait);
    wait = nothingFor(0, 0);
  }
  if (wait.ms > 0) waves.push(wait);
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

/**
 * Without those in which the first requests ended: they had begun before anything was done, and nobody knows how long before.
 * Small files of an origin that is slow to answer would seem to be done one wave sooner than they are.
 */
function behindFirst(blocks: readonly Block[], firstFiles: number): readonly Block[] {
  let [at, files] = [0, 0];
  while (at < blocks.length && files < firstFiles) files += blocks[at++]!.files;
  const last = blocks[at - 1];
  if (last === undefined) return blocks;
  // Of that in which they ended, what is behind them. When in it they did is not known: by the middle of their share of it.
  const behind = last.files === 0 ? 0 : Math.max(0, files - firstFiles) / last.files;
  const share = last.ms <= 2 * blockMs ? (1 + behind) / 2 : behind;
  const rest: Block[] = [
    {
      ms: last.ms * share,
      requestMs: last.requestMs * share,
      files: last.files * behind,
      bytes: last.bytes * behind,
      cachedBytes: last.cachedBytes * behind,
    },
    ...blocks.slice(at),
  ];
  return rest.some((block) => !isIdle(block)) && 2 * msOf(rest) >= msOf(blocks) ? rest : blocks;
}

function msOf(blocks: readonly Block[]): number {
  return blocks.reduce((sum, { ms }) => sum + ms, 0);
}

interface Weighted extends Block {
  readonly weight: number;
}

function halfMsOf(blocks: readonly Block[], leastMs: number): number {
  return Math.max(leastMs, Math.min(halfLife.mostMs, msOf(blocks) * halfLife.share));
}

/** The newest first. */
function weighted(blocks: readonly Block[], waveMs: number): Weighted[] {
  const halfMs = halfMsOf(blocks, Math.max(halfLife.leastMs, halfLife.waves * waveMs));
  let ageMs = 0;
  const result: Weighted[] = [];
  for (const block of [...blocks].reverse()) {
    const weight = 2 ** (-(ageMs + block.ms / 2) / halfMs);
    // Of days ago nothing is left of it.
    if (block.ms > 0 && weight > 0) result.push({ ...block, weight });
    ageMs += block.ms;
  }
  return result;
}

/** What is even: what is done in a millisecond, or in a millisecond of a request. */
type Basis = 'ms' | 'requestMs';

interface Guess {
  readonly basis: Basis;
  readonly fileCost: number;
  readonly msOfAByte: number;
  readonly oddity: number;
}

function likeliest(blocks: readonly Weighted[], left: Left): Guess | undefined {
  const telling = tellingOf(blocks, left);
  const odd = { ...oddBasis, ms: oddBasis.ms + oddsOfOwnPace(left.flows ?? noFlows) };
  let best: Guess | undefined;
  for (const basis of ['ms', 'requestMs'] as const) {
    const found = fileCosts.flatMap((fileCost) => evenness(blocks, fileCost, basis) ?? []);
    const least = Math.min(...found.map(({ unevenness }) => unevenness));
    for (const { fileCost, msOfAByte, unevenness, independent } of found) {
      const powers = Math.log2(Math.max(fileCost, fileCosts[1]! / 2) / usualFileCost) / oddPowers;
      const oddity = independent * (least + telling * (unevenness - least)) + powers ** 2 + odd[basis];
      if (best === undefined || oddity < best.oddity) best = { basis, fileCost, msOfAByte, oddity };
    }
  }
  return best;
}

/**
 * How much weight has what the blocks say of what a file costs, at most 1. Where their mix of files and bytes changes for good,
 * much; where it only goes to and fro, as that of small files does which are done by the hundred, little: bytes come evenly, and
 * it would seem that files cost nothing. Where what is left has the same mix, it does not matter, and the most even is best.
 */
function tellingOf(blocks: readonly Weighted[], left: Done): number {
  let [weights, mean, square, steps, stepWeights] = [0, 0, 0, 0, 0];
  let all = { files: 0, bytes: 0 };
  let before: number | undefined;
  for (const { ms, weight, files, bytes } of blocks) {
    if (files === 0 && bytes === 0) continue;
    const mix = mixOf({ files, bytes });
    all = { files: all.files + weight * files, bytes: all.bytes + weight * bytes };
    weights += weight * ms;
    mean += weight * ms * mix;
    square += weight * ms * mix * mix;
    if (before !== undefined) {
      steps += weight * ms * (mix - before) ** 2;
      stepWeights += weight * ms;
    }
    before = mix;
  }
  const other = Math.abs(mixOf(left) - mixOf(all)) / otherMix;
  const variance = weights === 0 ? 0 : square / weights - (mean / weights) ** 2;
  if (variance < leastVariance || stepWeights === 0) return Math.max(leastTelling, 1 - other);
  // By von Neumann's ratio: what goes to and fro by chance has steps as large as its deviations from the mean.
  const lasting = 1 - steps / stepWeights / 2 / variance;
  const chance = 2 / Math.sqrt(blocks.length);
  return Math.min(1, Math.max(leastTelling, 1 - other, (lasting - chance) / (1 - chance)));
}

/** The share of files in work, if they cost what they usually do. */
function mixOf({ files, bytes }: Done): number {
  const cost = usualFileCost * Math.max(0, files);
  return cost / (cost + Math.max(0, bytes));
}

/** Logarithm of how uneven the pace was, squared, if a file cost so much. Undefined: nothing was done, or that without requests. */
function evenness(
  blocks: readonly Weighted[],
  fileCost: number,
  basis: Basis,
): { fileCost: number; unevenness: number; msOfAByte: number; independent: number } | undefined {
  let [weights, work, squares] = [0, 0, 0];
  for (const block of blocks) {
    const weight = block.weight * block[basis];
    if (weight <= 0) return undefined;
    weights += weight;
    squares += weight * weight;
    work += block.weight * (block.bytes + fileCost * block.files);
  }
  if (work <= 0) return undefined;
  const msOfAByte = weights / work;
  let unevenness = 0;
  for (const block of blocks) {
    const pace = ((block.bytes + fileCost * block.files) * msOfAByte) / block[basis];
    unevenness += block.weight * block[basis] * (pace - 1) ** 2;
  }
  // Two of them can always be made even, by a cost and a pace.
  const independent = Math.max(0, Math.min(mostIndependent, weights ** 2 / squares) - 2);
  return { fileCost, unevenness: Math.log(unevenness / weights + noiseFloor), msOfAByte, independent };
}

function sum(a: Block, b: Block): Block {
  return {
    ms: a.ms + b.ms,
    requestMs: a.requestMs + b.requestMs,
    files: a.files + b.files,
    bytes: a.bytes + b.bytes,
    cachedBytes: a.cachedBytes + b.cachedBytes,
  };
}

/** The older half of them, two by two: what is long ago is known less finely. */
function withOldPaired(blocks: readonly Block[]): Block[] {
  const newer = mostBlocks / 2;
  const paired: Block[] = [];
  for (let at = 0; at < newer; at += 2) paired.push(sum(blocks[at]!, blocks[at + 1]!));
  return [...paired, ...blocks.slice(newer)];
}
