/**
 * Spans of a run on this worker: of the run, of some of its files or of all (core/thinning), of their first parts, and of those
 * that fail. Undefined stands for nothing being traced: then no file costs anything.
 */
import { Thinning } from '../core/thinning.ts';
import type { ByteRange } from '../core/types.ts';
import { currentSpan, detailBase, isTracing, type Span, startSpan } from '../telemetry/trace.ts';
import type { FileTask } from './run.ts';
import type { FileOutcome, RunSpec } from './types.ts';

/** Of one file; a file of a terabyte has 100,000. */
const mostParts = 32;
/** Beyond those that thinning chose, of one run. */
const mostFailed = 128;

export class RunTrace {
  readonly #span: Span | undefined;
  readonly #thinning: Thinning;
  #failed = 0;

  /** Undefined: nothing is traced, or the trace of the run is not sent. */
  static of(spec: RunSpec): RunTrace | undefined {
    if (!isTracing()) return undefined;
    // What readers wait for has no job: each file is part of what asked for it first.
    if (spec.trace === undefined) return spec.keeps === false ? new RunTrace(undefined) : undefined;
    const span = startSpan('run on worker', {
      parent: spec.trace,
      attributes: { 'primed.job_id': spec.job, 'primed.run_id': spec.run },
    });
    if (span.sampled) return new RunTrace(span);
    span.end();
    return undefined;
  }

  constructor(span: Span | undefined) {
    this.#span = span;
    this.#thinning = new Thinning(detailBase());
  }

  file(file: Pick<FileTask, 'entry' | 'range' | 'peer'>): FileTrace | undefined {
    const parent = this.#span ?? currentSpan();
    if (!parent.sampled) return undefined;
    return this.#thinning.next() ? new FileTrace(parent, file, this.#thinning.stride) : undefined;
  }

  /** One that has no span of its own. */
  fileFailed(file: FileTask, { error }: FileOutcome): void {
    if (this.#span === undefined || this.#failed >= mostFailed) return;
    this.#failed += 1;
    new FileTrace(this.#span, file, 1).span.end(error?.message ?? 'failed');
  }

  end(facts: { readonly retries: number; readonly evictedBytes: number }): void {
    this.#span?.set({ 'primed.retries': facts.retries, 'primed.evicted_bytes': facts.evictedBytes });
    this.#span?.end();
  }
}

export class FileTrace {
  readonly span: Span;
  #parts = 0;

  constructor(parent: Span, { entry, range, peer }: Pick<FileTask, 'entry' | 'range' | 'peer'>, stride: number) {
    this.span = startSpan(peer === undefined ? 'load file' : 'copy file', {
      parent: parent.traceparent,
      attributes: {
        'primed.path': entry.path,
        'primed.bytes': range?.length ?? entry.sizeBytes,
        ...(range === undefined ? {} : { 'primed.offset': range.offset }),
        ...(peer === undefined ? {} : { 'primed.source': peer.url }),
        ...(stride === 1 ? {} : { 'primed.one_of': stride }),
      },
    });
  }

  /** A request to the origin, or to another worker, that has ended; `sinceMs` by performance.now(). */
  part(
    part: { readonly range: ByteRange; readonly attempt: number; readonly file: FileTask },
    sinceMs: number,
    problem?: string,
  ): void {
    this.#parts += 1;
    if (this.#parts > mostParts) return;
    const { range, attempt, file } = part;
    const span = this.#past(file.peer === undefined ? 'GET from origin' : 'GET from worker', sinceMs, {
      kind: 'client',
      attributes: { 'primed.offset': range.offset, 'primed.bytes': range.length, 'primed.attempt': attempt },
    });
    span.end(problem);
  }

  /** What made a part of it durable. */
  landed(sinceMs: number, parts: number): void {
    if (this.#parts > mostParts) return;
    this.#past('land and commit', sinceMs, { kind: 'internal', attributes: { 'primed.parts': parts } }).end();
  }

  ended({ result, loadedBytes, error }: FileOutcome): void {
    this.span.set({ 'primed.result': result, 'primed.loaded_bytes': loadedBytes, 'primed.requests': this.#parts });
    this.span.end(result === 'failed' ? (error?.message ?? 'failed') : undefined);
  }

  #past(name: string, sinceMs: number, options: Parameters<typeof startSpan>[1]): Span {
    const startMs = Date.now() - (performance.now() - sinceMs);
    return startSpan(name, { ...options, parent: this.span.traceparent, startMs });
  }
}
