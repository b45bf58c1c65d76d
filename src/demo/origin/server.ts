/**
 * demo/origin: a small, real S3 server: origin of the demo, and test double of the whole project.
 *
 * Who is in it: `targetOf` says what a request is about, SignatureJudge who may ask, FaultBook what is to go wrong,
 * ObjectTable what there is (content.ts: which bytes), Routes what is answered, `sendAnswer`
 * how it leaves, Recorder what is remembered. A request passes through them in this order. Nothing survives the process.
 *
 * For throughput it belongs in a process of its own (spawn.ts): sending costs CPU that the code under test needs.
 */
import { randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { type S3Credentials, SignatureJudge } from '../../server/s3/signature.ts';
import { planDataset } from '../dataset.ts';
import { type Answer, errorAnswer, hostIdOf, S3Refusal } from './answer.ts';
import type { EmbeddedOrigin, OriginKnobs, OriginOptions, PutSpec } from './api.ts';
import { type Fault, FaultBook, type FaultRule } from './faults.ts';
import { type ObjectSpec, ObjectTable } from './objects.ts';
import { Pace } from './pace.ts';
import { Recorder } from './records.ts';
import { Routes } from './routes.ts';
import { pause, type SendPlan, type Sent, sendAnswer } from './send.ts';
import { type Target, targetOf } from './target.ts';

const defaultLogLimit = 10_000;
/** Longer than any client keeps a connection idle, so that it is the client who closes. */
const keepAliveMs = 120_000;

/** Starts an origin in this process. Rejects if the port is taken. */
export async function startOrigin(options: OriginOptions = {}): Promise<EmbeddedOrigin> {
  const origin = new Origin(options);
  await origin.listen(options.host ?? '127.0.0.1', options.port ?? 0);
  return origin;
}

class Origin implements EmbeddedOrigin {
  readonly bucket: string;
  host = '';
  port = 0;
  readonly #options: OriginOptions;
  readonly #table: ObjectTable;
  readonly #routes: Routes;
  readonly #faults = new FaultBook();
  readonly #recorder: Recorder;
  #judge: SignatureJudge | undefined;
  #latencyMs = 0;
  #totalPace: Pace | undefined;
  #connectionBytesPerSecond = 0;
  #connectionPaces = new WeakMap<Socket, Pace>();
  readonly #server: Server;

  constructor(options: OriginOptions) {
    this.#options = options;
    this.bucket = options.bucket ?? 'demo';
    this.#table = new ObjectTable([this.bucket, ...(options.buckets ?? [])], options);
    this.#routes = new Routes(this.#table, {
      region: options.region ?? 'us-east-1',
      versioned: options.versioned === true,
      checksums: options.checksums ?? ['crc64nvme'],
    });
    for (const spec of options.objects ?? []) this.add(spec);
    if (options.dataset !== undefined) for (const spec of planDataset(options.dataset)) this.add(spec);
    this.#recorder = new Recorder(options.logLimit ?? defaultLogLimit);
    if (options.credentials !== undefined) this.setCredentials(options.credentials);
    this.setKnobs(options.knobs ?? {});
    const listener = (request: IncomingMessage, response: ServerResponse) => {
      // Never rejects: what fails inside is answered as InternalError.
      void this.#serve(request, response);
    };
    const limits = { keepAliveTimeout: keepAliveMs, requestTimeout: 0, noDelay: true };
    this.#server =
      options.tls === undefined
        ? createServer(limits, listener)
        : createTlsServer({ ...limits, ...options.tls }, listener);
    this.#server.on(options.tls === undefined ? 'connection' : 'secureConnection', () => {
      this.#recorder.connectionsOpened += 1;
    });
  }

  get endpoint(): string {
    return `${this.#options.tls === undefined ? 'http' : 'https'}://${this.host}:${this.port}`;
  }

  get requests() {
    return this.#recorder.log();
  }

  listen(host: string, port: number): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen({ host, port, backlog: 1024 }, () => {
        this.#server.off('error', reject);
        this.host = host;
        this.port = (this.#server.address() as AddressInfo).port;
        resolve();
      });
    });
  }

  close(): Promise<void> {
    return new Promise((resolve) => {
      this.#server.close(() => resolve());
      this.#server.closeAllConnections();
    });
  }

  setFault(rule: FaultRule) {
    return this.#faults.set(rule);
  }

  clearFaults() {
    this.#faults.clear();
  }

  fired(id: number) {
    return this.#faults.fired(id);
  }

  faults() {
    return this.#faults.reports();
  }

  setKnobs(knobs: OriginKnobs) {
    const { latencyMs, bytesPerSecond, connectionBytesPerSecond } = knobs;
    if (latencyMs !== undefined) this.#latencyMs = latencyMs;
    if (bytesPerSecond === 0) this.#totalPace = undefined;
    else if (bytesPerSecond !== undefined) {
      if (this.#totalPace === undefined) this.#totalPace = new Pace(bytesPerSecond, Date.now());
      else this.#totalPace.setRate(bytesPerSecond, Date.now());
    }
    if (connectionBytesPerSecond !== undefined) {
      this.#connectionBytesPerSecond = connectionBytesPerSecond;
      this.#connectionPaces = new WeakMap();
    }
  }

  setCredentials(credentials: readonly S3Credentials[]) {
    if (this.#judge === undefined) this.#judge = new SignatureJudge(credentials);
    else this.#judge.setCredentials(credentials);
  }

  stats() {
    return this.#recorder.stats();
  }

  requestLog() {
    return this.#recorder.log();
  }

  resetStats() {
    this.#recorder.reset();
  }

  add(spec: ObjectSpec) {
    this.#table.add(spec.bucket ?? this.bucket, spec);
  }

  put({ bucket = this.bucket, key, body, contentType, lastModifiedMs = Date.now() }: PutSpec) {
    const bytes = Buffer.from(body as Uint8Array);
    this.#table.put(bucket, {
      key,
      body: bytes,
      lastModifiedMs,
      ...(contentType === undefined ? {} : { contentType }),
    });
  }

  bump({ bucket = this.bucket, key, sizeBytes }: { bucket?: string; key: string; sizeBytes?: number }) {
    return this.#table.bump(bucket, key, sizeBytes)?.version;
  }

  remove({ bucket = this.bucket, key }: { bucket?: string; key: string }) {
    return this.#table.remove(bucket, key);
  }

  prepareEtags() {
    let count = 0;
    for (const bucket of this.#table.bucketNames()) {
      for (const key of this.#table.sortedKeys(bucket)) {
        const object = this.#table.find(bucket, key);
        if (object !== undefined) this.#table.etagOf(object);
        count += 1;
      }
    }
    return count;
  }

  dropConnections() {
    this.#server.closeAllConnections();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const startedMs = Date.now();
    const requestId = randomBytes(8).toString('hex').toUpperCase();
    const sequence = this.#recorder.arrived();
    const isHead = request.method === 'HEAD';
    const client = request.socket.remoteAddress ?? '';
    let target: Target | undefined;
    let fault: Fault | undefined;
    let answer: Answer;
    const sent: Sent = { bytes: 0, complete: false };
    try {
      target = targetOf(request);
      this.#checkSignature(request, target);
      fault = this.#pickFault(request, target);
      const delayMs = this.#latencyMs + (fault?.kind === 'latency' ? fault.delayMs : 0);
      if (delayMs > 0) await pause(response, delayMs);
      answer = await this.#routes.answer(request, target, fault, this.endpoint);
    } catch (error) {
      const refusal =
        error instanceof S3Refusal
          ? error
          : new S3Refusal(500, 'InternalError', error instanceof Error ? error.message : String(error));
      answer = errorAnswer(refusal, { requestId, isHead, bucket: target?.bucket ?? '', key: target?.key ?? '' });
    }
    Object.assign(answer.headers, {
      'x-amz-request-id': requestId,
      'x-amz-id-2': hostIdOf(requestId),
      Server: 'primed-demo-origin',
    });
    if (!response.destroyed) {
      if (target?.operation === 'GetObject') this.#recorder.sending(sequence, client, sent);
      await sendAnswer(response, answer, this.#sendPlan(request, fault), sent);
    }
    const { range, 'if-match': ifMatch, 'user-agent': userAgent } = request.headers;
    this.#recorder.answered({
      sequence,
      requestId,
      operation: target?.operation ?? 'Unknown',
      method: request.method ?? '',
      bucket: target?.bucket ?? '',
      key: target?.key ?? '',
      ...(range === undefined ? {} : { range }),
      ...(ifMatch === undefined ? {} : { ifMatch }),
      ...(userAgent === undefined ? {} : { userAgent }),
      client,
      status: answer.status,
      bytesSent: sent.bytes,
      at: startedMs,
      durationMs: Date.now() - startedMs,
      complete: sent.complete,
      ...(fault === undefined ? {} : { fault: fault.kind }),
    });
  }

  #checkSignature(request: IncomingMessage, target: Target): void {
    const judgement = this.#judge?.judge(
      { method: request.method ?? '', rawPath: target.rawPath, rawQuery: target.rawQuery, headers: request.headers },
      Date.now(),
    );
    if (judgement?.kind === 'unsigned')
      throw new S3Refusal(403, 'AccessDenied', 'Access Denied: the request is not signed.');
    if (judgement?.kind !== 'refused') return;
    const { status, code, message } = judgement.refusal;
    throw new S3Refusal(status, code, message);
  }

  /** Also does what a fault does to the object itself. */
  #pickFault(request: IncomingMessage, target: Target): Fault | undefined {
    const start = /^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1];
    const fault = this.#faults.pick({
      operation: target.operation,
      key: target.key,
      rangeStart: start === undefined ? undefined : Number(start),
    });
    if (fault?.kind === 'change') this.#table.bump(target.bucket, target.key, fault.sizeBytes);
    if (fault?.kind === 'vanish') this.#table.remove(target.bucket, target.key);
    return fault;
  }

  #sendPlan(request: IncomingMessage, fault: Fault | undefined): SendPlan {
    const paces: Pace[] = [];
    if (this.#totalPace !== undefined) paces.push(this.#totalPace);
    if (this.#connectionBytesPerSecond > 0) paces.push(this.#paceOf(request.socket));
    switch (fault?.kind) {
      case 'drip':
        return { paces: [...paces, new Pace(fault.bytesPerSecond, Date.now())] };
      case 'reset':
        return { paces, cut: { how: 'reset', afterBytes: fault.afterBytes } };
      case 'short-body':
        return { paces, cut: { how: 'end', afterBytes: fault.afterBytes } };
      case 'stall':
        return {
          paces,
          cut: {
            how: 'stall',
            afterBytes: fault.afterBytes,
            ...(fault.forMs === undefined ? {} : { forMs: fault.forMs }),
          },
        };
      case 'long-body':
        return { paces, extra: { bytes: fault.extraBytes, declared: fault.declared ?? true } };
      case 'corrupt':
        return { paces, corruptAtByte: fault.atByte };
      case 'chunked':
        return { paces, chunked: true };
      default:
        return { paces };
    }
  }

  #paceOf(socket: Socket): Pace {
    const pace = this.#connectionPaces.get(socket) ?? new Pace(this.#connectionBytesPerSecond, Date.now());
    this.#connectionPaces.set(socket, pace);
    return pace;
  }
}
