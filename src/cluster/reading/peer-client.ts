/**
 * What one node asks of a worker to read what lies there: its word on a path, pages of its listing, bytes, and a check.
 *
 * Who waits for whom: a request waits for one of the connections to that worker, then for the head of its answer; both
 * within one limit. A body is read as fast as its consumer takes it: TCP holds the worker back.
 *
 * Every rejection is a PrimedError: PEER_FAILED where the worker was not reached, broke off or made no sense, TOO_BUSY where
 * it has no turn, else what it said.
 */
import { Agent, type Dispatcher, request } from 'undici';
import { connectorOf } from '../../client/connector.ts';
import { abortable } from '../../core/abortable.ts';
import { type ErrorCode, errorCatalogue, PrimedError } from '../../core/errors.ts';
import type { FileHistory } from '../../core/file-events.ts';
import type { HeldFile } from '../../core/holdings.ts';
import type { ListingOrder, ListingPage } from '../../core/listing.ts';
import { bearer, type LiveText } from '../../core/live.ts';
import type { ClientTls } from '../../core/node-tls.ts';
import type { Peer } from '../../core/peers.ts';
import type { ByteRange, ManifestEntry, ObjectVersion, UfsPath } from '../../core/types.ts';
import type { ObjectDetails } from '../../origin/types.ts';
import { traceHeaders } from '../../telemetry/trace.ts';
import { type HeldRow, heldFile } from './held-row.ts';
import { PeerHealth, type PeerHealthOptions } from './peer-health.ts';

export interface PeerClientOptions extends Partial<Omit<PeerHealthOptions, 'probe'>> {
  /** The cluster's. */
  readonly token?: LiveText;
  /** Of https. */
  readonly tls?: ClientTls;
  /** Connections to one worker; each carries one body at a time. */
  readonly connections?: number;
  readonly connectMs?: number;
  /** From a request until the head of its answer, the wait for a connection included. */
  readonly headMs?: number;
  /** Longest silence within an answer, while its consumer takes it. */
  readonly silenceMs?: number;
}

/** 16 connections of 64 KiB each, and what the kernel buffers: a worker of 100 others holds a hundred MiB at worst. */
const defaults = { connections: 16, connectMs: 1_000, headMs: 5_000, silenceMs: 5_000 };
/** Of an answer that is read whole: a page of a listing keeps to 4 MiB. */
const maxTextBytes = 32 * 1024 * 1024;
/** A check waits for its turn there, and says something whenever a page has been read. */
const checkSilenceMs = 60_000;
/** Who has written waits for it. */
const toldMs = 1_000;
/** Within a body that comes from the origin: longer than an origin may be silent. */
const throughSilenceMs = 65_000;
/** It answers whoever asks, from the thread that answers everything else. */
const probeTarget = '/health/live';

export class PeerClient {
  readonly #options: PeerClientOptions & typeof defaults;
  readonly #agent: Agent;
  /** What waits for an origin must not wait for other readers too, nor hold them up: the worker that is asked has a limit. */
  readonly #throughAgent: Agent;
  readonly #health: PeerHealth;

  constructor(options: PeerClientOptions = {}) {
    this.#options = { ...defaults, ...options };
    const { connections, connectMs, silenceMs, tls } = this.#options;
    const agent = (most: number | null): Agent =>
      new Agent({
        connect: connectorOf(tls, { timeout: connectMs }),
        bodyTimeout: silenceMs,
        // A limit of our own counts the wait for a connection too.
        headersTimeout: 0,
        keepAliveTimeout: 4_000,
        pipelining: 1,
        connections: most,
      });
    this.#agent = agent(connections);
    this.#throughAgent = agent(null);
    this.#health = new PeerHealth({
      ...{ now: () => performance.now(), random: Math.random, ...options },
      probe: (peer) => this.#probe(peer),
    });
  }

  /** Whether the worker has not answered of late: who can do without it asks others first. */
  avoids(peer: Peer): boolean {
    return this.#health.avoids(peer);
  }

  /** Somebody else has met it: it was not reached, or has answered. */
  unreached(peer: Peer, why: string): void {
    this.#health.failed(peer, why);
  }

  answered(peer: Peer): void {
    this.#health.answered(peer);
  }

  /** What the worker has of a path: its visible version, and the one that is loading. */
  async stat(peer: Peer, path: UfsPath, signal?: AbortSignal): Promise<readonly HeldFile[]> {
    const rows = await this.#json<HeldRow[]>(peer, `/internal/v1/stat/${encoded(path)}`, signal);
    return this.#sensible(peer, () => rows.map(heldFile));
  }

  /** What the worker has kept of what happened to a path. */
  history(peer: Peer, path: UfsPath): Promise<FileHistory> {
    return this.#json(peer, `/internal/v1/history/${encoded(path)}`);
  }

  /** The path of an id, where the worker knows one. */
  async pathOf(peer: Peer, id: string): Promise<string | undefined> {
    const { path } = await this.#json<{ path?: unknown }>(peer, `/internal/v1/path/${id}`);
    return typeof path === 'string' ? path : undefined;
  }

  /** One page of all that the worker knows, what is loading too; every path once, with all that is known of it. */
  async list(peer: Peer, order: ListingOrder, signal?: AbortSignal): Promise<ListingPage<readonly HeldFile[]>> {
    const { root, prefix, delimiter, after, maxKeys } = order;
    const query = new URLSearchParams({ root, prefix, delimiter, after, limit: String(maxKeys) });
    type Page = { files: [string, HeldRow[]][]; prefixes: string[]; next?: string };
    const page = await this.#json<Page>(peer, `/internal/v1/list?${query}`, signal);
    if (page.next !== undefined && page.files.length + page.prefixes.length === 0)
      throw this.#failed(peer, 'a page of its listing goes on, and has nothing');
    return this.#sensible(peer, () => ({
      files: page.files.map(([key, rows]) => ({ key, record: rows.map(heldFile) })),
      commonPrefixes: page.prefixes,
      ...(page.next === undefined ? {} : { next: page.next }),
    }));
  }

  /** All that the worker knows below a folder, as `held-stream` writes it. Undefined: it is of a release that has no such answer. */
  async held(peer: Peer, prefix: string): Promise<AsyncIterable<Buffer> | undefined> {
    const target = `/internal/v1/held?${new URLSearchParams({ prefix })}`;
    const answer = await this.#open(peer, target, { passes: 404 });
    if (answer.statusCode !== 404) return this.#lent(peer, answer, undefined);
    await this.#textOf(peer, answer);
    return undefined;
  }

  /** The bytes of a range of a version, exactly as many; what breaks off rejects. */
  async read(
    peer: Peer,
    { path, etag, versionId }: ObjectVersion & { readonly path: UfsPath },
    { offset, length }: ByteRange,
  ): Promise<AsyncIterable<Buffer>> {
    const query = versionId === undefined ? '' : `?versionId=${encodeURIComponent(versionId)}`;
    const answer = await this.#open(peer, `/internal/v1/data/${encoded(path)}${query}`, {
      headers: { 'if-match': `"${etag}"`, range: `bytes=${offset}-${offset + length - 1}`, 'x-primed-reader': '1' },
    });
    const promised = answer.headers['content-length'];
    const range = answer.headers['content-range'];
    if (answer.statusCode === 206 && promised === String(length) && String(range).startsWith(`bytes ${offset}-`))
      return this.#lent(peer, answer, length);
    answer.body.destroy();
    throw this.#failed(
      peer,
      `it answered ${answer.statusCode} with ${promised} bytes (${range}) to ${offset}+${length}`,
    );
  }

  /** The bytes of a range of a version that the worker has, or fetches from the origin and keeps; otherwise as `read`. */
  async through(peer: Peer, version: ManifestEntry, { offset, length }: ByteRange): Promise<AsyncIterable<Uint8Array>> {
    const { path, etag, versionId, sizeBytes, lastModifiedMs } = version;
    const query = versionId === undefined ? '' : `?versionId=${encodeURIComponent(versionId)}`;
    const answer = await this.#open(peer, `/internal/v1/through/${encoded(path)}${query}`, {
      headers: {
        ...{ 'if-match': `"${etag}"`, range: `bytes=${offset}-${offset + length - 1}` },
        ...{ 'x-primed-size': String(sizeBytes), 'x-primed-modified': String(lastModifiedMs) },
      },
      dispatcher: this.#throughAgent,
      silenceMs: throughSilenceMs,
    });
    // It breaks off where the origin does, too.
    return this.#lent(peer, answer, length, { saysNothing: () => true });
  }

  /** What the origin has at a path, as the worker knows it, no older than it may be. */
  async versionAt(peer: Peer, path: UfsPath, maxAgeMs: number): Promise<{ object?: ObjectDetails; ageMs: number }> {
    const target = `/internal/v1/version/${encoded(path)}?age=${maxAgeMs}`;
    const answer = await this.#open(peer, target, { dispatcher: this.#throughAgent });
    const text = await this.#textOf(peer, answer);
    return this.#sensible(peer, () => JSON.parse(text) as { object?: ObjectDetails; ageMs: number });
  }

  /** What lies there of paths that were written is out of date. */
  async written(peer: Peer, paths: readonly UfsPath[]): Promise<void> {
    const headers = { 'content-type': 'application/json' };
    const body = JSON.stringify({ paths });
    const order = { method: 'POST', headers, body, headMs: toldMs } as const;
    // It answers when it has written that down: one that takes its time over it is well for readers.
    const answer = await this.#open(peer, '/internal/v1/written', { ...order, saysNothing: true });
    await this.#textOf(peer, answer, () => true);
  }

  /** Lines of a check that runs there, in JSON. */
  async check(peer: Peer, path: string, signal: AbortSignal): Promise<AsyncIterable<Buffer>> {
    const target = `/internal/v1/check?${new URLSearchParams({ path })}`;
    const headers = { accept: 'application/x-ndjson' };
    const answer = await this.#open(peer, target, { method: 'POST', headers, signal, headMs: checkSilenceMs });
    return this.#lent(peer, answer, undefined, { saysNothing: () => signal.aborted });
  }

  async close(): Promise<void> {
    await Promise.all([this.#agent.destroy(), this.#throughAgent.destroy()]);
  }

  async #json<T>(peer: Peer, target: string, signal?: AbortSignal): Promise<T> {
    const answer = await this.#open(peer, target, signal === undefined ? {} : { signal });
    const text = await this.#textOf(peer, answer, () => signal?.aborted === true);
    return this.#sensible(peer, () => JSON.parse(text) as T);
  }

  async #open(
    peer: Peer,
    target: string,
    options: {
      method?: 'GET' | 'POST';
      headers?: Record<string, string>;
      body?: string;
      signal?: AbortSignal;
      headMs?: number;
      silenceMs?: number;
      dispatcher?: Agent;
      /** That it does not answer says nothing of the worker. */
      saysNothing?: boolean;
      /** A status that is an answer. */
      passes?: number;
    },
  ): Promise<Dispatcher.ResponseData> {
    const { token, headMs: usual, silenceMs: usualSilence } = this.#options;
    const { method = 'GET', headers = {}, signal, headMs = usual, silenceMs = usualSilence } = options;
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(new Error(`it did not answer within ${headMs} ms`)), headMs);
    try {
      const aborted = signal === undefined ? late.signal : AbortSignal.any([late.signal, signal]);
      const asked = request(`${peer.url}${target}`, {
        method,
        dispatcher: options.dispatcher ?? this.#agent,
        ...(options.body === undefined ? {} : { body: options.body }),
        // A sign of life: it waits for the origin.
        onInfo: () => timer.refresh(),
        headers: { ...headers, ...traceHeaders(), ...bearer(token) },
        signal: aborted,
        bodyTimeout: Math.max(silenceMs, headMs === usual ? 0 : headMs),
      });
      // A request that has no connection yet hears of its signal when it gets one, or none: nobody waits for that.
      const answer = await abortable(asked, aborted);
      // Who destroys a body that nobody reads is told so by an event, and knows.
      answer.body.on('error', () => undefined);
      if ((answer.statusCode >= 200 && answer.statusCode < 300) || answer.statusCode === options.passes) {
        this.#health.answered(peer);
        return answer;
      }
      throw this.#said(peer, answer.statusCode, await this.#textOf(peer, answer));
    } catch (error) {
      if (error instanceof PrimedError) throw error;
      signal?.throwIfAborted();
      const fail = options.saysNothing ? failed : this.#failed.bind(this);
      throw fail(peer, reasonOf(error), error);
    } finally {
      clearTimeout(timer);
    }
  }

  async #probe(peer: Peer): Promise<void> {
    try {
      await this.#textOf(peer, await this.#open(peer, probeTarget, { dispatcher: this.#throughAgent }));
    } catch {
      // It has been counted.
    }
  }

  /** A body that is given back also when nobody has begun to read it. */
  #lent(
    peer: Peer,
    answer: Dispatcher.ResponseData,
    length: number | undefined,
    { saysNothing }: { readonly saysNothing: () => boolean } = { saysNothing: never },
  ): AsyncIterable<Buffer> {
    return {
      [Symbol.asyncIterator]: () => {
        let left = false;
        const pieces = this.#bodyOf(peer, answer, length, () => left || saysNothing());
        return {
          next: () => pieces.next(),
          async return() {
            left = true;
            answer.body.destroy();
            return pieces.return(undefined);
          },
        };
      },
    };
  }

  /** @param saysNothing of the worker: whether it was given up here, or may end for another reason than the worker */
  async *#bodyOf(
    peer: Peer,
    { body }: Dispatcher.ResponseData,
    length: number | undefined,
    saysNothing: () => boolean,
  ): AsyncGenerator<Buffer> {
    let received = 0;
    try {
      for await (const piece of body) {
        received += (piece as Buffer).length;
        yield piece as Buffer;
      }
    } catch (error) {
      const why = `it broke off after ${received} bytes (${reasonOf(error)})`;
      throw saysNothing() ? failed(peer, why, error) : this.#failed(peer, why, error);
    }
    if (length !== undefined && received !== length) throw this.#failed(peer, `it gave ${received} of ${length} bytes`);
  }

  async #textOf(peer: Peer, answer: Dispatcher.ResponseData, saysNothing = never): Promise<string> {
    const pieces: Buffer[] = [];
    let total = 0;
    for await (const piece of this.#bodyOf(peer, answer, undefined, saysNothing)) {
      total += piece.length;
      if (total > maxTextBytes) throw this.#failed(peer, `it answered with more than ${maxTextBytes} bytes`);
      pieces.push(piece);
    }
    return Buffer.concat(pieces).toString('utf8');
  }

  #sensible<T>(peer: Peer, read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw this.#failed(peer, `its answer makes no sense: ${String(error)}`, error);
    }
  }

  /** Bytes are refused in XML, as by S3; everything else in JSON. */
  #said(peer: Peer, status: number, body: string): PrimedError {
    const code = /<Code>([^<]*)<\/Code>/.exec(body)?.[1] ?? /"code":"([A-Z_]+)"/.exec(body)?.[1] ?? '';
    const message = /<Message>([^<]*)<\/Message>/.exec(body)?.[1] ?? /"message":"((?:[^"\\]|\\.)*)"/.exec(body)?.[1];
    const known =
      Object.hasOwn(errorCatalogue, code) && passedOn.has(code as ErrorCode) ? (code as ErrorCode) : undefined;
    const why = `it answered ${status}: ${message ?? body.slice(0, 200)}`;
    // What it refuses (another version, a range) it has answered. Who is not let in gets nothing from it.
    if (known === undefined && (status >= 500 || status === 401 || status === 403)) return this.#failed(peer, why);
    this.#health.answered(peer);
    return failed(peer, why, undefined, known);
  }

  /** It did not answer, or nothing that could be used. */
  #failed(peer: Peer, why: string, cause?: unknown): PrimedError {
    this.#health.failed(peer, why);
    return failed(peer, why, cause);
  }
}

const never = (): boolean => false;

const alone = (): never => {
  throw new PrimedError('INTERNAL', 'there is no other worker to ask');
};
/** For those who are alone. */
export const nobody: Pick<
  PeerClient,
  'stat' | 'list' | 'read' | 'pathOf' | 'through' | 'versionAt' | 'written' | 'avoids'
> = {
  avoids: () => false,
  ...{ stat: alone, list: alone, read: alone, through: alone, versionAt: alone },
  pathOf: alone,
  written: alone,
};

/** Whole UFS paths, as a lane writes them. */
function encoded(path: string): string {
  return encodeURIComponent(path).replaceAll('%2F', '/');
}

/** What says something about the file, or the load of the worker, rather than about the way to it. */
const passedOn: ReadonlySet<ErrorCode> = new Set([
  ...(['FILE_NOT_CACHED', 'STORE_CORRUPT', 'TOO_BUSY', 'PATH_INVALID'] as const),
  ...(Object.keys(errorCatalogue) as ErrorCode[]).filter((code) => code.startsWith('ORIGIN_')),
]);

function failed(peer: Peer, why: string, cause?: unknown, code: ErrorCode = 'PEER_FAILED'): PrimedError {
  const message = `worker '${peer.id}' at ${peer.url}: ${why}`;
  return new PrimedError(code, message, { worker: peer.id }, cause === undefined ? undefined : { cause });
}

function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  return error instanceof Error ? error.message || (error as NodeJS.ErrnoException).code || error.name : String(error);
}
