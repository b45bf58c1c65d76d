/** Parts of one run that wait for a slot. Files are planned into parts only as far as somebody looks. */
import { Deque } from '../core/deque.ts';
import type { FileTask, PartTask, Run } from './run.ts';

export class PartQueue {
  readonly run: Run;
  /** Files whose parts are not all planned, in order of arrival. */
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

  clear(): void {
    this.planning.clear();
    this.parts.clear();
  }

  #planNext(): boolean {
    const file = this.planning.peek();
    if (file === undefined) return false;
    const ends = file.changed || file.setAside || file.error !== undefined;
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
