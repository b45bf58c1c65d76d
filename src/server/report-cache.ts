/**
 * Reports of loads for clients that ask in a tight loop: identical questions under way share one answer, and the answer of a
 * load that runs is good for a moment. One that has ended is asked for again: another load of the path may have begun, and
 * its end must not be told before it.
 */
import type { LoadDesk, ReportOrder } from '../cluster/load-desk.ts';

export interface Reported {
  readonly jobState: string;
  /** The report. */
  readonly message: string;
  /** Its lines, or the plain values of its object. */
  readonly respProperties: Readonly<Record<string, string>>;
}

const goodForMs = 100;
/** The oldest goes beyond this many. Each is a few hundred bytes; with `verbose` and 1,000 failed files 200 KiB, 13 MB in all. */
const mostReports = 64;

interface Kept {
  readonly path: string;
  readonly answer: Promise<Reported>;
  /** Infinite while it is under way. */
  goodUntilMs: number;
}

export class ReportCache {
  readonly #desk: Pick<LoadDesk, 'report'>;
  readonly #now: () => number;
  readonly #kept = new Map<string, Kept>();

  constructor(desk: Pick<LoadDesk, 'report'>, now: () => number) {
    this.#desk = desk;
    this.#now = now;
  }

  /** Rejects as the desk does; failures are shared by those who wait, and not kept. */
  get(path: string, order: ReportOrder): Promise<Reported> {
    const key = `${order.format} ${order.verbose} ${path}`;
    const known = this.#kept.get(key);
    if (known !== undefined && this.#now() < known.goodUntilMs) return known.answer;
    const answer = this.#desk.report(path, order).then((report) => reportedOf(report, order));
    const kept: Kept = { path, answer, goodUntilMs: Number.POSITIVE_INFINITY };
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    if (this.#kept.size > mostReports) this.#kept.delete(this.#kept.keys().next().value!);
    answer.then(
      ({ jobState }) => {
        if (activeStates.has(jobState)) kept.goodUntilMs = this.#now() + goodForMs;
        else this.#drop(key, kept);
      },
      () => this.#drop(key, kept),
    );
    return answer;
  }

  /** A submission or a stop has changed what there is to say. */
  forget(path: string): void {
    for (const [key, kept] of this.#kept) if (kept.path === path) this.#kept.delete(key);
  }

  #drop(key: string, kept: Kept): void {
    if (this.#kept.get(key) === kept) this.#kept.delete(key);
  }
}

const activeStates: ReadonlySet<string> = new Set(['RUNNING', 'VERIFYING']);

function reportedOf(message: string, { format }: ReportOrder): Reported {
  const properties = format === 'JSON' ? propertiesOfJson(message) : propertiesOfText(message);
  const stated = (format === 'JSON' ? properties.mJobState : properties['Job State']) ?? 'FAILED';
  const word = /^[A-Z]+/.exec(stated)?.[0] ?? 'FAILED';
  // Clients know no other words. A load that waits for its turn is under way, and its report says that it waits.
  const jobState = word === 'WAITING' ? 'RUNNING' : word;
  return { jobState, message, respProperties: { ...properties, 'Job State': jobState } };
}

/** `\tFiles Failed: 0` and its like; deeper lines are about single files. */
function propertiesOfText(report: string): Record<string, string> {
  const properties: Record<string, string> = {};
  for (const line of report.split('\n')) {
    const [, name, value] = /^\t([^\t:][^:]*):\s*(.*)$/.exec(line) ?? [];
    if (name !== undefined) properties[name] = value!.replaceAll('\t', ' ');
  }
  return properties;
}

function propertiesOfJson(report: string): Record<string, string> {
  const values = Object.entries(JSON.parse(report) as Record<string, unknown>);
  return Object.fromEntries(values.filter(([, value]) => typeof value !== 'object').map(([k, v]) => [k, String(v)]));
}
