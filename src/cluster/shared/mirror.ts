/** All shared jobs, as etcd has told of them: what this coordinator answers from, and decides on. */

import type { Claim } from '../../core/job-claims.ts';
import { isEnded } from '../../core/job-machine.ts';
import type { Log } from '../../core/types.ts';
import type { Etcd, EtcdEntry, Revision, Watch, WatchEvent } from '../etcd/types.ts';
import type { SharedKeys } from './keys.ts';
import {
  decodeShared,
  jobOf,
  type SharedBandwidth,
  type SharedClaim,
  type SharedCoordinator,
  type SharedDefinition,
  type SharedJob,
  type SharedState,
  withBandwidth,
} from './records.ts';
import type { Timers } from './timers.ts';

export interface WatchedJob extends SharedJob {
  readonly number: number;
  /** Of its state. */
  readonly stateRevision: Revision;
}

interface Defined extends SharedDefinition {
  readonly number: number;
}

export interface WatchedClaim extends Claim, Omit<SharedClaim, 'version'> {}

export interface JobsMirrorOptions {
  readonly etcd: Pick<Etcd, 'watchPrefix'>;
  readonly keys: SharedKeys;
  readonly timers: Timers;
  readonly log: Log;
  readonly onChange: () => void;
}

export class JobsMirror {
  readonly #options: JobsMirrorOptions;
  readonly #watch: Watch;
  readonly #definitions = new Map<string, Defined>();
  /** Those of which definition and state are there. */
  readonly #jobs = new Map<string, WatchedJob>();
  readonly #claims = new Map<string, WatchedClaim>();
  readonly #stops = new Set<string>();
  readonly #limits = new Map<string, SharedBandwidth>();
  readonly #coordinators = new Map<string, SharedCoordinator>();
  /** The newest job of each key and of each alias; made anew when they are asked for after a change. */
  #latest: { readonly byKey: Map<string, WatchedJob>; readonly byAlias: Map<string, WatchedJob> } | undefined;
  #order: Revision = 0;
  #revision: Revision | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(options: JobsMirrorOptions) {
    this.#options = options;
    this.#watch = options.etcd.watchPrefix({
      prefix: options.keys.root,
      onReset: (entries, revision) => this.#reset(entries, revision),
      onEvents: (events) => this.#take(events),
      onHealth: () => options.onChange(),
    });
  }

  /** All has been heard at least once. */
  get known(): boolean {
    return this.#revision !== undefined;
  }

  /** Why nothing new is heard; undefined: it is. */
  get problem(): Error | undefined {
    return this.#watch.problem();
  }

  get jobs(): ReadonlyMap<string, WatchedJob> {
    return this.#jobs;
  }

  get claims(): ReadonlyMap<string, WatchedClaim> {
    return this.#claims;
  }

  get stops(): ReadonlySet<string> {
    return this.#stops;
  }

  /** Bandwidths that were asked for while the jobs ran; the jobs have them among their options. */
  get limits(): ReadonlyMap<string, SharedBandwidth> {
    return this.#limits;
  }

  get coordinators(): ReadonlyMap<string, SharedCoordinator> {
    return this.#coordinators;
  }

  /** When a job began last; 0: never. */
  get order(): Revision {
    return this.#order;
  }

  /** The newest job of a key. */
  byKey(key: string): WatchedJob | undefined {
    return this.#now(this.#newest().byKey.get(key));
  }

  byAlias(alias: string): WatchedJob | undefined {
    return this.#now(this.#newest().byAlias.get(alias));
  }

  byId(jobId: string): WatchedJob | undefined {
    return this.#jobs.get(jobId);
  }

  /** Resolves with whether `what` came true within the limit, if there is one; it is looked at after each change. */
  until(what: () => boolean, limitMs?: number): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (came: boolean): void => {
        cancel();
        this.#waiting.delete(look);
        resolve(came);
      };
      const look = (): void => {
        if (what()) end(true);
      };
      const cancel = limitMs === undefined ? () => undefined : this.#options.timers.after(limitMs, () => end(what()));
      this.#waiting.add(look);
      look();
    });
  }

  /**
   * Resolves with whether everything up to this revision was heard within the limit; it is one that wrote a key of these
   * jobs, as nothing is heard of others.
   */
  reached(revision: Revision, limitMs: number): Promise<boolean> {
    return this.until(() => this.#revision !== undefined && this.#revision >= revision, limitMs);
  }

  close(): void {
    this.#watch.close();
    for (const look of [...this.#waiting]) look();
  }

  /** Which job is the newest changes with jobs, how it stands with each second. */
  #now(job: WatchedJob | undefined): WatchedJob | undefined {
    return job === undefined ? undefined : this.#jobs.get(job.definition.jobId);
  }

  #newest(): { readonly byKey: Map<string, WatchedJob>; readonly byAlias: Map<string, WatchedJob> } {
    if (this.#latest !== undefined) return this.#latest;
    const latest = { byKey: new Map<string, WatchedJob>(), byAlias: new Map<string, WatchedJob>() };
    for (const job of this.#jobs.values()) {
      const { key, alias } = job.definition;
      keepNewer(latest.byKey, key, job);
      if (alias !== undefined) keepNewer(latest.byAlias, alias, job);
    }
    this.#latest = latest;
    return latest;
  }

  #reset(entries: readonly EtcdEntry[], revision: Revision): void {
    this.#order = 0;
    this.#latest = undefined;
    for (const map of [this.#definitions, this.#jobs, this.#claims, this.#limits, this.#coordinators]) map.clear();
    this.#stops.clear();
    for (const entry of entries) this.#put(entry);
    this.#changed(revision);
  }

  #take(events: readonly WatchEvent[]): void {
    for (const event of events) {
      if (event.type === 'put') this.#put(event.entry);
      else this.#delete(event.key);
    }
    // That of etcd itself may be ahead of what it has told so far.
    const last = events.at(-1)!;
    this.#changed(last.type === 'put' ? last.entry.modRevision : last.modRevision);
  }

  #changed(revision: Revision): void {
    this.#revision = revision;
    for (const look of [...this.#waiting]) look();
    this.#options.onChange();
  }

  #put(entry: EtcdEntry): void {
    if (entry.key === this.#options.keys.order) this.#order = entry.modRevision;
    const parsed = this.#options.keys.parse(entry.key);
    if (parsed === undefined) return;
    const { kind, id } = parsed;
    try {
      if (kind === 'job') {
        const definition = decodeShared<SharedDefinition>(entry.value);
        this.#definitions.set(id, { ...definition, number: entry.createRevision });
      } else if (kind === 'state') {
        const definition = this.#definitions.get(id);
        if (definition === undefined) throw new TypeError('there is no job of this state');
        const job = withBandwidth(jobOf(definition, decodeShared<SharedState>(entry.value)), this.#limits.get(id));
        if (!this.#jobs.has(id)) this.#latest = undefined;
        this.#jobs.set(id, { ...job, number: definition.number, stateRevision: entry.modRevision });
      } else if (kind === 'claim') {
        const { version: _, ...claim } = decodeShared<SharedClaim>(entry.value);
        this.#claims.set(id, { ...claim, term: entry.createRevision, lease: entry.lease ?? '' });
      } else if (kind === 'coordinator') this.#coordinators.set(id, decodeShared<SharedCoordinator>(entry.value));
      else if (kind === 'limit') this.#limit(id, decodeShared<SharedBandwidth>(entry.value));
      else if (kind === 'stop') this.#stops.add(id);
    } catch (error) {
      this.#options.log.error({ key: entry.key, error: String(error) }, 'what lies in etcd cannot be read');
    }
  }

  #delete(key: string): void {
    const parsed = this.#options.keys.parse(key);
    if (parsed === undefined) return;
    const { kind, id } = parsed;
    if (kind === 'job') this.#definitions.delete(id);
    else if (kind === 'state' && this.#jobs.delete(id)) this.#latest = undefined;
    else if (kind === 'claim') this.#claims.delete(id);
    else if (kind === 'coordinator') this.#coordinators.delete(id);
    else if (kind === 'limit') this.#limits.delete(id);
    else if (kind === 'stop') this.#stops.delete(id);
  }

  #limit(jobId: string, bandwidth: SharedBandwidth): void {
    this.#limits.set(jobId, bandwidth);
    const job = this.#jobs.get(jobId);
    if (job !== undefined) this.#jobs.set(jobId, withBandwidth(job, bandwidth));
  }
}

export function isOpen({ snapshot }: SharedJob): boolean {
  return !isEnded(snapshot.state);
}

function keepNewer(map: Map<string, WatchedJob>, name: string, job: WatchedJob): void {
  const other = map.get(name);
  if (other === undefined || other.number < job.number) map.set(name, job);
}
