/** All jobs: what runs first, then the newest. */
import type { ConsoleJob } from '../../core/console-feed.ts';
import { agoText, countText, leftText, rateText, sizeText, timeText } from '../format.ts';
import { type ConsoleState, isActive } from '../state.ts';
import { freePath, submitLoad } from './acts.ts';
import { Spark } from './curve.ts';
import { h, once, setAttribute, setHidden, setText } from './dom.ts';
import { button, jobHref, limitedText, showBar, showLink, showNoted, showState, titled } from './parts.ts';
import { steadyMs } from './rates.ts';
import { type Column, Table } from './table.ts';
import type { MakeView } from './view.ts';

const ranks = ['RUNNING', 'VERIFYING', 'WAITING'];
const choices = [
  ['', 'All'],
  ['ACTIVE', 'Active'],
  ['FAILED', 'Failed'],
  ['SUCCEEDED', 'Succeeded'],
  ['STOPPED', 'Stopped'],
] as const;

/** Kept while other views are looked at. */
const wanted = { text: '', state: '' };

export const jobsView: MakeView = (state) => {
  const submit = button('Submit a load', () => submitLoad(), 'main');
  const free = button('Free…', () => freePath());
  const { head, title } = titled('Jobs', free, submit);
  const search = h('input', {
    type: 'search',
    value: wanted.text,
    placeholder: 'Path or id',
    'aria-label': 'Jobs whose path or id has',
    autocomplete: 'off',
    spellcheck: 'false',
  });
  const states = h(
    'select',
    { 'aria-label': 'State' },
    ...choices.map(([value, text]) => h('option', { value, selected: value === wanted.state }, text)),
  );
  const beyond = h('p', { class: 'quiet', hidden: true });
  const table = new Table<ConsoleJob>({ label: 'Jobs', columns: columnsOf(state), empty: '' });
  const show = (): void => {
    wanted.text = search.value.trim();
    wanted.state = states.value;
    table.show(
      shownOf(state),
      state.jobs.size === 0
        ? 'No job yet. Submit a load here, with primed job load, or over the REST API.'
        : 'No job is like that.',
    );
  };
  search.addEventListener('input', show);
  states.addEventListener('change', show);
  return {
    name: 'Jobs',
    el: h('div', {}, head, h('div', { class: 'filters' }, search, states), table.el, beyond),
    title,
    update() {
      setHidden(submit, !state.may('submit'));
      setHidden(free, !state.may('admin'));
      show();
      const all = Object.values(state.head?.jobs ?? {}).reduce((sum, count) => sum + count, 0);
      setHidden(beyond, all <= state.jobs.size);
      setText(beyond, `${countText(all - state.jobs.size)} older jobs are not shown; primed job history has them.`);
    },
  };
};

function shownOf(state: ConsoleState): ConsoleJob[] {
  const text = wanted.text.toLowerCase();
  const rows = [...state.jobs.values()].filter(
    (job) =>
      (wanted.state === '' || (wanted.state === 'ACTIVE' ? isActive(job) : job.state === wanted.state)) &&
      (text === '' ||
        job.path.toLowerCase().includes(text) ||
        job.id.includes(text) ||
        job.alias?.toLowerCase().includes(text)),
  );
  const rank = (job: ConsoleJob): number => (isActive(job) ? ranks.indexOf(job.state) : ranks.length);
  return rows.sort((a, b) => rank(a) - rank(b) || b.submittedAtMs - a.submittedAtMs || (a.id < b.id ? 1 : -1));
}

function columnsOf(state: ConsoleState): Column<ConsoleJob>[] {
  return [
    { title: 'State', by: (job) => job.state, fill: (cell, job) => showState(cell, job.state), class: 'c-state' },
    {
      title: 'Path',
      names: true,
      by: (job) => job.path,
      class: 'path',
      fill: (cell, job) => {
        const notes = [
          job.type === 'FREE' ? (job.dryRun ? 'free, dry run' : 'free') : undefined,
          job.kind === 'index' ? 'index file' : job.kind === 'paths' ? 'list of paths' : undefined,
          job.metadataOnly ? 'metadata only' : undefined,
          job.replicas === undefined ? undefined : `${job.replicas} replicas`,
          job.reason,
          state.stillText(job, steadyMs()),
          isActive(job) && limitedText(job.limitedBy) !== undefined
            ? `limited by ${limitedText(job.limitedBy)}`
            : undefined,
        ];
        const line = showNoted(cell, notes.filter((note) => note !== undefined).join(' · '));
        showLink(line, jobHref(job.id), job.path);
      },
    },
    {
      title: 'Progress',
      by: (job) => state.figures(job).share ?? -1,
      fill: (cell, job) => showBar(cell, state.figures(job).share, job.state),
      class: 'c-bar',
    },
    {
      title: 'Rate',
      num: true,
      by: (job) => state.figures(job).bytesPerSecond ?? -1,
      class: 'c-rate',
      fill: (cell, job) => {
        const box = once(cell, () => h('span', { class: 'rate' }, sparkOf(cell).el, h('span')));
        const active = isActive(job) && job.state !== 'WAITING';
        if (active) {
          state.want(job.id, 'sketch');
          sparkOf(cell).draw(state.rates.get(job.id), steadyMs());
        }
        setAttribute(box.firstElementChild!, 'data-idle', !active);
        setText(
          box.lastElementChild!,
          job.type === 'FREE' && !active ? '–' : rateText(state.figures(job).bytesPerSecond),
        );
      },
    },
    {
      title: 'Left',
      num: true,
      by: (job) => state.figures(job).etaMs ?? -1,
      fill: (cell, job) => setText(cell, isActive(job) ? leftText(state.figures(job).etaMs) : '–'),
    },
    {
      title: 'Files',
      num: true,
      by: (job) => job.doneFiles,
      fill: (cell, job) =>
        setText(
          cell,
          job.files === undefined || job.files === job.doneFiles
            ? countText(job.doneFiles)
            : `${countText(job.doneFiles)} / ${countText(job.files)}`,
        ),
    },
    {
      title: 'Bytes',
      num: true,
      by: (job) => job.doneBytes,
      fill: (cell, job) =>
        setText(
          cell,
          job.bytes === undefined || job.bytes === job.doneBytes
            ? sizeText(job.doneBytes)
            : `${sizeText(job.doneBytes)} / ${sizeText(job.bytes)}`,
        ),
    },
    {
      title: 'Failed',
      num: true,
      by: (job) => job.failures,
      fill: (cell, job) => {
        setText(cell, job.failures === 0 ? '–' : countText(job.failures));
        setAttribute(cell, 'data-bad', job.failures > 0);
      },
    },
    {
      title: 'Submitted',
      num: true,
      by: (job) => job.submittedAtMs,
      fill: (cell, job) => {
        setText(cell, agoText(job.submittedAtMs, Date.now()));
        setAttribute(cell, 'title', timeText(job.submittedAtMs));
      },
    },
  ];
}

const sparks = new WeakMap<HTMLElement, Spark>();

function sparkOf(cell: HTMLElement): Spark {
  const spark = sparks.get(cell) ?? new Spark();
  sparks.set(cell, spark);
  return spark;
}
