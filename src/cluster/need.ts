/** Bytes that files will yet take, rounding included, by worker. */
import type { WorkerId } from './worker-link.ts';

export type Need = Map<WorkerId, number>;

export function addNeed(sum: Need, more: Need): void {
  for (const [id, bytes] of more) needAt(sum, id, bytes);
}

export function needAt(sum: Need, id: WorkerId, bytes: number): void {
  sum.set(id, (sum.get(id) ?? 0) + bytes);
}
