/**
 * What is cached, for people and scripts: `ls`, `stat`, `cat`, `check` (ours). A worker answers for itself, and gives bytes
 * of others too; a coordinator answers for the cluster.
 *
 * A path names a file, a directory, or (`s3://b/dir`) the file of that name and else the directory. Errors leave as
 * PrimedError, and the server's error handler writes them.
 */
import type { FastifyInstance, FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify';
import { type Static, type TObject, Type } from 'typebox';
import type { ReadableFiles } from '../cluster/reading/files.ts';
import { directoryOf, type FsSource, nothingBelow } from '../cluster/reading/fs-source.ts';
import { PrimedError } from '../core/errors.ts';
import type { Log, UfsPath } from '../core/types.ts';
import { BodyCut, openBody, sendBody } from './body.ts';
import { checkAnswers } from './check-answers.ts';
import { watchAnswers } from './in-flight.ts';
import { openedOf, rangeFrom, rangeOf } from './reading.ts';
import { documented, fsDocs } from './schemas.ts';
import { Turns } from './turns.ts';

export interface FsApiOptions {
  readonly source: FsSource;
  readonly log: Log;
  /** Whether a file, or with a slash at its end all of a folder, is pinned. */
  readonly isPinned?: (path: string) => boolean;
  /** `cat`s under way at once; each holds the page that is being sent and what the store reads ahead: about 3 MiB. */
  readonly maxBodies?: number;
  /** Longest wait for a turn of `cat` or `check`; after it 503. */
  readonly turnWaitMs?: number;
  /** Longest time that a client may take over 1 MiB. */
  readonly stallMs?: number;
  /** How long answers may go on after the server was told to close. */
  readonly closeGraceMs?: number;
  /** Shortest time between two progress lines of a check. */
  readonly progressEveryMs?: number;
}

const path = Type.String({
  minLength: 1,
  description: 'UFS path, not encoded beyond what a URL needs: s3://bucket/key',
});
const LsQuery = Type.Object(
  {
    path,
    recursive: Type.Optional(Type.Boolean({ default: false })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, default: 1000 })),
    after: Type.Optional(Type.String({ description: 'The `next` of the page before' })),
  },
  { additionalProperties: false },
);
const PathQuery = Type.Object({ path }, { additionalProperties: false });
const CatQuery = Type.Object(
  {
    path,
    offset: Type.Optional(Type.Integer({ minimum: 0, default: 0 })),
    length: Type.Optional(Type.Integer({ minimum: 0 })),
  },
  { additionalProperties: false },
);

const defaults = { maxBodies: 16, turnWaitMs: 30_000, stallMs: 60_000, progressEveryMs: 500, closeGraceMs: 1_000 };

export const fsApi: FastifyPluginCallback<FsApiOptions> = (app, options, done) => {
  const { source, log, isPinned = () => false } = options;
  const limits = { ...defaults, ...options };
  const bodies = new Turns({ limit: limits.maxBodies, waitLimitMs: limits.turnWaitMs });

  const watch = watchAnswers(app, limits.closeGraceMs);
  const checked = checkAnswers(app, { ...limits, source, log });
  documented(app);

  ask(app, 'GET', '/api/v1/fs/ls', LsQuery, async ({ recursive = false, limit = 1000, after = '', ...query }) =>
    withPins(await source.ls({ ...query, recursive, limit, after }), isPinned),
  );
  ask(app, 'GET', '/api/v1/fs/stat', PathQuery, async ({ path }) => {
    const stat = await source.stat(path);
    const pinned = isPinned('type' in stat && stat.type === 'directory' ? directoryOf(path) : path);
    return pinned ? { ...stat, pinned } : stat;
  });
  ask(app, 'GET', '/api/v1/fs/cat', CatQuery, async (query, _request, reply) => {
    const giveBack = await bodies.take();
    try {
      await watch(reply, cat(source.files, query, reply, limits.stallMs));
    } catch (error) {
      if (!(error instanceof BodyCut)) throw error;
      const level = error.reason === 'data' ? 'error' : 'debug';
      log[level]({ path: query.path, reason: error.reason, cause: error.message }, 'a cat was cut off');
    } finally {
      giveBack();
    }
    return reply;
  });
  ask(app, 'POST', '/api/v1/fs/check', PathQuery, async ({ path }, request, reply) => checked(path, request, reply));
  done();
};

/** Says it where it is so. */
function withPins(page: object, isPinned: (path: string) => boolean): object {
  if (!('entries' in page)) return page;
  const entries = page.entries as readonly { readonly path: string }[];
  return { ...page, entries: entries.map((entry) => (isPinned(entry.path) ? { ...entry, pinned: true } : entry)) };
}

/** A route whose query has a schema, and in which a parameter that the schema does not know is refused by name. */
function ask<T extends TObject>(
  app: FastifyInstance,
  method: 'GET' | 'POST',
  url: string,
  querystring: T,
  answer: (query: Static<T>, request: FastifyRequest, reply: FastifyReply) => Promise<unknown>,
): void {
  app.route({
    method,
    url,
    schema: { querystring, tags: ['fs'], ...fsDocs[url] },
    exposeHeadRoute: false,
    preValidation: async (request) => {
      for (const name of Object.keys(request.query as object)) {
        if (!(name in querystring.properties))
          throw new PrimedError('REQUEST_INVALID', `${url} has no parameter '${name}'.`, { field: name });
      }
    },
    handler: (request, reply) => answer(request.query as Static<T>, request, reply),
  });
}

async function cat(
  files: ReadableFiles,
  query: Static<typeof CatQuery>,
  reply: FastifyReply,
  stallMs: number,
): Promise<void> {
  const { path } = query;
  const directory = directoryOf(path);
  // A key may end in `/` and have bytes all the same.
  const found = await files.find(path as UfsPath);
  if (found === undefined) {
    if (!(await files.knows(directory))) throw nothingBelow(path);
    const why = `path: '${path}' is a directory, of which there are no bytes to give: name a file below it.`;
    throw new PrimedError('REQUEST_INVALID', why, { path });
  }
  const opened = openedOf(found);
  try {
    const { offset = 0, length = Infinity } = query;
    const range = await rangeOf(opened, (sizeBytes) => rangeFrom(path, offset, length, sizeBytes));
    const body = await openBody(opened.read(range), range.length);
    reply.hijack();
    reply.raw.writeHead(200, {
      'content-type': 'application/octet-stream',
      'content-length': range.length,
      etag: `"${opened.file.etag}"`,
    });
    await sendBody(body, reply.raw, stallMs);
  } finally {
    opened.close();
  }
}
