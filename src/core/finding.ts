/** What an examination of a node has found. */

export type FindingLevel = 'ok' | 'warn' | 'fail';

export interface Finding {
  /** A word or two by which scripts know it: `store`, `origin s3://bucket/`. */
  readonly check: string;
  readonly level: FindingLevel;
  /** What was seen, in a sentence without a full stop. */
  readonly what: string;
  /** What to do; of everything that is not ok. */
  readonly remedy?: string;
}

const gravity = { ok: 0, warn: 1, fail: 2 } as const;

/** The gravest of them; `ok` for none. */
export function worstOf(findings: readonly Finding[]): FindingLevel {
  return findings.reduce<FindingLevel>((worst, { level }) => (gravity[level] > gravity[worst] ? level : worst), 'ok');
}

export function ok(check: string, what: string): Finding {
  return { check, level: 'ok', what };
}

export function warn(check: string, what: string, remedy: string): Finding {
  return { check, level: 'warn', what, remedy };
}

export function fail(check: string, what: string, remedy: string): Finding {
  return { check, level: 'fail', what, remedy };
}
