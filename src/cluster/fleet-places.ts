/** Where the segments of a run belong: how a file is cut, which workers hold a piece, and what room it takes there. */
import { PrimedError } from '../core/errors.ts';
import { type Segment, segmentCount, segmentOf } from '../core/segments.ts';
import type { ManifestEntry } from '../core/types.ts';
import { alignUp, defaultPartBytes } from '../core/units.ts';
import type { Claim } from '../core/windows.ts';
import type { FleetRun } from './fleet-run.ts';
import type { Member, Members, Placement } from './members.ts';
import { type Need, needAt } from './need.ts';
import { Refusals } from './wire/refusals.ts';
import type { WorkerId } from './worker-link.ts';

export interface PlacesOptions {
  readonly members: Members;
  readonly placement: Placement;
  readonly followedAboveBytes?: number;
}

/** Which workers a file will keep busy, and who is to have all of it. */
export interface FileClaim extends Claim<WorkerId> {
  /** Of a file that one worker is to have, as long as the members are those of `members`. */
  readonly owner?: Member;
  readonly members: number;
}

/** Live workers up to which all are asked for a segment that its owners lack… */
const askAllUpTo = 16;
/** …and how many are beyond. */
const askedAround = 8;

/** Segments of one file that are under way at once: enough for every worker of a large cluster, few enough for its memory. */
export const segmentsAtOnce = 256;
/** Files for which no worker is there wait together. */
const nobody = '' as WorkerId;

export class Places {
  readonly #options: PlacesOptions;
  /** Copies that failed, by who was to make them from whom: of those that go on failing the log is told once. */
  readonly failedCopies = new Refusals();
  readonly #claims = new Map<WorkerId, FileClaim>();
  /** Counts how often they have changed. */
  #members = 0;

  constructor(options: PlacesOptions) {
    this.#options = options;
  }

  /** A smaller one arrives in one piece. */
  isFollowed({ length }: Segment): boolean {
    return length > (this.#options.followedAboveBytes ?? defaultPartBytes);
  }

  live(): readonly Member[] {
    return this.#options.members.live();
  }

  /** Workers that a new segment may be placed on. */
  get takers(): number {
    return this.live().filter(({ takes }) => takes).length;
  }

  /** A file is cut only where several workers share it, or did: one that drains has segments. */
  segmentBytesOf(run: FleetRun, file: ManifestEntry): number {
    const alone = run.replicas === 1 && this.live().length <= 1;
    return alone ? Math.max(1, file.sizeBytes) : run.spec.segmentBytes;
  }

  /** Who holds a segment, at least one; waits while nobody is there. Rejects when the run is stopped. */
  async owners(run: FleetRun, path: string, index: number, unfit?: ReadonlySet<WorkerId>): Promise<readonly Member[]> {
    for (;;) {
      if (run.stopped) throw new PrimedError('STOPPED', `${path}: the load was stopped`, { path });
      const owners = this.of(run, path, index, unfit);
      if (owners.length > 0) return owners;
      await run.change('no worker is there that takes new segments');
    }
  }

  /** As it is now; empty while nobody is there. */
  of(run: FleetRun, path: string, index: number, unfit?: ReadonlySet<WorkerId>): readonly Member[] {
    return this.#options.placement.owners(path, index, run.replicas, unfit);
  }

  /** Who may have a segment besides its owners: all others in a small cluster, in a large one those that most likely owned it. */
  elsewhere(run: FleetRun, path: string, index: number, owners: readonly Member[]): readonly Member[] {
    const { length } = this.live();
    const count = length <= askAllUpTo ? length : askedAround + owners.length;
    const others = this.#options.placement
      .around(path, index, run.replicas, count)
      .filter(({ id }) => !owners.some((one) => one.id === id));
    return length <= askAllUpTo ? others : others.slice(0, askedAround);
  }

  /**
   * Where what most files are goes, by far: small, on one worker, at the origin, and with nothing in the way. Undefined: it is
   * another kind of file, or it is not that simple now.
   */
  plainly(run: FleetRun, file: ManifestEntry, claim: FileClaim): Member | undefined {
    if (run.replicas > 1 || run.stopped || run.cutOff.size > 0) return undefined;
    if (file.sizeBytes > this.segmentBytesOf(run, file)) return undefined;
    // It was claimed before it waited for its turn.
    const owner = claim.members === this.#members ? claim.owner : this.of(run, file.path, 0)[0];
    return owner !== undefined && run.hasEntered(owner) ? owner : undefined;
  }

  claimOf(run: FleetRun, file: ManifestEntry): FileClaim {
    const segments = segmentCount(file.sizeBytes, this.segmentBytesOf(run, file));
    const members = this.#members;
    if (segments > 1) return { workers: [], segments: Math.min(segments, segmentsAtOnce), members };
    const owners = this.of(run, file.path, 0);
    if (owners.length > 1) return { workers: owners.map(({ id }) => id), segments: 0, members };
    return this.#claimOf(owners[0]);
  }

  /** One for each worker: very many files have it, and wait with it. */
  #claimOf(owner: Member | undefined): FileClaim {
    const id = owner?.id ?? nobody;
    let claim = this.#claims.get(id);
    if (claim === undefined) {
      claim = { workers: [id], segments: 0, members: this.#members, ...(owner !== undefined && { owner }) };
      this.#claims.set(id, claim);
    }
    return claim;
  }

  /** Files belong to others now; those that were claimed are looked for again. */
  membersChanged(): void {
    this.#members += 1;
    this.#claims.clear();
  }

  /** Adds (or takes away) what a file takes of which nothing is there. */
  addNeed(run: FleetRun, file: ManifestEntry, sign: 1 | -1, need: Need): void {
    const segmentBytes = this.segmentBytesOf(run, file);
    const count = segmentCount(file.sizeBytes, segmentBytes);
    for (let index = 0; index < count; index += 1) {
      const { length } = segmentOf(file, index, segmentBytes);
      for (const { id } of this.of(run, file.path, index)) needAt(need, id, sign * alignUp(length));
    }
  }
}
