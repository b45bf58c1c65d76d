/**
 * The files of a cluster, as the coordinator's file API shows them: what its workers say, put together.
 *
 * Nothing is left out in silence: a worker that did not answer, or is lost, is named in every answer, and what it may have
 * is not counted. The coordinator itself holds one page of a listing of each worker, whatever is asked.
 */
import type { BadPage, CheckProgress, CheckSummary, Unanswered } from '../../core/check.ts';
import { PrimedError } from '../../core/errors.ts';
import { type HeldVersion, isWhole } from '../../core/holdings.ts';
import type { Peer } from '../../core/peers.ts';
import { bytesOf, missingOf } from '../../core/ranges.ts';
import { segmentsOf } from '../../core/segments.ts';
import type { UfsPath } from '../../core/types.ts';
import { type ClusterFiles, foundOf } from './files.ts';
import { type CheckRun, directoryOf, type FsSource, nothingBelow } from './fs-source.ts';
import { Sum, streamsOf, sumOfStreams } from './held-sum.ts';
import type { PeerClient } from './peer-client.ts';

export interface FsClusterOptions {
  readonly files: ClusterFiles;
  readonly client: Pick<PeerClient, 'check' | 'held'>;
  /** Whom to ask. */
  readonly live: () => readonly Peer[];
  /** Who is known, and cannot be asked. */
  readonly gone: () => readonly Unanswered[];
}

/** Files of one page of a sum over a directory. */
const pageFiles = 1000;
/** Bad pages that are named one by one. */
const namedBadPages = 1000;

export function fsCluster(options: FsClusterOptions): FsSource {
  return {
    files: options.files,
    ls: (order) => ls(options, order),
    stat: (path) => stat(options, path),
    check: (path) => check(options, path),
  };
}

/** Who did not answer, each once, with the reason that came last. */
class Silent {
  readonly #reasons: Map<string, string>;

  constructor(gone: readonly Unanswered[]) {
    this.#reasons = new Map(gone.map(({ id, reason }) => [id, reason]));
  }

  readonly note = ({ id }: { readonly id: string }, error: PrimedError): void => {
    this.#reasons.set(id, error.message);
  };

  get list(): Unanswered[] {
    return Array.from(this.#reasons, ([id, reason]) => ({ id, reason }));
  }

  get field(): { unanswered?: Unanswered[] } {
    return this.#reasons.size === 0 ? {} : { unanswered: this.list };
  }

  /** Nothing was found, by those who answered. */
  nothing(path: string): PrimedError {
    if (this.#reasons.size === 0) return nothingBelow(path);
    const who = this.list.map(({ id, reason }) => `'${id}' (${reason})`).join(', ');
    return nothingBelow(path, ` of the workers that answered; not heard: ${who}`);
  }
}

async function ls(
  { files, live, gone }: FsClusterOptions,
  order: { path: string; recursive: boolean; limit: number; after: string },
): Promise<object> {
  const { path, recursive, limit, after } = order;
  const prefix = directoryOf(path);
  const silent = new Silent(gone());
  const { version } = await fileAt(files, path, silent);
  if (version !== undefined) return { path, entries: [entryOf(version)], ...silent.field };
  const query = { root: '', prefix, delimiter: recursive ? '' : '/', after, maxKeys: limit };
  const { items, next } = await files.listHeld(query, live(), silent.note);
  if (items.length === 0 && after === '') throw silent.nothing(path);
  const entries = items.map((item) =>
    'prefix' in item ? { path: item.prefix, type: 'directory' as const } : entryOf(item.versions[0]!),
  );
  return { path, entries, ...(next === undefined ? {} : { next }), ...silent.field };
}

function entryOf(version: HeldVersion) {
  const { path, state, sizeBytes, cachedBytes, etag, versionId, lastModifiedMs } = foundOf(version);
  return {
    path,
    type: 'file' as const,
    state,
    sizeBytes,
    cachedBytes,
    missingBytes: sizeBytes - cachedBytes,
    etag,
    ...(versionId === undefined ? {} : { versionId }),
    lastModified: new Date(lastModifiedMs).toISOString(),
    workers: version.holdings.filter(({ ranges }) => ranges.length > 0).map(({ holder }) => holder),
  };
}

/** The version of a file of this very name, after everybody was asked. */
async function fileAt(
  files: ClusterFiles,
  path: string,
  silent: Silent,
): Promise<{ version: HeldVersion | undefined }> {
  if (path.endsWith('/')) return { version: undefined };
  const located = files.locate(path as UfsPath);
  await located.askAll();
  for (const [id, error] of located.silent) silent.note({ id }, error);
  return { version: located.versions[0] };
}

async function stat({ files, client, live, gone }: FsClusterOptions, path: string): Promise<object> {
  const prefix = directoryOf(path);
  const silent = new Silent(gone());
  const sum = new Sum();
  const { version } = await fileAt(files, path, silent);
  if (version !== undefined) {
    sum.add(version);
    return { path, type: 'file' as const, ...sum.figures, ...silent.field, file: fileStat(version) };
  }
  const streams = await streamsOf(client, prefix, live(), silent.note);
  if (streams === undefined) await sumOfPages(files, prefix, { sum, live, note: silent.note });
  else await sumOfStreams(streams, sum, silent.note);
  if (sum.files === 0) throw silent.nothing(path);
  return { path, type: 'directory' as const, ...sum.figures, ...silent.field };
}

/** Of workers of which one is of a release that gives pages only. */
async function sumOfPages(
  files: ClusterFiles,
  prefix: string,
  { sum, live, note }: { sum: Sum; live: FsClusterOptions['live']; note: Silent['note'] },
): Promise<void> {
  const asked = new Set(live());
  const ask = { root: '', prefix, delimiter: '', maxKeys: pageFiles };
  const noteOnce = (peer: Peer, error: PrimedError): void => {
    // What it said so far is counted; it is not asked for more.
    asked.delete(peer);
    note(peer, error);
  };
  for (let after: string | undefined = ''; after !== undefined; ) {
    const { items, next }: Awaited<ReturnType<ClusterFiles['listHeld']>> = await files.listHeld(
      { ...ask, after },
      [...asked],
      noteOnce,
    );
    for (const item of items) if ('versions' in item) sum.add(item.versions[0]!);
    after = next;
  }
}

/** Of one file: its version, what nobody has, and where each of its segments lies. */
function fileStat(version: HeldVersion) {
  const { file, ranges, holdings } = version;
  const { segmentBytes, cachedAtMs, loadId, sizeBytes } = file;
  const { workers: _, ...entry } = entryOf(version);
  const cut = segmentBytes > 0 ? segmentBytes : Math.max(1, sizeBytes);
  const segments = Array.from(segmentsOf(file, cut), ({ index, offset, length }) => {
    const of = (whole: boolean): string[] =>
      holdings
        .filter(({ ranges: has }) => {
          const missing = bytesOf(missingOf({ offset, length }, has));
          return whole ? missing === 0 : missing > 0 && missing < length;
        })
        .map(({ holder }) => holder);
    const partly = of(false);
    return { index, offset, length, workers: of(true), ...(partly.length === 0 ? {} : { partly }) };
  });
  return {
    ...entry,
    loadId,
    segmentBytes,
    ...(isWhole(version) ? { cachedAt: new Date(cachedAtMs).toISOString() } : {}),
    missing: missingOf({ offset: 0, length: sizeBytes }, ranges),
    segments,
  };
}

async function check({ files, client, live, gone }: FsClusterOptions, path: string): Promise<CheckRun> {
  const prefix = directoryOf(path);
  const silent = new Silent(gone());
  const { version } = await fileAt(files, path, silent);
  if (version === undefined) {
    const order = { root: '', prefix, delimiter: '', after: '', maxKeys: 1 };
    const { items } = await files.listHeld(order, live(), silent.note);
    if (items.length === 0) throw silent.nothing(path);
  }
  return async ({ signal, events }) => {
    const badPages: BadPage[] = [];
    const heard = new Map<string, CheckProgress>();
    const rest = { uncheckedFiles: 0, goneFiles: 0 };
    const tell = (): void => events.onProgress?.(progressOf(heard.values()));
    await Promise.all(
      live().map(async (peer) => {
        try {
          const summary = await checkAt(client, peer, path, signal, (line) => {
            if (line.type === 'progress') heard.set(peer.id, line as unknown as CheckProgress);
            else if (line.type === 'bad-page') events.onBadPage?.({ ...(line as unknown as BadPage), worker: peer.id });
            tell();
          });
          heard.set(peer.id, summary);
          rest.uncheckedFiles += summary.uncheckedFiles;
          rest.goneFiles += summary.goneFiles;
          const room = namedBadPages - badPages.length;
          badPages.push(...summary.badPages.slice(0, room).map((page) => ({ ...page, worker: peer.id })));
        } catch (error) {
          signal.throwIfAborted();
          if (!(error instanceof PrimedError)) throw error;
          // Others have something at or below the path, this one has nothing.
          if (error.code !== 'FILE_NOT_CACHED') silent.note(peer, error);
        }
      }),
    );
    const count = progressOf(heard.values());
    const ok = count.badPageCount === 0 && silent.list.length === 0;
    return { path, ok, ...count, ...rest, badPages, ...silent.field };
  };
}

function progressOf(all: Iterable<CheckProgress>): CheckProgress {
  const sum = { checkedFiles: 0, checkedBytes: 0, badPageCount: 0 };
  for (const { checkedFiles, checkedBytes, badPageCount } of all) {
    sum.checkedFiles += checkedFiles;
    sum.checkedBytes += checkedBytes;
    sum.badPageCount += badPageCount;
  }
  return sum;
}

/** Longest line: a summary with all bad pages that are named. */
const maxLineBytes = 8 * 1024 * 1024;

async function checkAt(
  client: FsClusterOptions['client'],
  peer: Peer,
  path: string,
  signal: AbortSignal,
  onLine: (line: { type: string }) => void,
): Promise<CheckSummary> {
  let rest = '';
  const decoder = new TextDecoder();
  for await (const bytes of await client.check(peer, path, signal)) {
    const lines = (rest + decoder.decode(bytes, { stream: true })).split('\n');
    rest = lines.pop()!;
    if (rest.length > maxLineBytes) break;
    for (const text of lines) {
      if (text === '') continue;
      const line = JSON.parse(text) as { type: string };
      if (line.type === 'summary') return line as unknown as CheckSummary;
      onLine(line);
    }
  }
  throw new PrimedError('PEER_FAILED', `worker '${peer.id}' at ${peer.url} did not end its check`, { worker: peer.id });
}
