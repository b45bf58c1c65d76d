/**
 * Divides the limits of origins among the workers that have work for them (core/origin-shares), and tells each its part.
 *
 * Who wants nothing has nothing: a worker that comes to want something says so at once, and waits for its share. With each
 * change of members, limits or demands the shares are looked at anew; nothing happens in between.
 *
 * At no time may the sum of what workers may do be above the limit, also while they are being told: a share that shrinks is
 * told first, and what it frees is given out when the worker has said that it heard. What a worker was told, and has not
 * answered, it may or may not know: until then it counts for the larger of the two. A worker that does not answer keeps its
 * share until its lease ends, and it is lost. One that cannot be told, or refuses, is told again after a while, which grows to
 * `mostDelayMs`, and not at every change in between; until it has answered it counts for the largest of all that it may know.
 *
 * Each of several coordinators divides the whole limit, as if all of them wanted to list as much as this one does: workers keep
 * to the least that they are told, which is at most the average of it. Of n coordinators each takes a part of its own, and gives
 * the workers the limit less n such parts; so the parts of all, and the average of what they give, are the limit.
 */
import { limitOf, makeLimit, type OriginDemand, type OriginLimit } from '../core/origin-limits.ts';
import { divide } from '../core/origin-shares.ts';
import type { Log } from '../core/types.ts';
import type { Members } from './members.ts';
import type { OriginLimits } from './origin-limits.ts';
import { systemTimers, type Timers } from './shared/timers.ts';
import type { WorkerLink } from './worker-link.ts';

const kinds = ['bytesPerSecond', 'requestsPerSecond'] as const;
type Kind = (typeof kinds)[number];
type Rates = Readonly<Record<Kind, number | undefined>>;

/** The coordinator's own requests: listings and HEADs. */
export interface OwnRequests {
  setLimits(limits: readonly OriginLimit[]): void;
  demand(): readonly OriginDemand[];
  onDemand(listener: () => void): () => void;
}

/** Coordinators that divide the same limits. */
export interface Fellows {
  /** How many live, this one too; undefined: nobody has told yet. */
  count(): number | undefined;
  onChange(listener: () => void): () => void;
}

interface Taker {
  readonly name: string;
  readonly demand: () => readonly OriginDemand[];
  readonly tell: (limits: readonly OriginLimit[]) => Promise<void> | undefined;
  readonly unsubscribe: () => void;
  /** What it has said that it heard, and what it is being told. */
  heard: readonly OriginLimit[];
  told: readonly OriginLimit[] | undefined;
  /** What it may know besides, because telling it failed. */
  unsure: readonly OriginLimit[];
  /** It was told something at least once. */
  greeted: boolean;
  /** Failures in a row. */
  failures: number;
  /** Calls off that it is told again; undefined: it is not due to be. */
  callOff: (() => void) | undefined;
}

const nothingYet = { heard: [], told: undefined, unsure: [], greeted: false, failures: 0, callOff: undefined } as const;
/** Until a worker that could not be told is told again: doubled each time, from the first to the last. */
const firstDelayMs = 500;
const mostDelayMs = 10_000;

export interface ShareRow extends OriginLimit {
  readonly taker: string;
}

export class LimitSharing {
  readonly #members: Members;
  readonly #limits: OriginLimits;
  readonly #log: Log;
  readonly #own: Taker | undefined;
  readonly #fellows: Fellows | undefined;
  readonly #timers: Timers;
  readonly #takers = new Map<WorkerLink, Taker>();
  readonly #unsubscribe: readonly (() => void)[];

  /** `fellows`: other coordinators who ask the same origins; undefined: there is none. */
  constructor(options: {
    readonly members: Members;
    readonly limits: OriginLimits;
    readonly log: Log;
    readonly own?: OwnRequests;
    readonly fellows?: Fellows | undefined;
    readonly timers?: Timers;
  }) {
    const { members, limits, log, own, fellows, timers = systemTimers } = options;
    this.#timers = timers;
    this.#fellows = fellows;
    this.#members = members;
    this.#limits = limits;
    this.#log = log;
    this.#own = own && {
      name: 'coordinator',
      demand: () => own.demand().map(({ origin, requestsPerSecond }) => makeLimit(origin, { requestsPerSecond })),
      tell: (list) => {
        // What it reads is lists, whose bytes are not limited.
        own.setLimits(list.map(({ origin, requestsPerSecond }) => makeLimit(origin, { requestsPerSecond })));
        return undefined;
      },
      unsubscribe: own.onDemand(() => this.#look()),
      ...nothingYet,
    };
    const look = (): void => this.#look();
    this.#unsubscribe = [members.onChange(look), limits.onChange(look), ...(fellows ? [fellows.onChange(look)] : [])];
    this.#look();
  }

  /** What everybody may do by now, of the origins that have a limit. */
  shares(): readonly ShareRow[] {
    return this.#all().flatMap(({ name, heard }) => heard.map((share) => ({ ...share, taker: name })));
  }

  close(): void {
    for (const end of this.#unsubscribe) end();
    for (const taker of this.#all()) leave(taker);
  }

  #all(): Taker[] {
    return this.#own === undefined ? [...this.#takers.values()] : [this.#own, ...this.#takers.values()];
  }

  #look(): void {
    this.#follow();
    // Nobody is told that there is no limit because it is not known yet.
    if (!this.#limits.known) return;
    const limits = this.#limits.effective();
    const targets = this.#targets(limits);
    const scarce = this.#scarce(limits, targets);
    for (const taker of this.#all()) {
      if (taker.told === undefined && taker.callOff === undefined) this.#tell(taker, limits, targets, scarce);
    }
  }

  /** The limits of which somebody lacks a part worth telling, because others have a little more than their own. */
  #scarce(limits: readonly OriginLimit[], targets: ReadonlyMap<Taker, ReadonlyMap<string, Rates>>): Set<string> {
    const scarce = new Set<string>();
    for (const limit of limits) {
      for (const kind of kinds) {
        const total = limit[kind];
        if (total === undefined) continue;
        let most = 0;
        for (const taker of this.#all()) {
          const target = targets.get(taker)?.get(limit.origin)?.[kind] ?? 0;
          const has = rateOf(taker.heard, limit.origin, kind) ?? 0;
          if (target > has && notable(has, target)) most = Math.max(most, (target - has) * this.#countOf(taker));
        }
        if (most > total - this.#othersHave(undefined, limit.origin, kind)) scarce.add(`${kind} ${limit.origin}`);
      }
    }
    return scarce;
  }

  /** Links of now. */
  #follow(): void {
    const live = new Set<WorkerLink>();
    for (const { id, link } of this.#members.live()) {
      live.add(link);
      if (this.#takers.has(link)) continue;
      this.#takers.set(link, {
        name: id,
        demand: () => link.originDemand(),
        tell: (list) => link.setOriginLimits(list),
        unsubscribe: link.onOriginDemand(() => this.#look()),
        ...nothingYet,
      });
    }
    for (const [link, taker] of this.#takers) {
      if (live.has(link)) continue;
      leave(taker);
      this.#takers.delete(link);
    }
  }

  /** What each should have, of each limit. */
  #targets(limits: readonly OriginLimit[]): ReadonlyMap<Taker, ReadonlyMap<string, Rates>> {
    const takers = this.#all();
    const targets = new Map<Taker, Map<string, Rates>>(takers.map((taker) => [taker, new Map()]));
    const demands = new Map(takers.map((taker) => [taker, taker.demand()]));
    const coordinators = this.#coordinators();
    for (const limit of limits) {
      const rates = new Map<Taker, { bytesPerSecond?: number; requestsPerSecond?: number }>();
      for (const kind of kinds) {
        const total = limit[kind];
        if (total === undefined) continue;
        const wanting: { taker: Taker; demand: number }[] = [];
        for (const taker of takers) {
          const said = demands.get(taker)?.find(({ origin }) => origin === limit.origin);
          // Of a limit that it was not told yet nobody can say how much they want.
          if (said !== undefined && taker !== this.#own)
            wanting.push({ taker, demand: said[kind] ?? Number.POSITIVE_INFINITY });
          else if (said?.[kind] !== undefined)
            for (let one = 0; one < coordinators; one += 1) wanting.push({ taker, demand: said[kind] });
        }
        const parts = divide(
          total,
          wanting.map(({ demand }) => demand),
        );
        for (const taker of takers) rates.set(taker, { ...rates.get(taker), [kind]: 0 });
        for (const [at, { taker }] of wanting.entries()) rates.set(taker, { ...rates.get(taker), [kind]: parts[at]! });
      }
      for (const taker of takers) {
        const { bytesPerSecond, requestsPerSecond } = rates.get(taker) ?? {};
        targets.get(taker)!.set(limit.origin, { bytesPerSecond, requestsPerSecond });
      }
    }
    return targets;
  }

  /** As much of the target as others leave; nothing when that is what it has. */
  #tell(
    taker: Taker,
    limits: readonly OriginLimit[],
    targets: ReadonlyMap<Taker, ReadonlyMap<string, Rates>>,
    scarce: ReadonlySet<string>,
  ): void {
    const next = limits.map((limit) => {
      const target = targets.get(taker)?.get(limit.origin);
      const allowed = (kind: Kind): number | undefined => {
        const wanted = target?.[kind];
        const total = limit[kind];
        if (wanted === undefined || total === undefined) return undefined;
        const has = rateOf(taker.heard, limit.origin, kind) ?? 0;
        if (wanted <= has) return wanted;
        return Math.max(
          Math.min(has, wanted),
          Math.min(wanted, (total - this.#othersHave(taker, limit.origin, kind)) / this.#countOf(taker)),
        );
      };
      return makeLimit(limit.origin, {
        bytesPerSecond: allowed('bytesPerSecond'),
        requestsPerSecond: allowed('requestsPerSecond'),
      });
    });
    if (taker.greeted && !differs(taker.heard, next, scarce)) return;
    taker.greeted = true;
    taker.told = next;
    const done = taker.tell(next);
    if (done === undefined) {
      this.#answered(taker, next);
      return;
    }
    done.then(
      () => {
        this.#answered(taker, next);
        this.#look();
      },
      (error: unknown) => this.#untold(taker, next, error),
    );
  }

  #untold(taker: Taker, limits: readonly OriginLimit[], error: unknown): void {
    taker.told = undefined;
    taker.greeted = false;
    taker.unsure = largest(taker.unsure, limits);
    taker.failures += 1;
    const delayMs = Math.min(mostDelayMs, firstDelayMs * 2 ** (taker.failures - 1));
    const facts = { worker: taker.name, delayMs, error: String(error) };
    this.#log.debug(facts, 'a worker was not told what it may ask of origins');
    // One that is gone is not told any more.
    if (![...this.#takers.values()].includes(taker)) return;
    taker.callOff = this.#timers.after(delayMs, () => {
      taker.callOff = undefined;
      this.#look();
    });
  }

  #answered(taker: Taker, limits: readonly OriginLimit[]): void {
    taker.heard = limits;
    taker.told = undefined;
    taker.unsure = [];
    taker.failures = 0;
  }

  /** What all have, other than `taker`: the most that each may know of. */
  #othersHave(taker: Taker | undefined, origin: string, kind: Kind): number {
    let sum = 0;
    for (const other of this.#all()) {
      if (other === taker) continue;
      const told = other.told === undefined ? undefined : rateOf(other.told, origin, kind);
      const unsure = rateOf(other.unsure, origin, kind);
      sum += Math.max(rateOf(other.heard, origin, kind) ?? 0, told ?? 0, unsure ?? 0) * this.#countOf(other);
    }
    return sum;
  }

  /** How many there are like it: other coordinators may list as much as this one does. */
  #countOf(taker: Taker): number {
    return taker === this.#own ? Math.max(1, this.#coordinators()) : 1;
  }

  /** 0: nobody has told yet, and this one has no part. */
  #coordinators(): number {
    return this.#fellows === undefined ? 1 : (this.#fellows.count() ?? 0);
  }
}

function leave({ unsubscribe, callOff }: Taker): void {
  unsubscribe();
  callOff?.();
}

/** Of each origin and kind the larger of two. */
function largest(some: readonly OriginLimit[], others: readonly OriginLimit[]): OriginLimit[] {
  const origins = new Set([...some, ...others].map(({ origin }) => origin));
  return Array.from(origins, (origin) => {
    const of = (kind: Kind): number | undefined => {
      const rates = [some, others].map((limits) => rateOf(limits, origin, kind)).filter((rate) => rate !== undefined);
      return rates.length === 0 ? undefined : Math.max(...rates);
    };
    return makeLimit(origin, { bytesPerSecond: of('bytesPerSecond'), requestsPerSecond: of('requestsPerSecond') });
  });
}

function rateOf(limits: readonly OriginLimit[], origin: string, kind: Kind): number | undefined {
  return limits.find((limit) => limit.origin === origin)?.[kind];
}

/** Rates that differ by less are the same: they are averages, and each message costs something. */
const sameWithin = 0.02;

const notable = (was: number, is: number): boolean =>
  was !== is && (was === 0 || is === 0 || Math.abs(was - is) > sameWithin * was);

/** Whether it is worth telling. What is scarce is given back to the last of it: others may have nothing else. */
function differs(heard: readonly OriginLimit[], next: readonly OriginLimit[], scarce: ReadonlySet<string>): boolean {
  if (heard.length !== next.length) return true;
  return next.some((limit) => {
    const known = limitOf(limit.origin, heard);
    if (known?.origin !== limit.origin) return true;
    return kinds.some((kind) => {
      const [was, is] = [known[kind], limit[kind]];
      if (was === undefined || is === undefined) return was !== is;
      return notable(was, is) || (is < was && scarce.has(`${kind} ${limit.origin}`));
    });
  });
}
