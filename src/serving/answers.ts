/**
 * Decides about each request of a serving thread: it answers GET and HEAD of files that are whole here, and passes on the rest.
 *
 * Of what may be outdated the main thread is asked first what the origin has. Only that very version is answered here, and the
 * question is asked after the request has come: so what is written through is never given as it was before an answered write.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ReadPolicies, ReadPolicy } from '../core/read-policy.ts';
import { type FileId, type ObjectVersion, sameVersion, type UfsPath } from '../core/types.ts';
import type { S3Access } from '../server/s3/access.ts';
import type { S3Address } from '../server/s3/address.ts';
import { admit, commonHeaders } from '../server/s3/admission.ts';
import { S3Error } from '../server/s3/errors.ts';
import { headOf, type ObjectHead } from '../server/s3/head.ts';
import type { StoreView, ViewedFile } from '../store/index.ts';
import { statusClasses } from '../telemetry/metric-row.ts';
import { answerColumnOf, firstByteSlot, secondsSlotOf, servingColumns } from '../telemetry/serving-columns.ts';
import type { CounterRow } from '../telemetry/shared-counters.ts';
import { withoutQuery } from '../telemetry/trace.ts';
import { type BodyContext, type BodyEnd, sendFile } from './body.ts';
import type { MainThread } from './pass-on.ts';
import type { Questions } from './questions.ts';

export interface AnswersOptions extends BodyContext {
  readonly view: StoreView;
  readonly access: S3Access;
  readonly domains: readonly string[];
  readonly policies: ReadPolicies;
  readonly questions: Pick<Questions, 'ask'>;
  readonly main: MainThread;
  readonly row: CounterRow;
  readonly ids: () => string;
  readonly onRead: (file: FileId) => void;
  /** Told of each answer that was given here; `startedMs` by performance.now(). */
  readonly onAnswered?: (request: IncomingMessage, status: number, startedMs: number) => void;
  readonly onTrouble: (level: 'error' | 'debug', facts: Record<string, unknown>, text: string) => void;
}

interface Asked {
  readonly path: UfsPath;
  readonly query: S3Address['query'];
  readonly policy: ReadPolicy;
}

interface Decided {
  readonly path: UfsPath;
  readonly head: ObjectHead;
  /** Undefined: there is no body to read. */
  readonly file: ViewedFile | undefined;
}

interface Reading {
  readonly file: ViewedFile;
  readonly startedMs: number;
}

export class Answers {
  readonly #options: AnswersOptions;
  /** Bodies that wait for something, by what they are of. */
  readonly #bodies = new Map<AbortController, FileId>();
  #onIdle: (() => void) | undefined;

  constructor(options: AnswersOptions) {
    this.#options = options;
  }

  answer(request: IncomingMessage, response: ServerResponse): void {
    const startedMs = performance.now();
    const asked = this.#attempt(request, () => this.#admitted(request));
    if (asked === undefined) this.#passOn(request, response);
    else if (!asksOrigin(asked.policy)) this.#give(request, response, this.#decide(request, asked), startedMs);
    else if (this.#options.view.find(asked.path) === undefined) this.#passOn(request, response);
    else
      this.#options.questions.ask(asked.path, (current) => {
        if (response.destroyed) return;
        const decided = current && this.#decide(request, asked, current);
        this.#give(request, response, decided, startedMs);
      });
  }

  #passOn(request: IncomingMessage, response: ServerResponse): void {
    this.#options.row.add(servingColumns.passedOn, 1);
    this.#options.main.answer(request, response);
  }

  #give(request: IncomingMessage, response: ServerResponse, decided: Decided | undefined, startedMs: number): void {
    const { main } = this.#options;
    if (decided === undefined) {
      this.#passOn(request, response);
      return;
    }
    const { head, file } = decided;
    if (file === undefined) {
      this.#writeHead(response, head);
      response.end();
      this.#count(request, head, startedMs);
      return;
    }
    try {
      void this.#body(request, response, { ...decided, file, startedMs });
    } catch (error) {
      file.close();
      this.#options.onTrouble(
        'error',
        { path: decided.path, error: String(error) },
        'the main thread answers a request',
      );
      if (response.headersSent) response.destroy();
      else main.answer(request, response);
    }
  }

  /** Ends the bodies of these files. */
  cut(files: readonly FileId[]): void {
    for (const [body, file] of this.#bodies) {
      if (body.signal.aborted || !files.includes(file)) continue;
      this.#options.row.add(servingColumns.cutBodies, 1);
      body.abort();
    }
  }

  /** Ends bodies; resolves when none is under way. */
  async close(): Promise<void> {
    for (const body of this.#bodies.keys()) body.abort();
    if (this.#bodies.size === 0) return;
    await new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
  }

  /** Undefined: whatever there is to say, the main thread says it. */
  #attempt<T>(request: IncomingMessage, act: () => T | undefined): T | undefined {
    try {
      return act();
    } catch (error) {
      if (error instanceof S3Error) return undefined;
      this.#options.onTrouble(
        'error',
        { path: withoutQuery(request.url ?? ''), error: String(error) },
        'the main thread answers a request',
      );
      return undefined;
    }
  }

  /** Of a read of an object by somebody who may. Throws S3Error. */
  #admitted(request: IncomingMessage): Asked | undefined {
    const { method, headers } = request;
    if ((method !== 'GET' && method !== 'HEAD') || hasBody(request)) return undefined;
    const { access, domains, policies } = this.#options;
    const { address } = admit({ method, target: request.url!, headers }, access, domains);
    if (address.key === '') return undefined;
    const path = `s3://${address.bucket}/${address.key}` as UfsPath;
    return { path, query: address.query, policy: policies.of(path) };
  }

  /** @param current what the origin has, where it was to be asked */
  #decide(request: IncomingMessage, asked: Asked, current?: ObjectVersion): Decided | undefined {
    return this.#attempt(request, () => {
      const { method, headers } = request;
      const { view, onRead } = this.#options;
      const { path, query } = asked;
      if (method === 'HEAD') {
        const record = view.find(path);
        if (record === undefined || !isCurrent(record, asked, current)) return undefined;
        return { path, head: headOf(record, headers, query), file: undefined };
      }
      let head: ObjectHead | undefined;
      const file = view.open(path, (record) => {
        if (!isCurrent(record, asked, current)) return undefined;
        head = headOf(record, headers, query);
        return head.range;
      });
      if (file === undefined) return undefined;
      if (head === undefined) {
        file.close();
        return undefined;
      }
      onRead(file.record.fileId);
      if (head.range !== undefined && head.range.length > 0) return { path, head, file };
      file.close();
      return { path, head, file: undefined };
    });
  }

  /** At once where nothing has to be waited for. */
  #body(request: IncomingMessage, response: ServerResponse, order: Decided & Reading): void | Promise<void> {
    // An answer behind others on its connection waits for them.
    if (response.socket === null) return this.#inTurn(request, response, order);
    const { row } = this.#options;
    let body: AbortController | undefined;
    const left = (): void => body?.abort();
    const sending = sendFile(this.#options, {
      file: order.file,
      range: order.head.range!,
      response,
      writeHead: () => {
        this.#writeHead(response, order.head);
        row.observe(firstByteSlot, (performance.now() - order.startedMs) / msPerSecond);
      },
      cancelled: () => {
        if (body === undefined) {
          body = new AbortController();
          this.#bodies.set(body, order.file.record.fileId);
          response.once('close', left);
          if (response.destroyed) body.abort();
        }
        return body.signal;
      },
    });
    if (!(sending instanceof Promise)) {
      if (sending.outcome === 'sent') {
        this.#ended(request, order, sending.sentBytes);
        order.file.close();
        return;
      }
    }
    return this.#waitFor(request, response, order, sending, () => {
      response.removeListener('close', left);
      if (body === undefined) return;
      this.#bodies.delete(body);
      if (this.#bodies.size === 0) this.#onIdle?.();
    });
  }

  async #inTurn(request: IncomingMessage, response: ServerResponse, order: Decided & Reading): Promise<void> {
    if (await assigned(request, response)) await this.#body(request, response, order);
    else order.file.close();
  }

  async #waitFor(
    request: IncomingMessage,
    response: ServerResponse,
    order: Decided & Reading,
    sending: BodyEnd | Promise<BodyEnd>,
    settled: () => void,
  ): Promise<void> {
    const { row, main, onTrouble } = this.#options;
    const { path, file } = order;
    const range = order.head.range!;
    row.add(servingColumns.bodies, 1);
    try {
      const end = await sending;
      if (end.outcome === 'unreadable') {
        row.add(servingColumns.passedOn, 1);
        main.answer(request, response);
        return;
      }
      const { outcome, sentBytes } = end;
      this.#ended(request, order, sentBytes);
      if (outcome === 'sent') return;
      if (outcome === 'bad-page' || outcome === 'disk-error') {
        const rest = { offset: range.offset + sentBytes, length: range.length - sentBytes };
        onTrouble('error', { path, outcome, offset: rest.offset }, 'the main thread goes on with an answer');
        await main.finish(request, response, rest, file.record.etag);
        return;
      }
      onTrouble('debug', { path, outcome, sentBytes }, 'an answer on the S3 port was cut off');
      response.destroy();
    } catch (error) {
      onTrouble('error', { path, error: String(error) }, 'an answer on the S3 port was cut off');
      response.destroy();
    } finally {
      file.close();
      row.add(servingColumns.bodies, -1);
      settled();
    }
  }

  #ended(request: IncomingMessage, { head, startedMs }: Decided & Reading, sentBytes: number): void {
    this.#options.row.add(servingColumns.servedBytes, sentBytes);
    this.#count(request, head, startedMs);
  }

  #writeHead(response: ServerResponse, head: ObjectHead): void {
    // As Node keeps them; of an object it would make this first.
    const pairs: string[] = [];
    for (const headers of [commonHeaders(this.#options.ids()), head.headers]) {
      for (const name in headers) pairs.push(name, headers[name]!);
    }
    response.writeHead(head.status, pairs);
  }

  #count(request: IncomingMessage, { status }: ObjectHead, startedMs: number): void {
    const { row, onAnswered } = this.#options;
    const { method } = request;
    onAnswered?.(request, status, startedMs);
    const operation = method === 'HEAD' ? 'head' : 'get';
    row.add(answerColumnOf(operation, statusClasses[Math.floor(status / 100) - 1]!), 1);
    row.observe(secondsSlotOf(operation), (performance.now() - startedMs) / msPerSecond);
  }
}

const msPerSecond = 1000;

/** What is cached may be outdated: who asks the origin is the main thread. */
function asksOrigin({ readThrough, maxAgeMs }: ReadPolicy): boolean {
  return readThrough !== 'never' && maxAgeMs !== undefined;
}

function isCurrent(record: ObjectVersion, { policy }: Asked, current: ObjectVersion | undefined): boolean {
  if (!asksOrigin(policy)) return true;
  return current !== undefined && sameVersion(record, current);
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || (headers['content-length'] ?? '0') !== '0';
}

/** False: the connection closed before its turn came. */
function assigned({ socket }: IncomingMessage, response: ServerResponse): Promise<boolean> {
  return new Promise((resolve) => {
    if (socket.destroyed) resolve(false);
    response.once('socket', () => resolve(true));
    // An answer without its socket is not told.
    socket.once('close', () => resolve(false));
  });
}
