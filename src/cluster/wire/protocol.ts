/**
 * What a coordinator and a worker say to each other over the control link: frames of msgpack in a WebSocket.
 *
 *   coordinator                                                      worker
 *      │  GET /internal/v1/control, upgrade, headers as below           │
 *      │ ─────────────────────────────────────────────────────────────▶ │  401, 426, 409, or:
 *      │  hello: what is pending, which runs are active                 │
 *      │ ─────────────────────────────────────────────────────────────▶ │  sends again what is settled of it
 *      │  loads, calls; each frame says how many results have arrived   │
 *      │ ─────────────────────────────────────────────────────────────▶ │
 *      │                      outcomes, answers, failures, progress     │
 *      │ ◀───────────────────────────────────────────────────────────── │
 *
 * Down, towards the worker: [ results that arrived over this connection since the last frame, message… ]
 *   [ 0 hello,   pending numbers[], runs [ spec, reserved bytes, stopped ][] ]
 *   [ 1 loads,   run, numbers[] or the first of numbers without a gap, entries, cuts or nil, hasty numbers[] or true for all or nil,
 *       sources [ number, worker, url, whether it is followed ][] or nil, numbers[] of those that others follow or nil ]
 *   [ 2 call,    number, method, arguments… ]
 * Up: [ message… ]
 *   [ 0 outcomes, numbers[], results[] or nil, loaded bytes[] or nil, skipped bytes[] or nil, versions[] or 1 or nil, errors[] or nil ]
 *   [ 1 answer,   number, value ]
 *   [ 2 failure,  number, code, message ]
 *   [ 3 progress, run, figures ]
 *   [ 4 demand,   what the worker would ask of limited origins, in place of what it said before ]
 *
 * A number names one call of one session, which is one RemoteLink with all its connections. A call is repeated with its
 * number, so that the worker can tell a repetition from a new one; it keeps a result until it knows that it has arrived.
 */
import { type ErrorCode, type ErrorReport, errorCatalogue, PrimedError } from '../../core/errors.ts';
import type { OriginDemand } from '../../core/origin-limits.ts';
import { clusterProtocol, type ProtocolRange, parseRange, versionsOf } from '../../core/protocol.ts';
import { cutInMiddle } from '../../core/text.ts';
import type { RunId, WorkerId } from '../../core/types.ts';
import type { RunProgress, RunSpec } from '../../ingest/types.ts';
import { msgpack } from '../msgpack.ts';
import type { Cuts, EntryColumns, OutcomeColumns } from './columns.ts';

export const controlPath = '/internal/v1/control';
const subprotocolStart = 'primed.';
/** What is offered, and accepted: subprotocols of the WebSocket, the newest version first. */
export const subprotocols: readonly string[] = versionsOf(clusterProtocol).map(subprotocolOf);

function subprotocolOf(version: number): string {
  return `${subprotocolStart}${version}`;
}

/** Of the subprotocol that a connection has. */
export function versionOf(subprotocol: string): number {
  return Number(subprotocol.slice(subprotocolStart.length));
}

/** The newest of ours that is among what is offered. */
export function chosenOf(offered: Iterable<string>): string | undefined {
  const all = new Set(offered);
  return subprotocols.find((one) => all.has(one));
}

/** What the other side understands, by its offer; undefined: it says nothing of primed. */
export function offeredRange(offered: string): ProtocolRange | undefined {
  const versions = offered.split(',').flatMap((one) => {
    const [, version] = /^\s*primed\.(\d{1,6})\s*$/.exec(one) ?? [];
    return version === undefined ? [] : [Number(version)];
  });
  return versions.length === 0 ? undefined : parseRange(`${Math.min(...versions)}-${Math.max(...versions)}`);
}

export const header = {
  /** The epoch of the worker that the coordinator means. */
  epoch: 'x-primed-epoch',
  coordinator: 'x-primed-coordinator',
  /** A random name of one RemoteLink. */
  session: 'x-primed-session',
  /** Of primed, for messages. */
  release: 'x-primed-release',
} as const;

/** A frame that is larger is refused, and the connection closed. */
export const maxFrameBytes = 8 * 1024 * 1024;
/**
 * Entries (loads, files, results) of one frame. The longest have a path of 4 KiB or a key, an ETag and a version id of 1 KiB
 * each: 1,024 of them are 4.2 MiB, half a frame.
 */
export const entriesPerFrame = 1024;
/** Longer messages of errors are cut; with it, results keep to what an entry may take. */
export const maxMessageLength = 2048;

/**
 * Calls of each kind that one link has in flight; the others wait. Loads: at 50,000 a second they hide a round trip of
 * 80 ms. Those that control a run do not wait behind what they control; runs are few.
 */
export const inFlight = { load: 4096, verify: 1024, query: 256, control: Number.POSITIVE_INFINITY } as const;
export type Kind = keyof typeof inFlight;
/** Calls of one session that a worker keeps, under way or with a result that may not have arrived. */
export const maxCallsHeld = inFlight.load + inFlight.verify + inFlight.query + 4096;

export interface Timing {
  /** Each side asks the other for a sign of life so often… */
  readonly pingMs: number;
  /** …and gives the connection up when none came for so long; less than any lease. */
  readonly silenceMs: number;
  readonly handshakeMs: number;
  /** Time to the next attempt to connect: doubles from the first to the second. */
  readonly firstRetryMs: number;
  readonly longestRetryMs: number;
  /** The worker tells the progress of runs so often, where it has changed. */
  readonly progressMs: number;
}

export const defaultTiming: Timing = {
  pingMs: 1000,
  silenceMs: 3000,
  handshakeMs: 3000,
  firstRetryMs: 50,
  longestRetryMs: 2000,
  progressMs: 500,
};

export const down = { hello: 0, loads: 1, call: 2 } as const;
export const up = { outcomes: 0, answer: 1, failure: 2, progress: 3, demand: 4 } as const;

export type Hello = [
  type: typeof down.hello,
  pending: number[],
  runs: [spec: RunSpec, reservedBytes: number, stopped: boolean][],
];
export type Loads = [
  type: typeof down.loads,
  run: RunId,
  numbers: number[] | number,
  entries: EntryColumns,
  cuts: Cuts | null,
  hasty: number[] | true | null,
  sources: [number: number, worker: string, url: string, follow: boolean][] | null,
  followed: number[] | null,
];
/** @param numbers as they cross: all of them, or the first of `count` without a gap */
export function numbersOf(numbers: Loads[2], count: number): readonly number[] {
  return typeof numbers === 'number' ? Array.from({ length: count }, (_, at) => numbers + at) : numbers;
}

export type Call = [type: typeof down.call, number: number, method: Method, ...args: unknown[]];
export type DownMessage = Hello | Loads | Call;

export type UpMessage =
  | [type: typeof up.outcomes, numbers: number[], outcomes: OutcomeColumns]
  | [type: typeof up.answer, number: number, value: unknown]
  | [type: typeof up.failure, number: number, code: string, message: string]
  | [type: typeof up.progress, run: RunId, figures: RunProgress]
  | [type: typeof up.demand, demand: readonly OriginDemand[]];

export type Method =
  | 'startRun'
  | 'reserve'
  | 'makeRoom'
  | 'cached'
  | 'missing'
  | 'room'
  | 'publish'
  | 'abandon'
  | 'discard'
  | 'stateChecksums'
  | 'loadMetadata'
  | 'verify'
  | 'free'
  | 'setBandwidth'
  | 'stopRun'
  | 'endRun'
  | 'setPeers'
  | 'setPins'
  | 'setOriginLimits';

export function packDown(arrived: number, messages: readonly DownMessage[]): Buffer {
  return msgpack.pack([arrived, ...messages]);
}

/** Throws for what is no frame. */
export function unpackDown(frame: Buffer): { readonly arrived: number; readonly messages: readonly DownMessage[] } {
  const [arrived, ...messages] = unpack(frame);
  if (!Number.isSafeInteger(arrived)) throw new TypeError('the frame does not say how many results have arrived');
  return { arrived: arrived as number, messages: messages as DownMessage[] };
}

export function packUp(messages: readonly UpMessage[]): Buffer {
  return msgpack.pack(messages);
}

/** Throws for what is no frame. */
export function unpackUp(frame: Buffer): readonly UpMessage[] {
  return unpack(frame) as UpMessage[];
}

function unpack(frame: Buffer): unknown[] {
  const unpacked: unknown = msgpack.unpack(frame);
  if (!Array.isArray(unpacked)) throw new TypeError('the frame is not an array');
  return unpacked;
}

/** As it crosses: a code that this side does not know becomes INTERNAL, and keeps its name in the message. */
export function reportFrom(code: string, message: string): ErrorReport {
  if (Object.hasOwn(errorCatalogue, code)) return { code: code as ErrorCode, message };
  return { code: 'INTERNAL', message: `${code}: ${message}` };
}

export function shortened({ code, message }: ErrorReport): ErrorReport {
  return { code, message: cutInMiddle(message, maxMessageLength) };
}

export function unknownRun(run: RunId, worker: WorkerId): PrimedError {
  return new PrimedError(
    'RUN_UNKNOWN',
    `Run ${run} is not known to worker '${worker}': it was not started there, or it has ended.`,
    { run, worker },
  );
}
