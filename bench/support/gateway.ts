/**
 * A way into a network of namespaces, as a process of its own: it is told of ports on this machine's loopback, opened by
 * whoever started it, and passes on every HTTP request that comes there to a server inside. It adds the token, so that
 * callers need not know that the daemons ask for one. Ends when whoever started it does.
 */
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { Server } from 'node:net';

/** Sent with the handle of a listening server. */
export interface Passage {
  readonly host: string;
  readonly port: number;
  readonly token?: string;
}

function pass(to: Passage, incoming: IncomingMessage, answer: ServerResponse): void {
  const { host, port, token } = to;
  const headers = { ...incoming.headers };
  if (token !== undefined) headers.authorization ??= `Bearer ${token}`;
  const outgoing = request({ host, port, method: incoming.method, path: incoming.url, headers, agent: false });
  outgoing.once('response', (said) => {
    answer.writeHead(said.statusCode ?? 502, said.rawHeaders);
    said.pipe(answer);
    said.once('error', () => answer.destroy());
  });
  outgoing.once('error', () => answer.destroy());
  answer.once('close', () => outgoing.destroy());
  incoming.pipe(outgoing);
}

process.on('message', (passage: Passage, server: Server) => {
  createServer({ requestTimeout: 0 }, (incoming, answer) => pass(passage, incoming, answer)).listen(server);
});
process.on('SIGINT', () => {});
process.on('disconnect', () => process.exit(0));
