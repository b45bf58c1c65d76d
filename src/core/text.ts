/** Pieces that reports are put together from. */
import type { JobSnapshot } from './job.ts';

/**
 * Keys may hold any character: one that ends a line would forge the next, one that commands a terminal would be obeyed, and one that turns the
 * order of what follows (UAX 9: embeddings, overrides, isolates) would make a name look like another.
 */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]/gu, escaped);
}

/** Where lines and terminals are none: only what turns the order of characters is written out. */
export function inOrder(text: string): string {
  return text.replace(/[\u202a-\u202e\u2066-\u2069]/g, escaped);
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/**
 * At most so many UTF-16 units (10 or more), cut out of the middle: what a text is about stands at its beginning, and what one needs to ask on,
 * such as the id of a request, at its end.
 */
export function cutInMiddle(text: string, most: number): string {
  if (text.length <= most) return text;
  const head = Math.ceil(((most - gap.length) * 2) / 3);
  // Half of a character is none.
  const ahead = text.slice(0, head).replace(/[\uD800-\uDBFF]$/, '');
  const behind = text.slice(text.length - (most - gap.length - head)).replace(/^[\uDC00-\uDFFF]/, '');
  return `${ahead}${gap}${behind}`;
}

const gap = ' ... ';

/** Of what has an "s" where it is more than one, or none. */
export function countOf(many: number, what: string): string {
  return `${many} ${what}${many === 1 ? '' : 's'}`;
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
