/**
 * Records what a coordinator and a worker of an earlier release say to each other: `node test/samples/record-protocol.mjs
 * <checkout> <output.json>`, where the checkout has its `dist/` built (see make-sample.mjs). Both are real processes; between them
 * is this one, which registers the worker under its own port and passes frames on. protocol-3.json was made from a528c99, the last
 * commit that speaks version 3 and no other: a load that is verified, the same with what is there, and a free.
 */
import { execFileSync, fork, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { json } from 'node:stream/consumers';
import { setTimeout as wait } from 'node:timers/promises';
import { WebSocket, WebSocketServer } from 'ws';

const [checkout, output] = process.argv.slice(2);
const main = join(resolve(checkout), 'dist', 'main.js');
const dir = mkdtempSync(join(tmpdir(), 'primed-record-'));
const [api, http, s3, between] = [21_821, 21_822, 21_823, 21_824];
const recorded = { registration: undefined, upgrade: undefined, frames: [] };

async function passRegistration(request, response) {
  const body = request.method === 'PUT' ? await json(request) : undefined;
  recorded.registration ??= { method: request.method, url: request.url, body };
  const answer = await fetch(`http://127.0.0.1:${api}${request.url}`, {
    method: request.method,
    headers: { 'content-type': 'application/json' },
    body: body && JSON.stringify({ ...body, httpPort: between }),
  });
  response.writeHead(answer.status, { 'content-type': 'application/json' }).end(await answer.text());
}

const server = createServer((request, response) => void passRegistration(request, response));
const sockets = new WebSocketServer({ noServer: true, handleProtocols: (offered) => [...offered][0] });
server.on('upgrade', (request, socket, head) => {
  const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => name.startsWith('x-primed-')));
  const offered = request.headers['sec-websocket-protocol'];
  recorded.upgrade ??= { offered, headers };
  const worker = new WebSocket(`ws://127.0.0.1:${http}${request.url}`, offered.split(','), { headers });
  worker.on('unexpected-response', (_, answer) => socket.end(`HTTP/1.1 ${answer.statusCode} No\r\n\r\n`));
  worker.on('error', () => socket.destroy());
  worker.on('open', () =>
    sockets.handleUpgrade(request, socket, head, (coordinator) => {
      const pass = (from, to, way) => {
        from.on('message', (frame) => {
          recorded.frames.push([way, frame.toString('base64')]);
          to.send(frame);
        });
        from.on('close', () => to.close());
      };
      pass(coordinator, worker, 'down');
      pass(worker, coordinator, 'up');
    }),
  );
});
server.listen(between, '127.0.0.1');

const origin = fork(join(resolve(checkout), 'dist', 'demo-origin.js'), [], { serialization: 'advanced' });
const objects = [3000, 0, 5_000_000].map((sizeBytes, index) => ({ key: `data/${index}.bin`, sizeBytes }));
origin.send({ start: { bucket: 'sample', objects } });
const endpoint = await new Promise((found) => origin.once('message', ({ started }) => found(started.endpoint)));
const env = {
  ...{ PATH: process.env.PATH, HOME: process.env.HOME, AWS_ENDPOINT_URL: endpoint, AWS_REGION: 'us-east-1' },
  ...{ AWS_ACCESS_KEY_ID: 'key', AWS_SECRET_ACCESS_KEY: 'secret', AWS_EC2_METADATA_DISABLED: 'true' },
};
const start = (...args) => spawn(process.execPath, [main, ...args], { stdio: 'ignore', env });
const daemons = [
  start('coordinator', '--data', join(dir, 'c'), '--api', `127.0.0.1:${api}`),
  start(
    ...['worker', '--data', join(dir, 'w'), '--store-size', '64MB', '--coordinator', `http://127.0.0.1:${between}`],
    ...['--http', `127.0.0.1:${http}`, '--s3', `127.0.0.1:${s3}`],
  ),
];
const cli = (...words) =>
  execFileSync(process.execPath, [main, ...words, '--coordinator', `http://127.0.0.1:${api}`], { encoding: 'utf8' });
async function until(what) {
  for (let turn = 0; turn < 100; turn += 1) {
    await wait(200);
    try {
      if (what()) return;
    } catch {}
  }
  throw new Error(`waited in vain: ${what}`);
}
const done = () => !/RUNNING|WAITING|VERIFYING/.test(cli('job', 'list'));
try {
  await until(() => /LIVE/.test(cli('worker', 'list')));
  await until(() => recorded.frames.length > 0);
  cli('job', 'load', '--path', 's3://sample/data/', '--submit', '--verify');
  await until(done);
  cli('job', 'load', '--path', 's3://sample/data/', '--submit', '--skip-if-exists');
  await until(done);
  cli('job', 'free', '--path', 's3://sample/data/', '--submit');
  await until(done);
  console.log(cli('job', 'list'));
  writeFileSync(output, `${JSON.stringify(recorded, undefined, 1)}\n`);
} finally {
  for (const daemon of daemons) daemon.kill('SIGKILL');
  origin.kill();
  server.close();
  server.closeAllConnections();
  sockets.close();
  rmSync(dir, { recursive: true, force: true });
}
process.exit();
