/**
 * What one worker asks another for: a range of a version of a file, as a lane asks an S3 origin (origin/lane-origin), with the
 * proof of being a node of the cluster. Errors are XML, as those of S3, so that the one that asks can say what was wrong.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type NodeAccess, nodeCheck } from '../cluster/wire/node-check.ts';
import { Refusals } from '../cluster/wire/refusals.ts';
import { PrimedError } from '../core/errors.ts';
import type { ByteRange, Log, UfsPath } from '../core/types.ts';
import type { WantedVersion } from '../store/types.ts';
import { withoutQuery } from '../telemetry/trace.ts';
import { document, element } from './s3/xml.ts';

/** Of the version that was asked for, or of another: the one that asks can tell by it whether to ask here again. */
export class OtherVersion extends Error {}

/** What the routes of one port ask of other nodes, which share what the log has heard. */
export interface PeerAccess extends NodeAccess {
  readonly log: Log;
  /** Whom the log has heard to be refused; by default of this plugin alone. */
  readonly refusals?: Refusals;
}

/** One node behind an address may be let in while another is not. */
const quietMs = 60_000;

export function peerRefusals(): Refusals {
  return new Refusals(quietMs);
}

/** Refuses who does not show that it is a node of the cluster (UNAUTHENTICATED), with one line in the log until it does. */
export function admitNodes({ log, refusals = peerRefusals(), ...access }: PeerAccess) {
  const problemWith = nodeCheck(access, 'cluster.token');
  return {
    config: { ownToken: true },
    onRequest: async ({ raw, ip, routeOptions }: FastifyRequest, reply: FastifyReply): Promise<void> => {
      const problem = problemWith?.(raw);
      if (problem === undefined) {
        refusals.accepted(ip);
        return;
      }
      const facts = { from: ip, route: routeOptions.url, code: 'UNAUTHENTICATED', reason: problem };
      if (refusals.isNews(ip, 'UNAUTHENTICATED')) log.warn(facts, 'another node is refused');
      // Whoever comes back shows the certificate that it has then.
      if (access.certificates === true) void reply.header('connection', 'close');
      throw new PrimedError('UNAUTHENTICATED', problem);
    },
  };
}

/** Makes errors of the plugin those of S3; returns what its routes need so as to be for workers alone. */
export function admitWorkers(app: FastifyInstance, access: PeerAccess) {
  const { log } = access;
  app.setErrorHandler((error, request, reply) => {
    const failure = failureOf(error);
    if (failure.status >= 500 && failure.status !== 503)
      log.error(
        { requestId: request.id, path: withoutQuery(request.originalUrl), error: failure.message },
        'another worker could not be given its copy',
      );
    reply
      .code(failure.status)
      .type('application/xml')
      .send(document(`<Error>${element('Code', failure.code)}${element('Message', failure.message)}</Error>`));
  });
  return admitNodes(access);
}

export interface WantedRange extends WantedVersion {
  /** Undefined: all of it. */
  readonly range?: ByteRange;
}

/** `prefix`: of the route. From the raw target: a key is bytes, not a path, and is decoded once. Throws REQUEST_INVALID, FILE_NOT_CACHED. */
export function wantedOf(request: FastifyRequest, prefix: string): WantedRange {
  const target = request.raw.url ?? '';
  const cut = target.indexOf('?');
  const path = pathOfTarget(cut < 0 ? target : target.slice(0, cut), prefix);
  const versionId = new URLSearchParams(cut < 0 ? '' : target.slice(cut)).get('versionId');
  const etag = /^"(.*)"$/.exec(request.headers['if-match'] ?? '""')?.[1];
  if (etag === undefined) throw invalid('If-Match', request.headers['if-match']);
  const range = rangeOf(request.headers.range);
  return { path, etag, ...(versionId === null ? {} : { versionId }), ...(range === undefined ? {} : { range }) };
}

/** The UFS path behind a prefix of a raw target. Throws FILE_NOT_CACHED for one that no name can be. */
export function pathOfTarget(target: string, prefix: string): UfsPath {
  // A byte that is not ASCII was not encoded: which characters it stands for is not known.
  if (target.startsWith(prefix) && /^[\x21-\x7e]+$/.test(target)) {
    try {
      return decodeURIComponent(target.slice(prefix.length)) as UfsPath;
    } catch {
      // Not UTF-8 once decoded: nothing of that name is cached.
    }
  }
  throw new PrimedError('FILE_NOT_CACHED', `${target} names no file`);
}

function rangeOf(header: string | undefined): ByteRange | undefined {
  if (header === undefined) return undefined;
  const [, from, to] = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(header) ?? [];
  const offset = Number(from);
  const length = Number(to) - offset + 1;
  if (!(length > 0)) throw invalid('Range', header);
  return { offset, length };
}

function invalid(name: string, value: string | undefined): PrimedError {
  return new PrimedError('REQUEST_INVALID', `${name}: '${value}' is not what a worker asks for`, { name });
}

function failureOf(error: unknown): { status: number; code: string; message: string } {
  if (error instanceof PrimedError) return { status: error.httpStatus, code: error.code, message: error.message };
  if (error instanceof OtherVersion) return { status: 412, code: 'PreconditionFailed', message: error.message };
  return { status: 500, code: 'InternalError', message: error instanceof Error ? error.message : String(error) };
}
