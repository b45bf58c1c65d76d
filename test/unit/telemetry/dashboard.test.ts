import { expect, test } from 'vitest';
import { grafanaDashboard } from '../../../src/telemetry/dashboard/grafana.ts';
import { dashboardRows } from '../../../src/telemetry/dashboard/panels.ts';
import type { MetricRow } from '../../../src/telemetry/metric-row.ts';
import { metrics } from '../../../src/telemetry/metrics.ts';
import { namesIn } from '../../support/promql.ts';

interface Drawn {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { x: number; y: number; w: number; h: number };
  readonly panels?: readonly Drawn[];
  readonly targets?: readonly { refId: string; expr: string }[];
}

interface Dashboard {
  readonly panels: readonly Drawn[];
}

const panelsOf = ({ panels }: Dashboard): Drawn[] => panels.flatMap((one) => [one, ...(one.panels ?? [])]);
const drawn = panelsOf(grafanaDashboard() as Dashboard);
const rows = Object.values(metrics) as MetricRow[];

test('every metric of the table is shown, and nothing that is not in it', () => {
  const asked = drawn.flatMap(({ targets = [] }) => targets.flatMap(({ expr }) => namesIn(expr)));
  const names = new Set(asked.map((name) => name.replace(/_(bucket|sum|count)$/, '')));
  expect(rows.map(({ name }) => name).filter((name) => !names.has(name))).toEqual([]);
  const known = new Set<string>(rows.map(({ name }) => name));
  expect([...names].filter((name) => !known.has(name))).toEqual([]);
});

test('a metric that no panel names has one of its own', () => {
  const [all, ...others] = dashboardRows([]);
  expect(others).toEqual([]);
  expect(all!.panels.length).toBe(rows.length);
  expect(misplaced(grafanaDashboard([all!]) as Dashboard)).toEqual([]);
});

test('panels do not lie upon each other, and have ids of their own', () => {
  expect(misplaced(grafanaDashboard() as Dashboard)).toEqual([]);
});

/** What is wrong with where panels lie. */
function misplaced(dashboard: Dashboard): string[] {
  const all = panelsOf(dashboard);
  const cells = new Map<string, string>();
  const wrong: string[] = [];
  if (new Set(all.map(({ id }) => id)).size !== all.length) wrong.push('ids');
  for (const { title, gridPos } of all) {
    const { x, y, w, h } = gridPos;
    if (x < 0 || x + w > 24) wrong.push(`${title} lies outside`);
    for (let column = x; column < x + w; column += 1)
      for (let line = y; line < y + h; line += 1) {
        if (cells.has(`${column} ${line}`)) wrong.push(`${title} lies upon ${cells.get(`${column} ${line}`)}`);
        cells.set(`${column} ${line}`, title);
      }
  }
  return wrong;
}

test('the lines of a panel have one unit, and names that tell them apart', () => {
  for (const { panels } of dashboardRows())
    for (const { title, queries } of panels) {
      expect([title, new Set(queries.map(({ unit }) => unit)).size]).toEqual([title, 1]);
      expect([title, new Set(queries.map(({ legend }) => legend)).size]).toEqual([title, queries.length]);
    }
});

test('every query keeps to the cluster and the instances that are chosen', () => {
  for (const { targets = [], title } of drawn)
    for (const { expr } of targets) {
      const selectors = [...expr.matchAll(/(primed_\w+)\{([^}]*)\}/g)];
      for (const [, name, selector] of selectors)
        expect([title, name, selector!.startsWith('cluster=~"$cluster",instance=~"$instance"')]).toEqual([
          title,
          name,
          true,
        ]);
      expect([
        title,
        namesIn(expr).filter((name) => name.startsWith('primed_')).length > 0 || expr.includes('ALERTS'),
      ]).toEqual([title, true]);
    }
});

test('every label that a query names belongs to its metric', () => {
  for (const { targets = [] } of drawn)
    for (const { expr } of targets) {
      const labels = [...expr.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list]) => list!.split(', '));
      const shown = namesIn(expr).map((name) => rows.find((row) => row.name === name.replace(/_bucket$/, ''))!);
      const known = new Set(['le', 'instance', ...shown.flatMap((row) => Object.keys(row.labels ?? {}))]);
      expect(labels.filter((label) => !known.has(label))).toEqual([]);
    }
});
