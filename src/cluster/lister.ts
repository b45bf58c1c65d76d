/**
 * The listing of a job: from what the user named to pages of files with their versions, in an order that a restart
 * can resume. A path is one object or one prefix; an index file and a list of paths are sequences of them.
 */
import { abortable } from '../core/abortable.ts';
import { PrimedError, reportOf } from '../core/errors.ts';
import type { FileFailure, JobSource } from '../core/job.ts';
import type { ManifestEntry, UfsPath } from '../core/types.ts';
import type { ListingPage, Origins } from '../origin/types.ts';
import { type IndexLine, indexLines } from './index-file.ts';
import { IndexLookup } from './index-lookup.ts';
import type { ListingCursor } from './job-store.ts';
import type { ListingWaits } from './listing-waits.ts';
import { mapOrdered } from './ordered.ts';
import type { JobServiceSettings } from './settings.ts';

export interface ListedPage {
  readonly entries: readonly ManifestEntry[];
  readonly refused: readonly FileFailure[];
  /** Keys read, directory markers included. */
  readonly scanned: number;
  /** Where to go on behind this page. */
  readonly cursor: ListingCursor;
}

export interface ListerOptions {
  readonly origins: Origins;
  readonly settings: JobServiceSettings;
  readonly signal: AbortSignal;
  /** Told of each call to the origin; by default nobody is. */
  readonly waits?: ListingWaits;
  /** Waits, or rejects when the signal fires. */
  readonly pause: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

/** Lines of an index that are worked on together; with one HEAD each, some seconds of work. */
const groupLines = 1000;
/** Directories of an index whose first pages are asked for at once. */
const directoriesAtOnce = 8;

/**
 * Pages of a source behind `from`, the last one included. Rejects with ORIGIN_NOT_FOUND where nothing exists at the path,
 * PATH_INVALID for a bad index line, and other ORIGIN_* codes after bounded retries.
 */
export function listSource(source: JobSource, from: ListingCursor, options: ListerOptions): AsyncGenerator<ListedPage> {
  if (source.kind === 'paths') return listPaths(source.paths, from, options);
  return source.kind === 'path' ? listPath(source.path, from, options) : listIndex(source.path, from, options);
}

/** One after the other. A path that the origin does not give is refused, and the others go on. */
async function* listPaths(
  paths: readonly string[],
  from: ListingCursor,
  options: ListerOptions,
): AsyncGenerator<ListedPage> {
  for (let at = from.line; at < paths.length; at += 1) {
    const path = paths[at]!;
    const after = at === from.line ? from.after : undefined;
    let listed = after !== undefined;
    try {
      for await (const page of listPath(path, { line: 0, ...(after === undefined ? {} : { after }) }, options)) {
        listed = true;
        yield { ...page, cursor: { ...page.cursor, line: at + page.cursor.line } };
      }
    } catch (error) {
      if (listed) throw error;
      yield { entries: [], refused: [refusal(path, error)], scanned: 0, cursor: { line: at + 1 } };
    }
  }
}

async function* listPath(path: string, from: ListingCursor, options: ListerOptions): AsyncGenerator<ListedPage> {
  const { origins, signal } = options;
  if (from.line > 0) return;
  const resolved = origins.resolve(path);
  let noObject: PrimedError | undefined;
  if (from.after === undefined && !isDirectory(path, resolved.key)) {
    try {
      const entry = entryOf(await retried(() => origins.head(resolved.path, signal), options));
      yield { entries: [entry], refused: [], scanned: 1, cursor: { line: 1 } };
      return;
    } catch (error) {
      if (!(error instanceof PrimedError) || error.code !== 'ORIGIN_NOT_FOUND') throw error;
      noObject = error;
    }
  }
  const prefix = asDirectory(resolved.path);
  let scanned = 0;
  for await (const page of pagesOf(prefix, from.after, options)) {
    scanned += page.scanned;
    if (page.next === undefined && scanned === 0 && from.after === undefined && !isRoot(prefix, resolved.key)) {
      throw new PrimedError(
        'ORIGIN_NOT_FOUND',
        `Nothing exists at '${path}': no object has this key, and none lies below it.${noObject === undefined ? '' : ` ${noObject.message}`}`,
        { path },
      );
    }
    const { entries, next } = page;
    yield {
      entries,
      refused: [],
      scanned: page.scanned,
      cursor: next === undefined ? { line: 1 } : { line: 0, after: next },
    };
  }
}

async function* listIndex(path: string, from: ListingCursor, options: ListerOptions): AsyncGenerator<ListedPage> {
  const { origins, signal } = options;
  const lines = indexLines(path, { origins, skipLines: from.line, signal });
  const units = unitsOf(lines);
  const lookup = new IndexLookup((directory, after) =>
    retried(() => origins.list(directory, listOptions(after, options)), options),
  );
  let resumeAfter = from.after;
  // One run of files at a time, so that the limit on HEAD requests is one for the job.
  let filesTurn: Promise<unknown> = Promise.resolve();
  const begun = mapOrdered(units, directoriesAtOnce, async (unit) => {
    const after = resumeAfter;
    resumeAfter = undefined;
    if (unit.kind === 'files') {
      const page = filesTurn.then(() => filesPage(unit.lines, lookup, options));
      filesTurn = page.catch(() => undefined);
      return { unit, page: await page };
    }
    const first = await firstPage(unit.line, after, options);
    return { unit, page: first.page, rest: first.next };
  });
  for await (const { unit, page, rest } of begun) {
    yield page;
    if (unit.kind === 'directory' && rest !== undefined) yield* restOfDirectory(unit.line, rest, options);
  }
}

type Unit = { kind: 'files'; lines: IndexLine[] } | { kind: 'directory'; line: IndexLine };

/** Runs of file lines together, each directory by itself. */
async function* unitsOf(lines: AsyncIterable<IndexLine>): AsyncGenerator<Unit> {
  let files: IndexLine[] = [];
  for await (const line of lines) {
    if (files.length > 0 && (line.directory || files.length >= groupLines)) {
      yield { kind: 'files', lines: files };
      files = [];
    }
    if (line.directory) yield { kind: 'directory', line };
    else files.push(line);
  }
  if (files.length > 0) yield { kind: 'files', lines: files };
}

async function filesPage(
  lines: readonly IndexLine[],
  lookup: IndexLookup,
  options: ListerOptions,
): Promise<ListedPage> {
  const { origins, settings, signal } = options;
  const listed = await lookup.find(lines.map(({ path }) => path));
  const entries: ManifestEntry[] = [];
  const refused: FileFailure[] = [];
  const heads = mapOrdered(lines, settings.headConcurrency, async ({ path }) => {
    const known = listed.get(path);
    if (known !== undefined) return known;
    try {
      return entryOf(await retried(() => origins.head(path, signal), options));
    } catch (error) {
      return refusal(path, error);
    }
  });
  for await (const found of heads) {
    if ('sizeBytes' in found) entries.push(found);
    else refused.push(found);
  }
  return { entries, refused, scanned: lines.length, cursor: { line: lines.at(-1)!.line } };
}

async function firstPage(
  line: IndexLine,
  after: string | undefined,
  options: ListerOptions,
): Promise<{ page: ListedPage; next?: string }> {
  const { origins } = options;
  const prefix = asDirectory(line.path);
  try {
    const page = await retried(() => origins.list(prefix, listOptions(after, options)), options);
    if (
      page.scanned === 0 &&
      page.next === undefined &&
      after === undefined &&
      !isRoot(prefix, origins.resolve(line.path).key)
    ) {
      throw new PrimedError('ORIGIN_NOT_FOUND', `Nothing exists at '${line.path}' (line ${line.line} of the index).`, {
        path: line.path,
      });
    }
    return { page: directoryPage(line, page), ...(page.next === undefined ? {} : { next: page.next }) };
  } catch (error) {
    return { page: { entries: [], refused: [refusal(line.path, error)], scanned: 0, cursor: { line: line.line } } };
  }
}

async function* restOfDirectory(line: IndexLine, after: string, options: ListerOptions): AsyncGenerator<ListedPage> {
  for await (const page of pagesOf(asDirectory(line.path), after, options)) yield directoryPage(line, page);
}

function directoryPage(line: IndexLine, { entries, scanned, next }: ListingPage): ListedPage {
  const cursor = next === undefined ? { line: line.line } : { line: line.line - 1, after: next };
  return { entries, refused: [], scanned, cursor };
}

/** The next page is asked for before this one is worked on. */
async function* pagesOf(
  prefix: UfsPath,
  after: string | undefined,
  options: ListerOptions,
): AsyncGenerator<ListingPage> {
  const ask = (from: string | undefined) => {
    const page = retried(() => options.origins.list(prefix, listOptions(from, options)), options);
    page.catch(() => undefined);
    return page;
  };
  let coming: Promise<ListingPage> | undefined = ask(after);
  while (coming !== undefined) {
    const page: ListingPage = await coming;
    coming = page.next === undefined ? undefined : ask(page.next);
    yield page;
  }
}

function listOptions(after: string | undefined, { settings, signal }: ListerOptions) {
  return { maxKeys: settings.listingKeys, signal, ...(after === undefined ? {} : { after }) };
}

/** What an origin says about one file is that file's failure; what it says about itself is the job's. */
function refusal(path: string, error: unknown): FileFailure {
  if (error instanceof PrimedError && refusalCodes.has(error.code)) return { path, ...reportOf(error) };
  throw error;
}

const refusalCodes: ReadonlySet<string> = new Set([
  'ORIGIN_NOT_FOUND',
  'ORIGIN_DENIED',
  'ORIGIN_REJECTED',
  'PATH_INVALID',
]);

function retried<T>(act: () => Promise<T>, options: ListerOptions): Promise<T> {
  return options.waits === undefined ? repeated(act, options) : options.waits.call(() => repeated(act, options));
}

async function repeated<T>(act: () => Promise<T>, { settings, signal, pause }: ListerOptions): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await abortable(act(), signal);
    } catch (error) {
      signal.throwIfAborted();
      const again = error instanceof PrimedError && error.retryable && attempt < settings.listingAttempts;
      if (!again) throw error;
    }
    await pause(settings.listingRetryMs * 2 ** (attempt - 1), signal);
  }
}

function entryOf({ path, etag, sizeBytes, lastModifiedMs, versionId }: ManifestEntry): ManifestEntry {
  return { path, etag, sizeBytes, lastModifiedMs, ...(versionId === undefined ? {} : { versionId }) };
}

function isDirectory(path: string, key: string): boolean {
  return path.endsWith('/') || key === '';
}

/** A bucket that is empty exists all the same; so does an empty directory of a file system. */
function isRoot(prefix: UfsPath, key: string): boolean {
  return key === '' || prefix.startsWith('file:');
}

function asDirectory(path: UfsPath): UfsPath {
  return (path.endsWith('/') ? path : `${path}/`) as UfsPath;
}
