/**
 * The console: a page on the coordinator that shows jobs, workers, stores and origins live, and has done what its user may.
 *
 *   feed (server-sent events) ──▶ state ──▶ once a second: vitals, and the one view that is open
 *                                             │ asks the REST API for what rows do not have
 *                                             ▼
 *                                    dialogs ──▶ REST API: submit, stop, limit, retry, free
 *
 * No framework: elements are made once and changed where something differs (dom.ts), so that 1,000 jobs cost what 50 do, and
 * focus stays where it is. Everything comes from the coordinator; strings from it become text, never markup.
 */

import { timeText } from '../format.ts';
import { ConsoleState } from '../state.ts';
import { token } from './api.ts';
import { h, setAttribute, setChildren, setHidden, setText } from './dom.ts';
import { type Connection, followFeed } from './feed.ts';
import { fileView } from './file-view.ts';
import { jobView } from './job-view.ts';
import { jobsView } from './jobs-view.ts';
import { originView } from './origin-view.ts';
import { originsView } from './origins-view.ts';
import { say } from './parts.ts';
import { PastAsker, steadyMs } from './rates.ts';
import { ratesView } from './rates-view.ts';
import { signInView } from './sign-in.ts';
import { storeView } from './store-view.ts';
import { themeButton } from './theme.ts';
import type { MakeView, View } from './view.ts';
import { Vitals } from './vitals.ts';
import { workersView } from './workers-view.ts';

const sampleMs = 1_000;
const restMs = 10_000;

const views: Readonly<Record<string, MakeView>> = {
  jobs: jobsView,
  job: jobView,
  workers: workersView,
  store: storeView,
  origins: originsView,
  origin: originView,
  rates: ratesView,
  file: fileView,
};
const places = [
  ['jobs', 'Jobs'],
  ['workers', 'Workers'],
  ['store', 'Store'],
  ['origins', 'Origins'],
  ['rates', 'Rates'],
  ['file', 'File'],
] as const;

const byId = (id: string): HTMLElement => document.getElementById(id)!;
const main = byId('main');
const links = places.map(([name, text]) => h('a', { href: `#/${name}` }, text));
const connected = h('span', { class: 'live' });
const who = h('span', { class: 'who' });
const signOut = h('button', { type: 'button', class: 'tool', hidden: true, on: { click: () => leave() } }, 'Sign out');
const trouble = h('p', { class: 'banner', role: 'alert', hidden: true });
setChildren(byId('nav'), links);
setChildren(byId('tools'), [connected, who, themeButton(), signOut]);
main.before(trouble);

let state = new ConsoleState();
let past = new PastAsker(state);
const vitals = new Vitals(byId('vitals'));
let view: View | undefined;
let connection: Connection = { state: 'connecting' };
let feed: { close(): void } | undefined;
let resting: ReturnType<typeof setTimeout> | undefined;
let ticking: ReturnType<typeof setInterval> | undefined;

function update(): void {
  if (document.hidden) return;
  const nowMs = steadyMs();
  vitals.update(state, nowMs);
  view?.update(nowMs);
  showConnection();
  if (connection.state === 'live') past.turn();
  const running = (state.head?.jobs.RUNNING ?? 0) + (state.head?.jobs.VERIFYING ?? 0);
  const title = `${view?.name ?? 'Console'}${running > 0 ? ` (${running} running)` : ''} – primed`;
  if (document.title !== title) document.title = title;
}

function showConnection(): void {
  setAttribute(connected, 'data-state', connection.state);
  const words = { connecting: 'Connecting', live: 'Live', lost: 'No connection', 'signed-out': 'Signed out' };
  setText(connected, words[connection.state]);
  const { head } = state;
  const told =
    connection.state === 'lost'
      ? `${connection.message} Lost at ${timeText(connection.sinceMs)}, trying on.${head === undefined ? '' : ' What is shown is what was said last.'}`
      : head?.trouble;
  setHidden(trouble, told === undefined);
  setText(trouble, told ?? '');
  setText(who, state.caller === undefined ? '' : `${state.caller.name} (${state.caller.role})`);
  setHidden(signOut, token.get() === undefined || connection.state === 'signed-out');
}

function open(next: View, focus: boolean): void {
  view?.close?.();
  view = next;
  setChildren(main, [next.el]);
  update();
  if (focus) next.title.focus();
}

/** `#/name/rest`. */
function route(): void {
  if (connection.state === 'signed-out') return;
  const [, name = 'jobs', rest = ''] = /^#\/([a-z]+)(?:\/(.*))?$/.exec(location.hash) ?? [];
  const make = views[name] ?? jobsView;
  for (const [index, [place]] of places.entries())
    setAttribute(links[index]!, 'aria-current', (place === name || `${name}s` === place) && 'page');
  const first = view === undefined;
  open(make(state, decoded(rest)), !first);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Each time anew; what was known stays until all of it has been told again. */
function listen(): void {
  feed?.close();
  const mine = state;
  feed = followFeed(
    {
      onHello: (hello) => mine.hello(hello),
      onNews: (news) => {
        mine.take(news);
        if (news.whole) past.renew();
        mine.sample(steadyMs());
        update();
      },
      onConnection: (now) => {
        const before = connection.state;
        connection = now;
        if (now.state === 'signed-out') return askForToken(now.refused);
        if (now.state === 'lost' && before === 'live') say('The connection is lost.');
        if (now.state === 'live' && before === 'lost') say('The connection is back.');
        update();
      },
    },
    token.get() !== undefined,
  );
}

function askForToken(refused: boolean): void {
  token.forget();
  setHidden(byId('vitals'), true);
  setHidden(byId('nav'), true);
  const next = signInView(refused, () => {
    connection = { state: 'connecting' };
    start(true);
  });
  open(next, true);
}

/**
 * A browser has six connections to a server for all tabs together: one that nobody sees must not keep one. It draws nothing at
 * once, and after a while has nothing to do at all; what it has missed it is told when it is seen again.
 */
function rest(): void {
  clearTimeout(resting);
  if (document.hidden) {
    resting = setTimeout(() => {
      feed?.close();
      feed = undefined;
      clearInterval(ticking);
      ticking = undefined;
    }, restMs);
    return;
  }
  if (feed === undefined && connection.state !== 'signed-out') listen();
  ticking ??= setInterval(tick, sampleMs);
  update();
}

/** Where nothing is told nothing has changed, but time goes on: curves move, and rates fall. */
function tick(): void {
  if (connection.state === 'signed-out') return;
  if (connection.state === 'live') state.sample(steadyMs());
  update();
}

function fresh(): void {
  past.close();
  state = new ConsoleState();
  past = new PastAsker(state);
}

function leave(): void {
  feed?.close();
  token.forget();
  connection = { state: 'signed-out', refused: false };
  fresh();
  askForToken(false);
}

function start(focus: boolean): void {
  setHidden(byId('vitals'), false);
  setHidden(byId('nav'), false);
  fresh();
  listen();
  view?.close?.();
  view = undefined;
  route();
  if (focus) view!.title.focus();
}

addEventListener('hashchange', route);
document.addEventListener('visibilitychange', rest);
vitals.update(state, steadyMs());
start(false);
rest();
