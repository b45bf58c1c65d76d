/** Parts of one run that wait for a slot. Files are planned into parts only as far as somebody looks. */
import { Deque } from '../core/deque.ts';
import type { FileTask, PartTask, Run } from './run.ts';

/**
 * Parts of a followed file that are outstanding at once. Parts that are in flight together share the link and land together,
 * and those who follow would have nothing to copy until all are here; four still hide the latency of the origin.
 */
export const followedParts = 4;

export class PartQueue {
  readonly run: Run;
  /** Files whose parts are not all planned, in order of arrival; without those that are held. */
  readonly planning = new Deque<FileTask>();
  readonly parts = new Deque<PartTask>();
  unitsInFlight = 0;

  constructor(run: Run) {
    this.run = run;
  }

  /** The part at `index` from the head of the queue, planning files as far as needed. */
  peek(index: number): PartTask | undefined {
    while (this.parts.length <= index && this.#planNext());
    return this.parts.peek(index);
  }

  /** Bytes of the parts that wait, as far as they are known: those of held files are not. */
  *waitingBytes(partBytes: number): Generator<number> {
    for (let at = 0; at < this.parts.length; at += 1) yield this.parts.peek(at)!.range.length;
    for (let at = 0; at < this.planning.length; at += 1)
      for (let left = this.planning.peek(at)!.unplannedBytes; left > 0; left -= partBytes)
        yield Math.min(left, partBytes);
  }

  /** A part of a held file has ended: it is planned on, before files that came after it. */
  release(file: FileTask): void {
    file.held = false;
    if (!this.run.stopping && this.run.files.has(file)) this.planning.pushFront(file);
  }

  clear(): void {
    this.planning.clear();
    this.parts.clear();
  }

  #planNext(): boolean {
    const file = this.planning.peek();
    if (file === undefined) return false;
    const ends = file.changed || file.setAside || file.error !== undefined;
    if (!ends && file.followed && file.outstanding >= followedParts) {
      file.held = true;
      this.planning.shift();
      return true;
    }
    const next = ends ? undefined : file.unplanned.next();
    if (next === undefined || next.done === true) {
      this.planning.shift();
      return true;
    }
    file.outstanding += 1;
    file.unplannedBytes -= next.value.length;
    this.parts.push({ file, generation: file.generation, range: next.value, attempt: 1 });
    return true;
  }
}
