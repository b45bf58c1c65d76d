/**
 * Which coordinator runs which job, where several share them. A job that has not ended is run by the coordinator that has
 * its claim; claims go with the lease of the coordinator, and each has a term that rises from claim to claim. These
 * decisions are made on what one coordinator has heard, which may be old: each of them is carried out by a transaction that
 * fails when it was. Pure.
 */
import type { Random } from './types.ts';

export interface Claim {
  /** Who has it. */
  readonly coordinator: string;
  /** With which it ends. */
  readonly lease: string;
  readonly term: number;
}

export interface ClaimsView {
  /** Who decides, and the lease that it holds now. */
  readonly me: string;
  readonly lease: string;
  /** Jobs that have not ended. */
  readonly open: ReadonlyMap<string, Claim | undefined>;
  /** What runs here, and under which term. */
  readonly running: ReadonlyMap<string, number>;
  /** Jobs of which a manifest lies here, and that do not run here. */
  readonly kept: ReadonlySet<string>;
}

export interface ClaimActions {
  /** Run the job under this term. */
  readonly adopt: readonly { readonly jobId: string; readonly term: number }[];
  /** The claim is ours by an earlier lease, which ends soon: put it under the one that is held. */
  readonly renew: readonly { readonly jobId: string; readonly term: number }[];
  /** Do not run the job any more; what lies here of it stays, as nobody else has it. */
  readonly pause: readonly string[];
  /** It has ended, or is another's: nothing of it is of use here. */
  readonly forget: readonly string[];
  /** Nobody has it: try to get the claim. */
  readonly contend: readonly string[];
}

export function claimActions({ me, lease, open, running, kept }: ClaimsView): ClaimActions {
  const adopt: { jobId: string; term: number }[] = [];
  const renew: { jobId: string; term: number }[] = [];
  const pause: string[] = [];
  const contend: string[] = [];
  for (const [jobId, claim] of open) {
    const term = running.get(jobId);
    if (claim?.coordinator !== me) {
      if (claim === undefined) contend.push(jobId);
      if (claim === undefined && term !== undefined) pause.push(jobId);
      continue;
    }
    if (claim.lease !== lease) renew.push({ jobId, term: claim.term });
    else if (term === undefined) adopt.push({ jobId, term: claim.term });
    // It was claimed anew; the run of the term before has to go first.
    else if (term !== claim.term) pause.push(jobId);
  }
  const forget = [...running.keys(), ...kept].filter((jobId) => {
    if (!open.has(jobId)) return true;
    const claim = open.get(jobId);
    return claim !== undefined && claim.coordinator !== me;
  });
  return { adopt, renew, pause, forget, contend };
}

/** What a coordinator waits for each one that has fewer jobs than it. Longer than a transaction takes. */
const stepMs = 100;

/** How long to wait before contending for a claim: those with the fewest jobs come first, by chance among equals. */
export function contendDelayMs(order: {
  readonly me: string;
  /** Those that live. */
  readonly coordinators: Iterable<string>;
  /** Of all jobs that have not ended. */
  readonly claims: Iterable<Pick<Claim, 'coordinator'> | undefined>;
  readonly random: Random;
}): number {
  const jobs = new Map<string, number>([[order.me, 0]]);
  for (const coordinator of order.coordinators) jobs.set(coordinator, 0);
  for (const claim of order.claims) {
    const count = claim === undefined ? undefined : jobs.get(claim.coordinator);
    if (count !== undefined) jobs.set(claim!.coordinator, count + 1);
  }
  const mine = jobs.get(order.me)!;
  const before = [...jobs.values()].filter((count) => count < mine).length;
  return Math.min(before, mostSteps) * stepMs + order.random() * stepMs;
}

/** A job is not left alone for longer, however many coordinators there are. */
const mostSteps = 5;
