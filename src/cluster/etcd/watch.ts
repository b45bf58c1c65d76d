/**
 * One watch of a prefix: reads all of it, then hears what changes, for as long as it is not closed.
 *
 *   read ──▶ watch from the revision after ──▶ broken, silent: watch from the revision after what was heard last
 *    ▲                                            │
 *    └────────── etcd has forgotten that one ─────┘
 *
 * A connection can die without a word, and etcd tells of progress only every ten minutes. So a watch that has heard nothing
 * for `silenceMs` is begun anew, over a new connection, from where it was: whatever happened comes then, at most that late.
 * What etcd has said of a revision counts when all of it is here; so it can begin behind any revision that was heard.
 */
import { setTimeout as wait } from 'node:timers/promises';
import { PrimedError } from '../../core/errors.ts';
import type { Log } from '../../core/types.ts';
import { failureOf, refusal, unavailable } from './failure.ts';
import { type Gateway, maxAnswerBytes, type Stream } from './gateway.ts';
import type { EtcdRange, Revision, Watch, WatchEvent, WatchOptions } from './types.ts';
import { eventOf, numberOf, prefixRange, revisionOf, type WatchJson } from './wire.ts';

export interface WatchLoopOptions extends WatchOptions {
  readonly gateway: Gateway;
  /** The whole prefix. */
  readonly read: (signal: AbortSignal) => Promise<EtcdRange>;
  readonly silenceMs: number;
  readonly log: Log;
}

const firstRetryMs = 100;
const longestRetryMs = 2_000;

/** How one connection ended. */
type Outcome = 'silent' | 'forgotten';

export class WatchLoop implements Watch {
  readonly #options: WatchLoopOptions;
  readonly #ended = new AbortController();
  /** The next one that is to be heard; undefined: all has to be read. */
  #next: Revision | undefined;
  #problem: Error | undefined;
  #failures = 0;

  constructor(options: WatchLoopOptions) {
    this.#options = options;
    this.#next = options.fromRevision;
    void this.#run();
  }

  problem(): Error | undefined {
    return this.#problem;
  }

  close(): void {
    this.#ended.abort();
  }

  onEnd(listener: () => void): void {
    this.#ended.signal.addEventListener('abort', listener, { once: true });
  }

  async #run(): Promise<void> {
    const { signal } = this.#ended;
    while (!signal.aborted) {
      try {
        if (this.#next === undefined) await this.#readAll(signal);
        else if ((await this.#hear(this.#next, signal)) === 'forgotten') this.#next = undefined;
      } catch (error) {
        if (signal.aborted) return;
        this.#failed(error);
        await wait(this.#backOff(), undefined, { signal }).catch(() => {});
      }
    }
  }

  async #readAll(signal: AbortSignal): Promise<void> {
    const { entries, revision, etcdId } = await this.#options.read(signal);
    if (signal.aborted) return;
    this.#tell(revision, () => this.#options.onReset(entries, revision, etcdId));
  }

  /** Until the connection ends, by an error or for `Outcome`. */
  async #hear(from: Revision, signal: AbortSignal): Promise<Outcome> {
    const { gateway, prefix } = this.#options;
    const create = { ...prefixRange(prefix), start_revision: String(from), fragment: true };
    const stream = await gateway.stream({ path: 'watch', body: { create_request: create }, signal });
    const silence = new Silence(this.#options.silenceMs, () => stream.close());
    const onEnded = (): void => stream.close();
    signal.addEventListener('abort', onEnded);
    let created = false;
    let events: WatchEvent[] = [];
    try {
      for await (const line of linesOf(stream.pieces)) {
        if (signal.aborted) break;
        silence.broken();
        const answer = answerOf(line, stream);
        if (numberOf(answer.compact_revision) > 0) return 'forgotten';
        if (answer.canceled === true) throw this.#canceled(stream, answer);
        // etcd was set up anew, or this member is behind: to read settles either, as etcd then waits for the others.
        if (revisionOf(answer.header) < from - 1) return 'forgotten';
        created = true;
        this.#heard();
        for (const event of answer.events ?? []) events.push(eventOf(event));
        if (answer.fragment === true || events.length === 0) continue;
        const together = events;
        events = [];
        const revision = revisionOfLast(together);
        this.#tell(revision, () => this.#options.onEvents(together, revision));
      }
      if (signal.aborted || (silence.over && created)) return 'silent';
      throw new Error(silence.over ? 'it is silent' : 'it ended the watch');
    } catch (error) {
      if (signal.aborted || (silence.over && created)) return 'silent';
      gateway.avoid(stream.endpoint);
      if (error instanceof PrimedError) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw unavailable([{ endpoint: stream.endpoint, reason }], false);
    } finally {
      silence.end();
      signal.removeEventListener('abort', onEnded);
      stream.close();
    }
  }

  /** A listener that fails has a part of it: then all is read anew, a little later. */
  #tell(revision: Revision, listener: () => void): void {
    this.#next = undefined;
    try {
      listener();
    } catch (cause) {
      const { prefix, log } = this.#options;
      const error = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
      log.error({ prefix, revision, error }, 'what a watch of etcd told could not be taken in');
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new PrimedError('INTERNAL', `What etcd told of ${prefix} could not be taken in: ${reason}`, {}, { cause });
    }
    this.#next = revision + 1;
  }

  #canceled({ endpoint }: Stream, { cancel_reason: message = 'the watch was canceled' }: WatchJson): PrimedError {
    const { gateway } = this.#options;
    const failure = failureOf({ message }, 200);
    if (!/permission denied|auth/.test(message)) return unavailable([{ endpoint, reason: message }], false);
    // Of a token that has expired etcd says here only that nothing is permitted.
    gateway.forgetToken();
    return refusal(endpoint, { ...failure, kind: 'refused' });
  }

  #heard(): void {
    this.#failures = 0;
    if (this.#problem === undefined) return;
    this.#problem = undefined;
    this.#options.onHealth?.(undefined);
  }

  #failed(error: unknown): void {
    const before = this.#problem;
    this.#problem = error instanceof Error ? error : new Error(String(error));
    if (before === undefined) this.#options.onHealth?.(this.#problem);
  }

  #backOff(): number {
    const ceilingMs = Math.min(longestRetryMs, firstRetryMs * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 30);
    return ceilingMs / 2 + (Math.random() * ceilingMs) / 2;
  }
}

/** Not what etcd says of itself: it may be further, and tell of that in its next answer. */
function revisionOfLast(events: readonly WatchEvent[]): Revision {
  const last = events.at(-1)!;
  return last.type === 'put' ? last.entry.modRevision : last.modRevision;
}

/** Calls `onOver` once when nothing was heard for so long. */
class Silence {
  over = false;
  readonly #timer: NodeJS.Timeout;

  constructor(limitMs: number, onOver: () => void) {
    this.#timer = setTimeout(() => {
      this.over = true;
      onOver();
    }, limitMs);
    this.#timer.unref();
  }

  broken(): void {
    if (!this.over) this.#timer.refresh();
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

/** One JSON text a line. Rejects for a line that is too long. */
async function* linesOf(pieces: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let held: Buffer[] = [];
  let heldBytes = 0;
  for await (const piece of pieces) {
    let from = 0;
    for (let end = piece.indexOf(10); end >= 0; end = piece.indexOf(10, from)) {
      held.push(piece.subarray(from, end));
      yield Buffer.concat(held).toString('utf8');
      held = [];
      heldBytes = 0;
      from = end + 1;
    }
    held.push(piece.subarray(from));
    heldBytes += piece.length - from;
    if (heldBytes > maxAnswerBytes) throw new Error(`an answer is larger than ${maxAnswerBytes} bytes`);
  }
}

function answerOf(line: string, { endpoint }: Stream): WatchJson {
  const { result, error } = JSON.parse(line) as { result?: WatchJson; error?: unknown };
  if (result !== undefined) return result;
  const failure = failureOf({ error }, 200);
  throw failure.kind === 'unavailable'
    ? unavailable([{ endpoint, reason: failure.message }], false)
    : refusal(endpoint, failure);
}
