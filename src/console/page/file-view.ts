/** A file's story: the loads that it was in, how it ended there, and where it lies now. */
import { countText, sizeText } from '../format.ts';
import { type FileLoad, type PathStat, storyOf } from '../story.ts';
import { ask, messageOf } from './api.ts';
import { field } from './dialog.ts';
import { h, setChildren, setHidden, setText } from './dom.ts';
import { Facts, fileHref, jobHref, say, showState, titled } from './parts.ts';
import type { MakeView } from './view.ts';

export const fileView: MakeView = (state, path) => {
  const { head, title } = titled('File');
  const where = field({ label: 'Path of a file', value: path, placeholder: 's3://bucket/key', required: true });
  const form = h('form', { class: 'ask' }, where.el, h('button', { type: 'submit', class: 'main' }, 'Tell its story'));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const asked = where.input.value.trim();
    if (fileHref(asked) === location.hash) void tell(asked);
    else location.hash = fileHref(asked);
  });
  const note = h('p', { class: 'quiet' }, 'Which loads had it, how it ended there, and where it lies now.');
  const now = new Facts();
  const segments = h('div');
  const loads = h('ol', { class: 'story' });
  const body = h(
    'div',
    { hidden: true },
    h('section', { class: 'card' }, h('h2', {}, 'Now'), now.el, segments),
    h('section', { class: 'card' }, h('h2', {}, 'Loads, the newest first'), loads),
  );
  const closed = new AbortController();
  let told = false;

  const tell = async (asked: string): Promise<void> => {
    setText(note, 'Asking.');
    try {
      const story = await storyOf(asked, [...state.jobs.values()], (path, query) =>
        ask({ path, query, signal: closed.signal }),
      );
      if (closed.signal.aborted) return;
      showNow(story.stat);
      setChildren(
        loads,
        story.loads.length === 0 ? [h('li', {}, 'No load of it is kept.')] : story.loads.map(loadItem),
      );
      const older = story.olderLoads === 0 ? '' : `${countText(story.olderLoads)} older loads were not looked at. `;
      const indexed =
        story.indexLoads === 0
          ? ''
          : `${countText(story.indexLoads)} loads of index files or lists name no failure of it; whether it was in them is not kept.`;
      setText(note, older + indexed);
      setHidden(body, false);
      say('The story of the file is shown.');
    } catch (error) {
      if (closed.signal.aborted) return;
      setHidden(body, true);
      setText(note, messageOf(error));
    }
  };

  const showNow = (stat: PathStat | undefined): void => {
    const file = stat?.file;
    now.show([
      ['State', file?.state ?? (stat === undefined ? 'nothing of it is cached' : stat.type)],
      ['Size', stat && sizeText(file?.sizeBytes ?? stat.bytes)],
      ['Cached', stat && sizeText(file?.cachedBytes ?? stat.cachedBytes)],
      ['Files', stat?.type === 'directory' ? countText(stat.files) : undefined],
      ['Pinned', file?.pinned || stat?.pinned ? 'yes, it is never evicted' : undefined],
      ['ETag', file?.etag],
      ['Version', file?.versionId],
      ['Changed at the origin', file?.lastModified],
      ['Cached since', file?.cachedAt],
      ['On workers', (file?.workers ?? stat?.workers?.map(({ id }) => id))?.join(', ')],
      ['Did not answer', stat?.unanswered?.map(({ id }) => id).join(', ') || undefined],
    ]);
    const places = file?.segments ?? [];
    const rows = places
      .slice(0, 200)
      .map(({ index, offset, length, workers, partly = [] }) =>
        h(
          'tr',
          {},
          h('th', { scope: 'row' }, `${index}`),
          h('td', { class: 'num' }, sizeText(offset)),
          h('td', { class: 'num' }, sizeText(length)),
          h('td', {}, [...workers, ...partly.map((id) => `${id} (in part)`)].join(', ') || 'nowhere'),
        ),
      );
    const heads = h('tr', {}, ...['Segment', 'From', 'Size', 'On'].map((text) => h('th', { scope: 'col' }, text)));
    setChildren(
      segments,
      rows.length < 2
        ? []
        : [
            h(
              'details',
              {},
              h('summary', {}, `${countText(places.length)} segments`),
              h(
                'div',
                { class: 'tablebox' },
                h('table', { 'aria-label': 'Segments' }, h('thead', {}, heads), h('tbody', {}, ...rows)),
              ),
            ),
          ],
    );
  };

  return {
    name: 'File',
    el: h('div', {}, head, form, note, body),
    title,
    update() {
      // Which loads there are must be known first.
      if (told || path === '' || state.head === undefined) return;
      told = true;
      void tell(path);
    },
    close: () => closed.abort(),
  };
};

function loadItem(load: FileLoad): HTMLElement {
  const badge = h('span');
  showState(badge, load.state);
  return h(
    'li',
    { 'data-outcome': load.outcome },
    h(
      'p',
      {},
      badge,
      ' ',
      h('a', { href: jobHref(load.jobId) }, load.source),
      ' ',
      h('time', {}, load.submittedAt ?? ''),
    ),
    h('p', { class: load.failure === undefined ? '' : 'wrong' }, load.words),
  );
}
