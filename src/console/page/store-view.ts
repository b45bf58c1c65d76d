/** What the SSDs of the cluster hold: all together, and as a map with a tile for each worker. */
import { countText, percentText, sizeText } from '../format.ts';
import { type ConsoleState, type StoreUse, storeUses, useOf } from '../state.ts';
import { h, setAttribute, setHidden, setText } from './dom.ts';
import { showUse, titled, useWords } from './parts.ts';
import type { MakeView } from './view.ts';

const none: StoreUse = { pinned: 0, held: 0, cached: 0, reserved: 0, free: 0 };
const gap = 4;

export const storeView: MakeView = (state) => {
  const { head, title } = titled('Store');
  const all = h('div', { class: 'wide' });
  const legend = h(
    'ul',
    { class: 'legend' },
    ...storeUses.map((name) =>
      h(
        'li',
        {},
        h('span', { class: 'key', 'data-use': name, 'aria-hidden': 'true' }),
        h('span', {}, useWords[name]),
        h('b'),
      ),
    ),
  );
  const canvas = h('canvas', { class: 'map', role: 'img' });
  const under = h('p', { class: 'quiet' });
  const map = h(
    'section',
    { class: 'card' },
    h('h2', {}, 'Worker by worker'),
    h(
      'p',
      { class: 'quiet' },
      'A tile is a worker, filled from below as its store is. The table of workers has the same in figures.',
    ),
    canvas,
    under,
  );
  let places: { readonly id: string; readonly x: number; readonly y: number; readonly size: number }[] = [];
  const resized = new ResizeObserver(() => draw());
  resized.observe(map);
  const dark = matchMedia('(prefers-color-scheme: dark)');
  const draw = (): void => {
    places = drawMap(canvas, state);
  };
  dark.addEventListener('change', draw);
  addEventListener('primed-theme', draw);
  canvas.addEventListener('pointermove', ({ offsetX, offsetY }) => {
    const at = places.find(
      ({ x, y, size }) => offsetX >= x && offsetX < x + size && offsetY >= y && offsetY < y + size,
    );
    const worker = at && state.workers.get(at.id);
    setText(
      under,
      worker === undefined
        ? ''
        : `${worker.id}: ${wordsOf(useOf(worker))}${worker.state === 'LIVE' ? '' : `, ${worker.state.toLowerCase()}`}`,
    );
  });
  return {
    name: 'Store',
    el: h('div', {}, head, all, legend, map),
    title,
    update() {
      const there = [...state.workers.values()].filter((worker) => worker.state !== 'LOST');
      const use = there.map(useOf).reduce(sum, none);
      const capacity = there.reduce((bytes, worker) => bytes + worker.capacityBytes, 0);
      showUse(all, use, capacity);
      for (const [index, name] of storeUses.entries())
        setText(
          legend.children[index]!.lastElementChild!,
          capacity === 0 ? '–' : `${sizeText(use[name])} (${percentText(use[name] / capacity)})`,
        );
      setHidden(map, state.workers.size < 2);
      setAttribute(
        canvas,
        'aria-label',
        `${countText(state.workers.size)} workers; the fullest has ${percentText(fullest(state))} in use`,
      );
      draw();
    },
    close() {
      resized.disconnect();
      dark.removeEventListener('change', draw);
      removeEventListener('primed-theme', draw);
    },
  };
};

function sum(a: StoreUse, b: StoreUse): StoreUse {
  return {
    pinned: a.pinned + b.pinned,
    held: a.held + b.held,
    cached: a.cached + b.cached,
    reserved: a.reserved + b.reserved,
    free: a.free + b.free,
  };
}

function wordsOf(use: StoreUse): string {
  return storeUses
    .filter((name) => use[name] > 0)
    .map((name) => `${useWords[name]} ${sizeText(use[name])}`)
    .join(', ');
}

function fullest(state: ConsoleState): number {
  const shares = [...state.workers.values()].map((worker) =>
    worker.capacityBytes === 0 ? 0 : 1 - useOf(worker).free / worker.capacityBytes,
  );
  return shares.reduce((most, share) => Math.max(most, share), 0);
}

/** 1,000 tiles are drawn in some 3 ms; as elements they would be 4,000. */
function drawMap(canvas: HTMLCanvasElement, state: ConsoleState): { id: string; x: number; y: number; size: number }[] {
  const width = canvas.parentElement?.clientWidth ?? 0;
  const workers = [...state.workers.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  if (width === 0 || workers.length === 0) return [];
  const room = width - 32;
  const size = Math.max(12, Math.min(56, Math.floor(Math.sqrt((room * 320) / workers.length)) - gap));
  const columns = Math.max(1, Math.floor((room + gap) / (size + gap)));
  const height = Math.ceil(workers.length / columns) * (size + gap) - gap;
  const dense = devicePixelRatio || 1;
  if (canvas.width !== Math.round(room * dense) || canvas.height !== Math.round(height * dense)) {
    canvas.width = Math.round(room * dense);
    canvas.height = Math.round(height * dense);
    canvas.style.width = `${room}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext('2d')!;
  context.setTransform(dense, 0, 0, dense, 0, 0);
  context.clearRect(0, 0, room, height);
  const colours = coloursOf(canvas);
  return workers.map((worker, index) => {
    const [x, y] = [(index % columns) * (size + gap), Math.floor(index / columns) * (size + gap)];
    const use = useOf(worker);
    context.fillStyle = colours.free;
    context.fillRect(x, y, size, size);
    let bottom = y + size;
    for (const name of ['pinned', 'held', 'cached', 'reserved'] as const) {
      const part = worker.capacityBytes === 0 ? 0 : (use[name] / worker.capacityBytes) * size;
      context.fillStyle = colours[name];
      context.fillRect(x, bottom - part, size, part);
      bottom -= part;
    }
    if (worker.state !== 'LIVE') {
      context.strokeStyle = colours.wrong;
      context.lineWidth = 2;
      context.strokeRect(x + 1, y + 1, size - 2, size - 2);
      context.beginPath();
      context.moveTo(x + 1, y + size - 1);
      context.lineTo(x + size - 1, y + 1);
      context.stroke();
    }
    return { id: worker.id, x, y, size };
  });
}

/** As the style sheet has them now, light or dark. */
function coloursOf(element: Element): Record<keyof StoreUse | 'wrong', string> {
  const colours = {} as Record<keyof StoreUse | 'wrong', string>;
  const probe = h('span', { hidden: true });
  element.parentElement!.append(probe);
  for (const name of [...storeUses, 'wrong'] as const) {
    probe.style.color = `var(--${name === 'wrong' ? 'bad' : `use-${name}`})`;
    colours[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return colours;
}
