/**
 * What limits a load: every moment of it is charged to what the most of it was waiting for.
 *
 * Nothing is measured on the way of a part. Ten times a second each lane looks at its slots, and the main thread at its
 * runs; the time since the last look is divided by what they find. Over a few seconds that is as good as a stopwatch on
 * each part, and costs nothing that grows with their number.
 *
 * In a lane, for each run:
 * 1. A slot that is written from waits for the disk; one that is checked, too.
 * 2. A slot that is received into waits for what its requests wait for: a grant (operator's limit: bandwidth, requests),
 *    a connection (network), the first byte, the rest of the body. Of another worker all of that is network. Requests that
 *    may not be sent because the origin asked for fewer at a time wait for its throttling.
 * 3. A loop that is busy nearly all of the time is what everything that passes through it waits for: then the lane's slots
 *    wait for the CPU, and for checksums in the proportion in which these take its time.
 *
 * On the main thread, for each run:
 * 4. Where parts wait for a slot, slots are what there is too little of: the time is divided like their time in the lanes.
 *    Slots that stay free because the origin has asked for silence (Retry-After) count as throttled.
 * 5. Where no part waits for a slot, the load has too little under way, and it is divided by parts: those in lanes, those that
 *    are written and wait to be durable (flush of the disk, or commit of the index), those that wait for another attempt.
 * 6. Where nothing is under way, the run waits: for its limit, for the index, or for the coordinator to give it work. What
 *    waits for the main thread (5, 6) while that is busy nearly all of the time waits for the CPU.
 * 7. While lanes give way to readers, what they lack is not CPU but the operator's leave.
 *
 * On the coordinator, for each job:
 * 8. A worker that waits for work while another one has some waits for that one: the job waits for the scheduler only as
 *    much as each of its workers does. Until the listing is done that is called listing. Of that, the time in which calls for
 *    its pages wait because the origin asked for fewer is throttling, and what they wait for their turn is the operator's limit.
 *
 * So all that is charged is exactly the time that has passed.
 */
import type { LimitState, LimitSums } from './limit-causes.ts';

/** What lanes charge, in the order of their cells in shared memory. */
export const laneStates = [
  ...['first-byte', 'transfer', 'connecting', 'copying', 'bandwidth', 'requests', 'throttled'],
  ...['disk-write', 'disk-read', 'lane-cpu', 'checksum'],
] as const satisfies readonly LimitState[] as readonly LaneState[];
export type LaneState =
  | 'first-byte'
  | 'transfer'
  | 'connecting'
  | 'copying'
  | 'bandwidth'
  | 'requests'
  | 'throttled'
  | 'disk-write'
  | 'disk-read'
  | 'lane-cpu'
  | 'checksum';

/** What the slots of one run in one lane wait for. */
export interface SlotLook {
  /** Slots that are received into, that are written from, that are read into. */
  readonly receiving: number;
  readonly writing: number;
  readonly reading: number;
  /** How many of their requests wait for what; one element for each of `laneStates`. */
  readonly requests: Float64Array;
  /** The same of all runs of the lane: those have the sockets that a run waits for which has no request under way. */
  readonly others: Float64Array;
}

/** How busy the loop of the lane was since the last look, 0 to 1, and how much of that with checksums, 0 to 1. */
export interface LoopLook {
  readonly utilization: number;
  readonly checksums: number;
}

const cell = (state: LaneState): number => laneStates.indexOf(state);
const writeCell = cell('disk-write');
const readCell = cell('disk-read');
const cpuCell = cell('lane-cpu');
const checksumCell = cell('checksum');
const throttledCell = cell('throttled');

/** Divides `elapsedMs` of each slot (1 to 3 above) into `into`, one element for each of `laneStates`. */
export function slotTimeOf(look: SlotLook, loop: LoopLook, elapsedMs: number, into: Float64Array): void {
  const { receiving, writing, reading } = look;
  into.fill(0);
  const requests = sumOf(look.requests) > 0 ? look.requests : look.others;
  const count = sumOf(requests);
  if (count > 0)
    for (let at = 0; at < into.length; at += 1) into[at] = (receiving * elapsedMs * (requests[at] as number)) / count;
  into[writeCell] = (into[writeCell] as number) + writing * elapsedMs;
  into[readCell] = (into[readCell] as number) + reading * elapsedMs;
  const busy = saturation(loop.utilization);
  if (busy === 0) return;
  let taken = 0;
  for (let at = 0; at < into.length; at += 1) {
    // Who may not send a request, or read, has nothing for the loop to do.
    if (at === throttledCell) continue;
    taken += (into[at] as number) * busy;
    into[at] = (into[at] as number) * (1 - busy);
  }
  const checksums = Math.min(1, Math.max(0, loop.checksums));
  into[cpuCell] = (into[cpuCell] as number) + taken * (1 - checksums);
  into[checksumCell] = (into[checksumCell] as number) + taken * checksums;
}

function sumOf(values: Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}

/** Below this share of busy time a loop waits for others, above the other one they wait for it. */
const calmUtilization = 0.8;
const fullUtilization = 0.95;

/** How much of what waits at a thread waits for the thread itself, 0 to 1; `utilization` of its event loop, 0 to 1. */
export function saturation(utilization: number): number {
  return Math.min(1, Math.max(0, (utilization - calmUtilization) / (fullUtilization - calmUtilization)));
}

/** How a run stands at one look; lanes over the time since the look before. */
export interface RunLook {
  /** Slot time by state. */
  readonly lanes: LimitSums;
  readonly partsInLanes: number;
  /** Parts wait for a slot. */
  readonly queued: boolean;
  /** And others have those that these may have. */
  readonly lacksSlot: boolean;
  /** Of the run, at least 1 while parts are in lanes; and of the worker. */
  readonly slotsInUse: number;
  readonly freeSlots: number;
  /** What keeps parts that wait from a slot. */
  readonly heldBy: 'throttled' | 'bandwidth' | 'requests' | undefined;
  /** What throttling is called now. */
  readonly throttledBy: 'throttled' | 'throttled-503' | 'throttled-429';
  /** Parts that wait for another attempt. */
  readonly retrying: { readonly throttled: number; readonly failed: number; readonly copying: number };
  /** Calls of a verification to the origin's control plane. */
  readonly heads: number;
  /** Parts that are written and not yet durable, and what the store is doing about them. */
  readonly landingParts: number;
  readonly landing: 'disk-flush' | 'commit';
  /** Files are being loaded that do not wait for what arrives at another worker. */
  readonly files: boolean;
  /** Of the main thread, 0 to 1. */
  readonly utilization: number;
  /** Lanes give way to readers. */
  readonly yielding: boolean;
}

type Weights = Partial<Record<LimitState, number>>;

/** By what the time since the last look is divided; undefined: parts are in lanes, which have not said what they wait for. */
export function weightsOf(look: RunLook): LimitSums | undefined {
  const lanes = renamed(look);
  const slotTime = totalOf(lanes);
  const { queued, partsInLanes, retrying, heldBy } = look;
  if (partsInLanes > 0 && slotTime === 0) return undefined;
  const weights: Weights = {};
  if (queued && partsInLanes > 0) {
    // Of a share of the slots each: what a lane says is a sum over time.
    addScaled(weights, lanes, 1 / slotTime);
    if (heldBy === 'throttled') add(weights, look.throttledBy, look.freeSlots / look.slotsInUse);
    return weights;
  }
  if (slotTime > 0) addScaled(weights, lanes, partsInLanes / slotTime);
  add(weights, look.throttledBy, retrying.throttled);
  add(weights, 'retry', retrying.failed);
  add(weights, 'copying', retrying.copying);
  add(weights, 'first-byte', look.heads);
  addAtMain(weights, look, look.landing, look.landingParts);
  if (totalOf(weights) > 0) return weights;
  if (heldBy !== undefined) add(weights, heldBy === 'throttled' ? look.throttledBy : heldBy, 1);
  else if (queued && look.lacksSlot) addAtMain(weights, look, 'slots', 1);
  else addAtMain(weights, look, look.files ? 'lookup' : 'work', 1);
  return weights;
}

function renamed({ lanes, throttledBy, yielding }: RunLook): LimitSums {
  const { throttled = 0, 'lane-cpu': cpu = 0, ...rest } = lanes;
  const sums: Weights = { ...rest };
  add(sums, throttledBy, throttled);
  add(sums, yielding ? 'readers' : 'lane-cpu', cpu);
  return sums;
}

function addAtMain(weights: Weights, { utilization }: RunLook, state: LimitState, weight: number): void {
  const busy = saturation(utilization);
  add(weights, 'main-cpu', weight * busy);
  add(weights, state, weight * (1 - busy));
}

/** An account: what was charged, and the time that nobody could say anything of yet. */
export interface LimitAccount {
  readonly sums: LimitSums;
  readonly pendingMs: number;
}

export const emptyAccount: LimitAccount = { sums: {}, pendingMs: 0 };

/** With `elapsedMs` more, divided by the weights; undefined or empty ones: it is divided with the next. */
export function charge(account: LimitAccount, elapsedMs: number, weights: LimitSums | undefined): LimitAccount {
  const pendingMs = account.pendingMs + Math.max(0, elapsedMs);
  const total = weights === undefined ? 0 : totalOf(weights);
  if (weights === undefined || total <= 0) return { ...account, pendingMs };
  const sums: Weights = { ...account.sums };
  addScaled(sums, weights, pendingMs / total);
  return { sums, pendingMs: 0 };
}

/**
 * What a job was waiting for, of what each of its workers was, over the same time.
 * @param how.waits what its listing was waiting for; absent, or empty: nobody knows, or it was not listing
 */
export function weightsOfJob(
  workers: readonly LimitSums[],
  { listing, waits = {} }: { readonly listing: boolean; readonly waits?: LimitSums },
): LimitSums {
  const weights: Weights = {};
  let idle = 1;
  for (const { work = 0, ...busy } of workers) {
    const total = work + totalOf(busy);
    if (total <= 0) continue;
    idle = Math.min(idle, work / total);
    addScaled(weights, busy, 1 / total);
  }
  const busy = totalOf(weights);
  const heard = workers.some((sums) => totalOf(sums) > 0);
  if (!heard) return {};
  const job: Weights = {};
  if (busy > 0) addScaled(job, weights, (1 - idle) / busy);
  const waited = totalOf(waits);
  if (waited > 0) addScaled(job, waits, idle / waited);
  else add(job, listing ? 'listing' : 'work', idle);
  return job;
}

/** What came to sums that only grow; of a worker that has begun anew, all that it says. */
export function grownBy(sums: LimitSums, before: LimitSums): LimitSums {
  const states = Object.keys(sums) as LimitState[];
  if (totalOf(sums) < totalOf(before)) return sums;
  const grown: Weights = {};
  for (const state of states) add(grown, state, Math.max(0, (sums[state] ?? 0) - (before[state] ?? 0)));
  return grown;
}

export function addSums(a: LimitSums, b: LimitSums): LimitSums {
  const sums: Weights = { ...a };
  addScaled(sums, b, 1);
  return sums;
}

export function totalOf(sums: LimitSums): number {
  let total = 0;
  for (const state in sums) total += sums[state as LimitState] ?? 0;
  return total;
}

function addScaled(sums: Weights, more: LimitSums, factor: number): void {
  for (const state in more) add(sums, state as LimitState, (more[state as LimitState] ?? 0) * factor);
}

function add(sums: Weights, state: LimitState, amount: number): void {
  if (amount > 0) sums[state] = (sums[state] ?? 0) + amount;
}
