/**
 * A load from a slow origin on a virtual clock, and what it says of the time left: parts of files over as many requests as there
 * are slots, as the scheduler gives them out. Each request begins with a wait for its first byte; then either all share what
 * the origin gives, unevenly and not twice alike, or each has a pace of its own, by chance or steady to the clock.
 */
import { addDone, type Pace, timeLeftMs } from '../../src/core/eta.ts';
import { type FlowWatch, lookAtFlows } from '../../src/core/flows.ts';
import { inTurn } from '../../src/core/in-turn.ts';
import type { Random } from '../../src/core/types.ts';

export interface SlowLoad {
  readonly fileBytes: readonly number[];
  readonly partBytes: number;
  readonly slots: number;
  /** Of each request, before its first byte; of each its own, by as much more or less as `spread` says (0.2: a fifth). */
  readonly latencyMs: number;
  readonly spread?: number;
  /** Files are counted, several at once, when they are durable: up to so long behind their bytes. */
  readonly countedMs?: number;
  readonly world: 'shared' | 'each' | 'held';
  /** Of a request; where they share, that of all of them by the number of slots. */
  readonly bytesPerSecond: number;
  /** How much the pace of a request wavers, as a part of it. */
  readonly noise: number;
  readonly random: Random;
}

export interface Look {
  readonly atMs: number;
  readonly leftMs: number;
  readonly etaMs: number | undefined;
}

interface Part {
  readonly id: number;
  readonly file: number;
  readonly bytes: number;
  left: number;
  waitMs: number;
}

/** Nearly: mean 0, deviation 1. */
export function normalFrom(random: Random): () => number {
  return () => Array.from({ length: 12 }, random).reduce((sum, one) => sum + one, -6);
}

const stepMs = 50;
const lookMs = 250;
/** Where files are counted behind their bytes, looks see that. */
const oftenMs = 100;

export function looksAtSlowLoad(load: SlowLoad): Look[] {
  const { fileBytes, partBytes, slots, latencyMs, spread = 0.2, countedMs = 0, random } = load;
  const normal = normalFrom(random);
  const waiting: Part[] = [];
  const partsLeft = fileBytes.map((bytes, file) => {
    const count = Math.ceil(bytes / partBytes);
    for (let at = 0; at < count; at += 1) {
      const size = Math.min(partBytes, bytes - at * partBytes);
      waiting.push({
        id: waiting.length + 1,
        file,
        bytes: size,
        left: size,
        waitMs: latencyMs * (1 + spread * (2 * random() - 1)),
      });
    }
    return count;
  });
  waiting.reverse();
  const totalBytes = fileBytes.reduce((sum, bytes) => sum + bytes, 0);
  let under: Part[] = [];
  let [nowMs, files, bytes, cachedBytes]: [number, number, number, number] = [0, 0, 0, 0];
  let unit = { files: 0, bytes: 0, landsMs: 0 };
  let pace: Pace | undefined;
  let watch: FlowWatch | undefined;
  const looks: Omit<Look, 'leftMs'>[] = [];
  for (;;) {
    while (under.length < slots && waiting.length > 0) under.push(waiting.pop()!);
    if (nowMs >= unit.landsMs) {
      files += unit.files;
      cachedBytes += unit.bytes;
      unit = { files: 0, bytes: 0, landsMs: 0 };
    }
    if (nowMs % (countedMs > 0 ? oftenMs : lookMs) === 0) {
      const flows = under
        .filter(({ left, bytes: all }) => left < all)
        .map(({ id, bytes: all, left }) => ({ id, receivedBytes: all - left }));
      watch = lookAtFlows(watch, nowMs, () => flows, bytes);
      const done = { files, bytes: Math.floor(bytes), ...(countedMs > 0 && { cachedBytes }) };
      pace = addDone(pace, nowMs, done, under.length);
      const left = {
        files: fileBytes.length - files,
        bytes: totalBytes - Math.floor(bytes),
        turn: inTurn(
          under.map((part) => part.left),
          [...waiting].reverse().map((part) => part.left),
        ),
        flows: watch.sums,
      };
      looks.push({ atMs: nowMs, etaMs: timeLeftMs(pace, left, nowMs) });
    }
    if (under.length === 0 && unit.files === 0) break;
    nowMs += stepMs;
    const flowing = under.filter((part) => part.waitMs <= 0);
    const weights = flowing.map(() => Math.max(0.05, 1 + load.noise * normal()));
    const sum = weights.reduce((all, weight) => all + weight, 0);
    const clock = 1 + 0.2 * (random() - 0.5);
    for (const [at, part] of flowing.entries()) {
      const own = (load.bytesPerSecond * stepMs) / 1000;
      const share =
        load.world === 'shared'
          ? (own * slots * weights[at]!) / sum
          : load.world === 'held'
            ? own * clock
            : own * weights[at]!;
      const come = Math.min(part.left, share);
      part.left -= come;
      bytes += come;
      if (part.left <= 0) {
        partsLeft[part.file]! -= 1;
        if (partsLeft[part.file]! > 0) continue;
        const landsMs = unit.files === 0 ? nowMs + countedMs * random() : unit.landsMs;
        unit = { files: unit.files + 1, bytes: unit.bytes + fileBytes[part.file]!, landsMs };
      }
    }
    for (const part of under) part.waitMs -= stepMs;
    under = under.filter(({ left }) => left > 0);
  }
  return looks.map((look) => ({ ...look, leftMs: nowMs - look.atMs }));
}
