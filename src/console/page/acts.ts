/** What the page can have done: submit, stop, limit, retry, free. Each asks first, and says what came of it. */
import type { ConsoleJob } from '../../core/console-feed.ts';
import type { LoadPlan } from '../../core/load-plan.ts';
import { countText, sizeText } from '../format.ts';
import { planLines } from '../plan.ts';
import { ask, messageOf } from './api.ts';
import { check, field, openDialog } from './dialog.ts';
import { h, setChildren, setText } from './dom.ts';
import { button, jobHref, say } from './parts.ts';

const master = '/api/v1/master';
/** A large path is listed for minutes. */
const planLimitMs = 3_600_000;

interface Submitted {
  readonly jobId: string;
  readonly message: string;
}

export function submitLoad(path = ''): void {
  const where = field({
    label: 'Path',
    value: path,
    placeholder: 's3://bucket/prefix/',
    required: true,
    hint: 'A directory, with a slash at its end, or a file.',
  });
  const replicas = field({ label: 'Replicas', type: 'number', value: '1', hint: 'On how many workers each byte is.' });
  const bandwidth = field({ label: 'Bandwidth limit', placeholder: 'none', hint: 'Of each worker, a second: 200MB.' });
  const verify = check('Verify', 'Read everything again when it is loaded, and compare.');
  const again = check('Load again what is there', 'Else only what is missing, or has changed at the origin.');
  const metadata = check('Metadata only', 'Sizes and times of the files, and no bytes.');
  replicas.input.min = '1';
  const order = (): object => ({
    path: where.input.value.trim(),
    options: {
      replicas: replicas.input.value,
      verify: verify.input.checked,
      skipIfExists: !again.input.checked,
      loadMetadataOnly: metadata.input.checked,
      ...(bandwidth.input.value.trim() !== '' && { bandwidth: bandwidth.input.value.trim() }),
    },
  });
  const would = h('div', { class: 'would', role: 'status' });
  const gone = new AbortController();
  const plan = button('What would it do?', () => void look());
  const look = async (): Promise<void> => {
    if (!where.input.reportValidity() || plan.getAttribute('aria-busy') !== null) return;
    plan.setAttribute('aria-busy', 'true');
    setText(would, 'Listing the path. A large one takes a while.');
    try {
      const body = order();
      const told = planLines(
        await ask<LoadPlan>({
          method: 'POST',
          path: `${master}/plan_job/load`,
          body,
          signal: gone.signal,
          limitMs: planLimitMs,
        }),
      );
      setChildren(
        would,
        told.map((line) => h('p', {}, line)),
      );
    } catch (error) {
      if (!gone.signal.aborted) setText(would, messageOf(error));
    } finally {
      plan.removeAttribute('aria-busy');
    }
  };
  openDialog({
    title: 'Submit a load',
    body: [
      where.el,
      h('div', { class: 'pair' }, replicas.el, bandwidth.el),
      verify.el,
      again.el,
      metadata.el,
      plan,
      would,
    ],
    action: 'Submit',
    focus: where.input,
    onClose: () => gone.abort(),
    run: async () => {
      const { jobId, message } = await ask<Submitted>({
        method: 'POST',
        path: `${master}/submit_job/load`,
        body: order(),
      });
      say(message);
      location.hash = jobHref(jobId);
    },
  });
}

export function stopJob({ id, type, path, state }: ConsoleJob): void {
  const what = type === 'FREE' ? 'free' : 'load';
  openDialog({
    title: `Stop this ${what}?`,
    body: [
      h('p', { class: 'path' }, path),
      h(
        'p',
        {},
        type === 'FREE'
          ? 'What was removed stays removed.'
          : `It is ${state.toLowerCase()}. What it has loaded stays cached, and a load of the same path goes on from there.`,
      ),
    ],
    action: `Stop the ${what}`,
    danger: true,
    run: async () => {
      const { message } = await ask<Submitted>({
        method: 'POST',
        path: `${master}/stop_job/${what}`,
        body: { path: type === 'FREE' ? path : id },
      });
      say(message);
    },
  });
}

export function limitJob({ id, bandwidthBytesPerSecond }: ConsoleJob): void {
  const value = bandwidthBytesPerSecond === undefined ? '' : `${bandwidthBytesPerSecond}`;
  const bandwidth = field({
    label: 'Bandwidth limit',
    value,
    placeholder: 'none',
    hint: 'Of each worker, a second: 200MB. Empty lifts it.',
  });
  openDialog({
    title: 'Limit this load',
    body: [bandwidth.el],
    action: 'Set the limit',
    focus: bandwidth.input,
    run: async () => {
      const body = { path: id, bandwidth: bandwidth.input.value.trim() || 'none' };
      const { message } = await ask<Submitted>({ method: 'POST', path: `${master}/limit_job/load`, body });
      say(message);
    },
  });
}

export function retryFailed({ id, failures }: ConsoleJob): void {
  openDialog({
    title: 'Load what failed?',
    body: [h('p', {}, `A load of the ${countText(failures)} files that this one did not get.`)],
    action: 'Load them',
    run: async () => {
      const { jobId, message } = await ask<Submitted>({
        method: 'POST',
        path: `${master}/retry_job/load`,
        body: { job: id },
      });
      say(message);
      location.hash = jobHref(jobId);
    },
  });
}

interface FreeReport {
  readonly jobId: string;
  readonly mJobState: string;
  readonly files: number;
  readonly bytes: number;
  readonly reason?: string;
  readonly workers: readonly { readonly worker: string; readonly files: number }[];
  readonly absentWorkers: readonly string[];
}

/** First says what would go, by a dry run; only then can it be confirmed, and only for the path that was looked at. */
export function freePath(path = ''): void {
  const where = field({
    label: 'Path',
    value: path,
    placeholder: 's3://bucket/prefix/',
    required: true,
    hint: 'With a slash at its end: all that lies below it.',
  });
  const would = h('p', { class: 'would', role: 'status' });
  const gone = new AbortController();
  let looked: string | undefined;
  const dialog = openDialog({
    title: 'Free cached data',
    body: [where.el, would],
    action: 'Look at what would be removed',
    danger: true,
    focus: where.input,
    onClose: () => gone.abort(),
    run: async () => {
      const asked = where.input.value.trim();
      if (looked === asked) {
        const { jobId, message } = await ask<Submitted>({
          method: 'POST',
          path: `${master}/submit_job/free`,
          body: { path: asked },
        });
        say(message);
        location.hash = jobHref(jobId);
        return undefined;
      }
      setText(would, 'Asking the workers.');
      const report = await dryRun(asked, gone.signal);
      const absent =
        report.absentWorkers.length === 0
          ? ''
          : ` ${countText(report.absentWorkers.length)} workers did not answer, and keep what they have.`;
      const holders = report.workers.filter(({ files }) => files > 0).length;
      const none = report.files === 0;
      setText(
        would,
        none
          ? `Nothing of it is cached.${absent}`
          : `${countText(report.files)} files, ${sizeText(report.bytes)}, go from ${countText(holders)} ${holders === 1 ? 'worker' : 'workers'}. The origin is not touched.${absent}`,
      );
      if (none) return 'stay';
      looked = asked;
      dialog.act(`Free ${countText(report.files)} ${report.files === 1 ? 'file' : 'files'}`, true);
      return 'stay';
    },
  });
  where.input.addEventListener('input', () => {
    looked = undefined;
    setText(would, '');
    dialog.act('Look at what would be removed', true);
  });
}

/** Asked for so often until it has ended. */
const pollMs = 200;

async function dryRun(path: string, signal: AbortSignal): Promise<FreeReport> {
  const { jobId } = await ask<Submitted>({
    method: 'POST',
    path: `${master}/submit_job/free`,
    body: { path, options: { dryRun: true } },
    signal,
  });
  for (;;) {
    const report = await ask<FreeReport>({
      path: `${master}/progress_job/free`,
      query: { path: jobId, format: 'JSON' },
      signal,
    });
    if (report.mJobState === 'SUCCEEDED') return report;
    // A dry run fails where workers did not answer: what the others said counts.
    if (report.mJobState === 'FAILED' && report.workers.length > 0) return report;
    if (report.mJobState === 'FAILED' || report.mJobState === 'STOPPED')
      throw new Error(report.reason ?? 'It was stopped.');
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}
