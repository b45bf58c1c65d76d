import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { alerts, foreignMetrics, handbookOf } from '../../../src/telemetry/alerts.ts';
import type { MetricRow } from '../../../src/telemetry/metric-row.ts';
import { metrics } from '../../../src/telemetry/metrics.ts';
import { projectRoot } from '../../support/files.ts';
import { namesIn } from '../../support/promql.ts';

const rows = Object.values(metrics) as MetricRow[];
const shown = new Set([
  ...foreignMetrics,
  ...rows.flatMap(({ name, type }) =>
    type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
  ),
]);

test('every metric of every alert is in the table, with the labels and values that the rule names', () => {
  for (const { name, expr } of alerts) {
    const used = namesIn(expr);
    expect(used.length, name).toBeGreaterThan(0);
    for (const metric of used) expect([name, metric, shown.has(metric)]).toEqual([name, metric, true]);
    for (const [, metric, selector] of expr.matchAll(/(primed_\w+)\{([^}]*)\}/g)) {
      const row = rows.find((one) => one.name === metric)!;
      for (const [, label, , values] of selector!.matchAll(/(\w+)(=~|!=|=)"([^"]*)"/g)) {
        const known = row.labels?.[label!];
        expect([name, metric, label, known !== undefined]).toEqual([name, metric, label, true]);
        for (const value of values!.split('|'))
          if (Array.isArray(known)) expect([name, value, known.includes(value)]).toEqual([name, value, true]);
      }
    }
  }
});

test('alerts are named once, and end in texts of one sentence or more', () => {
  expect(new Set(alerts.map(({ name }) => name)).size).toBe(alerts.length);
  for (const { name, summary, description } of alerts) {
    expect([name, summary.endsWith('.')]).toEqual([name, false]);
    expect([name, description.endsWith('.')]).toEqual([name, true]);
  }
});

test('each alert has its section in the handbook, and each section its alert', () => {
  const handbook = readFileSync(join(projectRoot, 'docs', 'OPERATIONS.md'), 'utf8');
  const sections = [...handbook.matchAll(/^### (Primed\w+)\n\n(.+)$/gm)];
  expect(sections.map(([, name]) => name).sort()).toEqual(alerts.map(({ name }) => name).sort());
  for (const [, name, text] of sections) expect([name, text!.length > 80]).toEqual([name, true]);
  expect(handbookOf(alerts[0]!)).toBe('OPERATIONS.md#primeddown');
});
