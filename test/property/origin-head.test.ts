/** Whatever our response head reader accepts, Node's own HTTP parser accepts with the same meaning. */

import { type IncomingMessage, request } from 'node:http';
import { Duplex } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { attributeNames, plainType, putAttributes } from '../../src/core/attributes.ts';
import {
  headBytesMax,
  headIncomplete,
  headMalformed,
  makeHeadReader,
  type ResponseHead,
} from '../../src/origin/response-head.ts';

interface Read {
  readonly head: ResponseHead | undefined;
  readonly bodyAt: number;
  readonly outcome: 'incomplete' | 'malformed' | 'head';
}

/** Feeds the bytes in pieces of the given sizes (cycled). */
function readInPieces(bytes: Buffer, sizes: readonly number[]): Read {
  const reader = makeHeadReader();
  const buffer = Buffer.alloc(4096);
  let at = 0;
  for (let i = 0; at < bytes.length; i += 1) {
    const count = Math.min(sizes[i % sizes.length]!, bytes.length - at, buffer.length);
    bytes.copy(buffer, 0, at, at + count);
    const bodyStart = reader.read(buffer, count);
    if (bodyStart === headMalformed) return { head: undefined, bodyAt: -1, outcome: 'malformed' };
    if (bodyStart !== headIncomplete) return { head: reader.head, bodyAt: at + bodyStart, outcome: 'head' };
    at += count;
  }
  return { head: undefined, bodyAt: -1, outcome: 'incomplete' };
}

/** What Node's client makes of the same bytes. */
function readByNode(bytes: Buffer): Promise<IncomingMessage | Error> {
  const wire = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
  return new Promise((resolve) => {
    const asked = request({ createConnection: () => wire as never, method: 'GET', path: '/' });
    const end = (outcome: IncomingMessage | Error): void => {
      resolve(outcome);
      asked.destroy();
      wire.destroy();
    };
    asked.on('response', (answer) => {
      answer.on('error', () => undefined);
      end(answer);
    });
    asked.on('information', () => end(new Error('information')));
    asked.on('upgrade', () => end(new Error('upgrade')));
    asked.on('error', (error) => end(error));
    asked.end();
    wire.push(bytes);
    wire.push(null);
  });
}

const token = fc.string({ unit: fc.constantFrom(..."abcXYZ019-_!#$%&'*+.^`|~"), minLength: 1, maxLength: 12 });
const knownName = fc.constantFrom(
  'Content-Length',
  'content-length',
  'Content-Range',
  'ETag',
  'etag',
  'x-amz-request-id',
  'X-Amz-Request-Id',
  'Retry-After',
  'Last-Modified',
  'Date',
  'Connection',
  'Transfer-Encoding',
  'Keep-Alive',
  'Upgrade',
  'Content-Type',
  'content-type',
  'Expires',
  'Content-Encoding',
  'x-amz-version-id',
  'x-amz-meta-a',
  'X-Amz-Meta-A',
  'x-amz-meta-',
  'x-amz-mp-parts-count',
  '__proto__',
  'constructor',
);
const blank = fc.constantFrom('', ' ', '  ', '\t', ' \t ');
const text = fc.string({
  unit: fc
    .integer({ min: 0x20, max: 0xff })
    .filter((c) => c !== 0x7f)
    .map((c) => String.fromCharCode(c)),
  maxLength: 30,
});
const value = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom('0', '5', '1000', '007', '-1', '+5', '1 2', '5,5', '0x10', '99999999999999999999', ''),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      'close',
      'keep-alive',
      'Close, foo',
      'chunked',
      'gzip, chunked',
      'chunked, gzip',
      'identity',
      'bytes 0-4/9',
      '"abc"',
      'W/"abc"',
    ),
  },
  { weight: 2, arbitrary: text },
);
const line = fc
  .tuple(fc.oneof(knownName, token), blank, value, blank)
  .map(([name, before, what, after]) => `${name}:${before}${what}${after}\r\n`);
const statusLine = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.constantFrom(
      'HTTP/1.1 200 OK\r\n',
      'HTTP/1.1 206 Partial Content\r\n',
      'HTTP/1.1 404 Not Found\r\n',
      'HTTP/1.1 503 \r\n',
      'HTTP/1.1 500\r\n',
    ),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.integer({ min: 0, max: 1200 }), text)
      .map(([code, reason]) => `HTTP/1.1 ${code} ${reason}\r\n`),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      'HTTP/1.0 200 OK\r\n',
      'http/1.1 200 OK\r\n',
      'HTTP/1.1  200 OK\r\n',
      'HTTP/2.0 200 OK\r\n',
      'HTTP/1.1 200 OK\n',
      '\r\nHTTP/1.1 200 OK\r\n',
      'ICY 200 OK\r\n',
    ),
  },
);
/** One byte changed, inserted or left out. */
const mutation = fc.oneof(
  { weight: 2, arbitrary: fc.constant(undefined) },
  {
    weight: 3,
    arbitrary: fc.record({
      at: fc.nat(400),
      kind: fc.constantFrom('change', 'insert', 'remove'),
      byte: fc.oneof(fc.constantFrom(0x0d, 0x0a, 0x20, 0x3a, 0x00, 0x09, 0x7f, 0x80), fc.nat(255)),
    }),
  },
);
const headBytes = fc.tuple(statusLine, fc.array(line, { maxLength: 8 }), mutation).map(([first, lines, change]) => {
  const bytes = [...Buffer.from(`${first}${lines.join('')}\r\nBODY!`, 'latin1')];
  if (change !== undefined) {
    const at = change.at % bytes.length;
    if (change.kind === 'change') bytes[at] = change.byte;
    else if (change.kind === 'insert') bytes.splice(at, 0, change.byte);
    else bytes.splice(at, 1);
  }
  return Buffer.from(bytes);
});

describe('the response head reader', () => {
  test('accepts nothing that Node refuses, and means the same by it', async () => {
    let accepted = 0;
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(headBytes, async (bytes) => {
        const { head } = readInPieces(bytes, [4096]);
        if (head === undefined) {
          refused += 1;
          return;
        }
        if (head.status < 200) return; // no final answer: judged as `protocol` whatever it says
        accepted += 1;
        const node = await readByNode(bytes);
        if (node instanceof Error) throw new Error(`Node refuses it: ${node.message}`);
        expect(node.httpVersion).toBe('1.1');
        expect(node.statusCode).toBe(head.status);
        const said = {
          etag: head.etag,
          'content-range': head.contentRange,
          'x-amz-request-id': head.requestId,
          'retry-after': head.retryAfter,
          'last-modified': head.lastModified,
          date: head.date,
          'transfer-encoding': head.transferEncoding,
        };
        for (const [name, ours] of Object.entries(said)) {
          const theirs = name === 'transfer-encoding' ? node.headers[name]?.toLowerCase() : node.headers[name];
          expect(ours, name).toBe(theirs);
        }
        const belongs: Record<string, string> = {};
        putAttributes(belongs, head.attributes);
        for (const name of [...attributeNames, 'x-amz-meta-a']) {
          if (node.rawHeaders.filter((one) => one.toLowerCase() === name).length > 1 && name === 'x-amz-version-id')
            continue;
          const theirs = node.headers[name] ?? (name === 'content-type' ? plainType : undefined);
          // Of an empty one nothing is kept, but of user metadata.
          if (theirs !== '' && !/^, |, , |, $/.test(String(theirs))) expect(belongs[name], name).toBe(theirs);
        }
        const length = node.headers['content-length'];
        expect(head.contentLength).toBe(length === undefined ? undefined : Number(length));
      }),
      { numRuns: 3000 },
    );
    // the generator must reach both sides, or the property says nothing
    expect(accepted).toBeGreaterThan(500);
    expect(refused).toBeGreaterThan(500);
  });

  test('reads the same from any split of the bytes', () => {
    fc.assert(
      fc.property(
        headBytes,
        fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 20 }),
        (bytes, sizes) => {
          expect(readInPieces(bytes, sizes)).toEqual(readInPieces(bytes, [4096]));
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('never throws, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 600 }), fc.integer({ min: 1, max: 100 }), (bytes, size) => {
        readInPieces(Buffer.from(bytes), [size]);
        readInPieces(Buffer.concat([Buffer.from('HTTP/1.1 200 OK\r\n'), bytes]), [size]);
      }),
      { numRuns: 1000 },
    );
  });

  test('refuses a head above the limit, and accepts one at it', () => {
    const headOf = (length: number): Buffer => {
      const frame = 'HTTP/1.1 200 OK\r\nx: \r\n\r\n';
      return Buffer.from(`HTTP/1.1 200 OK\r\nx: ${'y'.repeat(length - frame.length)}\r\n\r\n`);
    };
    expect(readInPieces(headOf(headBytesMax), [4096]).outcome).toBe('head');
    expect(readInPieces(headOf(headBytesMax + 1), [4096]).outcome).toBe('malformed');
    expect(readInPieces(headOf(headBytesMax * 2), [1000]).outcome).toBe('malformed');
  });
});
