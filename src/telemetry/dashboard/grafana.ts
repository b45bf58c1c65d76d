/**
 * The dashboard as Grafana imports it (its "classic" JSON model, which Grafana 10 and later read): deploy/grafana/primed.json is written from
 * it by scripts/generate-docs.mjs.
 */
import type { MetricRow } from '../metric-row.ts';
import { metrics } from '../metrics.ts';
import { dashboardRows, type Panel, type Row } from './panels.ts';
import type { Query } from './queries.ts';

/** The grid of Grafana. */
const gridColumns = 24;
const lines = { w: 8, h: 7 };
const number = { w: 3, h: 4 };

interface Place {
  readonly x: number;
  readonly y: number;
  readonly w: number;
  readonly h: number;
}

// biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of Grafana
const source = { type: 'prometheus', uid: '${datasource}' };

export function grafanaDashboard(rows: readonly Row[] = dashboardRows()): object {
  return {
    id: null,
    uid: 'primed',
    title: 'primed',
    tags: ['primed'],
    editable: true,
    graphTooltip: 1,
    time: { from: 'now-1h', to: 'now' },
    timezone: 'browser',
    refresh: '30s',
    schemaVersion: 39,
    version: 1,
    annotations: { list: [] },
    links: [],
    templating: { list: [dataSource(), variable('cluster', ''), variable('instance', '{cluster=~"$cluster"}')] },
    panels: placed(rows),
  };
}

/** Rows below each other, panels from left to right. */
function placed(rows: readonly Row[]): object[] {
  let id = 1;
  let y = 0;
  return rows.flatMap(({ title, panels, collapsed = false }) => {
    const row = { id: id++, type: 'row', title, collapsed, gridPos: { x: 0, y, w: gridColumns, h: 1 } };
    y += 1;
    let x = 0;
    let height = 0;
    const drawn = panels.map((panel) => {
      const { w, h } = panel.stat ? number : lines;
      if (x + w > gridColumns) {
        x = 0;
        y += height;
      }
      const place = { x, y, w, h };
      x += w;
      height = h;
      return drawnPanel(panel, id++, place);
    });
    y += height;
    return collapsed ? [{ ...row, panels: drawn }] : [{ ...row, panels: [] }, ...drawn];
  });
}

function drawnPanel(panel: Panel, id: number, gridPos: Place): object {
  const { title, queries, stat = false, stacked = false } = panel;
  const targets = queries.map((query, at) => target(query, String.fromCharCode('A'.charCodeAt(0) + at)));
  const { unit } = queries[0]!;
  const common = { id, title, description: descriptionOf(panel), datasource: source, gridPos, targets };
  if (stat)
    return {
      ...common,
      type: 'stat',
      fieldConfig: { defaults: { unit }, overrides: [] },
      options: {
        reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
        colorMode: 'value',
        graphMode: 'area',
      },
    };
  const custom = {
    drawStyle: 'line',
    lineWidth: 1,
    fillOpacity: stacked ? 25 : 5,
    showPoints: 'never',
    stacking: { mode: stacked ? 'normal' : 'none', group: 'A' },
  };
  return {
    ...common,
    type: 'timeseries',
    fieldConfig: { defaults: { unit, min: 0, custom }, overrides: [] },
    options: {
      legend: { displayMode: 'list', placement: 'bottom', showLegend: true },
      tooltip: { mode: 'multi', sort: 'desc' },
    },
  };
}

function target({ expr, legend }: Query, refId: string): object {
  return { refId, datasource: source, expr, legendFormat: legend, range: true };
}

/** What the table says of each metric that is shown. */
function descriptionOf({ queries }: Panel): string {
  const ids = new Set(queries.flatMap(({ shows }) => shows));
  return [...ids].map((id) => `\`${(metrics[id] as MetricRow).name}\`: ${metrics[id].help}`).join('\n\n');
}

function dataSource(): object {
  const named = { type: 'datasource', name: 'datasource', label: 'Data source', query: 'prometheus' };
  // At each opening of the dashboard.
  return { ...named, current: {}, options: [], regex: '', refresh: 1, hide: 0 };
}

/** One that offers the values of a label, all of them at first; a label that nobody has set is among "all". */
function variable(label: string, where: string): object {
  const query = `label_values(${metrics.buildInfo.name}${where}, ${label})`;
  return {
    type: 'query',
    name: label,
    label,
    datasource: source,
    definition: query,
    query: { query, refId: 'StandardVariableQuery' },
    current: { selected: true, text: 'All', value: '$__all' },
    options: [],
    regex: '',
    includeAll: true,
    allValue: '.*',
    multi: true,
    // At each change of the time range.
    refresh: 2,
    sort: 1,
    hide: 0,
  };
}
