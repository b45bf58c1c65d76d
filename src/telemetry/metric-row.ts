/** What one row of the tables of metrics says. */
import { mostOriginLimits } from '../core/origin-limits.ts';
import { originOperations } from '../core/origin-use.ts';
import type { laneColumns, laneHistograms } from './lane-columns.ts';
import type { servingColumns } from './serving-columns.ts';

/** Where a metric comes from when lanes count it: folded from shared memory at each scrape. */
export type LaneSource =
  | { readonly sum: keyof typeof laneColumns }
  /** The largest of all lanes. */
  | { readonly largest: keyof typeof laneColumns; readonly scale?: number }
  /** One value a thread, label `thread`; the main thread has one too. */
  | { readonly perThread: keyof typeof laneColumns; readonly scale?: number }
  | { readonly failures: true }
  | { readonly histogram: keyof typeof laneHistograms };

/** The same of what is counted on the S3 port. */
export type ServingSource =
  | { readonly sum: keyof typeof servingColumns }
  /** By operation and class of status. */
  | { readonly answers: true }
  /** Histograms: by operation, or of all. */
  | { readonly seconds: true }
  | { readonly firstByte: true };

/** Values that are not known beforehand: what they are, and how many of them at most. The registry shows no more. */
export interface BoundedLabel {
  readonly says: string;
  readonly most: number;
}

export interface MetricRow {
  readonly name: `primed_${string}`;
  readonly type: 'counter' | 'gauge' | 'histogram';
  readonly unit: 'bytes' | 'seconds' | 'ratio' | 'count' | 'info';
  readonly help: string;
  /** Which daemon shows it. */
  readonly role: 'coordinator' | 'worker' | 'both';
  /** `stable`: name and meaning stay within a major version. */
  readonly stability: 'stable' | 'experimental';
  /** Every value that a label can have, or how many those are. */
  readonly labels?: Readonly<Record<string, readonly string[] | BoundedLabel>>;
  /** Upper bounds, in the unit. */
  readonly buckets?: readonly number[];
  readonly lane?: LaneSource;
  readonly serving?: ServingSource;
}

export const limitedOrigins = { says: `origins with a limit, at most ${mostOriginLimits}`, most: mostOriginLimits };

/** Origins with a name in metrics of all of them: those that are asked first; what is asked of others counts as one more. */
export const mostOriginsNamed = 16;
export const otherOrigins = 'other';

/** Origin and operation. */
export const askedLabels = {
  origin: {
    says: `the first ${mostOriginsNamed} that were asked, and \`${otherOrigins}\``,
    most: mostOriginsNamed + 1,
  },
  operation: originOperations,
} as const;

/** From an answer out of memory to one that waited for a slow origin. */
export const requestSeconds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** HTTP statuses by class: a label with every status would not stay small. */
export const statusClasses = ['1xx', '2xx', '3xx', '4xx', '5xx'] as const;

/** Whether the values of a label are known beforehand. */
export function isListed(values: readonly string[] | BoundedLabel): values is readonly string[] {
  return Array.isArray(values);
}

/** How many sets of labels a metric can have. */
export function mostLabelSets({ labels = {} }: Pick<MetricRow, 'labels'>): number {
  return Object.values(labels).reduce((sets, values) => sets * (isListed(values) ? values.length : values.most), 1);
}
