/**
 * Which file goes next. Files wait in one queue for each class, in the order in which they were last used, as far as the queue
 * knows: what is read does not move in it. Only who comes to its head is asked whether it was used since, and then goes to the
 * place that it should have had. So a read costs the queue nothing, and a choice looks at no file but those that it decides on.
 */

/** Why a file goes: `space` for a load, above the `quota` of its prefix, at the `ttl` of its prefix. */
export const evictionReasons = ['space', 'quota', 'ttl'] as const;
export type EvictionReason = (typeof evictionReasons)[number];

/** A file in a queue. */
export interface Waiting {
  readonly class: number;
  /** Its place: when it was last used, as far as the queue knows. */
  readonly sinceMs: number;
  readonly fileId: number;
  readonly path: string;
}

export interface Facts {
  /** Where it belongs now: rules and pins change. */
  classOf(path: string): number;
  readonly pinnedClass: number;
  /** When it was used, if that is known. */
  usedMs(fileId: number): number | undefined;
  /** A running load counts on it. */
  isHeld(waiting: Waiting): boolean;
  /** Somebody reads it now. */
  isRead(fileId: number): boolean;
  readonly nowMs: number;
}

/** `stay`: it is passed over, until something about loads changes. */
export type Verdict =
  | { readonly do: 'evict' }
  | { readonly do: 'stay' }
  | { readonly do: 'move'; readonly class: number; readonly sinceMs: number };

/** A file that is being read moves once in so long at most. */
const readAgainMs = 1000;
const evict: Verdict = { do: 'evict' };
const stay: Verdict = { do: 'stay' };

export function verdictOn(waiting: Waiting, facts: Facts): Verdict {
  const { fileId, path, sinceMs } = waiting;
  const isRead = facts.isRead(fileId);
  // One that moved just now stays: who waits for room does not wait for its reader.
  if (isRead && facts.nowMs - sinceMs < readAgainMs) return stay;
  const usedMs = isRead ? facts.nowMs : Math.min(facts.usedMs(fileId) ?? sinceMs, facts.nowMs);
  const belongs = facts.classOf(path);
  if (belongs !== waiting.class || usedMs > sinceMs)
    return { do: 'move', class: belongs, sinceMs: Math.max(usedMs, sinceMs) };
  if (waiting.class === facts.pinnedClass || facts.isHeld(waiting)) return stay;
  return evict;
}

/** The queue whose head goes first: of the lowest priority, and of those who waits longest. Undefined: all are empty. */
export function nextOf<Head extends Waiting>(
  heads: Iterable<Head>,
  priorityOf: (of: number) => number,
): Head | undefined {
  let best: Head | undefined;
  for (const head of heads) {
    if (best === undefined) best = head;
    else {
      const order = priorityOf(head.class) - priorityOf(best.class) || head.sinceMs - best.sinceMs;
      if (order < 0 || (order === 0 && head.fileId < best.fileId)) best = head;
    }
  }
  return best;
}
