/** Answers of a check, which takes as long as the SSD does: at most two at once, with lines for those who want to see it. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { FsSource } from '../cluster/reading/fs-source.ts';
import type { BadPage, CheckProgress } from '../core/check.ts';
import type { Log } from '../core/types.ts';
import { BodyCut } from './body.ts';
import { watchAnswers } from './in-flight.ts';
import { Turns } from './turns.ts';

export interface CheckAnswersOptions {
  readonly source: Pick<FsSource, 'check'>;
  readonly log: Log;
  /** Longest wait for a turn; after it 503. */
  readonly turnWaitMs: number;
  /** Shortest time between two progress lines. */
  readonly progressEveryMs: number;
  /** How long a check may go on after the server was told to close. */
  readonly closeGraceMs: number;
}

/** One would do; the second is for the colleague who does not know of the first. */
const maxChecks = 2;

export function checkAnswers(
  app: FastifyInstance,
  { source, log, turnWaitMs, progressEveryMs, closeGraceMs }: CheckAnswersOptions,
): (path: string, request: FastifyRequest, reply: FastifyReply) => Promise<unknown> {
  const turns = new Turns({ limit: maxChecks, waitLimitMs: turnWaitMs });
  const watch = watchAnswers(app, closeGraceMs);
  return async (path, request, reply) => {
    const giveBack = await turns.take();
    try {
      return await watch(reply, answerCheck(source, path, { request, reply, log, progressEveryMs }));
    } finally {
      giveBack();
    }
  };
}

/**
 * Answers the summary; a client that accepts application/x-ndjson gets lines while it runs, `{"type":"progress"|"bad-page",…}`,
 * and the summary (or the error) as the last one. When the client leaves the check ends.
 */
async function answerCheck(
  source: Pick<FsSource, 'check'>,
  asked: string,
  {
    request,
    reply,
    log,
    progressEveryMs,
  }: { request: FastifyRequest; reply: FastifyReply; log: Log; progressEveryMs: number },
): Promise<unknown> {
  const left = new AbortController();
  reply.raw.once('close', () => left.abort(new BodyCut('client-left', 'the client closed the connection')));
  const { signal } = left;
  const run = await source.check(asked);
  const asLines = (request.headers.accept ?? '').includes('application/x-ndjson');
  try {
    if (!asLines) return await run({ signal, events: {} });
    reply.hijack();
    reply.raw.writeHead(200, { 'content-type': 'application/x-ndjson' });
    reply.raw.flushHeaders();
    const events = linesTo(reply, progressEveryMs);
    events.write({ type: 'summary', ...(await run({ signal, events })) });
    reply.raw.end();
  } catch (error) {
    if (!asLines && !(error instanceof BodyCut)) throw error;
    // Nobody listens, or the status is out already: lines without a summary are a check that did not end.
    if (!reply.sent) reply.hijack();
    reply.raw.destroy();
    if (!(error instanceof BodyCut)) log.error({ err: error, path: asked }, 'a check was cut off');
  }
  return reply;
}

/** A client that does not read misses lines and loses nothing: the summary has the bad pages too. */
function linesTo({ raw }: FastifyReply, progressEveryMs: number) {
  let toldAtMs = performance.now();
  const write = (line: object) => void raw.write(`${JSON.stringify(line)}\n`);
  const onBadPage = (page: BadPage) => {
    if (!raw.writableNeedDrain) write({ type: 'bad-page', ...page });
  };
  const onProgress = ({ checkedFiles, checkedBytes, badPageCount }: CheckProgress) => {
    const nowMs = performance.now();
    if (nowMs - toldAtMs < progressEveryMs || raw.writableNeedDrain) return;
    toldAtMs = nowMs;
    write({ type: 'progress', checkedFiles, checkedBytes, badPageCount });
  };
  return { write, onBadPage, onProgress };
}
