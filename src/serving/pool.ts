/** The serving threads, as the main thread sees them. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { PrimedError } from '../core/errors.ts';
import type { ServerTls } from '../core/node-tls.ts';
import type { ReadRules } from '../core/read-policy.ts';
import type { FileId, Log, ObjectVersion, UfsPath } from '../core/types.ts';
import { pageBytes } from '../core/units.ts';
import { closePageCache, type DiskEngine, listenShared, openPageCache, pageCacheBytes } from '../platform/index.ts';
import type { S3AccessOptions } from '../server/s3/access.ts';
import { maxS3Connections } from '../server/s3/connections.ts';
import type { SharedReads } from '../store/index.ts';
import type { ServingCounters } from '../telemetry/serving-columns.ts';
import { isTracing, startSpan } from '../telemetry/trace.ts';
import { borrowersOf } from './borrowers.ts';
import { Outbox } from './outbox.ts';
import type { FromServing, Question, QuestionAnswer, ServingStart, ToServing, TracedAnswer } from './protocol.ts';

export interface ServingOptions {
  readonly listen: { readonly host: string; readonly port: number };
  readonly threads: number;
  readonly cacheBytes: number;
  readonly engine: DiskEngine;
  readonly tls?: ServerTls;
  readonly access: S3AccessOptions;
  readonly domains: readonly string[];
  readonly reading: ReadRules;
  readonly indexDir: string;
  readonly storePaths: readonly string[];
  /** Rows: one for each thread, and the main thread's own. */
  readonly counters: ServingCounters;
  readonly reads: SharedReads;
  /** Where the S3 server of the main thread listens. */
  readonly mainPath: string;
  readonly inside: string;
  readonly log: Log;
  /** What the origin has, as young as the policy of the path wants it. Undefined: nothing. Rejects with ORIGIN_*. */
  readonly current: (path: UfsPath) => Promise<ObjectVersion | undefined>;
  /** Files were read; distinct ones, at most every 100 ms. */
  readonly onTouched: (files: readonly FileId[]) => void;
  /** A thread that ends by itself is a defect: the process must not go on without its part of the connections. */
  readonly onLost: (error: Error) => void;
}

export interface Serving {
  readonly port: number;
  /** Of the page cache that is filled. */
  cachedBytes(): number;
  /** From now on, in place of those that were given at the start. */
  setAccess(access: S3AccessOptions): void;
  setReading(reading: ReadRules): void;
  /** For new connections, where the port speaks TLS. */
  setTls(tls: ServerTls): void;
  /** No request is answered afterwards, and no file is read. Answers under way have a second. */
  close(): Promise<void>;
}

const backlog = 4096;
/** For all threads together; the limit of descriptors is met before by most machines. */
const maxConnections = 65_536;
/** Longest time that a client may take over a page before it is cut off. */
const stallMs = 60_000;
const graceMs = 1_000;
/** Requests and their answers; pages lie outside of the heap. */
const heapMb = 256;
const startLimitMs = 20_000;
const mostLoads = 64;
const leastLoads = 2;

/** Where the main thread listens for its serving threads: a name that lives as long as the socket, and no file. */
export function mainAddress(): { path: string; inside: string } {
  return { path: `\0primed-s3-${randomBytes(8).toString('hex')}`, inside: randomBytes(16).toString('hex') };
}

/** Resolves when every thread answers. Rejects with the error of `listen`, and with STORE_IO. */
export async function openServing(options: ServingOptions): Promise<Serving> {
  const { threads, listen, cacheBytes, log } = options;
  const { address } = await lookup(listen.host);
  const { port, fds } = listenShared({ address, port: listen.port, count: threads, backlog });
  const cache = openPageCache(cacheBytes);
  // What all threads have in hand fits into half of the cache, so that no page that was read must go before it is sent.
  const loads = Math.floor(cacheBytes / 2 / pageBytes / threads);
  const workers: Worker[] = [];
  let closing = false;
  const ended: Promise<void>[] = [];
  const ready = fds.map((listenFd, index) => {
    const start: ServingStart = {
      index,
      listenFd,
      ...(options.tls && { tls: options.tls }),
      access: { ...options.access },
      domains: options.domains,
      reading: options.reading,
      indexDir: options.indexDir,
      storePaths: options.storePaths,
      cache,
      engine: options.engine,
      loads: Math.max(leastLoads, Math.min(mostLoads, loads)),
      maxConnections: Math.ceil(maxConnections / threads),
      borrowers: borrowersOf(cacheBytes, threads),
      stallMs,
      graceMs,
      mainPath: options.mainPath,
      inside: options.inside,
      mainConnections: Math.floor(maxS3Connections / threads),
      traced: isTracing(),
      counters: options.counters.buffer,
      reads: options.reads.buffer,
    };
    const worker = new Worker(threadFile(), {
      workerData: start,
      resourceLimits: { maxOldGenerationSizeMb: heapMb },
    });
    workers.push(worker);
    const answers = new Outbox<QuestionAnswer>((all) => worker.postMessage({ type: 'versions', answers: all }));
    const answerAll = (questions: readonly Question[]): void => {
      for (const { id, path } of questions)
        options.current(path).then(
          (version) => answers.add({ id, version: version && plainVersion(version) }),
          // The thread passes the request on, and hears why.
          () => answers.add({ id, version: undefined }),
        );
    };
    ended.push(
      new Promise((resolve) => {
        worker.once('exit', (code) => {
          options.reads.clear(index);
          resolve();
          if (!closing) options.onLost(new Error(`serving thread ${index} ended with code ${code}`));
        });
      }),
    );
    return new Promise<void>((resolve, reject) => {
      worker.on('error', (error) => {
        reject(error);
        log.error({ thread: index, error: error.stack ?? String(error) }, 'a serving thread has failed');
      });
      worker.on('message', (message: FromServing) => {
        if (message.type === 'ready') resolve();
        else if (message.type === 'questions') answerAll(message.questions);
        else if (message.type === 'touched') options.onTouched(message.files);
        else if (message.type === 'answered') message.answers.forEach(spanOf);
        else log[message.level](message.facts, message.text);
      });
    });
  });
  const tell = (message: ToServing): void => {
    for (const worker of workers) worker.postMessage(message);
  };
  const end = async (): Promise<void> => {
    closing = true;
    tell({ type: 'close' });
    await Promise.all(ended);
    closePageCache(cache);
  };
  let ending: Promise<void> | undefined;
  try {
    await inTime(Promise.all(ready));
  } catch (error) {
    closing = true;
    await Promise.all(workers.map((worker) => worker.terminate()));
    closePageCache(cache);
    throw error;
  }
  return {
    port,
    cachedBytes: () => (closing ? 0 : pageCacheBytes(cache)),
    setAccess: ({ keys, anonymous }) => tell({ type: 'access', access: { keys, anonymous } }),
    setReading: ({ base, origins, rules }) => tell({ type: 'reading', reading: { base, origins, rules } }),
    setTls: (tls) => tell({ type: 'tls', tls }),
    close: () => {
      ending ??= end();
      return ending;
    },
  };
}

/** Of what else is known of the object nothing crosses. */
function plainVersion({ etag, sizeBytes, lastModifiedMs, versionId }: ObjectVersion): ObjectVersion {
  return { etag, sizeBytes, lastModifiedMs, ...(versionId !== undefined && { versionId }) };
}

async function inTime(ready: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const why = `the serving threads did not start within ${startLimitMs / 1000} s`;
    timer = setTimeout(() => reject(new PrimedError('INTERNAL', why)), startLimitMs);
  });
  try {
    await Promise.race([ready, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** dist/serving.js, from wherever this module runs: a thread needs a file of plain JavaScript. */
function threadFile(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    const candidate = join(folder, 'dist', 'serving.js');
    if (existsSync(candidate)) return candidate;
    assert(folder !== dirname(folder), 'dist/serving.js is missing: run `npm run build`');
  }
}

/** Of an answer that a thread has just given. */
function spanOf({ method, path, status, traceparent, startMs, endMs }: TracedAnswer): void {
  const span = startSpan(`S3 ${method.toLowerCase()}`, {
    ...{ kind: 'server', parent: traceparent, startMs },
    attributes: {
      ...{ 'http.request.method': method, 'url.path': path, 'http.response.status_code': status },
      'primed.port': 's3',
      'primed.cached': true,
    },
  });
  span.end(undefined, endMs);
}
