/** Every metric of the table is fed by somebody: a metric that always shows 0 tells an operator a falsehood. */
import { expect, test } from 'vitest';
import { laneColumns, laneFailureColumns, laneHistograms } from '../../../src/telemetry/lane-columns.ts';
import { metrics } from '../../../src/telemetry/metrics.ts';
import { servingColumns } from '../../../src/telemetry/serving-columns.ts';
import { nodesOf, type TreeNode, treeOf, treesOf } from '../../support/source-tree.ts';

/** The last two names of `a.b.c`, as `b.c`; of `a.b`, both. */
function nameOf({ type, object, property, computed }: TreeNode): string | undefined {
  if (type !== 'MemberExpression') return undefined;
  const owner = object.name ?? object.property?.name;
  return computed ? `${owner}[]` : `${owner}.${property.name}`;
}

const feeding = new Set(['inc', 'set', 'observe', 'add']);

/** `counters.x` of `counters.x.inc(1)`, and `laneColumns.y` of `row.add(laneColumns.y, 1)`. */
function fedIn(root: TreeNode): string[] {
  return [...nodesOf(root)]
    .filter(({ type, callee }) => type === 'CallExpression' && feeding.has(callee.property?.name))
    .flatMap((call) => [nameOf(call.callee.object), ...(call.arguments as TreeNode[]).slice(0, 1).map(nameOf)])
    .filter((name) => name !== undefined);
}

/** The registry shows metrics and feeds none. */
const fed = new Set(
  treesOf('src')
    .filter(({ file }) => file !== 'src/telemetry/registry.ts')
    .flatMap(({ root }) => fedIn(root)),
);
const columns = Object.keys(laneColumns).filter((name) => !name.startsWith('failure:'));

/** What the registry sets itself. */
const ownFigures = ['buildInfo'];

test('what the main thread counts', () => {
  const places = { counter: 'counters', gauge: 'gauges', histogram: 'histograms' } as const;
  const idle = Object.entries(metrics)
    .filter(([id, row]) => !('lane' in row) && !('serving' in row) && !ownFigures.includes(id))
    .filter(([id, row]) => !fed.has(`${places[row.type]}.${id}`));
  expect(idle.map(([id]) => id)).toEqual([]);
});

test('what lanes count', () => {
  expect(columns.filter((name) => !fed.has(`laneColumns.${name}`))).toEqual([]);
  expect(Object.keys(laneHistograms).filter((name) => !fed.has(`laneHistograms.${name}`))).toEqual([]);
  expect(Object.keys(laneFailureColumns).length).toBeGreaterThan(0);
  expect(fed).toContain('laneFailureColumns[]');
});

test('what is counted on the S3 port', () => {
  const sums = Object.keys(servingColumns).filter((name) => !name.includes(':'));
  expect(sums.filter((name) => !fed.has(`servingColumns.${name}`))).toEqual([]);
  const shown = Object.values(metrics).flatMap((row) =>
    'serving' in row && 'sum' in row.serving ? [row.serving.sum] : [],
  );
  expect(sums.filter((name) => !shown.includes(name as (typeof shown)[number]))).toEqual([]);
});

test('to name a metric, in a comment or elsewhere, feeds nothing', () => {
  const root = treeOf(`
    // counters.a.inc()
    show(counters.b, laneColumns.c);
    this.telemetry.counters.d.inc({ why: counters.e });
    row.add(laneColumns.f, laneColumns.g);
    row.add(laneFailureColumns[cause], 1);`);
  expect(fedIn(root).filter((name) => !name.endsWith('row'))).toEqual([
    'counters.d',
    'laneColumns.f',
    'laneFailureColumns[]',
  ]);
});

test('every column of the lanes is shown', () => {
  const shown = Object.values(metrics).flatMap((row) =>
    'lane' in row ? Object.values(row.lane).filter((value) => typeof value === 'string') : [],
  );
  expect([...columns, ...Object.keys(laneHistograms)].filter((name) => !shown.includes(name))).toEqual([]);
});
