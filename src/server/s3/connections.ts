/**
 * What connections may do beyond single requests: requests that are sent ahead wait for the answers before them, few at a
 * time, so that a connection never has more than one turn; and what is no HTTP is told so in S3's words, and closed.
 */
import type { ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { errorXml, type S3Code, S3Error } from './errors.ts';

/** Requests that are ahead of their turn on one connection; one more, and it is closed. A request waiting costs some KiB. */
const mostAhead = 32;

/** Of the server of the main thread: all of them together come from serving threads. */
export const maxS3Connections = 4096;
/** Of the head of a request. A body may take as long as bytes of it come; who reads it looks after that. */
export const requestTimeoutMs = 30_000;

/** Looked at four times in that time: what a connection waits for in vain ends a quarter later at most. */
export function timeouts(requestTimeout: number) {
  return {
    requestTimeout: 0,
    http: { headersTimeout: requestTimeout, connectionsCheckingInterval: requestTimeout / 4 },
  };
}

interface Line {
  /** Of the request that came last. */
  last: ServerResponse;
  /** Those that wait, to be told that the connection is gone: Node does not tell an answer whose turn has not come. */
  readonly waiting: Set<() => void>;
  /** Whether the end of the connection will be heard. */
  watched: boolean;
}

const lines = new WeakMap<Socket, Line>();

/**
 * To be called with each request. Undefined: it is its turn, as nearly always; else resolves when it is, with false when
 * the connection is gone: then nothing is to be answered.
 */
export function turnOnConnection(socket: Socket, response: ServerResponse): Promise<boolean> | undefined {
  const line = lines.get(socket);
  if (line === undefined) {
    lines.set(socket, { last: response, waiting: new Set(), watched: false });
    return undefined;
  }
  const earlier = line.last;
  line.last = response;
  if (earlier.writableFinished || earlier.closed) return undefined;
  const { waiting } = line;
  if (!line.watched) {
    line.watched = true;
    socket.once('close', () => {
      for (const end of waiting) end();
    });
  }
  return new Promise((resolve) => {
    const end = (): void => {
      waiting.delete(end);
      resolve(!socket.destroyed);
    };
    waiting.add(end);
    earlier.once('close', end);
    if (waiting.size > mostAhead) socket.destroy();
  });
}

const codes: Readonly<Record<string, readonly [S3Code, string]>> = {
  HPE_HEADER_OVERFLOW: [
    'RequestHeaderSectionTooLarge',
    'Your request header section exceeds the maximum allowed size.',
  ],
  ERR_HTTP_REQUEST_TIMEOUT: ['RequestTimeout', 'Your request was not received within the timeout period.'],
};

/** What could not be read as a request is answered, unless an answer is being sent, and the connection closed. */
export function answerClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  const last = lines.get(socket)?.last;
  if (error.code === 'ECONNRESET' || !socket.writable || (last !== undefined && !last.writableFinished)) {
    socket.destroy();
    return;
  }
  const [code, message] = codes[error.code ?? ''] ?? ['BadRequest', 'An error occurred when parsing the HTTP request.'];
  const refusal = new S3Error(code, message);
  const body = errorXml(refusal, { id: '', resource: '' });
  const head = `HTTP/1.1 ${refusal.httpStatus} Bad Request\r\nserver: primed\r\nconnection: close\r\ncontent-type: application/xml\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n`;
  socket.end(head + body);
  // Who goes on sending is not read any more.
  socket.once('finish', () => socket.destroy());
}
