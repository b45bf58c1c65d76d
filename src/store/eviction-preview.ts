/**
 * What the evictor would remove for so many bytes, worked out without moving or removing anything: it asks of each file what
 * the evictor asks (core/eviction), and keeps those that would move to a later place in a heap of its own.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Facts, nextOf, verdictOn } from '../core/eviction.ts';
import { Heap } from '../core/heap.ts';
import { pinnedClass } from '../core/retention.ts';
import { alignUp } from '../core/units.ts';
import type { QueueRow, Recency } from './recency.ts';
import type { EvictionPreview } from './types.ts';

/** Files that are looked at, at most; what lies behind them is worked out from their average size. */
const mostLookedAt = 65_536;
/** In one turn of the loop: some 5 ms. */
const lookedAtOnce = 1024;

export async function previewEviction(
  recency: Recency,
  facts: Facts,
  order: { readonly bytes: number; readonly named: number; readonly lookedAt?: number },
): Promise<EvictionPreview> {
  const { bytes: wantedBytes, named, lookedAt = mostLookedAt } = order;
  const priorityOf = (of: number): number => recency.retention.priorityOf(of);
  const first = (a: QueueRow, b: QueueRow): boolean => nextOf([a, b], priorityOf) === a;
  /** The head of each queue. */
  const heads = new Heap<{ row: QueueRow; rest: Iterator<QueueRow> }>((a, b) => first(a.row, b.row));
  for (const of of recency.classes()) {
    const rest = recency.rows(of, 'head');
    const head = rest.next();
    if (head.done !== true) heads.push({ row: head.value, rest });
  }
  const moved = new Heap<QueueRow>(first);
  const paths: string[] = [];
  let [files, bytes] = [0, 0];
  for (let looked = 1; bytes < wantedBytes; looked += 1) {
    const [head, later] = [heads.peek(), moved.peek()];
    if (head === undefined && later === undefined) break;
    if (looked > lookedAt) {
      if (files === 0) break;
      const more = Math.ceil((wantedBytes - bytes) / (bytes / files));
      return { files: files + more, bytes: wantedBytes, paths, counted: false };
    }
    if (looked % lookedAtOnce === 0) await nextTurn();
    const fromQueue = later === undefined || (head !== undefined && first(head.row, later));
    const row = fromQueue ? heads.pop()!.row : moved.pop()!;
    if (fromQueue) {
      const next = head!.rest.next();
      if (next.done !== true) heads.push({ row: next.value, rest: head!.rest });
    }
    const verdict = verdictOn(row, facts);
    // Who moves is asked again where it comes to its new place; what is read now would move for ever.
    if (verdict.do === 'move' && verdict.class !== pinnedClass && !facts.isRead(row.fileId))
      moved.push({ ...row, class: verdict.class, sinceMs: verdict.sinceMs });
    if (verdict.do !== 'evict') continue;
    files += 1;
    bytes += alignUp(row.bytes);
    if (paths.length < named) paths.push(row.path);
  }
  return { files, bytes, paths, counted: true };
}
