/**
 * The page API and the file API of Alluxio's workers, for the clients that Alluxio publishes: listing and status of what is
 * cached, and its bytes by pages of 1 MiB, ranges, or whole. Any worker answers for any path, through `ReadableFiles`.
 *
 * Who is in it: `query` finds out what a client meant that does not encode; `status` writes status objects; `places` tells
 * files from directories; `bytes` sends.
 *
 * A file is named by the SHA-256 of its path, and mostly by the path too. Where only the id is sent, or the path came in an
 * encoding that nobody can undo, `PathNames` knows it. Errors are `{"message":…}`. What writes is refused before its body is read.
 */
import type { FastifyInstance, FastifyPluginCallback, FastifyReply, FastifyRequest } from 'fastify';
import type { ReadableFiles } from '../../cluster/reading/files.ts';
import type { PathNames } from '../../cluster/reading/path-names.ts';
import { PrimedError } from '../../core/errors.ts';
import { isPathId } from '../../core/path-id.ts';
import { parseSize } from '../../core/sizes.ts';
import type { Log, UfsPath } from '../../core/types.ts';
import { pageBytes } from '../../core/units.ts';
import type { ErrorForm } from '../errors.ts';
import { invalidField } from '../fields.ts';
import { watchAnswers } from '../in-flight.ts';
import { rangeFrom } from '../reading.ts';
import { documented } from '../schemas.ts';
import { Turns } from '../turns.ts';
import { type Picked, type SendContext, sendBytes, sendListing } from './bytes.ts';
import { type PageRoute, pageDocs, type WriteRoute } from './docs.ts';
import { placeOf } from './places.ts';
import { pageQuery, pathQuery } from './query.ts';
import { directoryStatus, fileStatus } from './status.ts';

/** Where clients find a worker. */
export interface NodeAddress {
  readonly Host: string;
  readonly HttpServerPort: number;
}

export interface UfsInfo {
  readonly alluxio_path: string;
  readonly endpoint?: string;
}

export interface PageApiOptions {
  readonly files: ReadableFiles;
  readonly names: PathNames;
  /** The form of a path in which files are kept. */
  readonly normal: (path: string) => UfsPath;
  /** Another worker that owns a path; undefined: this one. */
  readonly owner: (path: UfsPath) => NodeAddress | undefined;
  /** The host of this worker, where it has told others one. */
  readonly host?: string;
  /** By the prefix of a bucket, `s3://bucket/`. */
  readonly ufsInfo: () => Promise<Readonly<Record<string, UfsInfo>>>;
  readonly log: Log;
  /** Bodies under way at once; each holds a page, and what the store reads ahead: about 3 MiB. */
  readonly maxBodies?: number;
  /** Longest wait for a turn; after it 503. */
  readonly turnWaitMs?: number;
  /** Longest time that a client may take over 1 MiB before it is cut off. */
  readonly stallMs?: number;
  /** How long answers may go on after the server was told to close. */
  readonly closeGraceMs?: number;
  /** Told how long it took to the head of an answer with bytes: of a page, which is read as a whole before, or of anything else. */
  readonly onFirstByte?: (what: 'page' | 'file', afterMs: number) => void;
}

const defaults = { maxBodies: 32, turnWaitMs: 30_000, stallMs: 60_000, closeGraceMs: 1_000 };
/** What the clients of `head` and `tail` ask for when they say nothing. */
const defaultEndBytes = 1024;
const mostPage = Math.floor(Number.MAX_SAFE_INTEGER / pageBytes) - 1;

const errorForm: ErrorForm = ({ status, message }) => ({ status, body: { message } });

export const pageApi: FastifyPluginCallback<PageApiOptions> = (app, options, done) => {
  const limits = { ...defaults, ...options };
  const { files, names, normal, owner, ufsInfo, log, onFirstByte = () => undefined } = options;
  const context: SendContext = {
    ...{ files, log, stallMs: limits.stallMs },
    turns: new Turns({ limit: limits.maxBodies, waitLimitMs: limits.turnWaitMs }),
    watch: watchAnswers(app, limits.closeGraceMs),
  };
  documented(app);
  // The schemas are for readers: what a query says is known only with the id.
  app.setValidatorCompiler(() => () => true);

  get(app, '/v1/files', async (request, reply) => {
    const place = await placeAsked(request);
    if (place.file !== undefined) return [fileStatus(await place.file.settled())];
    return sendListing(context, place.directory, reply);
  });
  get(app, '/v1/info', async (request) => {
    const place = await placeAsked(request);
    return [place.file === undefined ? directoryStatus(place.directory) : fileStatus(await place.file.settled())];
  });
  get(app, '/v1/node', async (request) => {
    const [path] = pathsAsked(request);
    return owner(normal(path!)) ?? reachedAt(request, options.host);
  });
  get(app, '/v1/ufsInfo', () => ufsInfo());

  /** A route that gives bytes of the file whose id it has. */
  const bytes = (
    url: PageRoute,
    pick: (values: ReadonlyMap<string, string>, request: FastifyRequest) => Picked,
    buffered = false,
  ): void =>
    get(app, url, async (request, reply) => {
      const beganMs = performance.now();
      const { id } = request.params as { id: string };
      if (!isPathId(id)) throw invalidField('id', 'is the SHA-256 of the path, in 64 lowercase hex digits');
      const { path: told, values } = pageQuery(request.raw.url!, id);
      const picked = pick(values, request);
      const path = told ?? (await names.pathOf(id));
      if (path === undefined) throw unknownId(id);
      const timed = {
        ...context,
        onFirstByte: () => onFirstByte(buffered ? 'page' : 'file', performance.now() - beganMs),
      };
      return sendBytes(timed, normal(path), picked, buffered, reply);
    });

  bytes(
    '/v1/file/:id/page/:page',
    (values, { params }) => {
      const page = wholeNumber('page', (params as { page: string }).page, mostPage);
      const offset = wholeNumber('offset', values.get('offset') ?? '0', pageBytes);
      const length = wholeNumber('length', values.get('length') ?? String(pageBytes), Number.MAX_SAFE_INTEGER);
      return (path, sizeBytes) =>
        rangeFrom(path, page * pageBytes + offset, Math.min(length, pageBytes - offset), sizeBytes);
    },
    true,
  );
  bytes('/v1/range/:id', (values) => {
    const offset = wholeNumber('offset', values.get('offset') ?? '0', Number.MAX_SAFE_INTEGER);
    const sent = values.get('length') ?? '-1';
    const length = sent === '-1' ? Infinity : wholeNumber('length', sent, Number.MAX_SAFE_INTEGER);
    return (path, sizeBytes) => rangeFrom(path, offset, length, sizeBytes);
  });
  bytes('/v1/chunk/:id', (values) => {
    const chunkSize = values.get('chunkSize');
    if (chunkSize !== undefined && sizeOf('chunkSize', chunkSize) === 0)
      throw invalidField('chunkSize', 'must not be 0');
    return (path, sizeBytes) => rangeFrom(path, 0, sizeBytes, sizeBytes);
  });
  bytes('/v1/head/:id', (values) => {
    const wanted = sizeOf('numOfBytes', values.get('numOfBytes') ?? String(defaultEndBytes));
    return (path, sizeBytes) => rangeFrom(path, 0, wanted, sizeBytes);
  });
  bytes('/v1/tail/:id', (values) => {
    const wanted = sizeOf('numOfBytes', values.get('numOfBytes') ?? String(defaultEndBytes));
    return (path, sizeBytes) => rangeFrom(path, Math.max(0, sizeBytes - wanted), wanted, sizeBytes);
  });

  for (const url of ['/v1/file/:id/page/:page', '/v1/chunk/:id'] as const) refuseToWrite(app, url, 'GET');
  for (const verb of ['mkdir', 'touch', 'rm', 'mv', 'copy'] as const) refuseToWrite(app, `/v1/${verb}/:id`, '');
  done();

  async function placeAsked(request: FastifyRequest) {
    const asked = pathsAsked(request);
    const place = await placeOf(files, normal, asked);
    if (place.file !== undefined) for (const path of [place.asked, place.file.file.path]) names.learn(path);
    return place;
  }
};

function get(
  app: FastifyInstance,
  url: PageRoute,
  handler: (request: FastifyRequest, reply: FastifyReply) => Promise<unknown>,
): void {
  const schema = pageDocs[url];
  app.route({ method: 'GET', url, exposeHeadRoute: false, config: { errorForm }, schema, handler });
}

function refuseToWrite(app: FastifyInstance, url: WriteRoute, allowed: string): void {
  const message = 'The cache is read-only: write to the origin, and load it again.';
  app.route({
    ...{ method: 'POST', url, config: { errorForm } },
    schema: pageDocs[`POST ${url}`],
    // What would be written is not read.
    onRequest: async (_request, reply) =>
      reply.code(405).header('allow', allowed).header('connection', 'close').send({ message }),
    handler: () => {
      throw new PrimedError('INTERNAL', 'a write has come past its refusal');
    },
  });
}

/** Throws REQUEST_INVALID when there is no path. */
function pathsAsked(request: FastifyRequest): readonly string[] {
  const asked = pathQuery(request.raw.url!).filter((path) => path !== '');
  if (asked.length === 0) throw invalidField('path', 'is missing: a UFS path, s3://bucket/key or file:///dir');
  return asked;
}

/** As the client called it, unless the worker has told others a name of its own. */
function reachedAt({ headers, socket }: FastifyRequest, host: string | undefined): NodeAddress {
  const named = (headers.host ?? '').replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
  const Host = host ?? (named === '' ? socket.localAddress! : named);
  return { Host, HttpServerPort: socket.localPort! };
}

function unknownId(id: string): PrimedError {
  const why = `No cached file has the id ${id}: it is the SHA-256 of the path as it was loaded, or asked for by files or info.`;
  return new PrimedError('FILE_NOT_CACHED', why, { id });
}

function wholeNumber(field: string, text: string, most: number): number {
  if (/^\d{1,16}$/.test(text) && Number(text) <= most) return Number(text);
  throw invalidField(field, `must be a whole number up to ${Math.floor(most)}, not '${text.slice(0, 60)}'`);
}

function sizeOf(field: string, text: string): number {
  try {
    return parseSize(text);
  } catch {
    throw invalidField(field, `must be a size in bytes, such as 1024 or 1kb, not '${text.slice(0, 60)}'`);
  }
}
