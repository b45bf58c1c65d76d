/** Queries over the table of metrics, as the panels of the dashboard ask them, with the unit of what they give. */

import type { MetricRow } from '../metric-row.ts';
import { type MetricId, metrics } from '../metrics.ts';

export interface Query {
  readonly expr: string;
  /** A template of Grafana: what a line is called. */
  readonly legend: string;
  readonly unit: Unit;
  readonly shows: readonly MetricId[];
}

/** Units by their names in Grafana. */
export type Unit = 'bytes' | 'Bps' | 's' | 'cps' | 'percentunit' | 'short';

export interface Selection {
  /** Labels by which lines are kept apart; default: none. */
  readonly by?: readonly string[];
  /** Conditions on labels, beside those of the dashboard's variables. */
  readonly where?: string;
  readonly legend?: string;
  /** How what several daemons show comes together. */
  readonly fold?: 'sum' | 'max' | 'min';
  readonly unit?: Unit;
}

const valueUnits = { bytes: 'bytes', seconds: 's', ratio: 'percentunit', count: 'short', info: 'short' } as const;
/** Seconds a second are a share of the time. */
const rateUnits = { bytes: 'Bps', seconds: 'percentunit', ratio: 'cps', count: 'cps', info: 'cps' } as const;

const row = (id: MetricId): MetricRow => metrics[id];

/** The metric of the daemons that the dashboard's variables name. */
export function selected(id: MetricId, where = '', suffix = ''): string {
  const conditions = ['cluster=~"$cluster"', 'instance=~"$instance"', ...(where === '' ? [] : [where])];
  return `${row(id).name}${suffix}{${conditions.join(',')}}`;
}

export function rateOf(id: MetricId, where = '', suffix = ''): string {
  return `rate(${selected(id, where, suffix)}[$__rate_interval])`;
}

/** A gauge as it is. */
export function value(id: MetricId, { by = [], where, legend, fold = 'sum', unit }: Selection = {}): Query {
  return {
    expr: folded(fold, by, selected(id, where)),
    legend: legend ?? legendOf(id, by),
    unit: unit ?? valueUnits[row(id).unit],
    shows: [id],
  };
}

/** A counter, a second. */
export function rate(id: MetricId, { by = [], where, legend, fold = 'sum', unit }: Selection = {}): Query {
  return {
    expr: folded(fold, by, rateOf(id, where)),
    legend: legend ?? legendOf(id, by),
    unit: unit ?? rateUnits[row(id).unit],
    shows: [id],
  };
}

/** Shares of a histogram that took no longer: the half, and ninety-nine of a hundred. */
export function quantiles(id: MetricId, { by = [], where, legend, unit }: Selection = {}): Query[] {
  return [0.5, 0.99].map((share) => {
    const buckets = folded('sum', ['le', ...by], rateOf(id, where, '_bucket'));
    return {
      expr: `histogram_quantile(${share}, ${buckets})`,
      legend: `${legend ?? legendOf(id, by)} p${share * 100}`,
      unit: unit ?? valueUnits[row(id).unit],
      shows: [id],
    };
  });
}

function folded(how: string, by: readonly string[], expr: string): string {
  return by.length === 0 ? `${how}(${expr})` : `${how} by (${by.join(', ')}) (${expr})`;
}

function legendOf(id: MetricId, by: readonly string[]): string {
  if (by.length > 0) return by.map((label) => `{{${label}}}`).join(' ');
  return row(id)
    .name.replace(/^primed_/, '')
    .replace(/_total$/, '')
    .replace(/_(bytes|seconds|ratio)$/, '')
    .replaceAll('_', ' ');
}
