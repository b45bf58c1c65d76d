/** Calls as they cross: loads of one run, one after the other, share a message; messages share a frame up to its limit. */
import type { Call, LoadCall } from './calls.ts';
import { packCuts, packEntries } from './columns.ts';
import { type DownMessage, down, entriesPerFrame, type Loads, numbersOf } from './protocol.ts';

/** The messages of each frame. */
export function* framesOf(calls: readonly Call[]): Generator<DownMessage[]> {
  let messages: DownMessage[] = [];
  let weight = 0;
  for (let from = 0; from < calls.length; ) {
    const to = endOfMessage(calls, from, entriesPerFrame - weight);
    if (to === from) {
      yield messages;
      messages = [];
      weight = 0;
      continue;
    }
    const together = calls.slice(from, to);
    messages.push(messageOf(together));
    for (const call of together) weight += call.weight;
    from = to;
  }
  if (messages.length > 0) yield messages;
}

/** Numbers of the calls in a message. */
export function numbersIn(message: DownMessage): readonly number[] {
  switch (message[0]) {
    case down.hello:
      return [];
    case down.call:
      return [message[1]];
    case down.loads:
      return numbersOf(message[2], message[3][1].length);
  }
}

/** Where the message that begins at `from` ends; `from` itself when the frame has no room. */
function endOfMessage(calls: readonly Call[], from: number, room: number): number {
  const { kind, run, weight } = calls[from]!;
  if (kind !== 'load') return weight <= room || room === entriesPerFrame ? from + 1 : from;
  let to = from;
  while (to < calls.length && to - from < room && calls[to]!.kind === 'load' && calls[to]!.run === run) to += 1;
  return to;
}

/** Of one call, or of loads of one run. */
function messageOf(calls: readonly Call[]): DownMessage {
  const first = calls[0]!;
  if (first.kind !== 'load') return [down.call, first.number, first.method, ...first.args];
  const loads = calls as readonly LoadCall[];
  const segments = loads.map(({ load }) => load.segment);
  const hasty = loads.filter(({ load }) => load.how.hasty);
  const copies = loads.filter(({ load }) => load.how.source !== undefined);
  const followed = loads.filter(({ load }) => load.how.followed);
  const withoutGap = loads.every(({ number }, at) => number === first.number + at);
  return [
    down.loads,
    first.run,
    withoutGap ? first.number : loads.map(({ number }) => number),
    packEntries(segments.map(({ file }) => file)),
    packCuts(segments),
    hasty.length === loads.length || (hasty.length === 0 ? null : hasty.map(({ number }) => number)),
    copies.length === 0 ? null : copies.map(sourceOf),
    followed.length === 0 ? null : followed.map(({ number }) => number),
  ];
}

function sourceOf({ number, load }: LoadCall): NonNullable<Loads[6]>[number] {
  const { worker, url, follow = false } = load.how.source!;
  return [number, worker, url, follow];
}
