/**
 * Spans of what this process does, for who has a collector of OpenTelemetry.
 *
 * Who is in it: every room that begins something worth a span asks here, and gets one that does nothing unless `[traces]` names a
 * collector: then `telemetry/otlp`, which is loaded for that alone, stands behind it. So without a collector a span costs one
 * comparison, and the packages are not even read. Lanes and serving threads have no spans of their own: what they did is told
 * on the main thread, when it hears of it.
 *
 * A span is the parent of what begins `within` it, over awaits. Where work begins later, or in another process, its parent is
 * named by a traceparent as W3C writes it. Errors of ours never come from here.
 */

export type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;

export type SpanKind = 'internal' | 'server' | 'client';

export interface SpanOptions {
  readonly kind?: SpanKind;
  /** A traceparent, or what a header had in its place; `'none'`: it begins a trace. By default the span that is current. */
  readonly parent?: string | undefined;
  /** What came with the parent for others who trace, as W3C writes it; it goes on with what the span begins `within` it. */
  readonly tracestate?: string | undefined;
  /** By the clock of `Date.now()`; by default now. */
  readonly startMs?: number;
  /** Nothing secret, and nothing signed: paths without their query. */
  readonly attributes?: Attributes;
}

export interface Span {
  /** W3C: whose child is what is done elsewhere; undefined where nothing is traced. */
  readonly traceparent: string | undefined;
  readonly tracestate: string | undefined;
  /** Whether it will be sent: what costs something to find out for it need not be looked for otherwise. */
  readonly sampled: boolean;
  set(attributes: Attributes): void;
  /** Once; later ones are ignored. `problem`: what failed; a text, or an error of which the message is told. `endMs`: by default now. */
  end(problem?: unknown, endMs?: number): void;
  /** What `act` begins is part of it. */
  within<T>(act: () => T): T;
}

/** What stands behind this: see telemetry/otlp. */
export interface Tracer {
  start(name: string, options: SpanOptions): Span;
  current(): Span | undefined;
  /** How many spans there are of many files, pages and the like: the base of their thinning. */
  readonly detailBase: number;
  /** Sends what waits to be sent. */
  flush(): Promise<void>;
  /** Sends what is left, within a limit of time. Never rejects. */
  close(): Promise<void>;
}

export const noSpan: Span = {
  traceparent: undefined,
  tracestate: undefined,
  sampled: false,
  set() {},
  end() {},
  within: (act) => act(),
};

let tracer: Tracer | undefined;

/** That of the process, from now on. */
export function setTracer(made: Tracer | undefined): void {
  tracer = made;
}

/** Whether there may be spans: for what has to be prepared for them. */
export function isTracing(): boolean {
  return tracer !== undefined;
}

/** Infinite where each is wanted, 0 where there are no spans. */
export function detailBase(): number {
  return tracer?.detailBase ?? 0;
}

/** The caller ends it. */
export function startSpan(name: string, options: SpanOptions = {}): Span {
  return tracer === undefined ? noSpan : tracer.start(name, options);
}

/** The span that lasts as long as `act` does, and is the parent of what it begins. Rejects as `act` does. */
export async function traced<T>(name: string, options: SpanOptions, act: (span: Span) => Promise<T>): Promise<T> {
  if (tracer === undefined) return act(noSpan);
  const span = tracer.start(name, options);
  try {
    const value = await span.within(() => act(span));
    span.end();
    return value;
  } catch (error) {
    span.end(error);
    throw error;
  }
}

export function currentSpan(): Span {
  return tracer?.current() ?? noSpan;
}

/** Of a request to another node. */
export function traceHeaders(): { traceparent?: string; tracestate?: string } {
  const { traceparent, tracestate } = tracer?.current() ?? noSpan;
  if (traceparent === undefined) return {};
  return tracestate === undefined ? { traceparent } : { traceparent, tracestate };
}

/** What a line of the log has of the span in which it was written. */
export function traceFacts(): object {
  const traceparent = tracer?.current()?.traceparent;
  if (traceparent === undefined) return {};
  const [, trace_id, span_id] = traceparent.split('-');
  return { trace_id, span_id };
}

/** A target without its query, in which a signature may be. */
export function withoutQuery(target: string): string {
  const at = target.indexOf('?');
  return at === -1 ? target : target.slice(0, at);
}
