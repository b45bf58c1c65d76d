/** Curves of a rate over minutes or hours, as SVG of our own. */
import type { RateHistory } from '../../core/rate-history.ts';
import { niceTop, rateText } from '../format.ts';
import { type CurveSpan, linesOf, spans } from '../lines.ts';
import { h, setAttribute, setChildren, setText, svg } from './dom.ts';

/** A small one without axes, for a row; what it shows is written beside it. */
export class Spark {
  readonly el = svg('svg', {
    class: 'spark',
    viewBox: '0 0 80 20',
    preserveAspectRatio: 'none',
    'aria-hidden': 'true',
  });
  readonly #line = svg('path', { class: 'line' });
  readonly #area = svg('path', { class: 'area' });

  constructor() {
    this.el.append(this.#area, this.#line);
  }

  /** Over the last ten minutes, which is what is sent of a job that is one of many. */
  draw(history: RateHistory | undefined, nowMs: number): void {
    const { ms: spanMs } = spans[0];
    const top = history?.largest(nowMs, spanMs) ?? 0;
    const lines = history === undefined ? [] : linesOf(history, { nowMs, spanMs, top });
    draw(this.#line, this.#area, { lines, width: 80, height: 18, y: 1 });
  }
}

/** Before it is laid out. */
const usualWidth = 1100;
const height = 190;
const gutter = { left: 84, bottom: 22, top: 8, right: 8 };
/** Of a time below. */
const labelWidth = 64;

export interface CurveOptions {
  readonly nowMs: number;
  readonly span: CurveSpan;
  readonly end?: 'now' | 'end';
}

/** With axes; says in words what it shows. */
export class Curve {
  readonly el: SVGSVGElement;
  readonly #name: string;
  readonly #line = svg('path', { class: 'line' });
  readonly #area = svg('path', { class: 'area' });
  readonly #ticks: { readonly at: number; readonly text: SVGTextElement }[] = [];
  readonly #grid: SVGElement[] = [];
  readonly #times = svg('g');
  #axisIs = '';
  #toldMs = 0;

  constructor(name: string) {
    this.#name = name;
    this.el = svg('svg', { class: 'curve', role: 'img', 'aria-label': name });
    for (const at of [0, 0.5, 1]) {
      const y = gutter.top + (1 - at) * (height - gutter.top - gutter.bottom);
      const line = svg('line', { class: 'grid', x1: gutter.left, y1: y, y2: y });
      this.#grid.push(line);
      const text = svg('text', { x: gutter.left - 8, y: y + 4, 'text-anchor': 'end' });
      this.#ticks.push({ at, text });
      this.el.append(line, text);
    }
    this.el.append(this.#times, this.#area, this.#line);
  }

  /** `end`: what the right side is. */
  draw(history: RateHistory | undefined, { nowMs, span, end = 'now' }: CurveOptions): void {
    // A unit is a pixel: letters are as large on a phone as elsewhere.
    const width = Math.round(this.el.getBoundingClientRect().width) || usualWidth;
    this.#axis({ span, end, width });
    const largest = history?.largest(nowMs, span.ms) ?? 0;
    const top = niceTop(largest);
    const lines = history === undefined ? [] : linesOf(history, { nowMs, spanMs: span.ms, top });
    const room = { width: width - gutter.left - gutter.right, height: height - gutter.top - gutter.bottom };
    draw(this.#line, this.#area, { lines, ...room, x: gutter.left, y: gutter.top });
    for (const { at, text } of this.#ticks)
      setText(text, at > 0 && largest === 0 ? '' : at === 0 ? '0' : rateText(top * at));
    // Somebody may be hearing it.
    if (nowMs - this.#toldMs < 10_000) return;
    this.#toldMs = nowMs;
    const told =
      lines.length === 0
        ? 'nothing yet'
        : `${rateText(history?.last)} ${end === 'now' ? 'now' : 'at its end'}, at most ${rateText(largest)} in ${span.name}`;
    setAttribute(this.el, 'aria-label', `${this.#name}: ${told}`);
  }

  /** What depends on the width, and times below, made again where the span is another one; in little room every other one. */
  #axis({ span, end, width }: { span: CurveSpan; end: string; width: number }): void {
    const is = `${span.name} ${end} ${width}`;
    if (this.#axisIs === is) return;
    this.#axisIs = is;
    this.#toldMs = 0;
    setAttribute(this.el, 'viewBox', `0 0 ${width} ${height}`);
    for (const line of this.#grid) setAttribute(line, 'x2', `${width - gutter.right}`);
    const each = (width - gutter.left - gutter.right) / span.parts < labelWidth ? 2 : 1;
    const shown = Array.from({ length: span.parts + 1 }, (_, part) => part).filter(
      (part) => (span.parts - part) % each === 0,
    );
    const texts = shown.map((part) => {
      const x = gutter.left + (part / span.parts) * (width - gutter.left - gutter.right);
      const anchor = part === 0 ? 'start' : part === span.parts ? 'end' : 'middle';
      const words = part === span.parts ? end : `−${(span.parts - part) * span.each} ${span.unit}`;
      return svg('text', { x, y: height - 5, 'text-anchor': anchor }, words);
    });
    setChildren(this.#times, texts);
  }
}

function draw(
  line: SVGPathElement,
  area: SVGPathElement,
  {
    lines,
    width: w,
    height: room,
    x = 0,
    y = 0,
  }: {
    lines: readonly (readonly (readonly [number, number])[])[];
    width: number;
    height: number;
    x?: number;
    y?: number;
  },
): void {
  const across = (px: number): string => (x + px * w).toFixed(1);
  let [path, filled] = ['', ''];
  for (const points of lines) {
    const [first, last] = [points[0]!, points.at(-1)!];
    const stretch = `M${points.map(([px, py]) => `${across(px)} ${(y + (1 - py) * room).toFixed(1)}`).join('L')}`;
    path += stretch;
    filled += `${stretch}L${across(last[0])} ${y + room}L${across(first[0])} ${y + room}Z`;
  }
  setAttribute(line, 'd', path);
  setAttribute(area, 'd', filled);
}

/** Kept while other views are looked at. */
let chosen: CurveSpan = spans[0];

export const spanNow = (): CurveSpan => chosen;

/** Over what time curves are drawn. */
export function spanChoice(onChange: () => void): HTMLElement {
  const choice = h(
    'select',
    { 'aria-label': 'Span of the curves' },
    ...spans.map(({ name }) => h('option', { value: name, selected: name === chosen.name }, `Last ${name}`)),
  );
  choice.addEventListener('change', () => {
    chosen = spans.find(({ name }) => name === choice.value) ?? spans[0];
    onChange();
  });
  return choice;
}
