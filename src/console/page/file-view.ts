/** A file's story, as the coordinator tells it: what happened to it and when, and why it is cached now, or not. */
import type { Story, StoryItem } from '../../core/story.ts';
import { countText, sizeText, timeText } from '../format.ts';
import { ask, messageOf } from './api.ts';
import { field } from './dialog.ts';
import { h, setChildren, setHidden, setText } from './dom.ts';
import { Facts, fileHref, jobHref, say, titled } from './parts.ts';
import type { MakeView } from './view.ts';

/** Of a file that is placed over more. */
const mostPlaces = 100;

export const fileView: MakeView = (_state, path) => {
  const { head, title } = titled('File');
  const where = field({
    ...{ label: 'Path of a file', value: path, placeholder: 's3://bucket/key', required: true },
  });
  const send = h('button', { type: 'submit', class: 'main' }, 'Tell its story');
  const form = h('form', { class: 'ask' }, where.el, send);
  const note = h('p', { class: 'quiet' }, 'Its loads, attempts that failed, evictions, and why it is cached or not.');
  const why = h('p');
  const now = new Facts();
  const places = h('div');
  const items = h('ol', { class: 'story' });
  const body = h(
    'div',
    { hidden: true },
    h('section', { class: 'card' }, h('h2', {}, 'Now'), why, now.el, places),
    h('section', { class: 'card' }, h('h2', {}, 'What happened, the newest first'), items),
  );
  const closed = new AbortController();
  let told = false;

  const tell = async (asked: string): Promise<void> => {
    setText(note, 'Asking the workers.');
    try {
      const story = await ask<Story>({ path: '/api/v1/fs/why', query: { path: asked }, signal: closed.signal });
      if (closed.signal.aborted) return;
      setText(why, story.now.text);
      now.show(factsOf(story));
      setChildren(places, placesOf(story));
      const newest = [...story.story].reverse().map(itemOf);
      setChildren(items, newest.length === 0 ? [h('li', {}, 'Nothing of it is kept.')] : newest);
      setText(note, leftOut(story));
      setHidden(body, false);
      say('The story of the file is shown.');
    } catch (error) {
      if (closed.signal.aborted) return;
      setHidden(body, true);
      setText(note, messageOf(error));
    }
  };

  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const asked = where.input.value.trim();
    if (fileHref(asked) === location.hash) void tell(asked);
    else location.hash = fileHref(asked);
  });
  return {
    name: 'File',
    el: h('div', {}, head, form, note, body),
    title,
    update() {
      if (told || path === '') return;
      told = true;
      void tell(path);
    },
    close: () => closed.abort(),
  };
};

function factsOf({ now: { state, stat, placement, unanswered } }: Story): (readonly [string, string | undefined])[] {
  const file = stat?.file;
  const silent = unanswered?.map(({ id, reason }) => `${id} (${reason})`).join(', ');
  return [
    ['State', state],
    ['Size', file && sizeText(file.sizeBytes)],
    ['Cached', stat && sizeText(stat.cachedBytes)],
    ['ETag', file?.etag],
    ['Cached since', file?.cachedAt && timeText(Date.parse(file.cachedAt))],
    ['On workers', stat?.workers?.map(({ id }) => id).join(', ') || undefined],
    ['Belongs on', placement?.length === 1 ? placement[0]!.workers.join(', ') : undefined],
    ['Did not answer', silent || undefined],
  ];
}

/** Where the ring puts the segments of a file that is cut. */
function placesOf({ now: { placement = [] } }: Story): HTMLElement[] {
  if (placement.length < 2) return [];
  const rows = placement
    .slice(0, mostPlaces)
    .map(({ index, workers }) => h('li', {}, `${index}: ${workers.join(', ')}`));
  return [
    h(
      'details',
      {},
      h('summary', {}, `Where its ${countText(placement.length)} segments belong`),
      h('ol', { class: 'places' }, ...rows),
    ),
  ];
}

const bad: ReadonlySet<string> = new Set(['attempt', 'given-up', 'gap']);
const good: ReadonlySet<string> = new Set(['arrived', 'loaded', 'cached']);

/** Whatever kind it is of: the sentence says it. */
function itemOf({ at, kind, worker, job, text, state }: StoryItem): HTMLElement {
  const failed = bad.has(kind) || state === 'FAILED';
  return h(
    'li',
    { 'data-kind': failed ? 'bad' : good.has(kind) ? 'good' : 'other' },
    h('time', { datetime: at }, timeText(Date.parse(at))),
    worker !== undefined && h('span', { class: 'by' }, worker),
    h('p', {}, text, ' ', job !== undefined && h('a', { href: jobHref(job) }, 'the job')),
  );
}

const several = (many: number, what: string): string => `${countText(many)} ${what}${many === 1 ? '' : 's'}`;

function leftOut({ now: { dropped, olderLoads, indexLoads, keptSince, keptFor } }: Story): string {
  const told = [
    dropped > 0 && `${several(dropped, 'older event')} of the file made way for these.`,
    indexLoads > 0 &&
      `No failure of it is named by ${several(indexLoads, 'load')} of index files; whether it was in them is not kept.`,
    olderLoads > 0 && `${several(olderLoads, 'older load')} ${olderLoads === 1 ? 'is' : 'are'} left out.`,
    keptSince !== undefined &&
      `Workers keep attempts that failed and what left the store for ${keptFor ?? 'a while'}, all of it since ${timeText(Date.parse(keptSince))}.`,
  ];
  return told.filter((line) => line !== false).join(' ');
}
