/** What is told of a write, to whom, and for how long somebody waits for that. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { PeerClient } from '../../../../src/cluster/reading/peer-client.ts';
import { Written } from '../../../../src/cluster/reading/written.ts';
import { PrimedError } from '../../../../src/core/errors.ts';
import type { Peer } from '../../../../src/core/peers.ts';
import type { UfsPath, WorkerId } from '../../../../src/core/types.ts';
import type { FileRecord } from '../../../../src/store/types.ts';
import { memoryLog, path } from '../../../support/store-fixture.ts';

const peerOf = (id: string, url = `http://${id}`): Peer => ({ id: id as WorkerId, url, takes: true });

function open(
  states: Readonly<Record<string, FileRecord['state']>>,
  client: Pick<PeerClient, 'written'> & Partial<Pick<PeerClient, 'avoids'>>,
) {
  const forgotten: UfsPath[] = [];
  const dropped: UfsPath[] = [];
  const log = memoryLog();
  const others: Peer[] = [];
  const written = new Written({
    store: {
      stat: (at) => (states[at] === undefined ? undefined : ({ path: at, state: states[at] } as FileRecord)),
    },
    reads: { forget: (at) => forgotten.push(at) },
    peers: { others: () => others },
    drop: async (record) => void dropped.push(record.path),
    client: 'avoids' in client ? (client as PeerClient) : { avoids: () => false, ...client },
    log,
  });
  return { written, forgotten, dropped, log, others };
}

it('what is cached goes, what is loading is left to its load, and no answer about either counts any more', async () => {
  const [complete, partial, loading, absent] = ['a', 'b', 'c', 'd'].map(path) as [UfsPath, UfsPath, UfsPath, UfsPath];
  const states = { [complete]: 'complete', [partial]: 'partial', [loading]: 'loading' } as const;
  const { written, forgotten, dropped } = open(states, { written: () => Promise.reject(new Error('nobody is told')) });
  await written.here([complete, partial, loading, absent]);
  expect(forgotten).toEqual([complete, partial, loading, absent]);
  expect(dropped).toEqual([complete, partial]);
});

it('a disk that does not let go of what was written holds up no writer, and the log says what is left', async () => {
  const stuck = path('stuck');
  const log = memoryLog();
  let dropped = 0;
  const written = new Written({
    store: { stat: (at) => ({ path: at, state: 'complete' }) as FileRecord },
    ...{ reads: { forget: () => undefined }, peers: { others: () => [] }, log, dropLimitMs: 20 },
    client: { written: () => Promise.resolve(), avoids: () => false },
    drop: (record) => {
      dropped += 1;
      return record.path === stuck ? new Promise(() => undefined) : Promise.resolve();
    },
  });
  await written.everywhere([path('fine')]);
  expect(log.lines).toEqual([]);
  await written.everywhere([path('fine'), stuck]);
  expect(dropped).toBe(3);
  expect(log.lines).toMatchObject([{ level: 'error', message: expect.stringContaining('not dropped in time') }]);
});

it('every other worker is told of all of it, at most 512 paths in a message, and one that fails hinders nobody', async () => {
  const told: { id: string; paths: readonly UfsPath[] }[] = [];
  const { written, log, others, dropped } = open(
    { [path('0')]: 'complete' },
    {
      written: async ({ id }, paths) => {
        if (id === 'gone') throw new PrimedError('PEER_FAILED', 'not there');
        told.push({ id, paths });
      },
    },
  );
  others.push(...['gone', 'w2', 'w3'].map((id) => peerOf(id)));
  const paths = Array.from({ length: 1100 }, (_, at) => path(String(at)));
  await written.everywhere(paths);
  for (const id of ['w2', 'w3']) {
    const messages = told.filter((one) => one.id === id).map((one) => one.paths);
    expect(messages.map(({ length }) => length)).toEqual([512, 512, 76]);
    expect(messages.flat()).toEqual(paths);
  }
  expect(dropped).toEqual([path('0')]);
  expect(log.lines.map(({ level, facts }) => [level, facts])).toEqual([
    ['warn', expect.objectContaining({ worker: 'gone', paths: 1100 })],
  ]);
});

it('a worker that takes the message and says nothing is waited for a second', async () => {
  const silent = createServer(() => undefined);
  await new Promise<void>((resolve) => void silent.listen(0, '127.0.0.1', resolve));
  const client = new PeerClient({ token: 'token', headMs: 3_600_000, silenceMs: 3_600_000 });
  onTestFinished(async () => {
    silent.closeAllConnections();
    await client.close();
    await new Promise((resolve) => void silent.close(resolve));
  });
  const { written, others, log } = open({}, client);
  others.push(peerOf('mute', `http://127.0.0.1:${(silent.address() as AddressInfo).port}`));
  const begunMs = performance.now();
  // No other limit would end it.
  await written.everywhere([path('a')]);
  expect(performance.now() - begunMs).toBeGreaterThan(900);
  expect(log.lines.map(({ facts }) => facts)).toEqual([expect.objectContaining({ worker: 'mute' })]);
});

it('a worker that has not answered of late is told, and not waited for', async () => {
  const told: string[] = [];
  const { written, others } = open(
    {},
    {
      avoids: ({ id }) => id === 'mute',
      written: async ({ id }) => {
        told.push(id);
        if (id === 'mute') await new Promise(() => undefined);
      },
    },
  );
  others.push(peerOf('mute'), peerOf('w2'));
  await written.everywhere([path('a')]);
  expect(told).toEqual(['mute', 'w2']);
});
