/** Pieces that reports are put together from. */
import type { JobSnapshot } from './job.ts';

/** Keys may hold any character; one that ends a line would forge the next. */
export function printable(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

export function withoutUnknown(object: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));
}

export function timesOf(job: JobSnapshot): Record<string, unknown> {
  return {
    submittedAt: isoTime(job.submittedAtMs),
    startedAt: isoTime(job.startedAtMs),
    endedAt: isoTime(job.endedAtMs),
  };
}

function isoTime(wallMs: number | undefined): string | undefined {
  return wallMs === undefined ? undefined : new Date(wallMs).toISOString();
}
