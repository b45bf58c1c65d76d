/** Curves of a rate over the last minutes, as SVG of our own. */
import { niceTop, rateText } from '../format.ts';
import { pointsOf, type Series, seriesSpanMs } from '../series.ts';
import { setAttribute, setText, svg } from './dom.ts';

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

  draw(series: Series | undefined, nowMs: number, spanMs = 120_000): void {
    const top = series?.largest ?? 0;
    draw(this.#line, this.#area, {
      points: series === undefined ? [] : pointsOf(series, { nowMs, spanMs, top }),
      width: 80,
      height: 18,
      y: 1,
    });
  }
}

const width = 1100;
const height = 190;
const gutter = { left: 84, bottom: 22, top: 8, right: 8 };

/** With axes; says in words what it shows. */
export class Curve {
  readonly el: SVGSVGElement;
  readonly #name: string;
  readonly #line = svg('path', { class: 'line' });
  readonly #area = svg('path', { class: 'area' });
  readonly #ticks: { readonly at: number; readonly text: SVGTextElement }[] = [];
  #toldMs = 0;

  constructor(name: string) {
    this.#name = name;
    this.el = svg('svg', { class: 'curve', viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': name });
    for (const at of [0, 0.5, 1]) {
      const y = gutter.top + (1 - at) * (height - gutter.top - gutter.bottom);
      this.el.append(svg('line', { class: 'grid', x1: gutter.left, x2: width - gutter.right, y1: y, y2: y }));
      const text = svg('text', { x: gutter.left - 8, y: y + 4, 'text-anchor': 'end' });
      this.#ticks.push({ at, text });
      this.el.append(text);
    }
    for (const minutes of [5, 4, 3, 2, 1, 0]) {
      const x = gutter.left + (1 - minutes / 5) * (width - gutter.left - gutter.right);
      const anchor = minutes === 0 ? 'end' : minutes === 5 ? 'start' : 'middle';
      this.el.append(
        svg('text', { x, y: height - 5, 'text-anchor': anchor }, minutes === 0 ? 'now' : `−${minutes} min`),
      );
    }
    this.el.append(this.#area, this.#line);
  }

  draw(series: Series | undefined, nowMs: number): void {
    const top = niceTop(series?.largest ?? 0);
    const points = series === undefined ? [] : pointsOf(series, { nowMs, spanMs: seriesSpanMs, top });
    const room = { width: width - gutter.left - gutter.right, height: height - gutter.top - gutter.bottom };
    draw(this.#line, this.#area, { points, ...room, x: gutter.left, y: gutter.top });
    for (const { at, text } of this.#ticks)
      setText(text, at > 0 && (series?.largest ?? 0) === 0 ? '' : at === 0 ? '0' : rateText(top * at));
    // Somebody may be hearing it.
    if (nowMs - this.#toldMs < 10_000) return;
    this.#toldMs = nowMs;
    const told =
      series === undefined
        ? 'nothing yet'
        : `${rateText(series.last)} now, at most ${rateText(series.largest)} in the last 5 minutes`;
    setAttribute(this.el, 'aria-label', `${this.#name}: ${told}`);
  }
}

function draw(
  line: SVGPathElement,
  area: SVGPathElement,
  {
    points,
    width: w,
    height: room,
    x = 0,
    y = 0,
  }: { points: readonly (readonly [number, number])[]; width: number; height: number; x?: number; y?: number },
): void {
  const at = points.map(([px, py]) => `${(x + px * w).toFixed(1)} ${(y + (1 - py) * room).toFixed(1)}`);
  const path = at.length < 2 ? '' : `M${at.join('L')}`;
  setAttribute(line, 'd', path);
  const ends =
    at.length < 2
      ? ''
      : `L${(x + points.at(-1)![0] * w).toFixed(1)} ${y + room}L${(x + points[0]![0] * w).toFixed(1)} ${y + room}Z`;
  setAttribute(area, 'd', path + ends);
}
