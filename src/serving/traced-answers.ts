/** Answers of this thread to callers who trace what they do: so many of them are told of as one message takes. */
import type { IncomingMessage } from 'node:http';
import { withoutQuery } from '../telemetry/trace.ts';
import type { TracedAnswer } from './protocol.ts';

/** Of one beat; those beyond are not told of. */
const mostAnswers = 64;
/** As W3C writes it, with the bit that says that the trace is sent. */
const sampled = /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f][13579bdf]$/;

export class TracedAnswers {
  #answers: TracedAnswer[] = [];

  add({ headers: { traceparent }, method = '', url = '' }: IncomingMessage, status: number, startedMs: number): void {
    if (typeof traceparent !== 'string' || this.#answers.length >= mostAnswers || !sampled.test(traceparent)) return;
    const endMs = Date.now();
    const startMs = endMs - (performance.now() - startedMs);
    this.#answers.push({ method, path: withoutQuery(url), status, traceparent, startMs, endMs });
  }

  /** Those since the last call. */
  take(): readonly TracedAnswer[] {
    const answers = this.#answers;
    if (answers.length > 0) this.#answers = [];
    return answers;
  }
}
