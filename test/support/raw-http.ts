/** One HTTP exchange over a socket of its own, exactly as written: no client that tidies the target or hides a cut. */
import { once } from 'node:events';
import { connect } from 'node:net';

export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** What Content-Length promised. */
  readonly promisedBytes: number;
}

/** Sends one request with `Connection: close` and reads until the other side closes. Limit: 10 s. */
export async function rawRequest(
  port: number,
  target: string,
  {
    method = 'GET',
    headers = {},
    host = '127.0.0.1',
  }: { method?: string; headers?: Record<string, string>; host?: string } = {},
): Promise<RawAnswer> {
  const socket = connect({ host, port });
  socket.setTimeout(10_000, () => socket.destroy(new Error(`no answer to ${method} ${target} within 10 s`)));
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  const lines = Object.entries({ host: 'test', connection: 'close', ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  socket.write(Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`, 'latin1'));
  let failure: Error | undefined;
  socket.on('error', (error: NodeJS.ErrnoException) => {
    // A reset is one of the ways in which an answer may be cut.
    if (error.code !== 'ECONNRESET') failure = error;
  });
  await once(socket, 'close');
  if (failure) throw failure;
  const all = Buffer.concat(chunks);
  const end = all.indexOf('\r\n\r\n');
  const [statusLine = '', ...headerLines] = all.subarray(0, end).toString('latin1').split('\r\n');
  const answered = Object.fromEntries(
    headerLines.map((line) => [
      line.slice(0, line.indexOf(':')).toLowerCase(),
      line.slice(line.indexOf(':') + 1).trim(),
    ]),
  );
  return {
    status: Number(statusLine.split(' ')[1]),
    headers: answered,
    body: all.subarray(end + 4),
    promisedBytes: Number(answered['content-length'] ?? 0),
  };
}
