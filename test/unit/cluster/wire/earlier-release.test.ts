/**
 * Each side of a conversation that a coordinator and a worker of protocol version 3 had (test/samples/record-protocol.mjs), played
 * to the other side as it is today: a coordinator of then and a worker of now, and the other way round.
 */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import {
  type EntryColumns,
  unpackCuts,
  unpackEntries,
  unpackPackedEntries,
} from '../../../../src/cluster/wire/columns.ts';
import {
  type Call,
  controlPath,
  type DownMessage,
  down,
  header,
  type Loads,
  numbersOf,
  packUp,
  type UpMessage,
  unpackDown,
  unpackUp,
  up,
} from '../../../../src/cluster/wire/protocol.ts';
import { RemoteLink } from '../../../../src/cluster/wire/remote-link.ts';
import type { Segment } from '../../../../src/core/segments.ts';
import type { LoadId, RunId, WorkerId } from '../../../../src/core/types.ts';
import type { RunSpec } from '../../../../src/ingest/types.ts';
import type { Freed } from '../../../../src/store/types.ts';
import { projectRoot } from '../../../support/files.ts';
import { Lines, soon, until, WireStage } from './stage.ts';

interface Recorded {
  readonly upgrade: { readonly offered: string; readonly headers: Readonly<Record<string, string>> };
  readonly frames: readonly (readonly ['down' | 'up', string])[];
}

const recorded = JSON.parse(readFileSync(`${projectRoot}/test/samples/protocol-3.json`, 'utf8')) as Recorded;
const framesOf = (way: 'down' | 'up') =>
  recorded.frames.filter(([one]) => one === way).map(([, frame]) => Buffer.from(frame, 'base64'));
const saidDown = framesOf('down').map((frame) => unpackDown(frame));
const saidUp = framesOf('up').flatMap((frame) => [...unpackUp(frame)]);

function numbersIn(message: UpMessage): readonly number[] {
  if (message[0] === up.outcomes) return message[1];
  return message[0] === up.answer || message[0] === up.failure ? [message[1]] : [];
}

function segmentsOf([, , , entries, cuts]: Loads): Segment[] {
  const files = unpackEntries(entries);
  return unpackCuts(files.length, cuts, (at) => files[at]!);
}

test('a coordinator of the version before is understood by a worker of today, call by call', async () => {
  const stage = await new WireStage().open();
  stage.worker.prompt = true;
  const socket = new WebSocket(`ws://127.0.0.1:${stage.port}${controlPath}`, recorded.upgrade.offered.split(','), {
    headers: { ...recorded.upgrade.headers, [header.epoch]: '7' },
  });
  const results: UpMessage[] = [];
  socket.on('message', (frame) => results.push(...unpackUp(frame as Buffer)));
  await once(socket, 'open');
  expect(socket.protocol).toBe('primed.3');
  const heard = () => results.flatMap(numbersIn);
  let arrived = 0;
  let asked = 0;
  for (const frame of framesOf('down')) {
    const { arrived: more, messages } = unpackDown(frame);
    // Of what it says to have heard, as of what it asked before: there was an answer.
    arrived += more;
    await until(() => heard().length >= Math.max(arrived, asked));
    socket.send(frame);
    for (const message of messages)
      asked += message[0] === down.loads ? segmentsOf(message).length : message[0] === down.call ? 1 : 0;
  }
  await until(() => heard().length === asked);
  expect(heard().toSorted((a, b) => a - b)).toEqual(saidUp.flatMap(numbersIn).toSorted((a, b) => a - b));
  expect(results.filter(([type]) => type === up.failure)).toEqual([]);
  expect(stage.worker.calls.map(([method]) => method)).toEqual(
    saidDown.flatMap(({ messages }) =>
      messages.flatMap((message) => {
        if (message[0] !== down.call) return [];
        return message[2] === 'reserve' ? ['reserveMore'] : [message[2]];
      }),
    ),
  );
  expect(stage.worker.loads.map(({ segment }) => segment)).toEqual(
    saidDown.flatMap(({ messages }) => messages.flatMap((one) => (one[0] === down.loads ? segmentsOf(one) : []))),
  );
  expect([socket.readyState, stage.workerLog.having('makes no sense')]).toEqual([WebSocket.OPEN, []]);
  socket.terminate();
  await stage.close();
});

/** Has the link of today ask for what was asked for then. */
async function askAgain(link: RemoteLink, message: DownMessage): Promise<unknown> {
  if (message[0] === down.hello) return undefined;
  if (message[0] === down.loads) {
    const hasty = message[5] === true;
    return Promise.all(segmentsOf(message).map((segment) => link.load(message[1], segment, { hasty })));
  }
  const [, , method, ...args] = message as Call;
  const [run] = args as [RunId];
  const file = (columns: unknown) => unpackEntries(columns as EntryColumns)[0]!;
  switch (method) {
    case 'startRun':
      return link.startRun(args[0] as RunSpec);
    case 'reserve':
      return link.reserveMore(run, args[1] as number);
    case 'makeRoom':
      return link.makeRoom(run, unpackPackedEntries(args[1] as Uint8Array));
    case 'cached': {
      const files = unpackEntries(args[2] as EntryColumns);
      const segments = unpackCuts(files.length, args[3] as never, (at) => files[at]!);
      return link.cached({ run, load: args[1] as LoadId }, segments);
    }
    case 'verify':
      return link.verify(
        run,
        file(args[1]),
        unpackCuts(args[2] as number, args[3] as never, () => file(args[1])),
      );
    case 'free': {
      const [path, , dryRun, stopLoads, of, term] = args as [never, null, boolean, boolean, RunId, number];
      return link.free({ path, dryRun, stopLoads }, { run: of, term });
    }
    case 'endRun':
      return link.endRun(run);
    case 'setPeers':
      return link.setPeers(args[0] as never);
    case 'setPins':
      return link.setPins(args[0] as never);
    case 'setOriginLimits':
      return link.setOriginLimits(args[0] as never);
    default:
      throw new Error(`'${method}' was not recorded when this test was written`);
  }
}

test('a worker of the version before is asked as before by a coordinator of today, and its answers are understood', async () => {
  const server = createServer();
  const sockets = new WebSocketServer({
    server,
    handleProtocols: (offered) => (offered.has(recorded.upgrade.offered) ? recorded.upgrade.offered : false),
  });
  const asked: Map<number, unknown[]> = new Map();
  const spoken: string[] = [];
  sockets.on('connection', (socket) => {
    spoken.push(socket.protocol);
    socket.on('message', (frame) => {
      for (const message of unpackDown(frame as Buffer).messages) answer(socket, message);
    });
  });
  function answer(socket: WebSocket, message: DownMessage): void {
    if (message[0] === down.hello) return;
    const numbers = message[0] === down.call ? [message[1]] : numbersOf(message[2], message[3][1].length);
    if (message[0] === down.call) asked.set(message[1], message.slice(2));
    for (const said of saidUp.filter((one) => numbersIn(one).some((number) => numbers.includes(number))))
      socket.send(packUp([said]));
    for (const said of saidUp.filter(([type]) => type === up.progress)) socket.send(packUp([said]));
  }
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const log = new Lines();
  const link = new RemoteLink({
    id: 'w' as WorkerId,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ...{ epoch: 1, coordinator: 'now', log, timing: soon, release: '0.0.3' },
  });
  const messages = saidDown.flatMap((frame) => [...frame.messages]);
  const freed: number[] = [];
  for (const message of messages) {
    const end = await askAgain(link, message);
    if (message[0] === down.loads) expect(end).toMatchObject(segmentsOf(message).map(() => ({ result: 'loaded' })));
    if (message[0] === down.call && message[2] === 'verify') expect(end).toMatchObject({ ok: true });
    if (message[0] === down.call && message[2] === 'free') freed.push((end as Freed).files);
  }
  // What would go, what went, and what was left.
  expect(freed).toEqual([3, 3, 0]);
  expect([...new Set(spoken)]).toEqual(['primed.3']);
  expect(log.having('to a worker is up')[0]?.facts.protocol).toBe(3);
  // What it cannot be asked is said by name, and not to it.
  const refused = { code: 'WORKER_REFUSED', facts: { worker: 'w', protocol: 3, release: '0.0.3' } };
  await expect(link.room({ bytes: 0, keeps: [], named: 0 })).rejects.toMatchObject(refused);
  await expect(link.missing({ load: 'load-1' as LoadId, reuse: 'any' }, [])).rejects.toMatchObject(refused);
  expect([...asked.values()].filter(([method]) => method === 'room' || method === 'missing')).toEqual([]);
  // Word for word what a coordinator of then said; more may stand behind it, which a worker of then passes over.
  const wanted = messages.flatMap((message) => (message[0] === down.call ? [message.slice(1)] : []));
  expect(wanted.length).toBeGreaterThan(15);
  for (const [number, ...call] of wanted) {
    const now = asked.get(number as number) ?? [];
    expect([number, now.slice(0, call.length).map(plain)]).toEqual([number, call.map(plain)]);
  }
  link.lost();
  sockets.close();
  server.closeAllConnections();
  server.close();
});

/** Buffers of msgpack and of this process are the same bytes in other clothes. */
function plain(value: unknown): unknown {
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
}
