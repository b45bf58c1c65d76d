/** One origin: how it answers, why requests to it fail, and how each worker sees it. */
import { countText, millisecondsText, rateText } from '../format.ts';
import {
  limitText,
  type OriginWorker,
  originRows,
  originWorkers,
  perSecondText,
  shareText,
  troubleText,
} from '../origins.ts';
import { h, setHidden, setText } from './dom.ts';
import { about, figureColumns, healthColumn } from './origins-view.ts';
import { Facts, jobHref, showLink, showState, titled } from './parts.ts';
import { type Column, Table } from './table.ts';
import type { MakeView } from './view.ts';

const workerColumns: readonly Column<OriginWorker>[] = [
  healthColumn,
  { title: 'Who', names: true, class: 'path', by: (row) => row.id, fill: (cell, row) => setText(cell, row.id) },
  ...figureColumns<OriginWorker>(),
  { title: 'Why requests fail', class: 'text', fill: (cell, row) => setText(cell, troubleText(row) || '–') },
];

export const originView: MakeView = (state, id) => {
  const { head, title } = titled('Origin');
  const where = h('span');
  title.after(where);
  const none = h(
    'p',
    { class: 'quiet' },
    'Nobody asks this origin now, no load reads from it, and no limit is set for it.',
  );
  const facts = new Facts();
  const loads = h('p', { class: 'quiet' });
  const table = new Table<OriginWorker>({
    label: 'Who asks this origin',
    columns: workerColumns,
    empty: 'Nobody has asked it in the last seconds.',
  });
  const body = h(
    'div',
    {},
    h('section', { class: 'card' }, h('h2', {}, 'All together'), facts.el, loads),
    h('h2', {}, 'One by one'),
    table.el,
    h('p', { class: 'quiet' }, about),
  );
  return {
    name: 'Origin',
    el: h(
      'div',
      {},
      h('p', { class: 'crumb' }, h('a', { href: '#/origins' }, 'Origins')),
      head,
      h('p', { class: 'path large' }, id),
      none,
      body,
    ),
    title,
    update() {
      const row = originRows(state).find((one) => one.id === id);
      setHidden(none, row !== undefined);
      setHidden(body, row === undefined);
      setHidden(where, row === undefined);
      if (row === undefined) return;
      showState(where, row.state);
      facts.show([
        ['Requests', `${perSecondText(row.requestsPerSecond)}/s`],
        ['Rate', rateText(row.bytesPerSecond)],
        ['First byte', millisecondsText(row.firstByteMs)],
        ['Requests that fail', shareText(row.failedShare)],
        ['Why', troubleText(row) || undefined],
        ['Limit in use', limitText(row) ?? 'no limit'],
        ['Limit shared by', row.limit === undefined ? undefined : countText(row.limit.takers)],
        ['Loads', countText(row.loads.length)],
      ]);
      const [busiest] = [...row.loads].sort((a, b) => (b.bytesPerSecond ?? 0) - (a.bytesPerSecond ?? 0));
      setHidden(loads, busiest === undefined);
      if (busiest !== undefined) showLink(loads, jobHref(busiest.id), `The largest load: ${busiest.path}`);
      table.show(originWorkers(row));
    },
  };
};
