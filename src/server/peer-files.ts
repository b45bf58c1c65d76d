/**
 * What this worker has, for other nodes of the cluster, on the worker's port: its word on a path, pages of its listing, and
 * a check of what lies here. It speaks for itself only, and asks nobody.
 *
 *   GET  /internal/v1/stat/<path>   rows of the visible and the loading version; none where nothing is known
 *   GET  /internal/v1/history/<path>   what was kept of what happened to it
 *   GET  /internal/v1/list?…        a page of `core/listing`, each path with its rows
 *   GET  /internal/v1/held?prefix=   all below a folder, as `held-stream` writes it
 *   GET  /internal/v1/path/<id>     `{"path":…}` of the id of a path, as the page API has them; empty where none is known
 *   POST /internal/v1/check?path=   lines, as of the file API
 *   POST /internal/v1/written       `{"paths":[…]}`: what lies here of them is out of date, and is gone with the answer
 */
import type { FastifyPluginCallback, FastifyReply } from 'fastify';
import type { FsSource } from '../cluster/reading/fs-source.ts';
import { heldIn, heldRow } from '../cluster/reading/held-row.ts';
import { heldBelow } from '../cluster/reading/held-stream.ts';
import { pageHere } from '../cluster/reading/list-here.ts';
import type { LocalFiles } from '../cluster/reading/located.ts';
import type { PathNames } from '../cluster/reading/path-names.ts';
import type { Written } from '../cluster/reading/written.ts';
import { PrimedError } from '../core/errors.ts';
import type { FileHistory } from '../core/file-events.ts';
import type { HeldFile } from '../core/holdings.ts';
import type { UfsPath } from '../core/types.ts';
import { BodyCut, writePiece } from './body.ts';
import { checkAnswers } from './check-answers.ts';
import { watchAnswers } from './in-flight.ts';
import { admitNodes, type PeerAccess, pathOfTarget } from './peer-request.ts';
import { Turns } from './turns.ts';

export interface PeerFilesOptions extends PeerAccess {
  readonly store: LocalFiles;
  readonly past: { of(path: string): FileHistory };
  readonly source: Pick<FsSource, 'check'>;
  readonly names: Pick<PathNames, 'pathHere'>;
  readonly written: Pick<Written, 'here'>;
}

const checkLimits = { turnWaitMs: 30_000, progressEveryMs: 500, closeGraceMs: 1_000 };
const statPrefix = '/internal/v1/stat/';
const historyPrefix = '/internal/v1/history/';
const mostKeys = 1000;
/** Sums over the cluster under way at once; each reads the index for seconds, in turns with everything else. */
const mostSums = 4;
/** Shorter than who asks waits for a head. */
const sumWaitMs = 4_000;
/** Longest time that who sums up may take over one piece: it waits for other workers meanwhile. */
const sumStallMs = 120_000;
/** Two numbers for each range: of files in very many ranges a page has fewer. */
const mostRanges = 200_000;

export const peerFiles: FastifyPluginCallback<PeerFilesOptions> = (app, options, done) => {
  const { store } = options;
  const watch = watchAnswers(app, checkLimits.closeGraceMs);
  const sums = new Turns({ limit: mostSums, waitLimitMs: sumWaitMs });
  const checked = checkAnswers(app, { source: options.source, log: options.log, ...checkLimits });
  const route = { exposeHeadRoute: false, ...admitNodes(options) } as const;
  app.route({
    ...route,
    method: 'GET',
    url: `${statPrefix}*`,
    handler: async (request) => {
      const path = pathOfTarget(request.raw.url ?? '', statPrefix);
      const visible = store.stat(path);
      const loading = store.statLoading(path);
      const both = visible?.fileId === loading?.fileId ? [visible] : [visible, loading];
      return both.flatMap((record) => (record === undefined ? [] : [heldRow(heldIn(store, record))]));
    },
  });
  app.route({
    ...route,
    method: 'GET',
    url: `${historyPrefix}*`,
    handler: async (request) => options.past.of(pathOfTarget(request.raw.url ?? '', historyPrefix)),
  });
  app.route({
    ...route,
    method: 'GET',
    url: '/internal/v1/list',
    handler: async (request) => {
      const query = request.query as Record<string, string | undefined>;
      const [root = '', prefix = '', delimiter = '', after = ''] = ['root', 'prefix', 'delimiter', 'after'].map(
        (name) => query[name],
      );
      const maxKeys = Math.min(mostKeys, Number(query.limit ?? mostKeys));
      if (!(maxKeys >= 0)) throw new PrimedError('REQUEST_INVALID', `limit: '${query.limit}' is no number`);
      return bounded(pageHere(store, { root, prefix, delimiter, after, maxKeys }));
    },
  });
  app.route({
    ...route,
    method: 'GET',
    url: '/internal/v1/held',
    handler: async (request, reply) => {
      const { prefix = '' } = request.query as Record<string, string | undefined>;
      const giveBack = await sums.take();
      try {
        await watch(reply, answerHeld(store, prefix, reply));
      } finally {
        giveBack();
      }
      return reply;
    },
  });
  app.route({
    ...route,
    method: 'GET',
    url: '/internal/v1/path/:id',
    handler: async (request) => ({ path: options.names.pathHere((request.params as { id: string }).id) }),
  });
  app.route({
    ...route,
    method: 'POST',
    url: '/internal/v1/check',
    handler: (request, reply) => checked(String((request.query as Record<string, unknown>).path ?? ''), request, reply),
  });
  app.route({
    ...route,
    method: 'POST',
    url: '/internal/v1/written',
    handler: async (request) => {
      const { paths } = (request.body ?? {}) as { paths?: unknown };
      if (!Array.isArray(paths) || paths.some((path) => typeof path !== 'string'))
        throw new PrimedError('REQUEST_INVALID', 'paths: a worker says which paths were written');
      await options.written.here(paths as UfsPath[]);
      return {};
    },
  });
  done();
};

async function answerHeld(store: LocalFiles, prefix: string, reply: FastifyReply): Promise<void> {
  reply.hijack();
  reply.raw.writeHead(200, { 'content-type': 'application/octet-stream' });
  try {
    for await (const piece of heldBelow(store, prefix)) await writePiece(reply.raw, piece, sumStallMs);
    reply.raw.end();
  } catch (error) {
    // Who asks misses the end, and knows.
    reply.raw.destroy();
    if (!(error instanceof BodyCut)) throw error;
  }
}

interface Page {
  readonly files: readonly { readonly key: string; readonly record: readonly HeldFile[] }[];
  readonly commonPrefixes: readonly string[];
  readonly next?: string;
}

/** A page with more ranges than one answer may have ends behind the last file that fits, and has one at least. */
function bounded({ files, commonPrefixes, next }: Page) {
  let ranges = 0;
  const count = files.findIndex(({ record }, at) => {
    for (const file of record) if (file.state !== 'complete') ranges += file.ranges.length;
    return ranges > mostRanges && at > 0;
  });
  const kept = count < 0 ? files : files.slice(0, count);
  const last = count < 0 ? undefined : Buffer.from(kept.at(-1)!.key);
  const prefixes =
    last === undefined ? commonPrefixes : commonPrefixes.filter((one) => Buffer.compare(Buffer.from(one), last) < 0);
  const goesOn = last === undefined ? next : kept.at(-1)!.key;
  return {
    files: kept.map(({ key, record }) => [key, record.map(heldRow)]),
    prefixes,
    ...(goesOn === undefined ? {} : { next: goesOn }),
  };
}
