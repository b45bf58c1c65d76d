import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { freePort } from '../../../bench/support/process.ts';
import type { Log } from '../../../src/core/types.ts';
import { type OtlpOptions, openTracer } from '../../../src/telemetry/otlp.ts';
import {
  currentSpan,
  setTracer,
  startSpan,
  type Tracer,
  traced,
  traceFacts,
  traceHeaders,
} from '../../../src/telemetry/trace.ts';
import { type Collector, startCollector } from '../../support/otlp.ts';

let collector: Collector;
let lines: { level: string; facts: Record<string, unknown>; message: string }[];
const told =
  (level: string) =>
  (facts: object, message: string): void =>
    void lines.push({ level, facts: facts as Record<string, unknown>, message });
const log: Log = { debug: told('debug'), info: told('info'), warn: told('warn'), error: told('error') };

beforeEach(async () => {
  lines = [];
  collector = await startCollector();
});
afterEach(async () => {
  setTracer(undefined);
  await collector.close();
});

function open(options: Partial<OtlpOptions> = {}): Tracer {
  const tracer = openTracer({
    ...{ url: `${collector.url}/v1/traces`, headers: { 'x-key': 'k' }, serviceName: 'primed', attributes: {} },
    ...{ sampler: 'parentbased_always_on', ratio: 1, files: 'some', role: 'worker', version: '0', log },
    ...options,
  });
  setTracer(tracer);
  return tracer;
}

const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
const remote = '00f067aa0ba902b7';

it('sends at the end what has not been sent, with parents over awaits and from outside', async () => {
  const tracer = open();
  await traced('outer', { kind: 'server', parent: `00-${trace}-${remote}-01` }, async (outer) => {
    expect(traceHeaders()).toEqual({ traceparent: outer.traceparent });
    expect(traceFacts()).toEqual({ trace_id: trace, span_id: outer.traceparent!.split('-')[2] });
    await new Promise(setImmediate);
    await traced('inner', { attributes: { 'primed.path': 's3://b/k', left: undefined } }, async () => undefined);
    startSpan('failed').end(new Error('what went wrong at https://b/k?X-Amz-Signature=abc'));
  });
  expect(currentSpan().traceparent).toBeUndefined();
  await tracer.close();
  const [inner, failed, outer] = collector.spans;
  expect(collector.problems).toEqual([]);
  expect(outer).toMatchObject({ name: 'outer', traceId: trace, parentId: remote, kind: 2 });
  expect(inner).toMatchObject({ name: 'inner', traceId: trace, parentId: outer!.spanId });
  expect(inner!.attributes).toEqual({ 'primed.path': 's3://b/k' });
  expect(failed).toMatchObject({ parentId: outer!.spanId, status: 2, message: 'what went wrong at https://b/k?...' });
  expect(collector.headers[0]!['x-key']).toBe('k');
});

it('a caller that does not want its trace sent is obeyed, and a header that is none begins a trace', async () => {
  const tracer = open();
  const unwanted = startSpan('unwanted', { parent: `00-${trace}-${remote}-00` });
  const child = unwanted.within(() => startSpan('its child'));
  expect([unwanted.sampled, child.sampled, child.traceparent!.slice(0, 35)]).toEqual([false, false, `00-${trace}`]);
  for (const span of [child, unwanted]) span.end();
  for (const parent of ['nonsense', '', `00-${'0'.repeat(32)}-${remote}-01`]) startSpan('root', { parent }).end();
  await tracer.close();
  expect(collector.spans.map(({ name, parentId }) => [name, parentId])).toEqual(Array(3).fill(['root', '']));
});

it('what the sending says is part of no span, though one was current when it began', async () => {
  collector.status = 400;
  // Larger than a batch: sending begins where the last of it ends.
  const said = new Promise((resolve) => {
    const quiet = { debug() {}, info() {}, error() {} };
    open({ log: { ...quiet, warn: () => resolve(traceFacts()) } });
    const span = startSpan('current');
    span.within(() => {
      for (let count = 0; count < 600; count += 1) startSpan('one').end();
    });
  });
  expect(await said).toEqual({});
});

it('the ratio is one of traces', async () => {
  const tracer = open({ sampler: 'traceidratio', ratio: 0 });
  startSpan('none', { parent: `00-${trace}-${remote}-01` }).end();
  await tracer.close();
  expect(collector.spans).toEqual([]);
});

it('without a tracer a span is nothing, and what it is around is done all the same', async () => {
  expect(await traced('none', {}, async (span) => [span.sampled, traceHeaders(), traceFacts()])).toEqual([
    false,
    {},
    {},
  ]);
  await expect(traced('none', {}, () => Promise.reject(new Error('its own')))).rejects.toThrow('its own');
});

it('a collector that is away costs one line, and its return another', async () => {
  let nowMs = 0;
  const tracer = open({ now: () => nowMs });
  const say = async (spans: number): Promise<void> => {
    for (let count = 0; count < spans; count += 1) startSpan('one').end();
    await tracer.flush();
  };
  collector.status = 400;
  for (let round = 0; round < 5; round += 1) {
    await say(10);
    nowMs += 31_000;
  }
  expect(collector.bodies).toHaveLength(5);
  for (let round = 0; round < 5; round += 1) await say(10);
  // Within the pause that follows a failure it is not even asked.
  expect(collector.bodies).toHaveLength(6);
  expect(lines.map(({ level, facts }) => [level, facts.lostSpans])).toEqual([['warn', 10]]);
  nowMs += 31_000;
  collector.status = 200;
  await say(3);
  expect(lines.at(-1)).toMatchObject({ level: 'info', facts: { lostSpans: 100 } });
  expect(collector.spans).toHaveLength(3);
  await tracer.close();
});

it.each(['refuses connections', 'never answers'])('the end does not wait for a collector that %s', async (how) => {
  const silent = createServer(() => undefined);
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const port = how === 'never answers' ? (silent.address() as AddressInfo).port : await freePort();
  const tracer = open({ url: `http://127.0.0.1:${port}/v1/traces`, closeLimitMs: 50 });
  for (let count = 0; count < 10_000; count += 1) startSpan('one').end();
  await tracer.close();
  silent.close();
  startSpan('after the end').end();
  expect(lines.filter(({ level }) => level === 'warn').length).toBeLessThanOrEqual(1);
});

it('what others have added to a trace goes on with what a request begins, and with nothing else', async () => {
  const tracer = open();
  const parent = `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`;
  const span = tracer.start('request', { parent, tracestate: 'vendor=a,other=b' });
  await span.within(() =>
    traced('inner', {}, async (inner) => {
      expect(inner.tracestate).toBe('vendor=a,other=b');
      inner.within(() =>
        expect(traceHeaders()).toEqual({ traceparent: inner.traceparent, tracestate: 'vendor=a,other=b' }),
      );
    }),
  );
  for (const tracestate of [undefined, 'no state at all', '=']) {
    const other = tracer.start('request', { parent, tracestate });
    other.within(() => expect(traceHeaders()).toEqual({ traceparent: other.traceparent }));
    other.end();
  }
  span.end();
  await tracer.close();
});
