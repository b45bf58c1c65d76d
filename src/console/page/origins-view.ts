/** Origins: how each answers all workers together, what is read from it, and how much of its limit is in use. */
import { countText, millisecondsText, rateText } from '../format.ts';
import {
  limitText,
  type OriginFigures,
  type OriginRow,
  originRows,
  originStates,
  perSecondText,
  shareText,
  troubleText,
} from '../origins.ts';
import { h, setAttribute, setText } from './dom.ts';
import { limitedText, originHref, showLink, showNoted, showState, titled } from './parts.ts';
import { type Column, Table } from './table.ts';
import type { MakeView } from './view.ts';

export const originsView: MakeView = (state) => {
  const { head, title } = titled('Origins');
  const table = new Table<OriginRow>({
    label: 'Origins',
    empty: 'Nobody asks an origin now, and no limit is set.',
    columns: [
      healthColumn,
      {
        title: 'Origin',
        names: true,
        by: (row) => row.id,
        class: 'path',
        fill: (cell, row) => showLink(showNoted(cell, notesOf(row)), originHref(row.id), row.id),
      },
      ...figureColumns(),
      {
        title: 'Loads',
        num: true,
        by: (row) => row.loads.length,
        fill: (cell, row) => setText(cell, countText(row.loads.length)),
      },
      {
        title: 'Workers',
        num: true,
        by: (row) => row.uses.length,
        fill: (cell, row) => setText(cell, countText(row.uses.length)),
      },
      { title: 'Limit in use', num: true, fill: (cell, row) => setText(cell, limitText(row) ?? 'no limit') },
    ],
  });
  return {
    name: 'Origins',
    el: h('div', {}, head, table.el, h('p', { class: 'quiet' }, about)),
    title,
    update: () => table.show(originRows(state)),
  };
};

export const about =
  'Of the last ten seconds, as workers say with each renewal of their lease, and the coordinator: parts of files, listings, looks at objects, and what is passed through.';

export const healthColumn: Column<OriginFigures & { readonly id: string }> = {
  title: 'Health',
  by: (row) => originStates.indexOf(row.state),
  class: 'c-state',
  fill: (cell, row) => showState(cell, row.state),
};

/** The same for an origin as a whole, and as one worker sees it. */
export function figureColumns<R extends OriginFigures & { readonly id: string }>(): Column<R>[] {
  return [
    {
      title: 'Requests/s',
      num: true,
      by: (row) => row.requestsPerSecond,
      fill: (cell, row) => setText(cell, perSecondText(row.requestsPerSecond)),
    },
    {
      title: 'Rate',
      num: true,
      by: (row) => row.bytesPerSecond,
      fill: (cell, row) => setText(cell, rateText(row.bytesPerSecond)),
    },
    {
      title: 'First byte',
      num: true,
      by: (row) => row.firstByteMs ?? -1,
      fill: (cell, row) => setText(cell, millisecondsText(row.firstByteMs)),
    },
    {
      title: 'Fail',
      num: true,
      by: (row) => row.failedShare,
      fill: (cell, row) => {
        setText(cell, row.state === 'IDLE' ? '–' : shareText(row.failedShare));
        setAttribute(cell, 'data-bad', row.failedShare > 0);
      },
    },
    {
      title: 'Throttled',
      num: true,
      by: (row) => row.failed.throttled,
      fill: (cell, row) => setText(cell, row.state === 'IDLE' ? '–' : shareText(row.failed.throttled)),
    },
  ];
}

function notesOf(row: OriginRow): string {
  const slowest = row.loads.map((job) => limitedText(job.limitedBy)).find((text) => text !== undefined);
  const failures = row.loads.reduce((sum, job) => sum + job.failures, 0);
  const notes = [
    troubleText(row, 2),
    slowest === undefined ? '' : `loads are limited by ${slowest}`,
    failures === 0 ? '' : `${countText(failures)} files failed in loads that go on`,
  ];
  return notes.filter(Boolean).join(' · ');
}
