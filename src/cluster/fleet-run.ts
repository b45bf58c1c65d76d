/** One run over the workers: which of them know it, what each last said of it, and what became of those that were lost. */
import { setMaxListeners } from 'node:events';
import { addFlows, noFlows } from '../core/flows.ts';
import { besides, nothingInTurn } from '../core/in-turn.ts';
import type { LimitSums } from '../core/limit-causes.ts';
import { addLedgers, discardReasons, emptyLedger, type Ledger } from '../core/types.ts';
import type { RunProgress, RunSpec } from '../ingest/types.ts';
import type { Member } from './members.ts';
import type { SegmentOutcome, WorkerId, WorkerLink } from './worker-link.ts';

interface Entered {
  readonly id: WorkerId;
  readonly started: Promise<void>;
  /** It has started. */
  knows: boolean;
  /** Its last word, where the link cannot be asked any more. */
  heard?: RunProgress;
}

export class FleetRun {
  spec: RunSpec;
  readonly replicas: number;
  readonly #entered = new Map<WorkerLink, Entered>();
  /** Workers that were lost, as they were last heard of, until they come back. */
  readonly #lost = new Map<WorkerId, RunProgress>();
  /** Workers that have said ORIGIN_LOST, with how they said it: others fetch in their place. */
  readonly cutOff = new Map<WorkerId, SegmentOutcome>();
  readonly #abort = new AbortController();
  #wake: (() => void)[] = [];
  #losses = 0;
  /** What is still kept is for those who ask how it ended. */
  ended = false;
  #waiting = 0;
  #why: string | undefined;

  constructor(spec: RunSpec, replicas: number) {
    this.spec = spec;
    this.replicas = replicas;
    // Every file that waits for another run's turn with its path listens.
    setMaxListeners(0, this.#abort.signal);
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get stopped(): boolean {
    return this.#abort.signal.aborted;
  }

  get losses(): number {
    return this.#losses;
  }

  get waitingFor(): string | undefined {
    return this.#waiting > 0 ? this.#why : undefined;
  }

  links(): WorkerLink[] {
    return [...this.#entered.keys()];
  }

  /** Resolves when the worker knows the run. */
  enter(member: Member): Promise<void> {
    const known = this.#entered.get(member.link);
    if (known !== undefined) return known.started;
    const entered: Entered = { id: member.id, started: member.link.startRun(this.spec), knows: false };
    this.#entered.set(member.link, entered);
    entered.started.then(
      () => {
        entered.knows = true;
        // A worker that came back goes on with its own account of the run; one that did not has left its last.
        this.#lost.delete(member.id);
      },
      () => this.#entered.delete(member.link),
    );
    return entered.started;
  }

  /** Whether the worker knows the run. */
  hasEntered({ link }: Member): boolean {
    return this.#entered.get(link)?.knows === true;
  }

  setBandwidth(bytesPerSecond: number | undefined): void {
    const { bandwidthBytesPerSecond: _old, ...spec } = this.spec;
    this.spec = bytesPerSecond === undefined ? spec : { ...spec, bandwidthBytesPerSecond: bytesPerSecond };
  }

  /** Its last word on the run. */
  heard(link: WorkerLink, progress: RunProgress): void {
    const entered = this.#entered.get(link);
    if (entered !== undefined) entered.heard = progress;
  }

  membersChanged(live: readonly Member[]): void {
    const links = new Set(live.map(({ link }) => link));
    for (const [link, { id, heard }] of this.#entered) {
      if (links.has(link)) continue;
      this.#entered.delete(link);
      // When it comes back it may reach the origin again.
      this.cutOff.delete(id);
      this.#lost.set(id, heard ?? link.progress(this.spec.run));
      this.#losses += 1;
    }
    for (const wake of this.#wake.splice(0)) wake();
  }

  /** Resolves at the next change of the members, or when the run is stopped. */
  async change(why: string): Promise<void> {
    if (this.stopped) return;
    this.#why = why;
    this.#waiting += 1;
    await new Promise<void>((resolve) => this.#wake.push(resolve));
    this.#waiting -= 1;
  }

  stop(): void {
    this.#abort.abort();
    for (const wake of this.#wake.splice(0)) wake();
  }

  /** What each worker says that its part was waiting for; those that were lost have nothing to say any more. */
  limits(): Map<WorkerId, LimitSums> {
    const limits = new Map<WorkerId, LimitSums>();
    for (const [link, { id, heard }] of this.#entered) {
      const { limitedMs } = heard ?? link.progress(this.spec.run);
      if (limitedMs !== undefined) limits.set(id, limitedMs);
    }
    return limits;
  }

  /** What was durable on a worker that is lost counts as discarded: the job has to have it somewhere else. */
  progress(): RunProgress {
    let sum = emptyProgress();
    for (const [link, { heard }] of this.#entered) sum = add(sum, heard ?? link.progress(this.spec.run));
    for (const progress of this.#lost.values())
      sum = add(sum, { ...progress, ...nothingInFlight, durableBytes: 0, ledger: writtenOff(progress.ledger) });
    return sum;
  }
}

const nothingInFlight = { partsInFlight: 0, requestsInFlight: 0, turn: nothingInTurn, flows: noFlows };

export function emptyProgress(): RunProgress {
  return { receivedBytes: 0, durableBytes: 0, retries: 0, partsInFlight: 0, evictedBytes: 0, ledger: emptyLedger() };
}

function add(a: RunProgress, b: RunProgress): RunProgress {
  return {
    receivedBytes: a.receivedBytes + b.receivedBytes,
    durableBytes: a.durableBytes + b.durableBytes,
    retries: a.retries + b.retries,
    partsInFlight: a.partsInFlight + b.partsInFlight,
    requestsInFlight: requestsOf(a) + requestsOf(b),
    turn: besides(a.turn ?? nothingInTurn, b.turn ?? nothingInTurn),
    flows: addFlows(a.flows ?? noFlows, b.flows ?? noFlows),
    evictedBytes: a.evictedBytes + b.evictedBytes,
    ledger: addLedgers(a.ledger, b.ledger),
  };
}

/** A worker that does not say how many requests there may be has no more than parts. */
export function requestsOf({ requestsInFlight, partsInFlight }: RunProgress): number {
  return requestsInFlight ?? partsInFlight;
}

function writtenOff(ledger: Ledger): Ledger {
  const known = discardReasons.reduce((sum, reason) => sum + ledger.discardedBytes[reason], 0);
  const { originBytes, peerBytes, discardedBytes } = ledger;
  const lost = discardedBytes.lost + originBytes + peerBytes - known;
  return { originBytes, peerBytes, cachedBytes: 0, discardedBytes: { ...discardedBytes, lost } };
}
