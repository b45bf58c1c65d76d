/**
 * All metrics in one table: what exists, in which unit, with which labels, who fills it. The registry is built from it,
 * and docs/METRICS.md is generated from it. Every label has a bounded set of values.
 */
import { daemonMetrics } from './daemon-metrics.ts';
import type { MetricRow } from './metric-row.ts';
import { workerMetrics } from './worker-metrics.ts';

export const metrics = { ...workerMetrics, ...daemonMetrics } as const satisfies Record<string, MetricRow>;

export type Metrics = typeof metrics;
export type MetricId = keyof Metrics;

type LabelValue<V> = V extends readonly (infer Value)[] ? Value : string;
/** The labels of a metric with the values that each of them may have. */
export type LabelsOf<K extends MetricId> = Metrics[K] extends { labels: infer L }
  ? { readonly [Name in keyof L]: LabelValue<L[Name]> }
  : never;

/** Metrics of one type that the main thread fills. */
export type MainId<T extends MetricRow['type']> = {
  [K in MetricId]: Metrics[K] extends { lane: unknown } | { serving: unknown }
    ? never
    : Metrics[K]['type'] extends T
      ? K
      : never;
}[MetricId];
