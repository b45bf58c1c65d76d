/**
 * The registry: prom-client metrics made from the table in metrics.ts.
 *
 * Main-thread rooms write to `counters`, `gauges` and `histograms`; a name or a label value that is not in the table is
 * a compile error. What lanes count lies in shared memory and is folded in when Prometheus scrapes.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, type Metric, Registry } from 'prom-client';
import { publishEventLoop } from './event-loop.ts';
import {
  failureCauses,
  type LaneCounters,
  laneColumns,
  laneFailureColumns,
  laneHistograms,
  laneLayout,
} from './lane-columns.ts';
import {
  isListed,
  type LaneSource,
  type MetricRow,
  mostLabelSets,
  type ServingSource,
  statusClasses,
} from './metric-row.ts';
import { type LabelsOf, type MainId, type MetricId, metrics } from './metrics.ts';
import {
  answerColumnOf,
  firstByteSlot,
  passedFirstByteSlot,
  type ServingCounters,
  s3Operations,
  secondsSlotOf,
  servingColumns,
  servingLayout,
} from './serving-columns.ts';
import { type FoldedHistogram, makeSharedCounters } from './shared-counters.ts';

export type CounterHandle<L> = [L] extends [never]
  ? { inc(amount?: number): void }
  : { inc(labels: L, amount?: number): void };
export type GaugeHandle<L> = [L] extends [never]
  ? { set(value: number): void; inc(amount?: number): void; dec(amount?: number): void }
  : {
      set(labels: L, value: number): void;
      inc(labels: L, amount?: number): void;
      dec(labels: L, amount?: number): void;
      /** The value is not shown any more. */
      remove(labels: L): void;
      /** None is shown until it is set again. */
      reset(): void;
    };
export type HistogramHandle<L> = [L] extends [never]
  ? { observe(value: number): void }
  : { observe(labels: L, value: number): void };

export type Role = 'standalone' | 'coordinator' | 'worker';

export interface Telemetry {
  readonly counters: { readonly [K in MainId<'counter'>]: CounterHandle<LabelsOf<K>> };
  readonly gauges: { readonly [K in MainId<'gauge'>]: GaugeHandle<LabelsOf<K>> };
  readonly histograms: { readonly [K in MainId<'histogram'>]: HistogramHandle<LabelsOf<K>> };
  /** Shows what lanes count from now on; row i is shown as thread `lane<i>`. At most once. */
  attachLanes(lanes: LaneCounters): void;
  /** Shows what is counted on the S3 port from now on. At most once. */
  attachServing(serving: ServingCounters): void;
  /** Runs before each scrape: the place to set gauges from figures that somebody else keeps. Returns its removal. */
  onScrape(update: () => void): () => void;
  /** Everything in the text format of Prometheus. Rejects when an `onScrape` function throws. */
  text(): Promise<string>;
  readonly contentType: string;
  /** Ends the timers of the process metrics. */
  close(): void;
}

export interface TelemetryOptions {
  /** Which metrics are shown; the others may be written all the same. */
  readonly role?: Role;
  readonly version?: string;
  /** Whether to show CPU, memory, descriptors and garbage collection of the process. */
  readonly processMetrics?: boolean;
}

/** prom-client's own gauges that Prometheus' naming rules refuse; the same figures exist under other names. */
const badlyNamed = ['nodejs_active_handles_total', 'nodejs_active_requests_total', 'nodejs_active_resources_total'];

/** Builds the registry of one daemon. */
export function makeTelemetry(options: TelemetryOptions = {}): Telemetry {
  const { role = 'standalone', version = 'unknown', processMetrics = true } = options;
  const registry = new Registry();
  if (processMetrics) {
    collectDefaultMetrics({ register: registry });
    for (const name of badlyNamed) registry.removeSingleMetric(name);
  }
  const mainThread = makeSharedCounters(laneLayout, 1);
  const stopWatching = publishEventLoop(mainThread.row(0));
  const updates = new Set<() => void>();
  let lanes: LaneCounters | undefined;
  let serving: ServingCounters | undefined;
  const nothingServed = makeSharedCounters(servingLayout, 1);

  const show = (row: MetricRow, shown: boolean, values: () => Folded['values']): void => {
    const { name, help, type } = row;
    const get = (): Folded => ({ name, help, type, aggregator: 'sum', values: values() });
    if (shown) registry.registerMetric({ ...row, get } as unknown as Metric);
  };
  const handles: Record<string, unknown> = {};
  for (const [id, row] of Object.entries(metrics) as [MetricId, MetricRow][]) {
    const shown = role === 'standalone' || row.role === 'both' || row.role === role;
    const registers = shown ? [registry] : [];
    if (row.lane !== undefined) {
      const source = row.lane;
      show(row, shown, () => foldedValues(row.name, source, mainThread, lanes));
    } else if (row.serving !== undefined) {
      const source = row.serving;
      show(row, shown, () => servedValues(row.name, source, serving ?? nothingServed));
    } else {
      handles[id] = bounded(makeMetric(row, registers), row);
    }
  }
  (handles.buildInfo as Gauge).set({ version, node: process.version, role }, 1);

  return {
    counters: handles as unknown as Telemetry['counters'],
    gauges: handles as unknown as Telemetry['gauges'],
    histograms: handles as unknown as Telemetry['histograms'],
    attachLanes(block) {
      if (lanes !== undefined) throw new Error('lanes are attached already');
      lanes = block;
    },
    attachServing(block) {
      if (serving !== undefined) throw new Error('what serves is attached already');
      serving = block;
    },
    onScrape(update) {
      updates.add(update);
      return () => updates.delete(update);
    },
    async text() {
      for (const update of updates) update();
      return registry.metrics();
    },
    contentType: registry.contentType,
    close() {
      stopWatching();
      updates.clear();
    },
  };
}

function makeMetric(row: MetricRow, registers: Registry[]): Counter | Gauge | Histogram {
  const config = { name: row.name, help: row.help, labelNames: Object.keys(row.labels ?? {}), registers };
  const combinations = labelCombinations(row.labels ?? {});
  switch (row.type) {
    case 'counter': {
      // Every combination exists from the start with 0, so that a rate over the first event is not lost.
      const counter = new Counter(config);
      for (const labels of combinations) counter.inc(labels, 0);
      return counter;
    }
    case 'gauge': {
      const gauge = new Gauge(config);
      for (const labels of combinations) gauge.set(labels, 0);
      return gauge;
    }
    case 'histogram': {
      const histogram = new Histogram({ ...config, buckets: [...(row.buckets ?? [])] });
      for (const labels of combinations) histogram.zero(labels);
      return histogram;
    }
  }
}

/** The same, with no more label sets than the table allows: those that come later are not shown. */
function bounded(metric: Counter | Gauge | Histogram, row: MetricRow): unknown {
  if (metric instanceof Histogram || Object.values(row.labels ?? {}).every(isListed)) return metric;
  const most = mostLabelSets(row);
  const shown = new Set<string>();
  const shows = (labels: Labels): boolean => {
    const key = JSON.stringify(labels);
    if (!shown.has(key) && shown.size >= most) return false;
    shown.add(key);
    return true;
  };
  if (metric instanceof Counter)
    return { inc: (labels: Labels, amount?: number) => void (shows(labels) && metric.inc(labels, amount)) };
  return {
    set: (labels: Labels, value: number) => void (shows(labels) && metric.set(labels, value)),
    inc: (labels: Labels, amount?: number) => void (shows(labels) && metric.inc(labels, amount)),
    dec: (labels: Labels, amount?: number) => void (shows(labels) && metric.dec(labels, amount)),
    remove(labels: Labels) {
      shown.delete(JSON.stringify(labels));
      metric.remove(labels);
    },
    reset() {
      shown.clear();
      metric.reset();
    },
  };
}

type Labels = Record<string, string>;

/** All label sets of a metric, or none when a label's values are not listed. `{}` is the one set of no labels. */
function labelCombinations(labels: NonNullable<MetricRow['labels']>): Record<string, string>[] {
  let sets: Record<string, string>[] = [{}];
  for (const [name, values] of Object.entries(labels)) {
    if (!isListed(values)) return [];
    sets = sets.flatMap((set) => values.map((value) => ({ ...set, [name]: value })));
  }
  return sets;
}

interface Folded {
  name: string;
  help: string;
  type: string;
  values: { value: number; labels: Record<string, string | number>; metricName?: string }[];
  aggregator: string;
}

/** The present value of a metric that lanes count, in the shape that prom-client prints. */
function foldedValues(
  name: string,
  source: LaneSource,
  mainThread: LaneCounters,
  lanes: LaneCounters | undefined,
): Folded['values'] {
  if ('sum' in source) return [{ labels: {}, value: lanes?.total(laneColumns[source.sum]) ?? 0 }];
  if ('largest' in source) {
    const column = laneColumns[source.largest];
    const values = Array.from({ length: lanes?.rows ?? 0 }, (_, index) => lanes?.at(index, column) ?? 0);
    return [{ labels: {}, value: Math.max(0, ...values) * (source.scale ?? 1) }];
  }
  if ('failures' in source) {
    return failureCauses.map((cause) => ({
      labels: { cause },
      value: lanes?.total(laneFailureColumns[cause]) ?? 0,
    }));
  }
  if ('perThread' in source) {
    const column = laneColumns[source.perThread];
    const scale = source.scale ?? 1;
    const laneValues = Array.from({ length: lanes?.rows ?? 0 }, (_, index) => ({
      labels: { thread: `lane${index}` },
      value: (lanes?.at(index, column) ?? 0) * scale,
    }));
    return [{ labels: { thread: 'main' }, value: mainThread.at(0, column) * scale }, ...laneValues];
  }
  return histogramValues(name, (lanes ?? mainThread).folded(laneHistograms[source.histogram]), {
    scale: 1 / msPerSecond,
  });
}

/** The same of what is counted on the S3 port. */
function servedValues(name: string, source: ServingSource, serving: ServingCounters): Folded['values'] {
  if ('sum' in source) return [{ labels: {}, value: serving.total(servingColumns[source.sum]) }];
  if ('answers' in source) {
    return s3Operations.flatMap((operation) =>
      statusClasses.map((code) => ({
        labels: { operation, code },
        value: serving.total(answerColumnOf(operation, code)),
      })),
    );
  }
  if ('firstByte' in source) {
    return (
      [
        ['thread', firstByteSlot],
        ['main', passedFirstByteSlot],
      ] as const
    ).flatMap(([by, slot]) => histogramValues(name, serving.folded(slot), { labels: { by } }));
  }
  return s3Operations.flatMap((operation) =>
    histogramValues(name, serving.folded(secondsSlotOf(operation)), { labels: { operation } }),
  );
}

function histogramValues(
  name: string,
  { bounds, counts, sum }: FoldedHistogram,
  { labels = {}, scale = 1 }: { labels?: Record<string, string>; scale?: number } = {},
): Folded['values'] {
  const upTo = (last: number): number => counts.slice(0, last + 1).reduce((all, count) => all + count, 0);
  const buckets = counts.map((_, index) => ({
    metricName: `${name}_bucket`,
    labels: { ...labels, le: index < bounds.length ? bounds[index]! * scale : '+Inf' },
    value: upTo(index),
  }));
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: sum * scale },
    { metricName: `${name}_count`, labels, value: upTo(counts.length) },
  ];
}

const msPerSecond = 1000;
