/** `primed top`: cluster and jobs at a look, again and again on a terminal. */
import { InvalidArgumentError, Option } from 'commander';
import type { AskLimits, PrimedClient } from '../client/client.ts';
import type { JobRow, RatesAnswer, WorkerInfo } from '../client/types.ts';
import { PrimedError, type StatusCode } from '../core/errors.ts';
import { coarseStepMs } from '../core/rate-history.ts';
import { formatDuration, parseDuration } from '../core/sizes.ts';
import { type CliContext, type RegisterVerb, runs, withClient } from './context.ts';
import { exitCodes } from './exit.ts';
import { type CliIo, colorAllowed, redrawable, unicodeAllowed } from './io.ts';
import { openScreen } from './screen.ts';
import { paint } from './spans.ts';
import { type Look, nothingSeen, roomOf, totalRateOf, withLook, withTrouble } from './top-state.ts';
import { type Room, topLines } from './top-view.ts';
import { addVerb, type CommonFlags, say } from './verb.ts';

interface TopFlags extends CommonFlags {
  readonly interval: number;
  readonly once?: boolean;
}

/** More often shows nothing new, and an hour is no watching. */
const intervalMinMs = 200;
const intervalMaxMs = 3_600_000;
/** A point is of ten seconds: more often shows little that is new. */
const ratesEveryMs = 5_000;
/** As many as one answer has. */
const mostRates = 50;
/** The view says that there is no answer after this silence. */
const answerTimeoutMs = 10_000;
/** Curves are what the view does without. */
const ratesTimeoutMs = 2_000;
/** Nobody but the operator can mend these; any other failure may be gone at the next look. */
const lasting: ReadonlySet<StatusCode> = new Set(['INVALID_ARGUMENT', 'UNAUTHENTICATED', 'PERMISSION_DENIED']);

export const registerTop: RegisterVerb = (program, context) => {
  const command = addVerb(program, {
    name: 'top',
    description:
      'watch jobs that have not ended, and workers, until q; with --once, --format json, or where standard output is no terminal, show them once',
    flags: [
      new Option('--interval <time>', 'between two looks: seconds, or such as 500ms')
        .argParser(intervalOf)
        .default(2000, '2s'),
      ['--once', 'show it once'],
    ],
    examples: ['primed top', 'primed top --interval 500ms', 'primed top --once --format json'],
  });
  runs(command, context, (flags: TopFlags) => {
    const once = flags.once === true || flags.format === 'json' || !redrawable(context.io, context.io.stdout);
    return withClient(context, flags, (client) =>
      once ? showOnce(context.io, client, flags) : watch(context, client, flags.interval),
    );
  });
};

async function showOnce(io: CliIo, client: PrimedClient, flags: TopFlags): Promise<number> {
  const look = await lookAt(client, undefined, 'ask');
  const { rates, ...rows } = look;
  const answer = {
    ...{ coordinator: client.url, bytesPerSecond: totalRateOf(look), ...roomOf(look), ...rows },
    ...(rates && { rates: pointsOf(rates) }),
  };
  say(io, flags, answer, () => {
    const view = { coordinator: client.url, nowMs: 0 };
    const lines = topLines(withLook(nothingSeen, look, 0), view, roomWithoutScreen(io));
    return lines.map((line) => `${paint(line, colorAllowed(io, io.stdout), unicodeAllowed(io)).trimEnd()}\n`).join('');
  });
  return exitCodes.done;
}

/** Points of ten seconds, oldest first; null: nobody knows. The last one began `agoMs` ago. */
function pointsOf({ loading, serving, jobs }: RatesAnswer): object {
  const ofJobs = Object.entries(jobs).map(([id, { coarse }]) => [id, coarse] as const);
  return {
    ...{ stepMs: coarseStepMs, loading: loading.coarse, serving: serving.coarse },
    jobs: Object.fromEntries(ofJobs),
  };
}

/** As wide as the terminal; elsewhere, and where a terminal does not know its size (it says 0), nothing is cut. All rows: they can be paged. */
function roomWithoutScreen({ stdout }: CliIo): Room {
  return { columns: stdout.columns || Number.POSITIVE_INFINITY, rows: Number.POSITIVE_INFINITY };
}

/** Resolves when it is left. A coordinator that is away is waited for, as long as it takes. */
async function watch({ io }: CliContext, client: PrimedClient, intervalMs: number): Promise<number> {
  const left = new AbortController();
  let code: number = exitCodes.done;
  let state = nothingSeen;
  let ratesMs = Number.NEGATIVE_INFINITY;
  const leave = (how: number): void => {
    code = how;
    left.abort();
  };
  const draw = (): void => {
    if (left.signal.aborted) return;
    const hint = `every ${formatDuration(intervalMs)}, q leaves`;
    const view = { coordinator: client.url, nowMs: io.now(), hint };
    const colours = colorAllowed(io, io.stdout);
    const unicode = unicodeAllowed(io);
    screen.draw(topLines(state, view, screen).map((line) => paint(line, colours, unicode)));
  };
  const screen = openScreen(io, {
    onKey: (key) => {
      if (key === 'q' || key === 'Q') leave(exitCodes.done);
    },
    onResize: draw,
    onInterrupt: () => leave(exitCodes.interrupted),
    onTerminate: (signal) => leave(signal === 'SIGHUP' ? exitCodes.hungUp : exitCodes.terminated),
    onGone: () => leave(exitCodes.done),
  });
  try {
    draw();
    while (!left.signal.aborted) {
      try {
        const asks = io.now() - ratesMs >= ratesEveryMs;
        if (asks) ratesMs = io.now();
        state = withLook(state, await lookAt(client, left.signal, asks ? 'ask' : state.look?.rates), io.now());
      } catch (error) {
        if (left.signal.aborted) break;
        if (!(error instanceof PrimedError) || lasting.has(error.status)) throw error;
        state = withTrouble(state, error.message, io.now());
      }
      draw();
      await io.sleep(intervalMs, left.signal).catch((error: unknown) => {
        if (!left.signal.aborted) throw error;
      });
    }
    return code;
  } finally {
    screen.close();
  }
}

/** Two requests, however many jobs have ended, and one for the past where it is not known. */
async function lookAt(
  client: PrimedClient,
  signal: AbortSignal | undefined,
  known: 'ask' | RatesAnswer | undefined,
): Promise<Look> {
  const limits = { answerTimeoutMs, ...(signal === undefined ? {} : { signal }) };
  const [jobs, workers] = await Promise.all([
    client.list({ type: 'ALL', state: 'ACTIVE', ...limits }),
    workersOf(client, limits),
  ]);
  const rates = known === 'ask' ? await ratesOf(client, jobs, { ...limits, answerTimeoutMs: ratesTimeoutMs }) : known;
  return { jobs, ...(workers && { workers }), ...(rates && { rates }) };
}

/** Undefined: the coordinator does not tell them. Whatever else is wrong with it, the other questions have said. */
async function ratesOf(
  client: PrimedClient,
  jobs: readonly JobRow[],
  limits: AskLimits,
): Promise<RatesAnswer | undefined> {
  const running = jobs.filter(({ state }) => state !== 'WAITING').map(({ jobId }) => jobId);
  try {
    const answer = await client.rates(running.slice(0, mostRates), limits);
    return answer.loading === undefined ? undefined : answer;
  } catch (error) {
    if (error instanceof PrimedError) return undefined;
    throw error;
  }
}

/** Undefined: coordinator and worker are one process, which has no list of them. */
async function workersOf(
  client: PrimedClient,
  limits: Parameters<PrimedClient['workers']>[0],
): Promise<readonly WorkerInfo[] | undefined> {
  try {
    return await client.workers(limits);
  } catch (error) {
    if (error instanceof PrimedError && error.status === 'NOT_FOUND') return undefined;
    throw error;
  }
}

/** Milliseconds. */
function intervalOf(written: string): number {
  let parsedMs: number;
  try {
    parsedMs = parseDuration(/^\s*[\d.]+\s*$/.test(written) ? `${written.trim()}s` : written);
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
  }
  if (parsedMs >= intervalMinMs && parsedMs <= intervalMaxMs) return parsedMs;
  throw new InvalidArgumentError(
    `It must be between ${formatDuration(intervalMinMs)} and ${formatDuration(intervalMaxMs)}.`,
  );
}
