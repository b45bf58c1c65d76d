import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { laneColumns, laneHistograms, laneLayout } from '../../src/telemetry/lane-columns.ts';
import { makeTelemetry } from '../../src/telemetry/registry.ts';
import { makeSharedCounters } from '../../src/telemetry/shared-counters.ts';

function checkMetrics(text: string): { status: number | null; output: string } {
  const { status, stdout, stderr, error } = spawnSync('promtool', ['check', 'metrics'], {
    input: text,
    timeout: 60_000,
  });
  if (error !== undefined) throw error;
  return { status, output: `${stdout}${stderr}` };
}

test('promtool finds nothing to say about a busy daemon', async () => {
  const telemetry = makeTelemetry({ version: '0.0.1' });
  const lanes = makeSharedCounters(laneLayout, 2);
  telemetry.attachLanes(lanes);
  lanes.row(0).add(laneColumns.originBytes, 1e9);
  lanes.row(1).observe(laneHistograms.partBodyMs, 12);
  telemetry.counters.originRetries.inc({ cause: 'stall' });
  telemetry.histograms.jobSeconds.observe(12);
  expect(checkMetrics(await telemetry.text())).toEqual({ status: 0, output: '' });
  telemetry.close();
});

test('promtool would find a badly named metric', () => {
  const checked = checkMetrics('# HELP primed_x_total Things.\n# TYPE primed_x_total gauge\nprimed_x_total 1\n');
  expect(checked.status).not.toBe(0);
  expect(checked.output).toContain('_total');
});
