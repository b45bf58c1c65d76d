/** Who is not let in at the control link, what it is told, and what does no harm. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterEach, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import {
  controlPath,
  header,
  maxFrameBytes,
  packDown,
  subprotocols,
  unpackUp,
} from '../../../../src/cluster/wire/protocol.ts';
import { emptyLedger } from '../../../../src/core/types.ts';
import { rawRequest } from '../../../support/raw-http.ts';
import { codeOf, how, run, segmentAt, spec, until, WireStage } from './stage.ts';

let stage: WireStage;
afterEach(() => stage.close());

const upgrade = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
  'sec-websocket-protocol': subprotocols.join(','),
  [header.epoch]: '7',
  [header.coordinator]: 'coordinator-1',
  [header.session]: 'session-1',
};

/** Status and message of an upgrade with other headers than the right ones. */
async function refusal(headers: Record<string, string>): Promise<[number, { message: string; code: string }]> {
  const { status, body } = await rawRequest(stage.port, controlPath, { headers: { ...upgrade, ...headers } });
  return [status, JSON.parse(body.toString())];
}

function client(headers: Record<string, string> = {}): WebSocket {
  const { [header.epoch]: epoch, [header.coordinator]: coordinator, [header.session]: session } = upgrade;
  return new WebSocket(`ws://127.0.0.1:${stage.port}${controlPath}`, [...subprotocols], {
    headers: { [header.epoch]: epoch!, [header.coordinator]: coordinator!, [header.session]: session!, ...headers },
  });
}

test('a wrong token is refused with 401, another version with 426, another epoch with 409, each saying what to do', async () => {
  stage = await new WireStage().open({ token: 'secret' });
  const authorization = 'Bearer secret';
  const wrong = [
    401,
    { code: 'WORKER_REFUSED', statusCode: 'UNAUTHENTICATED', message: expect.stringContaining('cluster.token') },
  ];
  expect(await refusal({})).toEqual(wrong);
  expect(await refusal({ authorization: 'Bearer Secret' })).toEqual(wrong);
  const refused = { code: 'WORKER_REFUSED', statusCode: 'FAILED_PRECONDITION' };
  const version = await refusal({ authorization, 'sec-websocket-protocol': 'primed.0' });
  expect(version).toEqual([426, { ...refused, message: expect.any(String) }]);
  expect(version[1].message).toMatch(
    /^The coordinator speaks version 0 .*'worker-1' \(primed 1\.2\.3\) speaks versions 3 to 4 .*Bring the coordinator to a newer/,
  );
  const epoch = await refusal({ authorization, [header.epoch]: '6' });
  expect(epoch).toEqual([409, { ...refused, message: expect.stringMatching(/epoch 6 .*'worker-1'.* epoch 7/) }]);
  stage.epoch = undefined;
  expect((await refusal({ authorization }))[1].message).toContain('not registered');
  expect((await refusal({ authorization, [header.session]: '' }))[0]).toBe(400);
});

test('a link with a wrong token rejects its calls, tries on with one line in each log, and works when that is mended', async () => {
  stage = await new WireStage().open({ token: 'secret' });
  const told: (string | undefined)[] = [];
  const link = stage.link({ token: 'other', onRefused: (refusal) => told.push(refusal?.code) });
  expect(await codeOf(link.startRun(spec))).toMatch(
    /^WORKER_REFUSED: Worker 'worker-1' at http:.*wrong token.*cluster\.token/,
  );
  const { connections } = stage.proxy;
  await until(() => stage.proxy.connections >= connections + 5);
  expect(await codeOf(link.startRun(spec))).toMatch(/^WORKER_REFUSED/);
  expect(stage.log.having('').map(({ line, facts }) => [line, facts.status])).toEqual([
    ['warn a worker refuses the control link; it is tried on', 401],
  ]);
  expect(stage.workerLog.having('').map(({ line, facts }) => [line, facts.status])).toEqual([
    ['warn a control link is refused', 401],
  ]);
  expect(told).toEqual(['WORKER_REFUSED']);
  link.lost();
  expect(await codeOf(link.startRun(spec))).toMatch(/^WORKER_LOST/);
  await stage.begun({ token: 'secret' });
});

test('a link of another version rejects its calls', async () => {
  stage = await new WireStage().open();
  const other = createServer().on('upgrade', (_request, socket) => {
    const body = JSON.stringify({ message: 'it speaks primed.0' });
    socket.end(`HTTP/1.1 426 Upgrade Required\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
  });
  await once(other.listen(0, '127.0.0.1'), 'listening');
  const link = stage.link({ url: `http://127.0.0.1:${(other.address() as AddressInfo).port}` });
  expect(await codeOf(link.startRun(spec))).toMatch(/^WORKER_REFUSED: .*it speaks primed\.0/);
  link.lost();
  other.close();
});

test('a link of an epoch that the worker has not heard of yet waits for it', async () => {
  stage = await new WireStage().open();
  stage.epoch = 6;
  const link = stage.link();
  const started = link.startRun(spec);
  await until(() => stage.proxy.connections >= 5);
  expect(stage.worker.calls).toEqual([]);
  expect(stage.workerLog.having('refused')).toHaveLength(1);
  expect(stage.log.having('refuses')).toHaveLength(1);
  stage.epoch = 7;
  await started;
  expect(stage.worker.calls).toEqual([['startRun', spec]]);
});

test('what is said to an earlier registration is not heard', async () => {
  stage = await new WireStage().open();
  const link = await stage.begun();
  stage.epoch = 8;
  const load = codeOf(link.load(run, segmentAt(1), how));
  await until(() => stage.log.having('refuses').length > 0);
  expect(stage.worker.loads).toEqual([]);
  link.lost();
  expect(await load).toMatch(/^WORKER_LOST: Worker 'worker-1'/);
});

test('a frame that is too large, or makes no sense, ends its connection and nothing else', async () => {
  stage = await new WireStage().open();
  const link = await stage.begun();
  const frames: [Buffer | string, number][] = [
    [Buffer.alloc(maxFrameBytes + 1), 1009],
    [Buffer.from([0xc1]), 1002],
    ['words', 1002],
    [packDown(0, [[2, 1, 'startRun', spec]]), 1002],
    [packDown(1, [[0, [], []]]), 1002],
    [
      packDown(0, [
        [0, [], []],
        [1, run, [1, 2], ['', ['a'], ['e'], [1], [1], null], null, null, null, null],
      ]),
      1002,
    ],
  ];
  for (const [frame, code] of frames) {
    const bad = client({ [header.coordinator]: 'other' });
    await once(bad, 'open');
    bad.send(frame);
    expect([frame.length, (await once(bad, 'close'))[0]]).toEqual([frame.length, code]);
  }
  expect(stage.workerLog.having('makes no sense')).toHaveLength(frames.length - 1);
  expect(stage.worker.count('startRun')).toBe(1);
  await link.setBandwidth(run, 1);
  expect(stage.proxy.connections).toBe(1);
});

test('a call that the worker does not know is answered with a failure, another message passed over, and all goes on', async () => {
  stage = await new WireStage().open();
  const newer = client({ [header.coordinator]: 'newer' });
  const heard: unknown[] = [];
  newer.on('message', (frame) => heard.push(...unpackUp(frame as Buffer)));
  await once(newer, 'open');
  expect(newer.protocol).toBe('primed.4');
  newer.send(
    packDown(0, [
      [0, [], [], 'more'] as never,
      [9, 'more'] as never,
      [2, 1, 'constructor' as never],
      [2, 2, 'startRun', { ...spec, more: true }, 'more'],
    ]),
  );
  await until(() => heard.some((message) => (message as number[])[1] === 2));
  const failure = heard.find((message) => (message as number[])[1] === 1);
  expect(failure).toEqual([
    2,
    1,
    'WORKER_REFUSED',
    expect.stringMatching(/does not know 'constructor'.*Upgrade the worker/),
  ]);
  expect(stage.worker.count('startRun')).toBe(1);
  newer.terminate();
});

test('a coordinator of the version before is spoken to in that', async () => {
  stage = await new WireStage().open();
  const { [header.epoch]: epoch, [header.coordinator]: name, [header.session]: session } = upgrade;
  const older = new WebSocket(`ws://127.0.0.1:${stage.port}${controlPath}`, ['primed.3'], {
    headers: { [header.epoch]: epoch!, [header.coordinator]: name!, [header.session]: session! },
  });
  await once(older, 'open');
  expect(older.protocol).toBe('primed.3');
  expect(stage.workerLog.having('of a coordinator is up')[0]?.facts.protocol).toBe(3);
  older.terminate();
});

test('what a worker of another version does not say of its progress has a default', async () => {
  stage = await new WireStage().open();
  const link = await stage.begun();
  stage.worker.figures.set(run, { receivedBytes: 5, ledger: { cachedBytes: 4 }, mood: 'good' } as never);
  await until(() => link.progress(run).receivedBytes === 5);
  const { evictedBytes, ledger } = link.progress(run);
  expect([evictedBytes, ledger]).toEqual([0, { ...emptyLedger(), cachedBytes: 4 }]);
});

test('more calls at once than a link would make end the connection', async () => {
  stage = await new WireStage().open();
  const bad = client();
  await once(bad, 'open');
  bad.send(packDown(0, [[0, [], [[spec, 0, false]]]]));
  const files = Array.from({ length: 20_000 }, (_, number) => segmentAt(number).file);
  const columns = [
    '',
    files.map(({ path }) => path),
    files.map(() => 'e'),
    files.map(() => 1),
    files.map(() => 1),
    null,
  ];
  bad.send(packDown(0, [[1, run, files.map((_, number) => number + 1), columns as never, null, null, null, null]]));
  expect((await once(bad, 'close'))[0]).toBe(1002);
  expect(stage.worker.loads.length).toBeLessThan(10_000);
});

test('requests that offer another protocol are answered as before, on the same connection too', async () => {
  stage = await new WireStage().open();
  const bodies: string[] = [];
  stage.server.on('request', (request) => {
    void text(request).then((body) => bodies.push(`${request.method} ${body}`));
  });
  const socket = connect(stage.port, '127.0.0.1');
  let answers = '';
  socket.on('data', (bytes) => {
    answers += bytes.toString();
  });
  const offer = 'Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n';
  socket.write(`POST /a HTTP/1.1\r\nHost: x\r\n${offer}Content-Length: 10\r\n\r\n01234`);
  await until(() => answers.split('plain').length === 2);
  socket.write('56789');
  await until(() => bodies.length === 1);
  socket.write(`GET /b HTTP/1.1\r\nHost: x\r\n${offer}\r\n`);
  await until(() => answers.split('plain').length === 3);
  expect(answers.match(/HTTP\/1\.1 200 OK/g)).toHaveLength(2);
  expect(bodies[0]).toBe('POST 0123456789');
  socket.destroy();
});
