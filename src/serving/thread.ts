/** One serving thread: made by `pool`, alive until it is told to close. */
import assert from 'node:assert/strict';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https';
import type { Socket } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { ReadPolicies } from '../core/read-policy.ts';
import type { FileId } from '../core/types.ts';
import { nameThread, PageSender } from '../platform/index.ts';
import { tlsOptions } from '../server/over-tls.ts';
import { S3Access } from '../server/s3/access.ts';
import { requestIds } from '../server/s3/admission.ts';
import { answerClientError, requestTimeoutMs, timeouts, turnOnConnection } from '../server/s3/connections.ts';
import { StoreView, ThreadReads } from '../store/index.ts';
import { servingColumns, servingLayout } from '../telemetry/serving-columns.ts';
import { attachSharedCounters } from '../telemetry/shared-counters.ts';
import { Answers } from './answers.ts';
import { Borrowers } from './borrowers.ts';
import { MainThread } from './pass-on.ts';
import type { FromServing, ServingStart, ToServing } from './protocol.ts';
import { Questions } from './questions.ts';
import { TracedAnswers } from './traced-answers.ts';

/** Pages that are read ahead of one client: 16 MB hide a slow answer of an SSD, and are few for many clients. */
const pagesAhead = 8;
const beatMs = 100;
/** Files that one message names at most; more are told at once. */
const mostTouched = 4096;
const keepAliveMs = 72_000;

assert(parentPort !== null, 'a serving thread is one of a pool');
const port = parentPort;
const start = workerData as ServingStart;
nameThread(`serving-${start.index}`);
const post = (message: FromServing): void => port.postMessage(message);

const row = attachSharedCounters(start.counters, servingLayout, start.index);
const view = new StoreView({
  indexDir: start.indexDir,
  storePaths: start.storePaths,
  reads: new ThreadReads(start.reads, start.index),
});
const sender = new PageSender({ ...start, pagesAhead });
const main = new MainThread({ path: start.mainPath, inside: start.inside, connections: start.mainConnections });
const policies = new ReadPolicies(start.reading);
const questions = new Questions({
  post: (asked) => post({ type: 'questions', questions: asked }),
  now: () => performance.now(),
});
const touched = new Set<FileId>();
const traced = new TracedAnswers();
const answers = new Answers({
  view,
  sender,
  descriptors: view.descriptors,
  borrowers: new Borrowers(start.borrowers),
  stallMs: start.stallMs,
  access: new S3Access(start.access),
  domains: start.domains,
  policies,
  questions,
  main,
  row,
  ids: requestIds(),
  onRead: (file) => {
    touched.add(file);
    if (touched.size >= mostTouched) tellTouched();
  },
  ...(start.traced && { onAnswered: traced.add.bind(traced) }),
  onTrouble: (level, facts, text) => post({ type: 'log', level, facts, text }),
});

function tellTouched(): void {
  if (touched.size === 0) return;
  post({ type: 'touched', files: [...touched] });
  touched.clear();
}

function tellTraced(): void {
  const answered = traced.take();
  if (answered.length > 0) post({ type: 'answered', answers: answered });
}

const server = serverFor((request, response) => {
  const turn = turnOnConnection(request.socket, response);
  if (turn === undefined) answers.answer(request, response);
  else void turn.then((isOurs) => isOurs && answers.answer(request, response));
});
// Whether a body is wanted the main thread says.
server.on('checkContinue', (request, response) => server.emit('request', request, response));
server.on('clientError', (error, socket) => answerClientError(error, socket as Socket));
server.maxConnections = start.maxConnections;
server.keepAliveTimeout = keepAliveMs;
server.on('connection', (socket: Socket) => {
  row.add(servingColumns.connections, 1);
  socket.once('close', () => row.add(servingColumns.connections, -1));
});

const beat = setInterval(() => {
  row.add(servingColumns.heartbeats, 1);
  row.set(servingColumns.readBytes, sender.readBytes);
  tellTouched();
  tellTraced();
  view.letGo();
  answers.cut(view.overdue());
  questions.giveUp();
}, beatMs);

port.on('message', (message: ToServing) => {
  if (message.type === 'versions') questions.answered(message.answers);
  else if (message.type === 'close') void close();
  else if (message.type === 'access') Object.assign(start.access, message.access);
  else if (message.type === 'reading') policies.configure(message.reading);
  else if ('setSecureContext' in server) (server as TlsServer).setSecureContext(tlsOptions(message.tls));
});
server.listen({ fd: start.listenFd }, () => post({ type: 'ready' }));

function serverFor(listener: RequestListener): Server {
  const { requestTimeout, http } = timeouts(requestTimeoutMs);
  const options = { requestTimeout, ...http };
  if (start.tls === undefined) return createServer(options, listener);
  return createTlsServer({ ...options, ...tlsOptions(start.tls) }, listener);
}

/** Answers under way have a while to end, and then end. */
async function close(): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  const grace = setTimeout(() => void end(), start.graceMs);
  await closed;
  clearTimeout(grace);
  await answers.close();
  clearInterval(beat);
  tellTouched();
  tellTraced();
  main.close();
  sender.close();
  await view.close();
  port.close();
}

async function end(): Promise<void> {
  await answers.close();
  server.closeAllConnections();
}
