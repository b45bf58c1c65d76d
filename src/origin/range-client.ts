/**
 * The data plane of one lane: sockets, the requests on them, and those that wait for one.
 *
 * `get` starts a request at once while fewer than `limit` are active, else it queues (the caller's slots bound the queue):
 * in order within a run, over all origins, and by weight between runs. Patient requests, which wait long for a silent
 * origin, never hold all sockets: the last eighth is for hasty ones. Active are: an exchange on a socket, a read of a file, a fetch by the general way. The
 * number of sockets, idle ones included, never passes `maxSockets`: the longest idle one is closed for a new one.
 * One sweep timer serves every time limit, and one pace timer every socket that waits for `grant`.
 */
import assert from 'node:assert/strict';
import { FairQueue } from '../core/fair-queue.ts';
import { hastyMs } from '../core/silence.ts';
import { Connection, type ConnectionHost, type ConnectionLimits, type Exchange } from './connection.ts';
import { makeFileReader } from './file-reader.ts';
import { makeGeneralWay } from './general.ts';
import { makeS3Origin, type S3Origin } from './lane-origin.ts';
import type {
  OriginFailure,
  OriginTimeouts,
  RangeClient,
  RangeClientOptions,
  RangeRequest,
  RangeResult,
} from './types.ts';

/** Sweeps within the shortest time limit: limits are kept to within 1/8. */
const sweepsPerLimit = 8;
const sweepMsMax = 500;
const defaultPaceRetryMs = 10;
/** One socket in so many is kept from patient requests. */
const reservedShare = 8;

interface Job extends Exchange {
  readonly onDone: (result: RangeResult) => void;
  readonly queuedAtMs: number;
  startedAtMs: number;
  general: boolean;
  cancelled: boolean;
}

/** Limits, in sweeps. */
function ticksOf(timeouts: OriginTimeouts, idleMs: number): ConnectionLimits & { readonly sweepMs: number } {
  const { connectMs, firstByteMs, stallMs } = timeouts;
  const [hastyFirstByteMs, hastyStallMs] = [hastyMs(firstByteMs), hastyMs(stallMs)];
  const shortestMs = Math.min(connectMs, hastyFirstByteMs, hastyStallMs, idleMs);
  const sweepMs = Math.max(1, Math.min(sweepMsMax, Math.floor(shortestMs / sweepsPerLimit)));
  const ticks = (ms: number): number => Math.max(1, Math.ceil(ms / sweepMs));
  return {
    ...{ sweepMs, connectTicks: ticks(connectMs), idleTicks: ticks(idleMs) },
    ...{ firstByteTicks: ticks(firstByteMs), stallTicks: ticks(stallMs) },
    ...{ hastyFirstByteTicks: ticks(hastyFirstByteMs), hastyStallTicks: ticks(hastyStallMs) },
  };
}

export function makeRangeClient(options: RangeClientOptions): RangeClient {
  const { maxSockets, idleMs, grant, admit, weightOf = () => 1 } = options;
  const timeouts = { ...options.timeouts };
  let limits = ticksOf(timeouts, idleMs);
  const paceRetryMs = options.paceRetryMs ?? defaultPaceRetryMs;

  const origins = new Map<number, { s3: S3Origin } | { root: string }>();
  const connections = new Set<Connection>();
  const openedTo = new WeakMap<Connection, S3Origin>();
  /** Idle connections, the most recently used last; over all origins. */
  const idle: Connection[] = [];
  const pacing = new Set<Connection>();
  /** Jobs that are not on a socket of ours: files and the general way. */
  const elsewhere = new Map<Job, AbortController>();
  const queue = new FairQueue<number, Job>();
  let active = 0;
  let patient = 0;
  const mostPatient = maxSockets - Math.floor(maxSockets / reservedShare);
  let limit = maxSockets;
  let closed = false;
  let tick = 0;
  let sweepTimer: NodeJS.Timeout | undefined;
  let paceTimer: NodeJS.Timeout | undefined;
  let onDrained: (() => void) | undefined;

  const general = makeGeneralWay({ timeouts, grant, admit, paceRetryMs });
  const files = makeFileReader({ grant, admit, paceRetryMs });

  const host: ConnectionHost = {
    get tick() {
      return tick;
    },
    get limits() {
      return limits;
    },
    pace(connection) {
      pacing.add(connection);
      paceTimer ??= setTimeout(resumePaced, paceRetryMs);
    },
    compose: (request) => s3Of(request.originIndex).compose(request),
    done(connection, exchange, failure) {
      if (connection.dead) connections.delete(connection);
      else idle.push(connection);
      if (!isOfNow(connection)) connection.destroy('cancelled', 'the origin is reached in another way now');
      const job = exchange as Job;
      const unread = failure?.cause === 'protocol' && job.receivedBytes === 0;
      if (unread && !job.cancelled && s3Of(job.request.originIndex).lane.peer === undefined) goGeneralWay(job);
      else finish(job, failure);
    },
    resend(connection, exchange) {
      connections.delete(connection);
      openConnection(exchange as Job);
    },
    learnClock(connection, originNowMs) {
      if (!Number.isNaN(originNowMs)) s3Of(connection.originIndex).setClockOffset(originNowMs - Date.now());
    },
    lost(connection) {
      connections.delete(connection);
      const at = idle.indexOf(connection);
      if (at >= 0) idle.splice(at, 1);
    },
  };

  /** Whether its socket leads to where the origin is by now. */
  function isOfNow(connection: Connection): boolean {
    const origin = origins.get(connection.originIndex);
    return origin !== undefined && 's3' in origin && origin.s3 === openedTo.get(connection);
  }

  function closeIdle(originIndex: number, why: string): void {
    for (let at = idle.length - 1; at >= 0; at -= 1) {
      const connection = idle[at]!;
      if (connection.originIndex === originIndex) connection.destroy('cancelled', why);
    }
  }

  function s3Of(originIndex: number): S3Origin {
    const origin = origins.get(originIndex);
    assert(origin !== undefined && 's3' in origin, 'an S3 origin is added before it is used');
    return origin.s3;
  }

  function resumePaced(): void {
    paceTimer = undefined;
    for (const connection of pacing) if (connection.tryResume()) pacing.delete(connection);
    if (pacing.size > 0) paceTimer = setTimeout(resumePaced, paceRetryMs);
  }

  function sweep(): void {
    tick += 1;
    for (const connection of connections) connection.sweep();
    if (connections.size === 0) {
      clearInterval(sweepTimer);
      sweepTimer = undefined;
    }
  }

  function openConnection(job: Job): void {
    while (connections.size >= maxSockets && idle.length > 0) {
      const oldest = idle.shift()!;
      connections.delete(oldest);
      oldest.destroy('cancelled', 'closed to make room');
    }
    const { originIndex } = job.request;
    const { open, connectedEvent, lane } = s3Of(originIndex);
    const paced = lane.peer === undefined ? { grant, admit } : { grant: undefined, admit: undefined };
    const connection = new Connection({ originIndex, host, open, connectedEvent, ...paced });
    connections.add(connection);
    openedTo.set(connection, s3Of(originIndex));
    sweepTimer ??= setInterval(sweep, limits.sweepMs);
    connection.start(job);
  }

  /** The most recently used idle connection of the origin: the others may age out. */
  function takeIdle(originIndex: number): Connection | undefined {
    for (let i = idle.length - 1; i >= 0; i -= 1) {
      const connection = idle[i]!;
      if (connection.originIndex !== originIndex) continue;
      if (i === idle.length - 1) idle.pop();
      else idle.splice(i, 1);
      return connection;
    }
    return undefined;
  }

  function start(job: Job): void {
    active += 1;
    if (isPatient(job)) patient += 1;
    job.startedAtMs = performance.now();
    const origin = origins.get(job.request.originIndex);
    assert(origin !== undefined, 'an origin is added before it is used');
    if ('root' in origin) {
      const abort = new AbortController();
      elsewhere.set(job, abort);
      void files.read(origin.root, job, abort.signal).then((failure) => finish(job, failure));
      return;
    }
    if (!origin.s3.ready) {
      // Not from within get(): a caller must never be answered before its call has returned.
      queueMicrotask(() => finish(job, { cause: 'expired', message: 'no credentials were set for this origin yet' }));
      return;
    }
    const connection = takeIdle(job.request.originIndex);
    if (connection === undefined) openConnection(job);
    else connection.start(job);
  }

  function goGeneralWay(job: Job): void {
    const abort = new AbortController();
    job.general = true;
    elsewhere.set(job, abort);
    void general.fetch(s3Of(job.request.originIndex), job, abort.signal).then((failure) => finish(job, failure));
  }

  function finish(job: Job, failure: OriginFailure | undefined): void {
    active -= 1;
    if (isPatient(job)) patient -= 1;
    queue.giveBack(lineOf(job));
    elsewhere.delete(job);
    assert(failure !== undefined || job.receivedBytes === job.request.length, 'success means every byte');
    answer(job, job.cancelled ? cancelled : failure);
    pump();
    if (closed && active === 0) onDrained?.();
  }

  function answer(job: Job, failure: OriginFailure | undefined): void {
    const now = performance.now();
    const startedAtMs = job.startedAtMs === 0 ? now : job.startedAtMs;
    job.onDone({
      ...(failure !== undefined && { failure }),
      receivedBytes: job.receivedBytes,
      queuedMs: startedAtMs - job.queuedAtMs,
      firstByteMs: job.firstByteAtMs === 0 ? 0 : job.firstByteAtMs - startedAtMs,
      totalMs: now - startedAtMs,
      attributes: failure === undefined ? job.attributes : '',
      httpStatus: job.httpStatus,
      requestId: job.requestId,
      ...(job.general && { general: true as const }),
    });
  }

  const mayStart = (job: Job): boolean => !isPatient(job) || patient < mostPatient;

  function pump(): void {
    while (active < limit) {
      const job = queue.take(mayStart);
      if (job === undefined) return;
      start(job);
    }
  }

  function dropWhere(matches: (job: Job) => boolean): void {
    const waiting = queue.remove(matches);
    for (const [job, abort] of elsewhere) {
      if (!matches(job)) continue;
      job.cancelled = true;
      abort.abort();
    }
    for (const connection of connections) {
      const job = connection.exchange as Job | undefined;
      if (job === undefined || !matches(job)) continue;
      job.cancelled = true;
      connection.destroy('cancelled', cancelled.message);
    }
    for (const job of waiting) answer(job, cancelled);
  }

  return {
    addOrigin(origin) {
      const known = origins.get(origin.originIndex);
      if (origin.kind === 'file') {
        origins.set(origin.originIndex, { root: origin.root });
        return;
      }
      const s3 = makeS3Origin(origin);
      if (known !== undefined && 's3' in known) s3.setCredentials(known.s3.credentials);
      origins.set(origin.originIndex, { s3 });
      if (known !== undefined) closeIdle(origin.originIndex, 'the origin is reached in another way now');
    },
    removeOrigin(originIndex) {
      closeIdle(originIndex, 'the origin was removed');
      origins.delete(originIndex);
    },
    setCredentials(originIndex, credentials) {
      const origin = origins.get(originIndex);
      if (origin !== undefined && 's3' in origin) origin.s3.setCredentials(credentials);
    },
    setTimeouts(next) {
      Object.assign(timeouts, next);
      general.forgetClients();
      // What was waited for by now counts in the ticks of before: it errs once, by less than a limit.
      limits = ticksOf(timeouts, idleMs);
      if (sweepTimer === undefined) return;
      clearInterval(sweepTimer);
      sweepTimer = setInterval(sweep, limits.sweepMs);
    },
    get(request: RangeRequest, destination, onBytes, onDone) {
      assert(destination.length === request.length, 'the destination is as long as the range');
      const job: Job = {
        request,
        destination,
        onBytes,
        onDone,
        queuedAtMs: performance.now(),
        receivedBytes: 0,
        firstByteAtMs: 0,
        attributes: '',
        paced: undefined,
        httpStatus: undefined,
        requestId: undefined,
        startedAtMs: 0,
        resent: false,
        general: false,
        cancelled: false,
      };
      if (closed) queueMicrotask(() => answer(job, cancelled));
      else if (active < limit && queue.length === 0 && mayStart(job)) {
        queue.enter(lineOf(job));
        start(job);
      } else {
        queue.push(lineOf(job), job, weightOf(request.run));
        // A patient one may wait while there are sockets for others.
        pump();
      }
    },
    setConcurrency(next) {
      limit = Math.max(1, Math.min(next, maxSockets));
      pump();
    },
    cancel(run) {
      dropWhere((job) => job.request.run === run);
    },
    eachWait(visit) {
      for (const connection of connections) {
        const { exchange, originIndex } = connection;
        if (exchange === undefined) continue;
        const copied = s3Of(originIndex).lane.peer !== undefined;
        visit(exchange.request.run, copied ? 'copying' : connection.waitsFor!, 1);
      }
      for (const { request, paced, receivedBytes } of elsewhere.keys())
        visit(request.run, paced ?? (receivedBytes === 0 ? 'first-byte' : 'transfer'), 1);
      if (limit < maxSockets) queue.eachWaiting((line, count) => visit(runOf(line), 'throttled', count));
    },
    get queued() {
      return queue.length;
    },
    get active() {
      return active;
    },
    get sockets() {
      return connections.size;
    },
    async close() {
      closed = true;
      dropWhere(() => true);
      for (const connection of connections) connection.destroy('cancelled', cancelled.message);
      connections.clear();
      idle.length = 0;
      clearInterval(sweepTimer);
      clearTimeout(paceTimer);
      if (active > 0) {
        await new Promise<void>((resolve) => {
          onDrained = resolve;
        });
      }
      await general.close();
    },
  };
}

/** It waits for a silent origin as long as the time limits allow; the others give up after an eighth of that. */
function isPatient({ request }: Job): boolean {
  return request.hasty !== true;
}

/** Hasty requests of a run do not wait behind its patient ones. */
function lineOf(job: Job): number {
  return 2 * job.request.run + Number(isPatient(job));
}

function runOf(line: number): number {
  return line >> 1;
}

const cancelled: OriginFailure = { cause: 'cancelled', message: 'the run was stopped' };
