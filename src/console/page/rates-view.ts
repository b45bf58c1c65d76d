/** How fast the cluster was: what loads read from origins, and what clients got. */

import type { RateHistory } from '../../core/rate-history.ts';
import { rateText } from '../format.ts';
import { Curve, spanChoice, spanNow } from './curve.ts';
import { h } from './dom.ts';
import { Facts, titled } from './parts.ts';
import { steadyMs } from './rates.ts';
import type { MakeView } from './view.ts';

export const ratesView: MakeView = (state) => {
  const { head, title } = titled(
    'Rates',
    spanChoice(() => show(steadyMs())),
  );
  const loading = card('Loads read from origins');
  const serving = card('Workers serve to clients');
  const show = (nowMs: number): void => {
    loading.show(state.loading, nowMs);
    serving.show(state.serving, nowMs);
  };
  return { name: 'Rates', el: h('div', {}, head, loading.el, serving.el), title, update: show };
};

function card(name: string): { readonly el: HTMLElement; show(history: RateHistory, nowMs: number): void } {
  const curve = new Curve(name);
  const facts = new Facts();
  return {
    el: h('section', { class: 'card', 'aria-label': name }, h('h2', {}, name), facts.el, curve.el),
    show(history, nowMs) {
      const span = spanNow();
      facts.show([
        ['Now', rateText(history.last)],
        [`Peak in ${span.name}`, rateText(history.largest(nowMs, span.ms))],
      ]);
      curve.draw(history, { nowMs, span });
    },
  };
}
