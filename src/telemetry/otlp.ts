/**
 * Spans that are sent to a collector: OpenTelemetry's SDK behind the narrow interface of `telemetry/trace`. Loaded only where
 * `[traces]` names a collector.
 *
 * What is bounded: spans that wait to be sent (2,048, those beyond are lost; `OTEL_BSP_MAX_QUEUE_SIZE`), what is said in one,
 * and what a collector that is away costs: after a failure nothing is packed or sent for half a minute, and the log has one line.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { hostname } from 'node:os';
import {
  type Context,
  context as contexts,
  createTraceState,
  SpanKind as OtlpKind,
  type Span as OtlpSpan,
  ROOT_CONTEXT,
  type SpanContext,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { type ExportResult, ExportResultCode, parseTraceParent } from '@opentelemetry/core';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  BasicTracerProvider,
  BatchSpanProcessor,
  ParentBasedSampler,
  type ReadableSpan,
  type Sampler,
  type SpanExporter,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace-base';
import { keptMessage } from '../core/file-events.ts';
import type { Log } from '../core/types.ts';
import type { Attributes, Span, SpanKind, SpanOptions, Tracer } from './trace.ts';

export interface OtlpOptions {
  /** Of `[traces]`. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Certificates to trust in place of the system's. */
  readonly ca?: string;
  readonly serviceName: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly sampler: string;
  readonly ratio: number;
  readonly files: 'some' | 'all';
  readonly role: string;
  readonly version: string;
  /** Of the node. */
  readonly instance?: string;
  readonly log: Log;
  readonly now?: () => number;
  /** The stop of a daemon waits so long for what is left. */
  readonly closeLimitMs?: number;
}

/** One try, with what is tried again within it. */
const sendLimitMs = 5_000;
/** After a failure. */
const pauseMs = 30_000;
/** Between lines of the log that say so. */
const sayAgainMs = 3_600_000;
const defaultCloseLimitMs = 1_000;
/** Of the value of an attribute. */
const longestText = 1024;
/** See core/thinning. */
const someBase = 256;

export function openTracer(options: OtlpOptions): Tracer {
  const { serviceName, attributes, role, version, instance = hostname(), files, log, now = Date.now } = options;
  const exporter = new PatientExporter(
    new OTLPTraceExporter({
      url: options.url,
      headers: { ...options.headers },
      timeoutMillis: sendLimitMs,
      httpAgentOptions: { keepAlive: true, ...(options.ca === undefined ? {} : { ca: options.ca }) },
    }),
    { log, now, collector: new URL(options.url).origin },
  );
  const provider = new BasicTracerProvider({
    sampler: samplerOf(options.sampler, options.ratio),
    resource: resourceFromAttributes({
      'service.instance.id': instance,
      'host.name': hostname(),
      ...attributes,
      'service.name': serviceName,
      'service.version': version,
      'primed.role': role,
    }),
    spanLimits: { attributeValueLengthLimit: longestText, attributeCountLimit: 32, eventCountLimit: 8 },
    spanProcessors: [new BatchSpanProcessor(exporter)],
  });
  const tracer = provider.getTracer('primed', version);
  const storage = new AsyncLocalStorage<Span | undefined>();
  return {
    detailBase: files === 'all' ? Number.POSITIVE_INFINITY : someBase,
    current: () => storage.getStore(),
    start(name: string, { kind = 'internal', parent, tracestate, startMs, attributes: said }: SpanOptions): Span {
      const from = parent === undefined ? storage.getStore() : { traceparent: parent, tracestate };
      const span = tracer.startSpan(
        name,
        {
          kind: kinds[kind],
          ...(startMs === undefined ? {} : { startTime: startMs }),
          ...(said === undefined ? {} : { attributes: said }),
        },
        contextOf(from?.traceparent, from?.tracestate),
      );
      return spanOver(span, storage);
    },
    flush: () => provider.forceFlush(),
    close: () => endWithin(provider.shutdown(), options.closeLimitMs ?? defaultCloseLimitMs),
  };
}

const kinds: Readonly<Record<SpanKind, OtlpKind>> = {
  internal: OtlpKind.INTERNAL,
  server: OtlpKind.SERVER,
  client: OtlpKind.CLIENT,
};

function samplerOf(name: string, ratio: number): Sampler {
  const root = /off$/.test(name)
    ? new AlwaysOffSampler()
    : /ratio$/.test(name)
      ? new TraceIdRatioBasedSampler(ratio)
      : new AlwaysOnSampler();
  return name.startsWith('parentbased_') ? new ParentBasedSampler({ root }) : root;
}

/** What is no traceparent is nobody's child: whoever sent it gets an answer all the same. */
function contextOf(traceparent: string | undefined, tracestate: string | undefined): Context {
  const parent = traceparent === undefined ? null : parseTraceParent(traceparent);
  if (parent === null) return ROOT_CONTEXT;
  const state = tracestate === undefined ? {} : { traceState: createTraceState(tracestate) };
  return trace.setSpanContext(ROOT_CONTEXT, { ...parent, ...state, isRemote: true });
}

function spanOver(span: OtlpSpan, storage: AsyncLocalStorage<Span | undefined>): Span {
  const made: Span = {
    traceparent: traceparentOf(span.spanContext()),
    tracestate: span.spanContext().traceState?.serialize() || undefined,
    sampled: span.isRecording(),
    set: (attributes: Attributes) => void span.setAttributes(attributes),
    end(problem, endMs) {
      if (problem !== undefined) span.setStatus({ code: SpanStatusCode.ERROR, message: textOf(problem) });
      // A span that has ended takes no second end; the SDK would write to its own log.
      // What sends it later is no part of any span.
      if (span.isRecording()) storage.run(undefined, () => span.end(endMs));
    },
    within: (act) => storage.run(made, act),
  };
  return made;
}

function traceparentOf({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-0${traceFlags & 1}`;
}

function textOf(problem: unknown): string {
  return keptMessage(problem instanceof Error ? problem.message : String(problem));
}

/** Spans that were not sent while the collector was away are lost: nothing waits for it. */
export class PatientExporter implements SpanExporter {
  readonly #exporter: SpanExporter;
  readonly #options: { readonly log: Log; readonly now: () => number; readonly collector: string };
  #pausedUntilMs = 0;
  #saidAtMs = Number.NEGATIVE_INFINITY;
  #lost = 0;
  #away = false;

  constructor(
    exporter: SpanExporter,
    options: { readonly log: Log; readonly now: () => number; readonly collector: string },
  ) {
    this.#exporter = exporter;
    this.#options = options;
  }

  /** What has failed is told here, so that the SDK hears of no failure. */
  export(spans: ReadableSpan[], ended: (result: ExportResult) => void): void {
    const done = (): void => ended({ code: ExportResultCode.SUCCESS });
    if (this.#options.now() < this.#pausedUntilMs) {
      this.#lost += spans.length;
      done();
      return;
    }
    // What the sending itself does is no part of any span.
    contexts.with(ROOT_CONTEXT, () =>
      this.#exporter.export(spans, ({ code, error }) => {
        if (code === ExportResultCode.SUCCESS) this.#sent();
        else this.#failed(spans.length, error);
        done();
      }),
    );
  }

  shutdown(): Promise<void> {
    return this.#exporter.shutdown();
  }

  #sent(): void {
    if (!this.#away) return;
    this.#away = false;
    const { log, collector } = this.#options;
    log.info({ collector, lostSpans: this.#lost }, 'the collector takes traces again');
    this.#lost = 0;
  }

  #failed(spans: number, error: unknown): void {
    const { log, now, collector } = this.#options;
    this.#lost += spans;
    this.#pausedUntilMs = now() + pauseMs;
    this.#away = true;
    if (now() - this.#saidAtMs < sayAgainMs) return;
    this.#saidAtMs = now();
    const { message, code } = (error ?? {}) as { message?: string; code?: string | number };
    log.warn(
      { collector, lostSpans: this.#lost, reason: message || String(code ?? 'no reason is known') },
      'the collector does not take traces: spans are dropped until it does; see traces.endpoint, and the log of the collector',
    );
  }
}

async function endWithin(ending: Promise<unknown>, limitMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, limitMs);
  });
  await Promise.race([ending.catch(() => undefined), late]);
  clearTimeout(timer);
}
