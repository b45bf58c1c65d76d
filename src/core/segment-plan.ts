/**
 * Who gets a segment from whom: the next steps towards every owner having it. Pure.
 *
 * One worker asks the origin at a time, and only while nobody else has the segment: so its bytes leave the origin once.
 */

export interface SegmentState<W> {
  /** Who is to have it, the one that fetches first. */
  readonly owners: readonly W[];
  /** Owners of which no more is asked: they have it durable, or cannot. */
  readonly done: ReadonlySet<W>;
  /** Workers that have it durable, the best first; an owner among them that is not done is asked to say so. */
  readonly sources: readonly W[];
  /** Who is not to ask the origin for it. */
  readonly barred: ReadonlySet<W>;
  /** It is worth copying while it is fetched. */
  readonly follows: boolean;
}

export interface Step<W> {
  readonly worker: W;
  /** Where it copies from; undefined: it asks the origin for what it does not have. */
  readonly source?: W;
  /** The source is fetching it in these very steps. */
  readonly follow?: true;
}

/** To be taken at once; none when all owners are done. `stuck`: nobody is left who may ask the origin. */
export function nextSteps<W>({ owners, done, sources, barred, follows }: SegmentState<W>): Step<W>[] | 'stuck' {
  const missing = owners.filter((worker) => !done.has(worker));
  if (missing.length === 0) return [];
  if (sources.length > 0) {
    return missing.map((worker, at) => {
      const others = sources.filter((source) => source !== worker);
      // The only one that has it, as it was heard: it says so itself.
      return others.length === 0 ? { worker } : { worker, source: others[at % others.length]! };
    });
  }
  const fetcher = missing.find((worker) => !barred.has(worker));
  if (fetcher === undefined) return 'stuck';
  if (!follows) return [{ worker: fetcher }];
  const followers = missing.filter((worker) => worker !== fetcher);
  return [{ worker: fetcher }, ...followers.map((worker) => ({ worker, source: fetcher, follow: true as const }))];
}

/** All steps in their order, where each of them succeeds and nobody is barred. */
export function* allSteps<W>(state: Omit<SegmentState<W>, 'done' | 'barred'>): Generator<Step<W>> {
  const { owners, sources, follows } = state;
  const done = new Set<W>();
  for (;;) {
    const now = { owners, done, sources: [...done, ...sources.filter((one) => !done.has(one))], follows };
    const steps = nextSteps({ ...now, barred: new Set<W>() });
    if (steps === 'stuck' || steps.length === 0) return;
    yield* steps;
    for (const { worker } of steps) done.add(worker);
  }
}
