/**
 * The story of a file: of what jobs say, of what each worker has kept, and of what is cached now, one list in the order in which
 * it happened, and in a few words why it is cached or not. Pure. Nothing is claimed that is not kept: what may be missing is said.
 */
import type { Unanswered } from './check.ts';
import type { FileEvent, FileHistory, Gap, GoneEvent } from './file-events.ts';
import type { JobSnapshot } from './job.ts';
import { failureReason, isEnded } from './job-machine.ts';
import { type FileOfLoad, outcomeOf } from './load-outcome.ts';
import { covers } from './path-scope.ts';
import { formatDuration, formatSize } from './sizes.ts';
import { agoText, eventText, goneText, jobText } from './story-text.ts';

export interface StoryItem {
  /** ISO 8601. */
  readonly at: string;
  readonly kind: StoryKind;
  readonly worker?: string;
  readonly job?: string;
  /** One sentence. */
  readonly text: string;
  /** What the sentence was made of. */
  readonly [fact: string]: unknown;
}

export type StoryKind =
  | 'load'
  | 'load-ended'
  | 'free'
  | 'attempt'
  | 'arrived'
  | 'loaded'
  | 'given-up'
  | 'cached'
  | 'evicted'
  | 'freed'
  | 'removed'
  | 'replaced'
  | 'gap';

/** What `fs stat` says of a file, as far as it is used here. */
export interface StatOfFile {
  readonly bytes: number;
  readonly cachedBytes: number;
  readonly file?: {
    readonly state: 'complete' | 'partial' | 'metadata' | 'loading';
    readonly etag: string;
    readonly sizeBytes: number;
    readonly segmentBytes?: number;
    readonly loadId?: string;
    readonly cachedAt?: string;
  };
  readonly workers?: readonly { readonly id: string }[];
}

export interface PlacedSegment {
  readonly index: number;
  /** The one that fetches first. */
  readonly workers: readonly string[];
}

export interface StoryNow {
  readonly state: 'complete' | 'partial' | 'metadata' | 'loading' | 'absent';
  /** Whether it is cached, and where not, why. */
  readonly text: string;
  readonly stat?: StatOfFile;
  /** Where the ring would put it now. */
  readonly placement?: readonly PlacedSegment[];
  /** Since when workers have kept everything, but for what made way within one file; the latest of them. */
  readonly keptSince?: string;
  readonly keptFor?: string;
  readonly keptPerFile?: number;
  /** Events of this file that made way for younger ones. */
  readonly dropped: number;
  /** Loads of the path that are older, and are left out. */
  readonly olderLoads: number;
  /** Loads from index files of which it is not kept whether it was in them. */
  readonly indexLoads: number;
  /** What these workers know is not in it. */
  readonly unanswered?: readonly Unanswered[];
}

export interface Story {
  readonly path: string;
  readonly now: StoryNow;
  /** The oldest first. */
  readonly story: readonly StoryItem[];
}

export interface StoryFacts {
  readonly path: string;
  readonly nowMs: number;
  /** The newest first. */
  readonly jobs: readonly JobSnapshot[];
  readonly stat: StatOfFile | undefined;
  readonly told: readonly { readonly worker: string; readonly history: FileHistory }[];
  readonly unanswered: readonly Unanswered[];
  readonly placement: readonly PlacedSegment[];
}

/** Jobs that are told. */
const mostJobs = 20;

export function storyOf(facts: StoryFacts): Story {
  const { path, stat, told, unanswered, placement } = facts;
  const loads = loadsOf(facts);
  const jobOf = (run: string | undefined): string | undefined => facts.jobs.find((job) => job.runId === run)?.jobId;
  const items = [
    ...loads.told.flatMap((job) => jobItems(job, facts)),
    ...told.flatMap(({ worker, history: { events, gaps } }) => [
      ...events.map((event) => eventItem(event, worker, jobOf)),
      ...gaps.map((gap) => gapItem(gap, worker)),
    ]),
    ...cachedItems(stat),
  ].sort((a, b) => a.atMs - b.atMs);
  const kept = told.map(({ history }) => history);
  const keptSinceMs = Math.max(...kept.map((one) => one.keptSinceMs));
  const now = {
    state: stat?.file?.state ?? ('absent' as const),
    text: nowText(facts, loads.told, keptSinceMs, jobOf),
    ...(stat === undefined ? {} : { stat }),
    ...(placement.length === 0 ? {} : { placement }),
    ...(kept[0] === undefined
      ? {}
      : {
          keptSince: iso(keptSinceMs),
          keptFor: formatDuration(kept[0].bounds.ageMs),
          keptPerFile: kept[0].bounds.perFile,
        }),
    dropped: kept.reduce((sum, { dropped }) => sum + dropped, 0),
    ...{ olderLoads: loads.older, indexLoads: loads.index },
    ...(unanswered.length === 0 ? {} : { unanswered }),
  };
  return { path, now, story: items.map(({ atMs, ...item }) => ({ at: iso(atMs), ...item })) };
}

type Item = Omit<StoryItem, 'at'> & { readonly atMs: number; readonly kind: StoryKind; readonly text: string };

const iso = (atMs: number): string => new Date(atMs).toISOString();

/** Jobs of the path, those of index files only where they say something of it. */
function loadsOf({ jobs, path, stat }: StoryFacts): { told: JobSnapshot[]; older: number; index: number } {
  const maybe = jobs.filter((job) => job.source.kind === 'index' || sourcesOf(job).some((one) => covers(one, path)));
  const known = maybe.filter(
    (job) =>
      job.source.kind !== 'index' ||
      job.failures.some((failure) => failure.path === path) ||
      (stat?.file !== undefined && stat.file.loadId === job.loadId),
  );
  const told = known.slice(0, mostJobs);
  return { told, older: known.length - told.length, index: maybe.length - known.length };
}

function sourcesOf({ source }: JobSnapshot): readonly string[] {
  return source.kind === 'paths' ? source.paths : [source.path];
}

function jobItems(job: JobSnapshot, { path, stat }: StoryFacts): Item[] {
  const { jobId, state, submittedAtMs, endedAtMs } = job;
  const source = job.source.path;
  const common = { job: jobId, source, state };
  if (job.type === 'FREE') {
    const dry = job.free?.dryRun === true ? 'dry run of free' : 'free';
    return [
      {
        ...common,
        atMs: submittedAtMs,
        kind: 'free',
        text: `${dry} ${jobId} of ${source} was submitted; it is ${state}`,
      },
    ];
  }
  const begun: Item = {
    ...common,
    atMs: submittedAtMs,
    kind: 'load',
    text: `load ${jobId} of ${source} was submitted${isEnded(state) ? '' : `; it is ${state}`}`,
  };
  if (endedAtMs === undefined) return [begun];
  const { outcome, text, failure } = outcomeOf(job, path, stat?.file?.loadId === job.loadId);
  const ended: Item = {
    ...{ ...common, atMs: endedAtMs, kind: 'load-ended', outcome },
    ...(failure === undefined ? {} : { failure: failureReason(failure), code: failure.code }),
    text: `load ${jobId} of ${source} ended, ${state}: ${text}`,
  };
  return [begun, ended];
}

function eventItem(event: FileEvent, worker: string, jobOf: (run?: string) => string | undefined): Item {
  const { atMs, kind, path: _, ...said } = event;
  const job = event.job ?? (event.kind === 'gone' ? jobOf(event.run) : undefined);
  const scope = event.kind === 'gone' && event.files !== undefined ? { scope: event.path } : {};
  const text = eventText(event, job);
  return { ...said, ...scope, atMs, kind: kindOf(event, kind), worker, ...(job === undefined ? {} : { job }), text };
}

function kindOf(event: FileEvent, kind: FileEvent['kind']): StoryKind {
  if (event.kind === 'attempt') return event.result === 'arrived' ? 'arrived' : 'attempt';
  if (event.kind !== 'gone') return kind as 'loaded' | 'given-up';
  if (event.reason === 'freed' || event.reason === 'replaced') return event.reason;
  return event.reason === 'outdated' || event.reason === 'written' || event.reason === 'corrupt'
    ? 'removed'
    : 'evicted';
}

function gapItem({ fromMs, toMs, why }: Gap, worker: string): Item {
  const text =
    why === 'crash'
      ? `the worker ended without a word some time after ${iso(fromMs)}, and began again now: of its last moments something may be missing`
      : `from ${iso(fromMs)} on something may be missing: it could not be written down`;
  return { atMs: toMs, kind: 'gap', worker, from: iso(fromMs), to: iso(toMs), why, text };
}

function cachedItems(stat: StatOfFile | undefined): Item[] {
  const { file } = stat ?? {};
  if (file?.cachedAt === undefined) return [];
  const { etag, sizeBytes } = file;
  const text = `what is cached now is whole since then: version ${etag}, ${formatSize(sizeBytes)}`;
  return [{ atMs: Date.parse(file.cachedAt), kind: 'cached', etag, sizeBytes, text }];
}

function nowText(
  { path, nowMs, stat, told, unanswered }: StoryFacts,
  jobs: readonly JobSnapshot[],
  keptSinceMs: number,
  jobOf: (run?: string) => string | undefined,
): string {
  const silent = unanswered.length === 0 ? '' : ` Not heard: ${unanswered.map(({ id }) => id).join(', ')}.`;
  if (stat?.file !== undefined) return `${cachedText(stat)}${silent}`;
  const gone = told
    .flatMap(({ worker, history }) => history.events.map((event) => ({ worker, event })))
    .filter(
      (one): one is { worker: string; event: Exclude<FileEvent, { kind: 'attempt' }> } =>
        one.event.kind === 'gone' || one.event.kind === 'given-up',
    )
    .sort((a, b) => b.event.atMs - a.event.atMs)[0];
  const absent = 'Nothing of it is cached';
  if (gone !== undefined) {
    const { event, worker } = gone;
    const job = event.job ?? (event.kind === 'gone' ? jobOf(event.run) : undefined);
    const what = event.kind === 'gone' ? goneText(event as GoneEvent, job) : eventText(event, job);
    return `${absent}: ${agoText(event.atMs, nowMs)} on ${worker}: ${what}.${silent}`;
  }
  const running = jobs.find(({ type, endedAtMs }) => type === 'LOAD' && endedAtMs === undefined);
  if (running !== undefined)
    return `${absent} yet: ${jobText(running.jobId)} of ${running.source.path} is ${running.state}.${silent}`;
  const since = Number.isFinite(keptSinceMs)
    ? `, and no worker that answered has a record of it since ${iso(keptSinceMs)}`
    : '';
  const last = jobs.find(({ type }) => type === 'LOAD');
  const { outcome, text } = last === undefined ? ({} as Partial<FileOfLoad>) : outcomeOf(last, path, false);
  if (outcome === 'not-reached')
    return `${absent}${since}. The last load of it, ${last!.jobId}, ended ${last!.state}: ${text}.${silent}`;
  return last !== undefined
    ? `${absent}${since}; loads of it are below.${silent}`
    : `${absent}: it was never asked for, as far as is kept. No load that is kept names it${since}.${silent}`;
}

function cachedText({ file, cachedBytes, workers = [] }: StatOfFile): string {
  const { state, sizeBytes, etag } = file!;
  const where = workers.length === 0 ? '' : `, on ${workers.map(({ id }) => id).join(', ')}`;
  if (state === 'complete') return `It is cached whole: version ${etag}, ${formatSize(sizeBytes)}${where}.`;
  if (state === 'metadata')
    return `Only what the origin says of it is cached: version ${etag}, ${formatSize(sizeBytes)}.`;
  const some = `${formatSize(cachedBytes)} of ${formatSize(sizeBytes)}${where}`;
  return state === 'loading'
    ? `It is being loaded, or a load of it was stopped: ${some}.`
    : `Some of it is cached: ${some}.`;
}
