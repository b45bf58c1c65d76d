/** What several views are made of: states, bars, links, figures with their names, what is said aloud. */
import { type Limit, limitText } from '../../core/limit-causes.ts';
import { percentText, sizeText } from '../format.ts';
import { type StoreUse, storeUses } from '../state.ts';
import { type Child, h, once, setAttribute, setChildren, setText, svg } from './dom.ts';

/** Told by shape and word, and by colour last. */
const marks: Readonly<Record<string, string>> = {
  RUNNING: 'M5 3l8 5-8 5z',
  VERIFYING: 'M7 3a4 4 0 1 0 0 8a4 4 0 0 0 0-8M10 10l4 4',
  WAITING: 'M8 2a6 6 0 1 0 0 12a6 6 0 0 0 0-12M8 5v3l2 2',
  SUCCEEDED: 'M3 8.5l3.5 3.5L13 4.5',
  FAILED: 'M4 4l8 8M12 4l-8 8',
  STOPPED: 'M4 4h8v8H4z',
  LIVE: 'M3 8.5l3.5 3.5L13 4.5',
  DRAINING: 'M8 2v9M4 8l4 4l4-4',
  LOST: 'M4 4l8 8M12 4l-8 8',
  REFUSED: 'M8 2a6 6 0 1 0 0 12a6 6 0 0 0 0-12M4 12l8-8',
  GOOD: 'M3 8.5l3.5 3.5L13 4.5',
  RETRYING: 'M8 2v7M8 12v1',
  FAILING: 'M4 4l8 8M12 4l-8 8',
  THROTTLED: 'M8 3v6M5 6l3 3l3-3M3 13h10',
  IDLE: 'M4 8h8',
};

/** A line with a note below it; returns the line. */
export function showNoted(cell: HTMLElement, note: string): HTMLElement {
  const box = once(cell, () => h('span', { class: 'two' }, h('span'), h('small')));
  setText(box.lastElementChild!, note);
  return box.firstElementChild as HTMLElement;
}

export function showState(cell: HTMLElement, state: string, word = state.toLowerCase()): void {
  const badge = once(cell, () =>
    h('span', { class: 'state' }, svg('svg', { viewBox: '0 0 16 16', 'aria-hidden': 'true' }, svg('path')), h('span')),
  );
  setAttribute(badge, 'data-state', state);
  setAttribute(badge.querySelector('path')!, 'd', marks[state] ?? marks.IDLE);
  setText(badge.lastElementChild!, word);
}

/** 0 to 1; undefined: it cannot be said. `state` colours it. */
export function showBar(cell: HTMLElement, share: number | undefined, state: string): void {
  const box = once(cell, () =>
    h(
      'span',
      { class: 'progress' },
      h('span', { class: 'bar', 'aria-hidden': 'true' }, h('span')),
      h('span', { class: 'of' }),
    ),
  );
  setAttribute(box, 'data-state', state);
  setWidth(box.querySelector<HTMLElement>('.bar > span')!, share ?? 0);
  setText(box.lastElementChild!, percentText(share));
}

/** What is in a store: its parts in one bar, told in words too. */
export function showUse(cell: HTMLElement, use: StoreUse, capacityBytes: number): void {
  const bar = once(cell, () =>
    h('span', { class: 'use', role: 'img' }, ...storeUses.map((name) => h('span', { 'data-use': name }))),
  );
  const told: string[] = [];
  for (const [index, name] of storeUses.entries()) {
    setWidth(bar.children[index] as HTMLElement, capacityBytes === 0 ? 0 : use[name] / capacityBytes);
    if (use[name] > 0) told.push(`${useWords[name]} ${sizeText(use[name])}`);
  }
  setAttribute(bar, 'aria-label', told.join(', ') || 'no room');
  setAttribute(bar, 'title', told.join(', '));
}

export const useWords: Readonly<Record<keyof StoreUse, string>> = {
  pinned: 'pinned',
  held: 'held by loads',
  cached: 'cached',
  reserved: 'reserved',
  free: 'free',
};

function setWidth(element: HTMLElement, share: number): void {
  const width = `${(Math.min(1, Math.max(0, share)) * 100).toFixed(1)}%`;
  if (element.style.width !== width) element.style.width = width;
}

export function showLink(cell: HTMLElement, href: string, text: string): void {
  const link = once(cell, () => h('a'));
  setAttribute(link, 'href', href);
  setAttribute(link, 'title', text);
  setText(link, text);
}

export function jobHref(id: string): string {
  return `#/job/${encodeURIComponent(id)}`;
}

export function originHref(id: string): string {
  return `#/origin/${encodeURIComponent(id)}`;
}

export function fileHref(path: string): string {
  return `#/file/${encodeURIComponent(path)}`;
}

export function limitedText(limitedBy: readonly Limit[] | undefined, most = 1): string | undefined {
  return limitedBy?.slice(0, most).map(limitText).join(', ') || undefined;
}

/** Names with what they are, in two columns; those that are undefined are left out. */
export class Facts {
  readonly el = h('dl', { class: 'facts' });
  readonly #made = new Map<string, { name: HTMLElement; value: HTMLElement }>();

  show(facts: readonly (readonly [string, string | undefined])[]): void {
    const known = facts.filter((fact): fact is readonly [string, string] => fact[1] !== undefined);
    const nodes = known.map(([name, text]) => {
      const made = this.#made.get(name) ?? { name: h('dt', {}, name), value: h('dd') };
      this.#made.set(name, made);
      setText(made.value, text);
      return made;
    });
    setChildren(
      this.el,
      nodes.flatMap(({ name, value }) => [name, value]),
    );
  }
}

export function button(text: string, onClick: () => void, look: '' | 'main' | 'danger' = ''): HTMLButtonElement {
  return h('button', { type: 'button', class: look, on: { click: onClick } }, text);
}

/** A heading that focus goes to when the view is opened. */
export function titled(text: string, ...beside: Child[]): { readonly head: HTMLElement; readonly title: HTMLElement } {
  const title = h('h1', { tabindex: -1 }, text);
  return { title, head: h('div', { class: 'head' }, title, h('div', { class: 'acts' }, ...beside)) };
}

let toldAt = 0;
let waiting: ReturnType<typeof setTimeout> | undefined;

/** Has a screen reader say it; not more often than every 2 s, and then the newest. */
export function say(text: string): void {
  clearTimeout(waiting);
  waiting = setTimeout(
    () => {
      toldAt = performance.now();
      const said = document.getElementById('said');
      if (said !== null) said.textContent = text;
    },
    Math.max(0, toldAt + 2_000 - performance.now()),
  );
}
