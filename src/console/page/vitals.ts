/** The strip above every view: what the cluster does now. */
import type { JobState } from '../../core/job.ts';
import { countText, percentText, rateText, sizeText } from '../format.ts';
import { spans } from '../lines.ts';
import { type ConsoleState, usedBytes } from '../state.ts';
import { Spark } from './curve.ts';
import { h, setAttribute, setChildren, setText } from './dom.ts';

interface Tile {
  readonly el: HTMLElement;
  show(value: string, detail: string, bad?: boolean): void;
}

function tile(name: string, href: string, ...beside: Node[]): Tile {
  const value = h('b');
  const detail = h('small');
  const el = h('a', { class: 'vital', href }, h('span', { class: 'name' }, name), value, detail, ...beside);
  return {
    el,
    show(text, more, bad = false) {
      setText(value, text);
      setText(detail, more);
      setAttribute(el, 'data-bad', bad);
    },
  };
}

export class Vitals {
  readonly #spark = new Spark();
  readonly #rate = tile('Loading', '#/rates', this.#spark.el);
  readonly #jobs = tile('Jobs', '#/jobs');
  readonly #workers = tile('Workers', '#/workers');
  readonly #bar = h('span');
  readonly #store = tile('In use', '#/store', h('span', { class: 'bar', 'aria-hidden': 'true' }, this.#bar));

  constructor(place: HTMLElement) {
    setChildren(place, [this.#rate.el, this.#jobs.el, this.#workers.el, this.#store.el]);
  }

  update(state: ConsoleState, nowMs: number): void {
    const counts = state.head?.jobs ?? {};
    const of = (...states: JobState[]): number => states.reduce((sum, one) => sum + (counts[one] ?? 0), 0);
    const running = of('RUNNING', 'VERIFYING');
    const { ms, name } = spans[0];
    this.#spark.draw(state.loading, nowMs);
    this.#rate.show(rateText(state.loading.last ?? 0), `peak ${rateText(state.loading.largest(nowMs, ms))} in ${name}`);
    this.#jobs.show(
      `${countText(running)} running`,
      `${countText(of('WAITING'))} waiting, ${countText(of('FAILED'))} failed`,
    );
    const workers = [...state.workers.values()];
    const live = workers.filter((worker) => worker.state === 'LIVE').length;
    const lost = workers.filter((worker) => worker.state === 'LOST' || worker.state === 'REFUSED').length;
    const draining = workers.length - live - lost;
    const rest = [
      lost > 0 ? `${countText(lost)} lost or refused` : '',
      draining > 0 ? `${countText(draining)} draining` : '',
    ].filter(Boolean);
    this.#workers.show(`${countText(live)} live`, rest.join(', ') || 'none lost', lost > 0);
    const there = workers.filter((worker) => worker.state !== 'LOST');
    const capacity = there.reduce((sum, worker) => sum + worker.capacityBytes, 0);
    const used = there.reduce((sum, worker) => sum + usedBytes(worker), 0);
    const share = capacity === 0 ? 0 : used / capacity;
    this.#store.show(percentText(capacity === 0 ? undefined : share), `${sizeText(used)} of ${sizeText(capacity)}`);
    this.#bar.style.width = `${(share * 100).toFixed(1)}%`;
  }
}
