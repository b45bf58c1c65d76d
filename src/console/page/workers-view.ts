/** Workers: their health, what they hold, how fast that grows. What needs somebody comes first. */
import type { ConsoleWorker } from '../../core/console-feed.ts';
import { agoText, countText, rateText, sizeText } from '../format.ts';
import { usedBytes, useOf } from '../state.ts';
import { h, setAttribute, setHidden, setText } from './dom.ts';
import { showNoted, showState, showUse, titled } from './parts.ts';
import { type Column, Table } from './table.ts';
import type { MakeView } from './view.ts';

const ranks = ['LOST', 'REFUSED', 'DRAINING', 'LIVE'];

export const workersView: MakeView = (state) => {
  const { head, title } = titled('Workers');
  const search = h('input', {
    type: 'search',
    placeholder: 'Id, address or zone',
    'aria-label': 'Workers whose id, address or zone has',
    autocomplete: 'off',
    spellcheck: 'false',
  });
  const filters = h('div', { class: 'filters' }, search);
  const table = new Table<ConsoleWorker>({ label: 'Workers', columns, empty: '' });
  const show = (): void => {
    const text = search.value.trim().toLowerCase();
    const rows = [...state.workers.values()]
      .filter(({ id, address, zone }) => [id, address, zone].some((one) => one?.toLowerCase().includes(text)))
      .sort((a, b) => ranks.indexOf(a.state) - ranks.indexOf(b.state) || (a.id < b.id ? -1 : 1));
    table.show(rows, state.workers.size === 0 ? 'No worker is registered.' : 'No worker is like that.');
  };
  search.addEventListener('input', show);
  return {
    name: 'Workers',
    el: h('div', {}, head, filters, table.el),
    title,
    update() {
      setHidden(filters, state.workers.size < 2);
      show();
    },
  };
};

const share = (row: ConsoleWorker): number => (row.capacityBytes === 0 ? 0 : usedBytes(row) / row.capacityBytes);

const columns: readonly Column<ConsoleWorker>[] = [
  { title: 'State', by: (row) => row.state, class: 'c-state', fill: (cell, row) => showState(cell, row.state) },
  {
    title: 'Worker',
    names: true,
    by: (row) => row.id,
    class: 'path',
    fill: (cell, row) => setText(showNoted(cell, notesOf(row)), row.id),
  },
  { title: 'Use', by: share, class: 'c-use', fill: (cell, row) => showUse(cell, useOf(row), row.capacityBytes) },
  {
    title: 'Used',
    num: true,
    by: share,
    fill: (cell, row) => setText(cell, `${sizeText(usedBytes(row))} / ${sizeText(row.capacityBytes)}`),
  },
  {
    title: 'Receives',
    num: true,
    by: (row) => row.receivedBytesPerSecond ?? -1,
    fill: (cell, row) => setText(cell, rateText(row.receivedBytesPerSecond)),
  },
  {
    title: 'Serves',
    num: true,
    by: (row) => row.servedBytesPerSecond ?? -1,
    fill: (cell, row) => setText(cell, rateText(row.servedBytesPerSecond)),
  },
  {
    title: 'Origin failures',
    num: true,
    by: (row) => row.originFailuresPerMinute ?? -1,
    fill: (cell, row) => {
      const { originFailuresPerMinute: failures, originThrottledPerMinute: throttled = 0 } = row;
      const told = failures === undefined ? '–' : `${countText(failures)}/min`;
      setText(cell, throttled > 0 ? `${told}, ${countText(throttled)} throttled` : told);
      setAttribute(cell, 'data-bad', (failures ?? 0) > 0);
    },
  },
  { title: 'Files', num: true, by: (row) => row.files, fill: (cell, row) => setText(cell, countText(row.files)) },
  { title: 'Zone', titled: true, by: (row) => row.zone ?? '', fill: (cell, row) => setText(cell, row.zone ?? '–') },
  { title: 'Version', titled: true, by: (row) => row.version, fill: (cell, row) => setText(cell, row.version) },
];

function notesOf({ address, reason, state, drains, lastSeenMs, freeBytes, capacityBytes }: ConsoleWorker): string {
  const notes = [
    address,
    reason,
    state === 'LOST' ? `last heard ${agoText(lastSeenMs, Date.now())}` : undefined,
    drains ? 'gets no new segments' : undefined,
    state !== 'LOST' && freeBytes === 0 && capacityBytes > 0 ? 'nothing is free' : undefined,
  ];
  return notes.filter((note) => note !== undefined).join(' · ');
}
