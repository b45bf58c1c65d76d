/**
 * Calls to etcd: one endpoint, and the next one where that fails. The one that answered last is asked first.
 *
 * A read is asked of each endpoint until one answers. A write is asked of the next one only when it is sure not to have been
 * done: what was sent may have been done though nobody answered, and done twice is something else than once.
 */
import { Readable } from 'node:stream';
import { type Dispatcher, Pool } from 'undici';
import { connectorOf } from '../../client/connector.ts';
import { PrimedError } from '../../core/errors.ts';
import { type Attempt, type EtcdFailure, failureOf, refusal, unavailable } from './failure.ts';
import type { EtcdOptions } from './types.ts';

export interface Call {
  /** Below `/v3/`. */
  readonly path: string;
  readonly body: object;
  /** Whether done twice is the same as done once. */
  readonly idempotent: boolean;
  /** Where it is less than that of all calls. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

/** One that streams: the connection is its own, and closed with it. */
export interface Stream {
  readonly endpoint: string;
  /** Ends when the connection does, by an error or without one. Has no time limit of its own. */
  readonly pieces: AsyncIterable<Buffer>;
  close(): void;
}

/** Requests under way at one endpoint; more wait, within their deadlines. */
const connectionsPerEndpoint = 16;
/** At most a page of keys of 1 MiB in base64 each would be larger; such a page is asked for in halves. */
export const maxAnswerBytes = 32 * 1024 * 1024;
/** Of an answer that is shown in an error. */
const mostSaidChars = 300;
/** An endpoint gets this share of the deadline of a call, or the number of endpoints by which it is divided. */
const mostShares = 3;
/** The server ends what waits on a member that has lost its leader, in place of being silent. */
const headers = { 'content-type': 'application/json', 'grpc-metadata-hasleader': 'true' };

/** Thrown inside only: at one endpoint. */
class AttemptFailed extends Error {
  readonly failure: EtcdFailure;

  constructor(failure: EtcdFailure) {
    super(failure.message);
    this.failure = failure;
  }
}

export class Gateway {
  readonly #endpoints: readonly string[];
  readonly #pools: readonly Pool[];
  readonly #options: EtcdOptions;
  readonly #closed = new AbortController();
  /** Which endpoint is asked first. */
  #first = 0;
  #token: string | undefined;
  #authenticating: Promise<void> | undefined;
  #authOff = false;

  /** Throws ETCD_REFUSED for an endpoint that is no URL. */
  constructor(options: EtcdOptions) {
    this.#options = options;
    this.#endpoints = options.endpoints.map(originOf);
    this.#pools = this.#endpoints.map((endpoint) => this.#pool(endpoint, connectionsPerEndpoint));
  }

  get timeoutMs(): number {
    return this.#options.timeoutMs;
  }

  /** The answer, parsed. Rejects with ETCD_UNAVAILABLE, ETCD_REFUSED and the others of failure.ts; with the reason of `signal`. */
  async call<T>(call: Call): Promise<T> {
    return this.#failOver(call, (index, attemptMs) => this.#ask(index, call, attemptMs)) as Promise<T>;
  }

  /** Opens one at the first endpoint that answers. Rejects as `call` does. */
  async stream(call: Omit<Call, 'idempotent'>): Promise<Stream> {
    return this.#failOver({ ...call, idempotent: true }, (index, attemptMs) => this.#open(index, call, attemptMs));
  }

  /** The next call fetches a new token: where etcd only says that something is not permitted, the token may be the reason. */
  forgetToken(): void {
    this.#token = undefined;
  }

  /** The endpoint is not asked first any more. */
  avoid(endpoint: string): void {
    if (this.#endpoints[this.#first] === endpoint) this.#first = (this.#first + 1) % this.#endpoints.length;
  }

  /** Calls under way reject with ETCD_UNAVAILABLE. */
  async close(): Promise<void> {
    this.#closed.abort();
    await Promise.all(this.#pools.map((pool) => pool.destroy()));
  }

  async #failOver<T>(
    { idempotent, signal, timeoutMs = this.#options.timeoutMs }: Omit<Call, 'path' | 'body'>,
    attempt: (index: number, attemptMs: number) => Promise<T>,
  ): Promise<T> {
    const endsMs = this.#options.clock.monotonicMs() + timeoutMs;
    const count = this.#endpoints.length;
    const shareMs = timeoutMs / Math.min(mostShares, count);
    const attempts: Attempt[] = [];
    for (let turn = 0, first = this.#first; turn < count; turn++) {
      const index = (first + turn) % count;
      const leftMs = endsMs - this.#options.clock.monotonicMs();
      if (leftMs <= 0) break;
      const endpoint = this.#endpoints[index]!;
      try {
        const done = await this.#authenticated(index, Math.min(shareMs, leftMs), attempt);
        if (attempts.length > 0) this.#options.log.info({ endpoint, attempts }, 'etcd is asked at another endpoint');
        this.#first = index;
        return done;
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof AttemptFailed)) throw error;
        const { failure } = error;
        if (failure.kind !== 'unavailable') throw refusal(endpoint, failure);
        attempts.push({ endpoint, reason: failure.message });
        if (!failure.undone && !idempotent) {
          this.avoid(endpoint);
          throw unavailable(attempts, true);
        }
      }
    }
    throw unavailable(attempts, false);
  }

  /** With a token where there is a user; with a new one where etcd does not take the old one. */
  async #authenticated<T>(
    index: number,
    attemptMs: number,
    attempt: (index: number, attemptMs: number) => Promise<T>,
  ): Promise<T> {
    const { username } = this.#options;
    if (username !== undefined && this.#token === undefined && !this.#authOff) await this.#logIn(index, attemptMs);
    const token = this.#token;
    try {
      return await attempt(index, attemptMs);
    } catch (error) {
      const stale = error instanceof AttemptFailed && error.failure.kind === 'token';
      if (!stale || username === undefined) throw error;
      this.#authOff = false;
      // Another call may have a new one by now.
      if (this.#token === token) this.#token = undefined;
      if (this.#token === undefined) await this.#logIn(index, attemptMs);
      return attempt(index, attemptMs);
    }
  }

  #logIn(index: number, attemptMs: number): Promise<void> {
    this.#authenticating ??= this.#authenticate(index, attemptMs).finally(() => {
      this.#authenticating = undefined;
    });
    return this.#authenticating;
  }

  async #authenticate(index: number, attemptMs: number): Promise<void> {
    const { username, password = '' } = this.#options;
    const body = { name: username, password };
    try {
      const answer = await this.#ask(index, { path: 'auth/authenticate', body, idempotent: true }, attemptMs);
      this.#token = (answer as { token?: string }).token;
    } catch (error) {
      if (!(error instanceof AttemptFailed) || error.failure.kind !== 'authOff') throw error;
      // As etcd's own clients do: who sets passwords up begins with the clients.
      this.#authOff = true;
      this.#options.log.warn({ username }, 'etcd asks nobody for a password, though cluster.etcd.username is set');
    }
  }

  async #ask(index: number, { path, body, signal }: Call, attemptMs: number): Promise<unknown> {
    return this.#attempt(attemptMs, signal, async (limit, onSent) => {
      const { statusCode, body: answer } = await this.#send(this.#pools[index]!, path, body, limit, onSent);
      const pieces: Buffer[] = [];
      let bytes = 0;
      for await (const piece of answer as AsyncIterable<Buffer>) {
        bytes += piece.length;
        if (bytes > maxAnswerBytes) {
          const message = `an answer is larger than ${maxAnswerBytes} bytes`;
          throw new AttemptFailed({ kind: 'tooLarge', undone: false, message });
        }
        pieces.push(piece);
      }
      return parsed(Buffer.concat(pieces).toString('utf8'), statusCode);
    });
  }

  async #open(index: number, { path, body, signal }: Omit<Call, 'idempotent'>, attemptMs: number) {
    const pool = this.#pool(this.#endpoints[index]!, 1);
    const close = (): void => void pool.destroy().catch(() => {});
    try {
      return await this.#attempt(attemptMs, signal, async (limit, onSent) => {
        const { statusCode, body: answer } = await this.#send(pool, path, body, limit, onSent);
        if (statusCode !== 200) parsed(await answer.text(), statusCode);
        const pieces = answer as AsyncIterable<Buffer>;
        return { endpoint: this.#endpoints[index]!, pieces, close };
      });
    } catch (error) {
      close();
      throw error;
    }
  }

  /** With a time limit; whatever fails, as AttemptFailed. */
  async #attempt<T>(
    attemptMs: number,
    signal: AbortSignal | undefined,
    run: (limit: AbortSignal, onSent: () => void) => Promise<T>,
  ): Promise<T> {
    let sent = false;
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(new Error(`no answer within ${Math.round(attemptMs)} ms`)), attemptMs);
    const end = (): void => limit.abort(signal?.reason ?? new Error('the client is closed'));
    const others = [this.#closed.signal, ...(signal === undefined ? [] : [signal])];
    for (const other of others) {
      if (other.aborted) end();
      other.addEventListener('abort', end);
    }
    try {
      limit.signal.throwIfAborted();
      // undici looks at the signal of a request only when it has a connection: to a machine that is gone it never has.
      const over = new Promise<never>((_, reject) => {
        limit.signal.addEventListener('abort', () => reject(limit.signal.reason), { once: true });
      });
      const answer = run(limit.signal, () => {
        sent = true;
      });
      return await Promise.race([answer, over]);
    } catch (error) {
      if (error instanceof AttemptFailed || error instanceof PrimedError) throw error;
      const message = reasonOf(limit.signal.aborted ? limit.signal.reason : error);
      throw new AttemptFailed({ kind: 'unavailable', undone: !sent, message });
    } finally {
      clearTimeout(timer);
      for (const other of others) other.removeEventListener('abort', end);
    }
  }

  #send(
    pool: Pool,
    path: string,
    body: object,
    limit: AbortSignal,
    onSent: () => void,
  ): Promise<Dispatcher.ResponseData> {
    const bytes = Buffer.from(JSON.stringify(body));
    return pool.request({
      method: 'POST',
      path: `/v3/${path}`,
      headers: {
        ...headers,
        'content-length': String(bytes.length),
        ...(this.#token === undefined ? {} : { authorization: this.#token }),
      },
      body: bodyOf(bytes, onSent),
      signal: limit,
    });
  }

  #pool(endpoint: string, connections: number): Pool {
    return new Pool(endpoint, {
      connections,
      pipelining: 1,
      connect: connectorOf(this.#options.tls, { timeout: this.#options.timeoutMs, rejectUnauthorized: true }),
      // Attempts have a limit of their own, which is exact; streams have none.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: 10_000,
      maxResponseSize: -1,
    });
  }
}

/** Nobody asks for the body before there is a connection: then it is on its way. */
function bodyOf(bytes: Buffer, onSent: () => void): Readable {
  return new Readable({
    read() {
      onSent();
      this.push(bytes);
      this.push(null);
    },
  });
}

function parsed(text: string, statusCode: number): unknown {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new AttemptFailed(noJson(text, statusCode));
  }
  if (statusCode === 200 && !(json !== null && typeof json === 'object' && 'error' in json)) return json;
  throw new AttemptFailed(failureOf(json, statusCode));
}

/** What the server in front of the gateway says itself: of a certificate that it does not want, or of a path that it does not have. */
function noJson(text: string, statusCode: number): EtcdFailure {
  const said = text.replace(/\s+/g, ' ').trim().slice(0, mostSaidChars);
  const message = `HTTP status ${statusCode}${said === '' ? '' : `: ${said}`}`;
  if (statusCode === 400 || statusCode === 401 || statusCode === 403) return { kind: 'refused', undone: true, message };
  const why = 'so it is not etcd, or its gateway is off';
  return { kind: 'unavailable', undone: statusCode === 404, message: `${message}; no JSON, ${why}` };
}

function originOf(endpoint: string): string {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url !== undefined && /^https?:$/.test(url.protocol)) return url.origin;
  throw new PrimedError('ETCD_REFUSED', `'${endpoint}' is not an endpoint of etcd: write http://HOST:PORT.`);
}

/** The innermost cause that says something. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0]);
  if (error instanceof Error) return error.message || (error as NodeJS.ErrnoException).code || error.name;
  return String(error);
}
