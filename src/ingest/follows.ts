/**
 * Follows segments that other workers are loading, by what they tell of them (server/peer-follow): one open answer a segment.
 * It holds no slot: so a worker that follows another never keeps it from going on, whoever follows whom.
 */
import { Agent, type buildConnector, request } from 'undici';
import { Deque } from '../core/deque.ts';
import { dialOptions } from '../core/dial-tls.ts';
import { PrimedError, reportOf } from '../core/errors.ts';
import { bearer, type LiveText } from '../core/live.ts';
import type { ByteRange, ManifestEntry } from '../core/types.ts';
import type { PeerAccess } from './peer-links.ts';

/** Where a worker tells of it. */
const landedPath = '/internal/v1/landed/';
/** Answers open at once; other segments wait in order, and find more of theirs durable when it is their turn. */
const followsAtOnce = 256;
/** The source gives a sign of life every second. */
const silenceMs = 5000;
const maxLineLength = 256 * 1024;

export interface FollowOrder {
  /** `http://host:port` of the worker that loads it. */
  readonly url: string;
  readonly entry: ManifestEntry;
  readonly range: ByteRange;
}

/** Of the calls, `all` or `failed` comes last, and neither after the follow was ended. */
export interface Follower {
  /** Sorted; durable at the source now. */
  landed(ranges: readonly ByteRange[]): void;
  all(): void;
  /** With PEER_FAILED: nothing is known of what has not landed. */
  failed(error: PrimedError): void;
}

function agentOf(tls: PeerAccess['tls']): Agent {
  return new Agent({
    connect: { timeout: silenceMs, ...dialOptions(tls) } as buildConnector.BuildOptions,
    headersTimeout: silenceMs,
    bodyTimeout: silenceMs,
    pipelining: 1,
    // The limit is that of `followsAtOnce`.
    connections: null,
  });
}

export class Follows {
  readonly #token: LiveText | undefined;
  readonly #tls: PeerAccess['tls'];
  #agent: Agent;
  readonly #waiting = new Deque<() => void>();
  #open = 0;

  constructor({ token, tls }: PeerAccess = {}) {
    this.#token = token;
    this.#tls = tls;
    this.#agent = agentOf(tls);
  }

  /** The certificates have changed in place; what is under way ends with those that were there. */
  renew(): void {
    void this.#agent.close().catch(() => undefined);
    this.#agent = agentOf(this.#tls);
  }

  /** Returns how to end it. */
  follow(order: FollowOrder, follower: Follower): () => void {
    const abort = new AbortController();
    const { signal } = abort;
    void this.#turn(signal, async () => {
      try {
        await this.#listen(order, follower, signal);
      } catch (error) {
        if (!signal.aborted) follower.failed(failureOf(order, error));
      }
    });
    return () => abort.abort();
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #turn(signal: AbortSignal, act: () => Promise<void>): Promise<void> {
    if (this.#open >= followsAtOnce) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#open += 1;
    if (!signal.aborted) await act();
    // The place of one that has ended is handed on without being free in between.
    const next = this.#waiting.shift();
    if (next === undefined) this.#open -= 1;
    else next();
  }

  async #listen({ url, entry, range }: FollowOrder, follower: Follower, signal: AbortSignal): Promise<void> {
    const { path, etag, versionId } = entry;
    const query = versionId === undefined ? '' : `?versionId=${encodeURIComponent(versionId)}`;
    const { statusCode, body } = await request(`${url}${landedPath}${encodeURIComponent(path)}${query}`, {
      dispatcher: this.#agent,
      signal,
      headers: {
        range: `bytes=${range.offset}-${range.offset + range.length - 1}`,
        'if-match': `"${etag}"`,
        ...bearer(this.#token),
      },
    });
    if (statusCode !== 200) {
      await body.dump({ limit: maxLineLength });
      throw new Error(`HTTP ${statusCode}`);
    }
    let text = '';
    for await (const piece of body.setEncoding('utf8')) {
      text += piece;
      const lines = text.split('\n');
      text = lines.pop()!;
      if (text.length > maxLineLength) throw new Error('a line without an end');
      for (const line of lines) {
        const said: unknown = JSON.parse(line);
        if (signal.aborted) return;
        if (said === 'all') {
          follower.all();
          return;
        }
        if (typeof said === 'string') throw new Error(said);
        follower.landed(rangesOf(said));
      }
    }
    throw new Error('its answer ended before all had landed');
  }
}

/** Throws for what is no list of ranges in order. */
function rangesOf(said: unknown): ByteRange[] {
  if (!Array.isArray(said)) throw new TypeError('a line that makes no sense');
  let end = 0;
  return said.map((one: unknown) => {
    const [offset, length] = Array.isArray(one) ? (one as unknown[]) : [];
    if (
      !Number.isSafeInteger(offset) ||
      !Number.isSafeInteger(length) ||
      (offset as number) < end ||
      !(Number(length) > 0)
    )
      throw new TypeError('a line that makes no sense');
    end = Number(offset) + Number(length);
    return { offset: Number(offset), length: Number(length) };
  });
}

function failureOf({ url, entry, range }: FollowOrder, error: unknown): PrimedError {
  const { path } = entry;
  const what = `worker ${url} could not be followed in what it loads of ${range.offset}+${range.length}`;
  return new PrimedError('PEER_FAILED', `${path}: ${what}: ${reportOf(error).message}`, { path, url });
}
