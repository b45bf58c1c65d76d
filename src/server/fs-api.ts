/**
 * What is cached, for people and scripts, on the coordinator's port: `ls`, `stat`, `cat`, `check` (ours).
 *
 * A path names a file, a directory, or (`s3://b/dir`) the file of that name and else the directory. Errors leave as
 * PrimedError, and the server's error handler writes them.
 */
import type { FastifyInstance, FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify';
import { type Static, type TObject, Type } from 'typebox';
import type { BadPage, CheckProgress } from '../core/check.ts';
import { PrimedError } from '../core/errors.ts';
import type { Log, UfsPath } from '../core/types.ts';
import type { FileRecord, Store } from '../store/types.ts';
import { BodyCut, openBody, sendBody } from './body.ts';
import { checkFiles, recordsBelow } from './fs-check.ts';
import { watchAnswers } from './in-flight.ts';
import { listPage } from './listing.ts';
import { Turns } from './turns.ts';

export interface FsApiOptions {
  readonly store: Pick<Store, 'stat' | 'list' | 'open' | 'summary'>;
  readonly log: Log;
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
/** One would do; the second is for the colleague who does not know of the first. */
const maxChecks = 2;

export const fsApi: FastifyPluginCallback<FsApiOptions> = (app, options, done) => {
  const { store, log } = options;
  const limits = { ...defaults, ...options };
  const bodies = new Turns({ limit: limits.maxBodies, waitLimitMs: limits.turnWaitMs });
  const checks = new Turns({ limit: maxChecks, waitLimitMs: limits.turnWaitMs });

  const watch = watchAnswers(app, limits.closeGraceMs);

  ask(app, 'GET', '/api/v1/fs/ls', LsQuery, async (query) => ls(store, query));
  ask(app, 'GET', '/api/v1/fs/stat', PathQuery, async (query) => stat(store, query.path));
  ask(app, 'GET', '/api/v1/fs/cat', CatQuery, async (query, _request, reply) => {
    const giveBack = await bodies.take();
    try {
      await watch(reply, cat(store, query, reply, limits.stallMs));
    } catch (error) {
      if (!(error instanceof BodyCut)) throw error;
      const level = error.reason === 'data' ? 'error' : 'debug';
      log[level]({ path: query.path, reason: error.reason, cause: error.message }, 'a cat was cut off');
    } finally {
      giveBack();
    }
    return reply;
  });
  ask(app, 'POST', '/api/v1/fs/check', PathQuery, async (query, request, reply) => {
    const giveBack = await checks.take();
    try {
      return await watch(
        reply,
        check(options.store, query.path, { request, reply, log, progressEveryMs: limits.progressEveryMs }),
      );
    } finally {
      giveBack();
    }
  });
  done();
};

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
    schema: { querystring, tags: ['fs'] },
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

/** One level of a directory, or with `recursive` every file below it. */
function ls(store: FsApiOptions['store'], query: Static<typeof LsQuery>) {
  const maxKeys = query.limit ?? 1000;
  const place = placeOf(store, query.path);
  if (place.file !== undefined) return { path: query.path, entries: [entryOf(place.file)] };
  const source = { list: (of: { prefix: string; after?: string }) => store.list({ ...of, includeLoading: true }) };
  const delimiter = query.recursive ? '' : '/';
  const page = listPage(source, { root: '', prefix: place.prefix, delimiter, after: query.after ?? '', maxKeys });
  const entries = [
    ...page.files.map(({ record }) => entryOf(record)),
    ...page.commonPrefixes.map((directory) => ({ path: directory, type: 'directory' as const })),
  ].sort((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
  return { path: query.path, entries, ...(page.next === undefined ? {} : { next: page.next }) };
}

function entryOf(record: FileRecord) {
  return {
    path: record.path,
    type: 'file' as const,
    state: record.state,
    sizeBytes: record.sizeBytes,
    cachedBytes: record.cachedBytes,
    missingBytes: record.sizeBytes - record.cachedBytes,
    etag: record.etag,
    ...(record.versionId === undefined ? {} : { versionId: record.versionId }),
    lastModified: new Date(record.lastModifiedMs).toISOString(),
  };
}

/** How much of a path is cached; of a file also its version and what is missing. */
function stat(store: FsApiOptions['store'], asked: string) {
  const { file, prefix } = placeOf(store, asked);
  if (file === undefined) return { path: asked, type: 'directory' as const, ...store.summary(prefix) };
  const complete = file.state === 'complete';
  return {
    path: asked,
    type: 'file' as const,
    files: 1,
    bytes: file.sizeBytes,
    cachedFiles: complete ? 1 : 0,
    cachedBytes: file.cachedBytes,
    file: {
      ...entryOf(file),
      loadId: file.loadId,
      ...(complete ? { cachedAt: new Date(file.cachedAtMs).toISOString() } : {}),
    },
  };
}

async function cat(
  store: FsApiOptions['store'],
  query: Static<typeof CatQuery>,
  reply: FastifyReply,
  stallMs: number,
): Promise<void> {
  // A key may end in `/` and have bytes all the same.
  const record = store.stat(query.path as UfsPath) ?? placeOf(store, query.path).file;
  if (record === undefined) {
    const why = `path: '${query.path}' is a directory, of which there are no bytes to give: name a file below it.`;
    throw new PrimedError('REQUEST_INVALID', why, { path: query.path });
  }
  if (record.state !== 'complete') {
    const why = `${query.path} has ${record.cachedBytes} of ${record.sizeBytes} bytes in the cache; load it first.`;
    throw new PrimedError('FILE_NOT_CACHED', why, { path: query.path });
  }
  const opened = store.open(query.path as UfsPath);
  try {
    const { sizeBytes, etag } = opened.record;
    const offset = query.offset ?? 0;
    if (offset > sizeBytes) {
      throw new PrimedError(
        'RANGE_INVALID',
        `offset ${offset} lies behind the end of ${query.path}, which has ${sizeBytes} bytes.`,
        { offset, sizeBytes },
      );
    }
    const length = Math.min(query.length ?? sizeBytes, sizeBytes - offset);
    const body = await openBody(opened.read({ offset, length }), length);
    reply.hijack();
    reply.raw.writeHead(200, {
      'content-type': 'application/octet-stream',
      'content-length': length,
      etag: `"${etag}"`,
    });
    await sendBody(body, reply.raw, stallMs);
  } finally {
    opened.close();
  }
}

/**
 * Answers the summary; a client that accepts application/x-ndjson gets lines while it runs, `{"type":"progress"|"bad-page",…}`,
 * and the summary (or the error) as the last one. When the client leaves the check ends.
 */
async function check(
  store: FsApiOptions['store'],
  asked: string,
  {
    request,
    reply,
    log,
    progressEveryMs,
  }: { request: FastifyRequest; reply: FastifyReply; log: Log; progressEveryMs: number },
): Promise<unknown> {
  const { file, prefix } = placeOf(store, asked);
  const left = new AbortController();
  reply.raw.once('close', () => left.abort(new BodyCut('client-left', 'the client closed the connection')));
  const order = {
    path: asked,
    records: file === undefined ? recordsBelow(store, prefix) : [file],
    signal: left.signal,
  };
  const asLines = (request.headers.accept ?? '').includes('application/x-ndjson');
  try {
    if (!asLines) return await checkFiles(store, order);
    reply.hijack();
    reply.raw.writeHead(200, { 'content-type': 'application/x-ndjson' });
    reply.raw.flushHeaders();
    const events = linesTo(reply, progressEveryMs);
    events.write({ type: 'summary', ...(await checkFiles(store, { ...order, events })) });
    reply.raw.end();
  } catch (error) {
    if (!asLines && !(error instanceof BodyCut)) throw error;
    // Nobody listens, or the status is out already: lines without a summary are a check that did not end.
    if (!reply.sent) reply.hijack();
    reply.raw.destroy();
    if (!(error instanceof BodyCut)) log.error({ err: error, path: asked }, 'a check was cut off');
  }
  return reply;
}

/** A client that does not read misses lines and loses nothing: the summary has the bad pages too. */
function linesTo({ raw }: FastifyReply, progressEveryMs: number) {
  let toldAtMs = performance.now();
  const write = (line: object) => void raw.write(`${JSON.stringify(line)}\n`);
  const onBadPage = (page: BadPage) => {
    if (!raw.writableNeedDrain) write({ type: 'bad-page', ...page });
  };
  const onProgress = ({ checkedFiles, checkedBytes, badPageCount }: CheckProgress) => {
    const nowMs = performance.now();
    if (nowMs - toldAtMs < progressEveryMs || raw.writableNeedDrain) return;
    toldAtMs = nowMs;
    write({ type: 'progress', checkedFiles, checkedBytes, badPageCount });
  };
  return { write, onBadPage, onProgress };
}

/** The file that a path names, or what every path below the directory begins with. Throws FILE_NOT_CACHED, PATH_INVALID. */
function placeOf(store: FsApiOptions['store'], asked: string): { file?: FileRecord; prefix: string } {
  if (!/^(s3|file):\/\//.test(asked)) {
    throw new PrimedError('PATH_INVALID', `path '${asked}' is not a UFS path: s3://bucket/key or file:///dir.`, {
      path: asked,
    });
  }
  const file = asked.endsWith('/') ? undefined : store.stat(asked as UfsPath);
  if (file !== undefined) return { file, prefix: asked };
  const prefix = asked.endsWith('/') ? asked : `${asked}/`;
  const [any] = store.list({ prefix, limit: 1, includeLoading: true });
  if (any === undefined) {
    throw new PrimedError('FILE_NOT_CACHED', `Nothing at or below ${asked} is in the cache.`, { path: asked });
  }
  return { prefix };
}
