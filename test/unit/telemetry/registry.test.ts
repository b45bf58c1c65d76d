import { expect, test } from 'vitest';
import { laneColumns, laneFailureColumns, laneHistograms, laneLayout } from '../../../src/telemetry/lane-columns.ts';
import type { MetricRow } from '../../../src/telemetry/metric-row.ts';
import { metrics } from '../../../src/telemetry/metrics.ts';
import { makeTelemetry } from '../../../src/telemetry/registry.ts';
import { makeSharedCounters } from '../../../src/telemetry/shared-counters.ts';

const rows: [string, MetricRow][] = Object.entries(metrics);

/** The sample lines of one metric, name and value. */
async function samples(telemetry: { text(): Promise<string> }, name: string): Promise<Record<string, number>> {
  const lines = (await telemetry.text()).split('\n').filter((line) => line.startsWith(name) && !line.startsWith('#'));
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
  );
}

test('every row of the table is shown with its help, and bounded labels start at 0', async () => {
  const telemetry = makeTelemetry({ processMetrics: false });
  const text = await telemetry.text();
  for (const [, row] of rows) {
    expect(text).toContain(`# HELP ${row.name} `);
    expect(text).toContain(`# TYPE ${row.name} ${row.type}\n`);
  }
  expect(text).toContain('primed_origin_retries_total{cause="throttled"} 0');
  expect(text).toContain('primed_jobs{state="RUNNING"} 0');
  telemetry.close();
});

test('main-thread metrics count, by label', async () => {
  const telemetry = makeTelemetry({ processMetrics: false });
  telemetry.counters.jobsSubmitted.inc();
  telemetry.counters.originRetries.inc({ cause: 'stall' }, 3);
  telemetry.gauges.storeFreeBytes.set(4096);
  telemetry.histograms.storeSyncSeconds.observe(0.004);
  telemetry.histograms.httpSeconds.observe({ port: 'api' }, 0.2);
  expect(await samples(telemetry, 'primed_jobs_submitted_total')).toEqual({ primed_jobs_submitted_total: 1 });
  expect((await samples(telemetry, 'primed_origin_retries_total'))['primed_origin_retries_total{cause="stall"}']).toBe(
    3,
  );
  expect(await samples(telemetry, 'primed_store_free_bytes')).toEqual({ primed_store_free_bytes: 4096 });
  const sync = await samples(telemetry, 'primed_store_sync_seconds');
  expect(sync['primed_store_sync_seconds_bucket{le="0.0025"}']).toBe(0);
  expect(sync['primed_store_sync_seconds_bucket{le="0.005"}']).toBe(1);
  const answered = await samples(telemetry, 'primed_http_request_seconds_count');
  expect(answered['primed_http_request_seconds_count{port="api"}']).toBe(1);
  telemetry.close();
});

test('what lanes count is folded at the scrape, and goes on rising', async () => {
  const telemetry = makeTelemetry({ processMetrics: false });
  const lanes = makeSharedCounters(laneLayout, 2);
  telemetry.attachLanes(lanes);
  lanes.row(0).add(laneColumns.originBytes, 100);
  lanes.row(1).add(laneColumns.originBytes, 11);
  lanes.row(1).add(laneFailureColumns.reset, 2);
  lanes.row(1).set(laneColumns.loopDelayMaxMs, 250);
  lanes.row(0).set(laneColumns.diskWaitMs, 1500);
  lanes.row(1).set(laneColumns.diskWaitMs, 20);
  lanes.row(0).observe(laneHistograms.diskWriteMs, 3);
  lanes.row(1).observe(laneHistograms.diskWriteMs, 60_000);
  expect(await samples(telemetry, 'primed_origin_bytes_total')).toEqual({ primed_origin_bytes_total: 111 });
  lanes.row(0).add(laneColumns.originBytes, 1);
  expect(await samples(telemetry, 'primed_origin_bytes_total')).toEqual({ primed_origin_bytes_total: 112 });
  const failures = await samples(telemetry, 'primed_origin_failures_total');
  expect(failures['primed_origin_failures_total{cause="reset"}']).toBe(2);
  expect(failures['primed_origin_failures_total{cause="stall"}']).toBe(0);
  const delays = await samples(telemetry, 'primed_event_loop_delay_max_seconds');
  expect(Object.keys(delays)).toEqual(
    ['main', 'lane0', 'lane1'].map((thread) => `primed_event_loop_delay_max_seconds{thread="${thread}"}`),
  );
  expect(delays['primed_event_loop_delay_max_seconds{thread="lane1"}']).toBe(0.25);
  expect(await samples(telemetry, 'primed_disk_wait')).toEqual({ primed_disk_wait_seconds: 1.5 });
  const write = await samples(telemetry, 'primed_disk_write_seconds');
  expect(write['primed_disk_write_seconds_bucket{le="0.0025"}']).toBe(0);
  expect(write['primed_disk_write_seconds_bucket{le="0.005"}']).toBe(1);
  expect(write['primed_disk_write_seconds_bucket{le="30"}']).toBe(1);
  expect(write['primed_disk_write_seconds_bucket{le="+Inf"}']).toBe(2);
  expect(write.primed_disk_write_seconds_count).toBe(2);
  expect(write.primed_disk_write_seconds_sum).toBeCloseTo(60.003);
  expect(() => telemetry.attachLanes(lanes)).toThrow(/already/);
  telemetry.close();
});

test('a role shows its own metrics and takes the others silently', async () => {
  const telemetry = makeTelemetry({ role: 'coordinator', version: '1.2.3', processMetrics: false });
  telemetry.gauges.storeFreeBytes.set(1);
  const text = await telemetry.text();
  expect(text).toContain('primed_jobs_submitted_total 0');
  expect(text).not.toContain('primed_store_free_bytes');
  expect(text).not.toContain('primed_origin_bytes_total');
  expect(text).toContain(`primed_build_info{version="1.2.3",node="${process.version}",role="coordinator"} 1`);
  telemetry.close();
});

test('gauges can be set just before a scrape, until the setter is removed', async () => {
  const telemetry = makeTelemetry({ processMetrics: false });
  let files = 1;
  const remove = telemetry.onScrape(() => telemetry.gauges.storeFiles.set(files));
  expect(await samples(telemetry, 'primed_store_files')).toEqual({ primed_store_files: 1 });
  files = 2;
  expect(await samples(telemetry, 'primed_store_files')).toEqual({ primed_store_files: 2 });
  remove();
  files = 3;
  expect(await samples(telemetry, 'primed_store_files')).toEqual({ primed_store_files: 2 });
  telemetry.close();
});

test('the table keeps its own rules', () => {
  expect(new Set(rows.map(([, row]) => row.name)).size).toBe(rows.length);
  const named = (rule: (row: MetricRow) => boolean) => rows.filter(([, row]) => !rule(row)).map(([id]) => id);
  const hasBuckets = (row: MetricRow) =>
    row.buckets !== undefined ||
    (row.lane !== undefined && 'histogram' in row.lane) ||
    (row.serving !== undefined && ('seconds' in row.serving || 'firstByte' in row.serving));
  const sayUnit = (row: MetricRow) =>
    !['bytes', 'seconds'].includes(row.unit) || row.name.replace(/_total$/, '').endsWith(row.unit);
  expect(named((row) => row.name.endsWith('_total') === (row.type === 'counter'))).toEqual([]);
  expect(named(sayUnit)).toEqual([]);
  expect(named((row) => hasBuckets(row) === (row.type === 'histogram'))).toEqual([]);
  expect(named((row) => row.help.endsWith('.'))).toEqual([]);
});
