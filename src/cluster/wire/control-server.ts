/**
 * The worker's end of the control link: an upgrade of its HTTP port.
 *
 * A run is one session's at a time: that of the highest term, and of those with the same term the last one to begin it.
 * A coordinator has one connection at a time; a new one replaces the one before, of which nothing is heard any more. Its
 * session outlives the connection by the lease. Then its runs are stopped: somebody else has been given their segments.
 */
import { type IncomingMessage, type Server, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { PrimedError } from '../../core/errors.ts';
import { type OriginLimit, strictest } from '../../core/origin-limits.ts';
import { clusterProtocol, protocolsApart } from '../../core/protocol.ts';
import type { Log, RunId, WorkerId } from '../../core/types.ts';
import type { RunSpec } from '../../ingest/types.ts';
import type { RunTerm, WorkerLink } from '../worker-link.ts';
import { type NodeAccess, nodeCheck, type RequestCheck } from './node-check.ts';
import {
  chosenOf,
  controlPath,
  defaultTiming,
  header,
  maxFrameBytes,
  offeredRange,
  subprotocols,
  type Timing,
  versionOf,
} from './protocol.ts';
import { Pulse } from './pulse.ts';
import { Refusals } from './refusals.ts';
import { Session } from './session.ts';

export interface ControlOptions extends NodeAccess {
  /** Of this process. */
  readonly link: WorkerLink;
  /** Of the registration that holds; undefined: there is none. */
  readonly epoch: () => number | undefined;
  /** So long the runs of a coordinator go on while it is away. */
  readonly leaseMs: () => number;
  /** Of primed, for messages. */
  readonly version: string;
  readonly log: Log;
  readonly timing?: Timing;
}

export interface Control {
  /** Ends all connections; the runs are the worker's to stop. */
  close(): void;
}

/** Why a coordinator is not let in. */
interface Refusal {
  readonly status: 400 | 401 | 409 | 426 | 503;
  readonly error: PrimedError;
}

interface Peer {
  readonly name: string;
  readonly session: Session;
  socket: WebSocket | undefined;
  expiry: NodeJS.Timeout | undefined;
}

/** Sessions that a worker keeps, those included whose coordinator is away. */
const mostSessions = 64;
/** Runs of which the term is remembered, those that have ended included: an old coordinator may yet ask for them. */
const mostTerms = 10_000;
const idPattern = /^[!-~]{1,256}$/;
/** Close codes of our own, and of RFC 6455. */
const code = { replaced: 4000, stale: 4001, malformed: 1002 } as const;

export function attachControl(server: Server, options: ControlOptions): Control {
  const control = new ControlServer(options);
  const onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    if (request.url?.split('?', 1)[0] === controlPath) control.upgrade(request, socket, head);
    else serveAsPlain(server, request, socket, head);
  };
  server.on('upgrade', onUpgrade);
  return {
    close() {
      server.off('upgrade', onUpgrade);
      control.close();
    },
  };
}

class ControlServer {
  readonly #options: ControlOptions;
  readonly #timing: Timing;
  readonly #problemWith: RequestCheck | undefined;
  readonly #sockets: WebSocketServer;
  /** By the session's name. */
  readonly #peers = new Map<string, Peer>();
  /** Which session a coordinator speaks by now. */
  readonly #current = new Map<string, Peer>();
  readonly #owners = new Map<RunId, Session>();
  /** The highest term of each run. */
  readonly #terms = new Map<RunId, number>();
  readonly #refusals = new Refusals();
  readonly #progressTimer: NodeJS.Timeout;
  readonly #unsubscribe: () => void;
  /** What each coordinator lets this worker ask of origins. */
  readonly #limits = new Map<string, readonly OriginLimit[]>();

  constructor(options: ControlOptions) {
    this.#options = options;
    this.#timing = options.timing ?? defaultTiming;
    this.#problemWith = nodeCheck(options, `cluster.token of worker '${options.link.id}'`);
    this.#sockets = new WebSocketServer({
      noServer: true,
      maxPayload: maxFrameBytes,
      perMessageDeflate: false,
      clientTracking: false,
      handleProtocols: (offered) => chosenOf(offered) ?? false,
    });
    this.#progressTimer = setInterval(() => {
      for (const { session } of this.#peers.values()) {
        session.tellProgress();
        session.tellDemand();
      }
    }, this.#timing.progressMs);
    this.#progressTimer.unref();
    this.#unsubscribe = options.link.onOriginDemand(() => {
      for (const { session } of this.#peers.values()) session.tellDemand();
    });
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // Who hangs up during the handshake is no concern of the process.
    socket.on('error', () => undefined);
    const from = request.socket.remoteAddress ?? '';
    const refusal = this.#refusalOf(request);
    if (refusal !== undefined) {
      this.#noteRefusal(from, refusal);
      refuse(socket, refusal);
      return;
    }
    this.#refusals.accepted(from);
    const [coordinator, session] = [request.headers[header.coordinator], request.headers[header.session]] as string[];
    const epoch = this.#options.epoch();
    this.#sockets.handleUpgrade(request, socket, head, (opened) =>
      this.#opened(opened, { coordinator: coordinator!, name: session!, epoch }),
    );
  }

  close(): void {
    clearInterval(this.#progressTimer);
    this.#unsubscribe();
    for (const peer of this.#peers.values()) {
      clearTimeout(peer.expiry);
      const { socket } = peer;
      // Its close is no absence of the coordinator.
      peer.socket = undefined;
      peer.session.detach();
      socket?.terminate();
    }
    this.#peers.clear();
    this.#current.clear();
  }

  #opened(socket: WebSocket, who: { coordinator: string; name: string; epoch: number | undefined }): void {
    const { log } = this.#options;
    const { coordinator, name, epoch } = who;
    const peer = this.#peerOf(coordinator, name);
    const before = this.#current.get(coordinator);
    this.#current.set(coordinator, peer);
    for (const replaced of new Set([before, peer])) if (replaced !== undefined) this.#replace(replaced);
    clearTimeout(peer.expiry);
    peer.expiry = undefined;
    peer.socket = socket;
    const protocol = versionOf(socket.protocol);
    peer.session.attach({ protocol, send: (frame) => socket.send(frame) });
    const pulse = new Pulse(socket, this.#timing, () => {
      if (this.#options.epoch() !== epoch) this.#drop(peer, socket, code.stale, 'the worker has registered anew');
    });
    socket.on('message', (frame) => {
      if (peer.socket !== socket) return;
      // What was said to an earlier registration does not count for this one.
      if (this.#options.epoch() !== epoch) {
        this.#drop(peer, socket, code.stale, 'the worker has registered anew');
        return;
      }
      try {
        peer.session.heard(frame as Buffer);
      } catch (error) {
        log.warn({ coordinator, error: String(error) }, 'a frame of a coordinator makes no sense');
        this.#drop(peer, socket, code.malformed, 'a frame makes no sense');
      }
    });
    socket.on('error', (error) => {
      log.warn({ coordinator, error: error.message }, 'the control link failed');
    });
    socket.on('close', () => {
      if (peer.socket !== socket) return;
      peer.socket = undefined;
      peer.session.detach();
      log.info({ coordinator, epoch }, 'the control link of a coordinator is down');
      this.#expireLater(peer, pulse.silentMs);
    });
    log.info({ coordinator, epoch, protocol }, 'the control link of a coordinator is up');
  }

  #peerOf(coordinator: string, name: string): Peer {
    const key = `${coordinator} ${name}`;
    const known = this.#peers.get(key);
    if (known !== undefined) return known;
    const { link, log } = this.#options;
    const session = new Session({
      coordinator,
      link,
      log,
      claim: (spec, claimer) => this.#claim(spec, claimer),
      heed: (of) => this.#heed(of),
      release: (run, owner) => {
        if (this.#owners.get(run) === owner) this.#owners.delete(run);
      },
      limit: (limits) => {
        // One that is gone has kept its last word only until another one speaks.
        for (const one of this.#limits.keys()) if (!this.#current.has(one)) this.#limits.delete(one);
        this.#limits.set(coordinator, limits);
        return this.#applyLimits();
      },
    });
    const peer: Peer = { name: key, session, socket: undefined, expiry: undefined };
    this.#peers.set(key, peer);
    return peer;
  }

  /** Ends the connection of a session in favour of another; its runs have the lease to be begun again by that. */
  #replace(peer: Peer): void {
    const { socket } = peer;
    if (socket === undefined) return;
    this.#drop(peer, socket, code.replaced, 'another connection of this coordinator took its place');
    this.#expireLater(peer, 0);
  }

  /** Nothing more is heard of it, from now on. */
  #drop(peer: Peer, socket: WebSocket, why: number, reason: string): void {
    socket.close(why, reason);
    if (peer.socket === socket) {
      peer.socket = undefined;
      peer.session.detach();
      this.#expireLater(peer, 0);
    }
  }

  /** `silentMs`: how long nothing has been heard of it. */
  #expireLater(peer: Peer, silentMs: number): void {
    clearTimeout(peer.expiry);
    const leftMs = Math.max(0, this.#options.leaseMs() - silentMs);
    peer.expiry = setTimeout(() => this.#expire(peer), leftMs).unref();
  }

  #expire(peer: Peer): void {
    const { session } = peer;
    const { runs } = session;
    this.#peers.delete(peer.name);
    for (const [coordinator, current] of this.#current) {
      if (current !== peer) continue;
      this.#current.delete(coordinator);
      this.#forgetLimits(coordinator);
    }
    const { log } = this.#options;
    const facts = { runs, leaseMs: this.#options.leaseMs() };
    if (runs.length > 0) log.warn(facts, 'a coordinator is away for longer than the lease: its runs are stopped');
    else log.info(facts, 'a coordinator is away for longer than the lease');
    void session.expire();
  }

  /** Each coordinator divides the limits among all workers: what keeps to the least of what they say keeps to all of them. */
  #applyLimits(): Promise<void> {
    return this.#options.link.setOriginLimits(strictest(this.#limits.values()));
  }

  /** What the last coordinator has said holds until another one says something. */
  #forgetLimits(coordinator: string): void {
    if (this.#limits.size < 2 || !this.#limits.delete(coordinator)) return;
    void this.#applyLimits();
  }

  /** A coordinator that stood still does not know that its jobs were taken over: terms tell who came later. */
  #heed({ run, term }: RunTerm): void {
    const highest = this.#terms.get(run) ?? 0;
    if (term < highest) throw superseded({ run, term, highest, worker: this.#options.link.id });
    if (term > 0) {
      // The one that was heard of last is forgotten last.
      this.#terms.delete(run);
      this.#terms.set(run, term);
      if (this.#terms.size > mostTerms) this.#terms.delete(this.#terms.keys().next().value!);
    }
  }

  #claim(spec: RunSpec, claimer: Session): Promise<void> {
    this.#heed(spec);
    const { run } = spec;
    const owner = this.#owners.get(run);
    this.#owners.set(run, claimer);
    return owner === undefined || owner === claimer ? Promise.resolve() : owner.giveUp(run);
  }

  #refusalOf(request: IncomingMessage): Refusal | undefined {
    const { headers } = request;
    const { epoch, version, link } = this.#options;
    const worker = link.id;
    const refusal = (status: Refusal['status'], message: string, facts: object): Refusal => ({
      status,
      error: new PrimedError('WORKER_REFUSED', message, { worker, ...facts }),
    });
    const problem = this.#problemWith?.(request);
    if (problem !== undefined) return refusal(401, problem, {});
    const offered = headers['sec-websocket-protocol'] ?? '';
    if (chosenOf(offered.split(',').map((one) => one.trim())) === undefined) {
      const range = offeredRange(offered);
      const here = { name: `worker '${worker}'`, release: version, range: clusterProtocol };
      const message =
        range === undefined
          ? `'${offered.slice(0, 64)}' is no protocol of primed; worker '${worker}' (primed ${version}) speaks ${subprotocols.join(', ')}.`
          : protocolsApart({ name: 'the coordinator', release: releaseOf(request), range }, here);
      return refusal(426, message, { offered, wanted: subprotocols.join(',') });
    }
    const { [header.coordinator]: coordinator, [header.session]: session, [header.epoch]: meant } = headers;
    if (!isId(coordinator) || !isId(session)) {
      const message = `The headers ${header.coordinator} and ${header.session} have to be there, with 1 to 256 printable characters.`;
      return refusal(400, message, {});
    }
    const is = epoch();
    if (is === undefined || meant !== String(is)) {
      const holds = is === undefined ? 'it is not registered' : `it is registered with epoch ${is}`;
      const message = `The coordinator means epoch ${String(meant).slice(0, 20)} of worker '${worker}', and ${holds}; this mends itself when the worker has registered with this coordinator.`;
      return refusal(409, message, { epoch: is });
    }
    if (this.#peers.size >= mostSessions && !this.#peers.has(`${coordinator} ${session}`))
      return refusal(503, `Worker '${worker}' has ${mostSessions} coordinators already; it takes no more.`, {});
    return undefined;
  }

  /** Once, until that address is let in: who is refused tries again and again. */
  #noteRefusal(from: string, { status, error }: Refusal): void {
    if (!this.#refusals.isNews(from, String(status))) return;
    const level = status === 409 ? 'info' : 'warn';
    this.#options.log[level]({ from, status, reason: error.message }, 'a control link is refused');
  }
}

function superseded(of: { run: RunId; term: number; highest: number; worker: WorkerId }): PrimedError {
  return new PrimedError(
    'RUN_SUPERSEDED',
    `Run ${of.run} is coordinated under claim ${of.highest} by now, and worker '${of.worker}' was asked under claim ${of.term}: another coordinator has taken the job over.`,
    of,
  );
}

/** A coordinator of version 3 does not say it. */
function releaseOf({ headers }: IncomingMessage): string | undefined {
  const release = headers[header.release];
  return isId(release) ? release.slice(0, 64) : undefined;
}

function isId(value: string | string[] | undefined): value is string {
  return typeof value === 'string' && idPattern.test(value);
}

function refuse(socket: Duplex, { status, error }: Refusal): void {
  const statusCode = status === 401 ? 'UNAUTHENTICATED' : error.status;
  const body = JSON.stringify({ statusCode, message: error.message, code: error.code });
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Content-Type: application/json; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
    ...(status === 401 ? ['WWW-Authenticate: Bearer'] : []),
    ...(status === 426 ? [`Sec-WebSocket-Protocol: ${subprotocols.join(', ')}`] : []),
  ];
  socket.end(`${lines.join('\r\n')}\r\n\r\n${body}`, () => socket.destroy());
}

/**
 * A server with a listener for upgrades gets no more requests that only offer one, such as HTTP/2 in clear text by curl and
 * Java. They go into it a second time without the offer, and are answered as if there was no control link.
 */
function serveAsPlain(server: Server, request: IncomingMessage, socket: Duplex, head: Buffer): void {
  const lines = [`${request.method} ${request.url} HTTP/${request.httpVersion}`];
  for (let at = 0; at < request.rawHeaders.length; at += 2) {
    const name = request.rawHeaders[at]!;
    if (!/^(?:upgrade|http2-settings)$/i.test(name)) lines.push(`${name}: ${request.rawHeaders[at + 1]}`);
  }
  socket.unshift(Buffer.concat([Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'), head]));
  server.emit('connection', socket);
}
