/** What a serving thread does not answer itself: the S3 server of the main thread does, over a Unix socket. */
import { Agent, type ClientRequest, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { pipeline } from 'node:stream';
import type { ByteRange } from '../core/types.ts';
import { insideHeader } from '../server/s3/access.ts';
import { splitTarget } from '../server/s3/address.ts';
import { errorXml, S3Error } from '../server/s3/errors.ts';

/** They are about one connection, and it is another one. `close` is passed on by itself. */
const hopHeaders = new Set(['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'upgrade']);

export class MainThread {
  readonly #agent: Agent;
  readonly #path: string;
  readonly #inside: string;

  /** @param options.connections at once; what is passed on beyond that waits here */
  constructor(options: { path: string; inside: string; connections: number }) {
    this.#agent = new Agent({ keepAlive: true, maxSockets: options.connections });
    this.#path = options.path;
    this.#inside = options.inside;
  }

  /** Answers a request, whose body was not touched. */
  answer(incoming: IncomingMessage, response: ServerResponse): void {
    const headers = withoutHops(incoming.rawHeaders).filter((_, at, all) => !isInside(all, at));
    const outgoing = request({
      socketPath: this.#path,
      agent: this.#agent,
      method: incoming.method!,
      path: incoming.url!,
      headers,
      setHost: false,
    });
    endWith(response, outgoing);
    outgoing.on('error', () => refuse(incoming, response));
    outgoing.on('response', (answer) => {
      if (response.destroyed) return void answer.destroy();
      response.sendDate = false;
      if (answer.headers.connection === 'close') response.shouldKeepAlive = false;
      response.writeHead(answer.statusCode!, answer.statusMessage, withoutHops(answer.rawHeaders));
      // An answer that is cut off is cut off for the client, too.
      pipeline(answer, response, () => undefined);
    });
    // Of a body that nobody wants to have the rest stays where it is: the answer closes the connection.
    incoming.on('error', () => outgoing.destroy());
    if (incoming.headers.expect === undefined) {
      incoming.pipe(outgoing);
      return;
    }
    // The client waits for the word of the main thread, and so does its body.
    outgoing.once('continue', () => {
      if (response.destroyed) return;
      response.writeContinue();
      incoming.pipe(outgoing);
    });
    outgoing.flushHeaders();
  }

  /**
   * Writes a range of one version of an object to a response whose head is sent, and ends it. The main thread has other ways
   * to the bytes than the disk. Rejects when it has not; then less was written, and the response is to be destroyed.
   */
  finish(incoming: IncomingMessage, response: ServerResponse, range: ByteRange, etag: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const { offset, length } = range;
      const outgoing = request({
        socketPath: this.#path,
        agent: this.#agent,
        path: splitTarget(incoming.url!).path,
        headers: {
          ...(incoming.headers.host === undefined ? {} : { host: incoming.headers.host }),
          range: `bytes=${offset}-${offset + length - 1}`,
          'if-match': `"${etag}"`,
          [insideHeader]: this.#inside,
        },
      });
      endWith(response, outgoing);
      outgoing.on('error', reject);
      outgoing.on('response', (answer) => {
        if (answer.statusCode !== 206 || Number(answer.headers['content-length']) !== length) {
          answer.resume();
          reject(new Error(`the main thread answers ${answer.statusCode}`));
          return;
        }
        pipeline(answer, response, (error) => (error ? reject(error) : resolve()));
      });
      outgoing.end();
    });
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** Who is gone needs no answer. */
function endWith(response: ServerResponse, outgoing: ClientRequest): void {
  const end = (): void => void outgoing.destroy();
  response.once('close', end);
  outgoing.once('close', () => response.removeListener('close', end));
}

function refuse(incoming: IncomingMessage, response: ServerResponse): void {
  if (response.headersSent || response.destroyed) return void response.destroy();
  const error = new S3Error('ServiceUnavailable', 'The worker is stopping, or too busy. Try again.');
  const body = errorXml(error, { id: '', resource: splitTarget(incoming.url!).path });
  const length = Buffer.byteLength(body);
  response.shouldKeepAlive = false;
  response.writeHead(error.httpStatus, { 'content-type': 'application/xml', 'content-length': length }).end(body);
}

/** Names and values in turns. */
function withoutHops(raw: readonly string[]): string[] {
  const kept: string[] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) {
    if (!hopHeaders.has(raw[at]!.toLowerCase())) kept.push(raw[at]!, raw[at + 1]!);
  }
  return kept;
}

function isInside(raw: readonly string[], at: number): boolean {
  return raw[at - (at % 2)]!.toLowerCase() === insideHeader;
}
