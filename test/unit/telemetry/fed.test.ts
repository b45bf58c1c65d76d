/** Every metric of the table is fed by somebody: a metric that always shows 0 tells an operator a falsehood. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { laneColumns, laneHistograms } from '../../../src/telemetry/lane-columns.ts';
import { metrics } from '../../../src/telemetry/metrics.ts';
import { projectRoot } from '../../support/files.ts';

/** Where metrics are declared, and where the registry shows them: naming one there feeds nothing. */
const declarations = new Set(
  ['lane-columns.ts', 'worker-metrics.ts', 'daemon-metrics.ts', 'metrics.ts', 'registry.ts'].map((name) =>
    join(projectRoot, 'src', 'telemetry', name),
  ),
);
const sources = readdirSync(join(projectRoot, 'src'), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
  .map((entry) => join(entry.parentPath, entry.name))
  .filter((file) => !declarations.has(file))
  .map((file) => readFileSync(file, 'utf8'))
  .join('\n');
const fedBy = (expression: string): boolean => new RegExp(`\\b${expression}\\b`).test(sources);

/** What the registry sets itself. */
const ownFigures = ['buildInfo'];

test('what the main thread counts', () => {
  const places = { counter: 'counters', gauge: 'gauges', histogram: 'histograms' } as const;
  const idle = Object.entries(metrics)
    .filter(([id, row]) => !('lane' in row) && !ownFigures.includes(id))
    .filter(([id, row]) => !fedBy(`${places[row.type]}\\.${id}`));
  expect(idle.map(([id]) => id)).toEqual([]);
});

test('what lanes count', () => {
  const columns = Object.keys(laneColumns)
    .filter((name) => !name.startsWith('failure:'))
    .filter((name) => !fedBy(`laneColumns\\.${name}`));
  const histograms = Object.keys(laneHistograms).filter((name) => !fedBy(`laneHistograms\\.${name}`));
  expect([...columns, ...histograms]).toEqual([]);
  expect(fedBy('laneFailureColumns\\[')).toBe(true);
});

test('every column of the lanes is shown', () => {
  const shown = Object.values(metrics).flatMap((row) =>
    'lane' in row ? Object.values(row.lane).filter((value) => typeof value === 'string') : [],
  );
  const columns = Object.keys(laneColumns).filter((name) => !name.startsWith('failure:'));
  expect([...columns, ...Object.keys(laneHistograms)].filter((name) => !shown.includes(name))).toEqual([]);
});
