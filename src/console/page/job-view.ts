/** One job: how it goes, what holds it back, what failed, and what can be done about it. */
import type { ConsoleJob } from '../../core/console-feed.ts';
import { countText, leftText, percentText, rateText, sizeText, spanText, timeText } from '../format.ts';
import { isFailureMap, type JobReport, ledgerFacts } from '../report.ts';
import { isActive } from '../state.ts';
import { freePath, limitJob, retryFailed, stopJob, submitLoad } from './acts.ts';
import { ApiError, ask, messageOf } from './api.ts';
import { Curve, spanChoice, spanNow } from './curve.ts';
import { h, setChildren, setHidden, setText } from './dom.ts';
import { button, Facts, fileHref, limitedText, say, showBar, showLink, showState, titled } from './parts.ts';
import { steadyMs } from './rates.ts';
import { Table } from './table.ts';
import type { MakeView } from './view.ts';

/** The report has what rows have not; it is asked for again so often while the job is under way. */
const reportEveryMs = 3_000;

interface Failure {
  readonly id: string;
  readonly reason: string;
}

export const jobView: MakeView = (state, id) => {
  const acts = {
    stop: button('Stop…', () => withJob(stopJob), 'danger'),
    limit: button('Limit…', () => withJob(limitJob)),
    retry: button('Retry what failed…', () => withJob(retryFailed), 'main'),
    again: button('Load again…', () => withJob(({ path }) => submitLoad(path))),
    free: button('Free…', () => withJob(({ path }) => freePath(path))),
  };
  const { head, title } = titled('Job', acts.free, acts.again, acts.limit, acts.retry, acts.stop);
  const path = h('p', { class: 'path large' });
  const where = h('span');
  const bar = h('div', { class: 'wide' });
  const note = h('p', { class: 'note' });
  const limited = h('p', { class: 'note' });
  const facts = new Facts();
  const account = new Facts();
  const curve = new Curve('Rate of this job');
  const curveBox = h(
    'section',
    { class: 'card', 'aria-label': 'Rate' },
    h(
      'div',
      { class: 'with' },
      h('h2', {}, 'Rate'),
      spanChoice(() => show(steadyMs())),
    ),
    curve.el,
  );
  const failures = new Table<Failure>({
    label: 'Files that failed',
    empty: '',
    columns: [
      {
        title: 'File',
        names: true,
        class: 'path',
        by: (row) => row.id,
        fill: (cell, row) => showLink(cell, fileHref(row.id), row.id),
      },
      { title: 'Why', class: 'text', by: (row) => row.reason, fill: (cell, row) => setText(cell, row.reason) },
    ],
  });
  const more = h('p', { class: 'quiet' });
  const failed = h('section', { class: 'card', hidden: true }, h('h2', {}, 'Failed files'), failures.el, more);
  const trouble = h('p', { class: 'wrong', hidden: true });
  const body = h(
    'div',
    {},
    bar,
    note,
    limited,
    h(
      'div',
      { class: 'cards' },
      h('section', { class: 'card' }, h('h2', {}, 'Figures'), facts.el),
      h('section', { class: 'card' }, h('h2', {}, 'Account of its bytes'), account.el),
    ),
    curveBox,
    failed,
  );
  const closed = new AbortController();
  let report: JobReport | undefined;
  let asking = false;
  let askedMs = Number.NEGATIVE_INFINITY;
  let askedState = '';
  let before: string | undefined;

  function withJob(then: (job: ConsoleJob) => void): void {
    const job = state.jobs.get(id);
    if (job !== undefined) then(job);
  }

  const look = async (job: ConsoleJob, nowMs: number): Promise<void> => {
    const again = isActive(job) ? nowMs - askedMs >= reportEveryMs : askedState !== job.state;
    if (asking || !again) return;
    [asking, askedMs, askedState] = [true, nowMs, job.state];
    try {
      const type = job.type === 'FREE' ? 'free' : 'load';
      const query = { path: id, format: 'JSON', verbose: 'true' };
      report = await ask<JobReport>({ path: `/api/v1/master/progress_job/${type}`, query, signal: closed.signal });
      setHidden(trouble, true);
      if (!closed.signal.aborted) show(steadyMs());
    } catch (error) {
      if (closed.signal.aborted) return;
      if (!(error instanceof ApiError)) throw error;
      // Also of a job that ended while it was asked about: so it is asked again.
      askedState = '';
      setText(trouble, messageOf(error));
      setHidden(trouble, false);
    } finally {
      asking = false;
    }
  };

  const show = (nowMs: number): void => {
    const job = state.jobs.get(id);
    setHidden(body, job === undefined);
    if (job === undefined) {
      for (const act of Object.values(acts)) setHidden(act, true);
      setText(path, state.head === undefined ? '' : `No job ${id} is known here any more.`);
      return;
    }
    const active = isActive(job);
    const load = job.type === 'LOAD';
    setHidden(acts.stop, !active || !state.may(load ? 'submit' : 'admin'));
    setHidden(acts.limit, !active || !load || !state.may('submit'));
    setHidden(acts.retry, active || !load || job.failures === 0 || !state.may('submit'));
    setHidden(acts.again, active || !load || job.kind !== 'path' || !state.may('submit'));
    setHidden(acts.free, active || !load || job.kind !== 'path' || !state.may('admin'));
    setText(title, load ? 'Load' : job.dryRun ? 'Free, dry run' : 'Free');
    setText(path, job.path);
    showState(where, job.state);
    if (before !== undefined && before !== job.state) say(`The job is now ${job.state.toLowerCase()}.`);
    before = job.state;
    const { share, bytesPerSecond, etaMs } = state.figures(job);
    showBar(bar, share, job.state);
    const why = [job.reason, state.stillText(job, nowMs)].filter((text) => text !== undefined);
    setText(note, why.map((text) => `${text.charAt(0).toUpperCase()}${text.slice(1)}`).join('. '));
    setHidden(note, why.length === 0);
    const causes = limitedText(job.limitedBy, 3);
    setText(limited, causes === undefined ? '' : `Limited by: ${causes}`);
    setHidden(limited, causes === undefined);
    facts.show([
      ['Done', percentText(share)],
      [
        load ? 'Files' : job.dryRun ? 'Files that would go' : 'Files freed',
        ofWhole(job.dryRun ? job.files : job.doneFiles, job.files, countText),
      ],
      [
        load ? 'Bytes' : job.dryRun ? 'Bytes that would go' : 'Bytes freed',
        ofWhole(job.dryRun ? job.bytes : job.doneBytes, job.bytes, sizeText),
      ],
      ['Skipped, there already', job.skippedBytes === undefined ? undefined : sizeText(job.skippedBytes)],
      [active ? 'Rate' : 'Rate on average', bytesPerSecond === undefined ? undefined : rateText(bytesPerSecond)],
      ['Time left', active && etaMs !== undefined ? leftText(etaMs) : undefined],
      [load ? 'Files failed' : 'Workers that did not answer', countText(job.failures)],
      ['Retries', job.retries === undefined ? undefined : countText(job.retries)],
      [
        'Limit of a worker',
        job.bandwidthBytesPerSecond === undefined ? undefined : rateText(job.bandwidthBytesPerSecond),
      ],
      ['Replicas', job.replicas === undefined ? undefined : countText(job.replicas)],
      ['Submitted', timeText(job.submittedAtMs)],
      ['Ended', job.endedAtMs === undefined ? undefined : timeText(job.endedAtMs)],
      ['At work for', report?.mTimeElapsed === undefined ? undefined : spanText(report.mTimeElapsed)],
      ['Id', job.id],
      ['Alias', job.alias],
    ]);
    account.show(report === undefined ? [] : ledgerFacts(report));
    setHidden(account.el.parentElement!, report?.ledger === undefined);
    showCurve(nowMs, active);
    showFailures(job);
  };

  /** Of one that has ended, up to its end, for as long as its coordinator keeps it. */
  const showCurve = (nowMs: number, active: boolean): void => {
    state.want(id, 'all');
    const history = state.rates.get(id);
    setHidden(curveBox, history === undefined);
    const end = active ? { nowMs } : { nowMs: history?.lastMs ?? nowMs, end: 'end' as const };
    curve.draw(history, { span: spanNow(), ...end });
  };

  const showFailures = (job: ConsoleJob): void => {
    const named = report?.mFailedFilesWithReasons;
    const rows = isFailureMap(named) ? Object.entries(named).map(([file, reason]) => ({ id: file, reason })) : [];
    const absent = (report?.absentWorkers ?? []).map((worker) => ({ id: worker, reason: 'did not answer' }));
    setHidden(failed, job.failures === 0);
    failures.show(job.type === 'FREE' ? absent : rows, 'Their names are not told yet.');
    const unnamed = job.failures - (job.type === 'FREE' ? absent.length : rows.length);
    setText(more, `${countText(unnamed)} more, whose names are not kept.`);
    setHidden(more, rows.length === 0 || unnamed <= 0);
  };

  setChildren(head, [title, where, ...head.querySelectorAll('.acts')]);
  return {
    name: 'Job',
    el: h('div', {}, h('p', { class: 'crumb' }, h('a', { href: '#/jobs' }, 'Jobs')), head, path, trouble, body),
    title,
    update(nowMs) {
      show(nowMs);
      const job = state.jobs.get(id);
      if (job !== undefined) void look(job, nowMs);
    },
    close: () => closed.abort(),
  };
};

function ofWhole(
  done: number | undefined,
  whole: number | undefined,
  form: (amount: number | undefined) => string,
): string {
  return whole === undefined || whole === done ? form(done) : `${form(done)} of ${form(whole)}`;
}
