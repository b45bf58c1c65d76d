/** HTTP to a coordinator: one request, its time limits, and every way to fail as a PrimedError. */
import { Agent, type Dispatcher, request } from 'undici';
import { type ErrorCode, errorCatalogue, PrimedError, type StatusCode } from '../core/errors.ts';
import { bearer, type LiveText } from '../core/live.ts';
import type { ClientTls } from '../core/node-tls.ts';
import { connectorOf } from './connector.ts';
import { reasonOf, whyUnreachable } from './unreachable.ts';

export interface TransportOptions {
  /** `http://host:port`; `host:port` is understood. */
  readonly coordinator: string;
  /** Sent as a bearer token. */
  readonly token?: LiveText;
  /** Of https. */
  readonly tls?: ClientTls;
  /** What each request has beside what it needs, asked when it is sent. */
  readonly headers?: () => Readonly<Record<string, string>>;
  /** Time for a connection. */
  readonly connectTimeoutMs?: number;
  /** Longest silence: before the answer begins, and within it. */
  readonly answerTimeoutMs?: number;
}

export interface Ask {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly path: string;
  /** Of a list, one of the name for each. */
  readonly query?: Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly accept?: string;
  /** Longest silence of this request, where it differs. */
  readonly answerTimeoutMs?: number;
  readonly signal?: AbortSignal;
  /** What 404 means here. */
  readonly notFound: ErrorCode;
}

export type Answer = Dispatcher.ResponseData;

const defaultConnectTimeoutMs = 5_000;
const defaultAnswerTimeoutMs = 30_000;
/** An answer that is read whole; a page of 10,000 entries with keys of 1 KiB fits. */
const maxTextBytes = 64 * 1024 * 1024;

export class Transport {
  readonly url: string;
  readonly #agent: Agent;
  readonly #token: LiveText | undefined;
  readonly #headers: TransportOptions['headers'];

  /** Throws REQUEST_INVALID when the address is not a URL. */
  constructor({ coordinator, token, tls, headers, connectTimeoutMs, answerTimeoutMs }: TransportOptions) {
    this.url = baseUrl(coordinator);
    this.#headers = headers;
    this.#token = token;
    const silenceMs = answerTimeoutMs ?? defaultAnswerTimeoutMs;
    this.#agent = new Agent({
      connect: connectorOf(tls, { timeout: connectTimeoutMs ?? defaultConnectTimeoutMs }),
      headersTimeout: silenceMs,
      bodyTimeout: silenceMs,
      keepAliveTimeout: 4_000,
      connections: 8,
      pipelining: 1,
      maxResponseSize: -1,
    });
  }

  /** Resolves with an answer of 2xx, its body not yet read. Rejects with PrimedError. */
  async open(ask: Ask): Promise<Answer> {
    const answer = await this.#send(ask);
    if (answer.statusCode >= 200 && answer.statusCode < 300) return answer;
    throw errorOf(answer.statusCode, await this.textOf(answer), ask, this.url);
  }

  async text(ask: Ask): Promise<string> {
    return this.textOf(await this.open(ask));
  }

  async json<T>(ask: Ask): Promise<T> {
    const body = await this.text(ask);
    const parsed = parseObject(body);
    if (parsed === undefined) throw notPrimed(this.url, `answered ${ask.path} with something that is not JSON`);
    return parsed as T;
  }

  /** The body as text. Rejects with ANSWER_INCOMPLETE when it breaks off. */
  async textOf(answer: Answer): Promise<string> {
    const pieces: Buffer[] = [];
    let total = 0;
    for await (const piece of this.bytesOf(answer)) {
      total += piece.length;
      if (total > maxTextBytes) throw notPrimed(this.url, `answered with more than ${maxTextBytes} bytes`);
      pieces.push(piece);
    }
    return Buffer.concat(pieces).toString('utf8');
  }

  /** The body in pieces, exactly as long as announced. Rejects with ANSWER_INCOMPLETE when it breaks off. */
  async *bytesOf(answer: Answer): AsyncGenerator<Buffer> {
    const announced = answer.headers['content-length'];
    let received = 0;
    try {
      for await (const piece of answer.body) {
        received += (piece as Buffer).length;
        yield piece as Buffer;
      }
    } catch (cause) {
      if ((cause as Error).name === 'AbortError') throw cause;
      const of = typeof announced === 'string' ? ` of ${announced}` : '';
      throw new PrimedError(
        'ANSWER_INCOMPLETE',
        `${this.url} broke off its answer after ${received}${of} bytes (${reasonOf(cause)}); the log of the daemon says why.`,
        { receivedBytes: received },
        { cause },
      );
    }
  }

  close(): Promise<void> {
    return this.#agent.destroy();
  }

  async #send({ method, path, query = {}, body, headers, accept, answerTimeoutMs, signal }: Ask): Promise<Answer> {
    const url = new URL(path.replace(/^\//, ''), this.url.endsWith('/') ? this.url : `${this.url}/`);
    for (const [name, value] of Object.entries(query))
      for (const one of Array.isArray(value) ? value : value === undefined ? [] : [value])
        url.searchParams.append(name, String(one));
    try {
      return await request(url, {
        dispatcher: this.#agent,
        method,
        headers: {
          ...headers,
          accept: accept ?? 'application/json',
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          ...this.#headers?.(),
          ...bearer(this.#token),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        ...(answerTimeoutMs === undefined ? {} : { headersTimeout: answerTimeoutMs, bodyTimeout: answerTimeoutMs }),
        ...(signal === undefined ? {} : { signal }),
      });
    } catch (cause) {
      if (signal?.aborted === true) throw cause;
      throw new PrimedError(
        'COORDINATOR_UNREACHABLE',
        `The coordinator at ${this.url} cannot be reached (${whyUnreachable(this.url, cause)}); check --coordinator or PRIMED_COORDINATOR, and that the daemon runs.`,
        { url: this.url },
        { cause },
      );
    }
  }
}

function baseUrl(coordinator: string): string {
  const written = coordinator.trim();
  const url = /^[a-z]+:\/\//i.test(written) ? written : `http://${written}`;
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !/^https?:$/.test(parsed.protocol) || parsed.hostname === '') {
    throw new PrimedError(
      'REQUEST_INVALID',
      `'${coordinator}' is not the address of a coordinator: write http://HOST:PORT.`,
      { field: 'coordinator' },
    );
  }
  return `${parsed.origin}${parsed.pathname}`.replace(/\/+$/, '');
}

/** Which row of the catalogue a status means when the answer does not carry a code itself. */
const codeOf: Partial<Record<StatusCode, ErrorCode>> = {
  INVALID_ARGUMENT: 'REQUEST_INVALID',
  UNAUTHENTICATED: 'UNAUTHENTICATED',
  PERMISSION_DENIED: 'ORIGIN_DENIED',
  ALREADY_EXISTS: 'JOB_CONFLICT',
  OUT_OF_RANGE: 'RANGE_INVALID',
  RESOURCE_EXHAUSTED: 'JOB_LIMIT',
  PAYLOAD_TOO_LARGE: 'REQUEST_INVALID',
  UNIMPLEMENTED: 'REQUEST_INVALID',
  UNAVAILABLE: 'STOPPING',
  DATA_LOSS: 'STORE_CORRUPT',
};

function errorOf(httpStatus: number, body: string, ask: Ask, url: string): PrimedError {
  const parsed = parseObject(body);
  const { statusCode, message, code } = (parsed ?? {}) as { statusCode?: unknown; message?: unknown; code?: unknown };
  if (typeof message !== 'string' || typeof statusCode !== 'string') {
    return notPrimed(url, `answered ${ask.method} ${ask.path} with ${httpStatus} and no error object`);
  }
  const named = typeof code === 'string' && code in errorCatalogue ? (code as ErrorCode) : undefined;
  const byStatus = statusCode === 'NOT_FOUND' ? ask.notFound : codeOf[statusCode as StatusCode];
  return new PrimedError(named ?? byStatus ?? 'INTERNAL', message, { statusCode, httpStatus });
}

function notPrimed(url: string, what: string): PrimedError {
  return new PrimedError(
    'COORDINATOR_UNREACHABLE',
    `What listens at ${url} is not a coordinator of primed: it ${what}.`,
    { url },
  );
}

function parseObject(body: string): object | undefined {
  try {
    const parsed: unknown = JSON.parse(body);
    return typeof parsed === 'object' && parsed !== null ? parsed : undefined;
  } catch {
    return undefined;
  }
}

/** The innermost cause that says something: `connect ECONNREFUSED 127.0.0.1:19999`. */
