/** Spans go to a collector where the configuration names one; else nothing of OpenTelemetry is even loaded. */
import { readFileSync } from 'node:fs';
import type { Config } from './config/config.ts';
import type { Log } from './core/types.ts';
import { setTracer, type Tracer } from './telemetry/trace.ts';

/** Before anything that may be traced. */
export async function openTraces({ traces, role, cluster }: Config, log: Log): Promise<Tracer | undefined> {
  if (traces === undefined) return undefined;
  const { openTracer } = await import('./telemetry/otlp.ts');
  const { caFile, ...options } = traces;
  const ca = caFile === undefined ? {} : { ca: readFileSync(caFile, 'utf8') };
  const tracer = openTracer({ ...options, ...ca, role, version: PRIMED_VERSION, instance: cluster.id, log });
  setTracer(tracer);
  const { origin } = new URL(traces.url);
  log.info({ collector: origin, sampler: traces.sampler, ratio: traces.ratio, files: traces.files }, 'traces are sent');
  return tracer;
}
