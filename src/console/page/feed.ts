/** The live connection: opened again whenever it ends, with the state told anew each time. */
import type { ConsoleHello, ConsoleNews } from '../../core/console-feed.ts';
import { EventReader } from '../events.ts';
import { ApiError, messageOf, openFeed } from './api.ts';

export type Connection =
  | { readonly state: 'connecting' }
  | { readonly state: 'live' }
  | { readonly state: 'lost'; readonly message: string; readonly sinceMs: number }
  /** `refused`: a token was sent. */
  | { readonly state: 'signed-out'; readonly refused: boolean };

export interface FeedHandlers {
  readonly onHello: (hello: ConsoleHello) => void;
  readonly onNews: (news: ConsoleNews) => void;
  readonly onConnection: (connection: Connection) => void;
}

const firstRetryMs = 500;
const longestRetryMs = 8_000;
/** The server says something every 15 s. */
const silenceMs = 40_000;

/** Follows the feed until it is closed, or the token is refused. */
export function followFeed(handlers: FeedHandlers, hasToken: boolean): { close(): void } {
  const closed = new AbortController();
  void follow(handlers, hasToken, closed.signal);
  return { close: () => closed.abort() };
}

async function follow({ onHello, onNews, onConnection }: FeedHandlers, hasToken: boolean, closed: AbortSignal) {
  let lostMs: number | undefined;
  let failures = 0;
  onConnection({ state: 'connecting' });
  while (!closed.aborted) {
    const here = new AbortController();
    const signal = AbortSignal.any([closed, here.signal]);
    try {
      await listen(
        signal,
        () => here.abort(),
        (name, data) => {
          if (closed.aborted) return;
          if (name === 'hello') onHello(JSON.parse(data) as ConsoleHello);
          if (name !== 'message') return;
          onNews(JSON.parse(data) as ConsoleNews);
          if (lostMs !== undefined || failures >= 0) onConnection({ state: 'live' });
          [lostMs, failures] = [undefined, -1];
        },
      );
      throw new ApiError('The coordinator has ended the connection.', 0);
    } catch (error) {
      if (closed.aborted) return;
      if (error instanceof ApiError && (error.status === 401 || error.status === 403))
        return onConnection({ state: 'signed-out', refused: hasToken });
      lostMs ??= Date.now();
      failures = Math.max(0, failures) + 1;
      const message = here.signal.aborted ? 'The coordinator has gone silent.' : messageOf(error);
      onConnection({ state: 'lost', message, sinceMs: lostMs });
    }
    await pause(Math.min(longestRetryMs, firstRetryMs * 2 ** (failures - 1)), closed);
  }
}

async function listen(signal: AbortSignal, onSilence: () => void, onEvent: (name: string, data: string) => void) {
  let silence = setTimeout(onSilence, silenceMs);
  try {
    const answer = await openFeed(signal);
    const pieces = answer
      .body!.pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
      .getReader();
    const reader = new EventReader();
    for (;;) {
      const { done, value } = await pieces.read();
      if (done) return;
      clearTimeout(silence);
      silence = setTimeout(onSilence, silenceMs);
      for (const { name, data } of reader.read(value)) onEvent(name, data);
    }
  } finally {
    clearTimeout(silence);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener('abort', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
