/**
 * A collector of OTLP over HTTP that takes what a test sends, and reads it strictly: a field that opentelemetry-proto does not have, or of
 * another type, a path or content type that is not the protocol's, is an error of the test.
 */
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface CollectedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty: it has none. */
  readonly parentId: string;
  readonly name: string;
  readonly kind: number;
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly attributes: Readonly<Record<string, unknown>>;
  /** 2: an error. */
  readonly status: number;
  readonly message: string;
  readonly resource: Readonly<Record<string, unknown>>;
}

export interface Collector {
  readonly url: string;
  readonly spans: readonly CollectedSpan[];
  /** Every body as it came, for those who look for secrets. */
  readonly bodies: readonly Buffer[];
  readonly headers: readonly IncomingMessage['headers'][];
  readonly problems: readonly string[];
  /** What it answers from now on. */
  status: number;
  close(): Promise<void>;
}

export async function startCollector(): Promise<Collector> {
  const spans: CollectedSpan[] = [];
  const bodies: Buffer[] = [];
  const headers: IncomingMessage['headers'][] = [];
  const problems: string[] = [];
  const server = createServer((request, response) => {
    const pieces: Buffer[] = [];
    request.on('data', (piece: Buffer) => pieces.push(piece));
    request.on('end', () => {
      const body = Buffer.concat(pieces);
      bodies.push(body);
      headers.push(request.headers);
      try {
        const said = `${request.method} ${request.url} ${request.headers['content-type']}`;
        if (said !== 'POST /v1/traces application/x-protobuf') throw new Error(`not asked as OTLP says: ${said}`);
        if (collector.status === 200) spans.push(...spansIn(body));
      } catch (error) {
        problems.push(String(error));
      }
      // An ExportTraceServiceResponse in which nothing was refused is empty.
      response.writeHead(collector.status, { 'content-type': 'application/x-protobuf' }).end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const collector: Collector = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    ...{ spans, bodies, headers, problems, status: 200 },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return collector;
}

type Type = 'varint' | 'fixed64' | 'bytes' | 'fixed32';
const types: Readonly<Record<number, Type>> = { 0: 'varint', 1: 'fixed64', 2: 'bytes', 5: 'fixed32' };
type Fields = Readonly<Record<number, readonly [name: string, type: Type]>>;
type Message = Record<string, (Buffer | bigint)[]>;

const messages = {
  request: { 1: ['resourceSpans', 'bytes'] },
  resourceSpans: { 1: ['resource', 'bytes'], 2: ['scopeSpans', 'bytes'], 3: ['schemaUrl', 'bytes'] },
  resource: { 1: ['attributes', 'bytes'], 2: ['dropped', 'varint'] },
  scopeSpans: { 1: ['scope', 'bytes'], 2: ['spans', 'bytes'], 3: ['schemaUrl', 'bytes'] },
  span: {
    1: ['traceId', 'bytes'],
    2: ['spanId', 'bytes'],
    3: ['traceState', 'bytes'],
    4: ['parentId', 'bytes'],
    5: ['name', 'bytes'],
    6: ['kind', 'varint'],
    7: ['start', 'fixed64'],
    8: ['end', 'fixed64'],
    9: ['attributes', 'bytes'],
    10: ['droppedAttributes', 'varint'],
    11: ['events', 'bytes'],
    12: ['droppedEvents', 'varint'],
    13: ['links', 'bytes'],
    14: ['droppedLinks', 'varint'],
    15: ['status', 'bytes'],
    16: ['flags', 'fixed32'],
  },
  status: { 2: ['message', 'bytes'], 3: ['code', 'varint'] },
  keyValue: { 1: ['key', 'bytes'], 2: ['value', 'bytes'] },
  anyValue: { 1: ['string', 'bytes'], 2: ['bool', 'varint'], 3: ['int', 'varint'], 4: ['double', 'fixed64'] },
} as const satisfies Record<string, Fields>;

function spansIn(body: Buffer): CollectedSpan[] {
  return parts(read(body, messages.request), 'resourceSpans').flatMap((one) => {
    const group = read(one, messages.resourceSpans);
    const resource = attributesIn(read(only(group, 'resource'), messages.resource));
    return parts(group, 'scopeSpans').flatMap((scoped) =>
      parts(read(scoped, messages.scopeSpans), 'spans').map((bytes) => spanIn(bytes, resource)),
    );
  });
}

function spanIn(bytes: Buffer, resource: CollectedSpan['resource']): CollectedSpan {
  const span = read(bytes, messages.span);
  const [traceId, spanId] = [only(span, 'traceId'), only(span, 'spanId')];
  const [parentId = Buffer.alloc(0)] = parts(span, 'parentId');
  if (traceId.length !== 16 || spanId.length !== 8 || ![0, 8].includes(parentId.length))
    throw new Error(`ids of ${traceId.length}, ${spanId.length} and ${parentId.length} bytes`);
  const status = read(parts(span, 'status')[0] ?? Buffer.alloc(0), messages.status);
  const made: CollectedSpan = {
    ...{ traceId: traceId.toString('hex'), spanId: spanId.toString('hex'), parentId: parentId.toString('hex') },
    name: text(only(span, 'name')),
    kind: Number(span.kind?.[0] ?? 0n),
    ...{ startNs: span.start![0] as bigint, endNs: span.end![0] as bigint },
    attributes: attributesIn(span),
    status: Number(status.code?.[0] ?? 0n),
    message: text(parts(status, 'message')[0] ?? Buffer.alloc(0)),
    resource,
  };
  if (made.endNs < made.startNs) throw new Error(`${made.name} ends before it starts`);
  return made;
}

function attributesIn(message: Message): Record<string, unknown> {
  return Object.fromEntries(
    parts(message, 'attributes').map((bytes) => {
      const pair = read(bytes, messages.keyValue);
      const value = read(only(pair, 'value'), messages.anyValue);
      const [kind, [raw]] = Object.entries(value)[0] as [string, [Buffer | bigint]];
      if (kind === 'string') return [text(only(pair, 'key')), text(raw as Buffer)];
      return [text(only(pair, 'key')), kind === 'bool' ? raw !== 0n : Number(raw)];
    }),
  );
}

function parts(message: Message, name: string): Buffer[] {
  return (message[name] ?? []) as Buffer[];
}

function only(message: Message, name: string): Buffer {
  const [first, ...others] = parts(message, name);
  if (first === undefined || others.length > 0)
    throw new Error(`${name} is there ${others.length + (first ? 1 : 0)} times`);
  return first;
}

function text(bytes: Buffer): string {
  return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
}

/** Throws for whatever is no message with these fields. */
function read(bytes: Buffer, fields: Fields): Message {
  const message: Message = {};
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined || shift > 63n) throw new Error('a number breaks off');
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw new Error('a field breaks off');
    at += length;
    return bytes.subarray(at - length, at);
  };
  while (at < bytes.length) {
    const tag = varint();
    const field = fields[Number(tag >> 3n)];
    const type = types[Number(tag & 7n)];
    if (field === undefined || field[1] !== type) throw new Error(`field ${tag >> 3n} of type ${type} is not known`);
    const values = message[field[0]] ?? [];
    message[field[0]] = values;
    if (type === 'varint') values.push(varint());
    else if (type === 'bytes') values.push(take(Number(varint())));
    else if (type === 'fixed64') values.push(take(8).readBigUInt64LE());
    else values.push(BigInt(take(4).readUInt32LE()));
  }
  return message;
}
