import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { type Alert, alerts, annotationsOf, labelsOf } from '../../src/telemetry/alerts.ts';
import { projectRoot, temporaryFolder } from '../support/files.ts';

/** Series of one daemon without the labels that Prometheus adds; a value a minute, as promtool writes them. */
type Series = Readonly<Record<string, string>>;

interface Case {
  readonly fires: Series;
  /** When it is looked at. */
  readonly at: string;
  /** Of the alert, beside job, instance and severity. */
  readonly labels?: Readonly<Record<string, string>>;
  /** What `$value` is in its texts. */
  readonly value?: string;
  readonly quiet: readonly Series[];
}

const always = (value: number): string => `${value}+0x100`;
/** So much more each minute. */
const rising = (step: number): string => `0+${step}x100`;
const oneOf = (of: 'origin' | 'peer', failures: string): Pick<Case, 'fires' | 'at' | 'value' | 'quiet'> => ({
  fires: { [failures]: rising(6), [`primed_${of}_requests_total`]: rising(60) },
  at: '30m',
  value: '10%',
  quiet: [
    { [failures]: rising(1), [`primed_${of}_requests_total`]: rising(60) },
    { [failures]: always(0), [`primed_${of}_requests_total`]: always(0) },
  ],
});

const cases: Readonly<Record<Alert['name'], Case>> = {
  PrimedDown: { fires: { up: always(0) }, at: '5m', quiet: [{ up: always(1) }] },
  PrimedNotReady: { fires: { primed_ready: always(0) }, at: '5m', quiet: [{ primed_ready: always(1) }] },
  PrimedRestarting: {
    fires: { process_start_time_seconds: '100 200 300 400+0x100' },
    at: '10m',
    value: '3',
    quiet: [{ process_start_time_seconds: '100 200+0x100' }],
  },
  PrimedConfigRefused: {
    fires: { primed_config_refused: always(1) },
    at: '5m',
    quiet: [{ primed_config_refused: always(0) }],
  },
  PrimedCertificateEndsSoon: {
    fires: { 'primed_certificate_expiry_timestamp_seconds{use="node"}': always(10 * 86_400) },
    at: '90m',
    labels: { use: 'node' },
    value: '9d 22h 30m 0s',
    quiet: [{ 'primed_certificate_expiry_timestamp_seconds{use="node"}': always(30 * 86_400) }],
  },
  PrimedCertificateEnds: {
    fires: { 'primed_certificate_expiry_timestamp_seconds{use="ca"}': always(86_400) },
    at: '90m',
    labels: { use: 'ca' },
    value: '22h 30m 0s',
    quiet: [{ 'primed_certificate_expiry_timestamp_seconds{use="ca"}': always(10 * 86_400) }],
  },
  PrimedRevocationListEndsSoon: {
    fires: { 'primed_certificate_expiry_timestamp_seconds{use="crl"}': always(5 * 3600) },
    at: '60m',
    labels: { use: 'crl' },
    value: '4h 0m 0s',
    quiet: [
      { 'primed_certificate_expiry_timestamp_seconds{use="crl"}': always(86_400) },
      { 'primed_certificate_expiry_timestamp_seconds{use="ca"}': always(5 * 3600) },
    ],
  },
  PrimedRevocationListEnded: {
    fires: { 'primed_certificate_expiry_timestamp_seconds{use="crl"}': always(600) },
    at: '15m',
    labels: { use: 'crl' },
    value: '-5m 0s',
    quiet: [{ 'primed_certificate_expiry_timestamp_seconds{use="crl"}': always(86_400) }],
  },
  PrimedThreadBusy: {
    fires: { 'primed_event_loop_utilization_ratio{thread="lane0"}': always(0.99) },
    at: '20m',
    labels: { thread: 'lane0' },
    quiet: [{ 'primed_event_loop_utilization_ratio{thread="lane0"}': always(0.9) }],
  },
  PrimedLanesStarved: {
    fires: {
      primed_lane_heartbeats_total: rising(240),
      'primed_event_loop_utilization_ratio{thread="main"}': always(0),
      'primed_event_loop_utilization_ratio{thread="lane0"}': always(0),
      'primed_event_loop_utilization_ratio{thread="lane1"}': always(0),
    },
    at: '20m',
    value: '2',
    quiet: [
      {
        primed_lane_heartbeats_total: rising(600),
        'primed_event_loop_utilization_ratio{thread="main"}': always(0),
        'primed_event_loop_utilization_ratio{thread="lane0"}': always(0),
      },
      // One that has no lanes.
      { primed_lane_heartbeats_total: always(0), 'primed_event_loop_utilization_ratio{thread="main"}': always(0) },
    ],
  },
  PrimedWorkerLost: {
    fires: { 'primed_workers{state="LOST"}': always(2), 'primed_workers{state="LIVE"}': always(3) },
    at: '5m',
    labels: { state: 'LOST' },
    value: '2',
    quiet: [{ 'primed_workers{state="LOST"}': always(0), 'primed_workers{state="LIVE"}': always(3) }],
  },
  PrimedNoWorkers: {
    fires: { 'primed_workers{state="LIVE"}': always(0), 'primed_workers{state="DRAINING"}': always(1) },
    at: '5m',
    labels: { state: 'LIVE' },
    quiet: [
      { 'primed_workers{state="LIVE"}': always(1), 'primed_workers{state="DRAINING"}': always(1) },
      // A daemon alone has none to know of.
      { 'primed_workers{state="LIVE"}': always(0), 'primed_workers{state="DRAINING"}': always(0) },
    ],
  },
  PrimedLeaseFlaps: {
    fires: { primed_lease_registrations_total: '1 2 3 4+0x100' },
    at: '30m',
    value: '3',
    quiet: [{ primed_lease_registrations_total: '1 2+0x100' }],
  },
  PrimedLeaseNotRenewed: {
    fires: {
      'primed_lease_renewals_total{result="accepted"}': rising(1),
      'primed_lease_renewals_total{result="unanswered"}': rising(3),
    },
    at: '20m',
    value: '75%',
    quiet: [
      {
        'primed_lease_renewals_total{result="accepted"}': rising(3),
        'primed_lease_renewals_total{result="unanswered"}': rising(1),
      },
    ],
  },
  PrimedPeerFailures: oneOf('peer', 'primed_peer_failures_total'),
  PrimedJobFailed: {
    fires: { 'primed_jobs_ended_total{state="FAILED"}': '0 0 1+0x100' },
    at: '10m',
    labels: { state: 'FAILED' },
    quiet: [
      { 'primed_jobs_ended_total{state="FAILED"}': always(7), 'primed_jobs_ended_total{state="SUCCEEDED"}': rising(1) },
    ],
  },
  PrimedJobStandsStill: {
    fires: { primed_job_idle_seconds: rising(60) },
    at: '15m',
    value: '15m 0s',
    quiet: [{ primed_job_idle_seconds: always(300) }],
  },
  PrimedApiErrors: {
    fires: {
      'primed_http_requests_total{port="api",code="5xx"}': rising(6),
      'primed_http_requests_total{port="api",code="2xx"}': rising(54),
    },
    at: '20m',
    labels: { port: 'api' },
    value: '10%',
    quiet: [
      {
        'primed_http_requests_total{port="api",code="5xx"}': rising(1),
        'primed_http_requests_total{port="api",code="2xx"}': rising(59),
      },
    ],
  },
  // One listing of ten is throttled; what is asked besides does not hide it.
  PrimedOriginThrottles: {
    fires: {
      'primed_origin_operations_total{origin="s3://b/",operation="LIST",code="2xx"}': '0+54x60',
      'primed_origin_operations_total{origin="s3://b/",operation="LIST",code="5xx"}': '0+6x60',
      'primed_origin_operations_throttled_total{origin="s3://b/",operation="LIST"}': '0+6x60',
      'primed_origin_operations_total{origin="s3://b/",operation="GET",code="2xx"}': '0+6000x60',
      'primed_origin_operations_throttled_total{origin="s3://b/",operation="GET"}': always(0),
    },
    at: '30m',
    labels: { origin: 's3://b/', operation: 'LIST' },
    value: '10%',
    quiet: [
      {
        'primed_origin_operations_total{origin="s3://b/",operation="LIST",code="2xx"}': '0+60x60',
        'primed_origin_operations_throttled_total{origin="s3://b/",operation="LIST"}': '0+1x60',
      },
      // A few listings, of each a page that is throttled and had at the next attempt.
      {
        'primed_origin_operations_total{origin="s3://b/",operation="LIST",code="2xx"}': '0+1x60',
        'primed_origin_operations_total{origin="s3://b/",operation="LIST",code="5xx"}': '0+1x60',
        'primed_origin_operations_throttled_total{origin="s3://b/",operation="LIST"}': '0+1x60',
      },
    ],
  },
  PrimedOriginFails: oneOf('origin', 'primed_origin_failures_total{cause="reset"}'),
  PrimedOriginDenies: {
    fires: { 'primed_origin_failures_total{cause="denied"}': '0 1+0x100' },
    at: '8m',
    quiet: [{ 'primed_origin_failures_total{cause="denied"}': always(3) }],
  },
  PrimedListingFails: {
    fires: { primed_origin_list_failures_total: '0 1+0x100' },
    at: '8m',
    quiet: [{ primed_origin_list_failures_total: always(3) }],
  },
  PrimedReadsStale: {
    fires: { primed_read_stale_total: rising(1) },
    at: '20m',
    quiet: [{ primed_read_stale_total: always(5) }],
  },
  PrimedStoreNearlyFull: {
    fires: {
      primed_store_free_bytes: always(3),
      primed_store_evictable_bytes: always(2),
      primed_store_capacity_bytes: always(100),
    },
    at: '20m',
    value: '5%',
    quiet: [
      {
        primed_store_free_bytes: always(1),
        primed_store_evictable_bytes: always(80),
        primed_store_capacity_bytes: always(100),
      },
    ],
  },
  PrimedReadsNotKept: {
    fires: { primed_read_not_kept_total: rising(1) },
    at: '20m',
    quiet: [{ primed_read_not_kept_total: always(5) }],
  },
  PrimedDiskErrors: {
    fires: {
      primed_disk_write_errors_total: always(0),
      'primed_store_read_errors_total{reader="serve"}': '0 1+0x100',
      'primed_store_read_errors_total{reader="scrub"}': always(2),
    },
    at: '8m',
    quiet: [{ primed_disk_write_errors_total: always(1), 'primed_store_read_errors_total{reader="serve"}': always(1) }],
  },
  PrimedDiskHangs: { fires: { primed_disk_hung: always(1) }, at: '5m', quiet: [{ primed_disk_hung: always(0) }] },
  PrimedDiskSlow: {
    fires: {
      'primed_store_sync_seconds_bucket{le="5"}': always(0),
      'primed_store_sync_seconds_bucket{le="10"}': rising(60),
      'primed_store_sync_seconds_bucket{le="+Inf"}': rising(60),
    },
    at: '30m',
    value: '9.95s',
    quiet: [
      {
        'primed_store_sync_seconds_bucket{le="5"}': rising(60),
        'primed_store_sync_seconds_bucket{le="10"}': rising(60),
        'primed_store_sync_seconds_bucket{le="+Inf"}': rising(60),
      },
    ],
  },
  PrimedChecksumFailures: {
    fires: { 'primed_store_checksum_failures_total{reader="serve"}': '0 0 3+0x100' },
    at: '60m',
    value: '3',
    quiet: [{ 'primed_store_checksum_failures_total{reader="serve"}': always(3) }],
  },
  PrimedPageNotRepaired: {
    fires: { 'primed_store_repaired_pages_total{source="failed"}': '0 0 2+0x100' },
    at: '60m',
    labels: { source: 'failed' },
    value: '2',
    quiet: [{ 'primed_store_repaired_pages_total{source="peer"}': rising(1) }],
  },
  PrimedS3Errors: {
    fires: {
      'primed_s3_requests_total{operation="get",code="5xx"}': rising(6),
      'primed_s3_requests_total{operation="head",code="2xx"}': rising(54),
    },
    at: '20m',
    value: '10%',
    quiet: [
      {
        'primed_s3_requests_total{operation="get",code="5xx"}': rising(1),
        'primed_s3_requests_total{operation="get",code="2xx"}': rising(59),
      },
    ],
  },
};

const daemon = { job: 'primed', instance: 'node-1:28080' };

function inputOf(series: Series): { series: string; values: string }[] {
  const own = `job="${daemon.job}",instance="${daemon.instance}"`;
  return Object.entries(series).map(([name, values]) => ({
    series: name.includes('{') ? name.replace('}', `,${own}}`) : `${name}{${own}}`,
    values,
  }));
}

/** The texts as Prometheus fills them in. */
function filled(alert: Alert, { labels = {}, value = '' }: Case): Record<string, string> {
  const known: Record<string, string> = { ...daemon, ...labels };
  const fill = (text: string): string =>
    text
      .replace(/\{\{ \$labels\.(\w+) \}\}/g, (_, label: string) => known[label]!)
      .replace(/\{\{ \$value[^}]*\}\}/g, value);
  return Object.fromEntries(Object.entries(annotationsOf(alert)).map(([key, text]) => [key, fill(text)]));
}

function promtool(...args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr, error } = spawnSync('promtool', args, { timeout: 60_000, encoding: 'utf8' });
  if (error !== undefined) throw error;
  return { status, output: `${stdout}${stderr}` };
}

const rules = join(projectRoot, 'deploy', 'prometheus', 'primed.rules.yml');

/** What promtool says of these tests; JSON is YAML too. */
function tried(tests: readonly object[]): { status: number | null; output: string } {
  const folder = temporaryFolder('alerts');
  try {
    const file = join(folder.path, 'tests.yml');
    writeFileSync(file, JSON.stringify({ rule_files: [rules], evaluation_interval: '1m', tests }));
    return promtool('test', 'rules', file);
  } finally {
    folder.remove();
  }
}

function firing(alert: Alert): object {
  const { fires, at, labels = {} } = cases[alert.name]!;
  const exp_labels = { ...daemon, ...labels, ...labelsOf(alert) };
  const exp_alerts = [{ exp_labels, exp_annotations: filled(alert, cases[alert.name]!) }];
  return {
    name: `${alert.name} fires`,
    interval: '1m',
    input_series: inputOf(fires),
    alert_rule_test: [{ eval_time: at, alertname: alert.name, exp_alerts }],
  };
}

function quiet(alert: Alert): object[] {
  const { quiet: all, at } = cases[alert.name]!;
  return all.map((series) => ({
    name: `${alert.name} is quiet`,
    interval: '1m',
    input_series: inputOf(series),
    alert_rule_test: [{ eval_time: at, alertname: alert.name, exp_alerts: [] }],
  }));
}

test('promtool finds nothing to say about the rules', () => {
  expect(promtool('check', 'rules', rules)).toMatchObject({ status: 0 });
});

test('every alert fires for what it is about, with the texts that are meant, and is quiet otherwise', () => {
  expect(Object.keys(cases).sort()).toEqual(alerts.map(({ name }) => name).sort());
  const { status, output } = tried(alerts.flatMap((alert) => [firing(alert), ...quiet(alert)]));
  expect(output).toContain('SUCCESS');
  expect(status).toBe(0);
});

test('the configuration of docs/MONITORING.md is one that Prometheus takes, and its table has every alert', () => {
  const text = readFileSync(join(projectRoot, 'docs', 'MONITORING.md'), 'utf8');
  const [example] = [...text.matchAll(/```yaml\n(# prometheus\.yml\n[\s\S]*?)```/g)].map(([, yaml]) => yaml!);
  const folder = temporaryFolder('monitoring');
  try {
    const file = join(folder.path, 'prometheus.yml');
    writeFileSync(file, example!);
    expect(promtool('check', 'config', '--syntax-only', file)).toMatchObject({ status: 0 });
    writeFileSync(file, example!.replace('authorization:', 'authorisation:'));
    expect(promtool('check', 'config', '--syntax-only', file)).toMatchObject({ status: 1 });
  } finally {
    folder.remove();
  }
  const listed = text.split('\n').filter((line) => /^\| [a-z]+ \| Primed/.test(line));
  const rows = listed.map((line) => line.split('|').map((cell) => cell.trim()));
  const told = rows.flatMap(([, group, names]) => names!.split(', ').map((name) => `${group} ${name}`));
  expect(told.sort()).toEqual(alerts.map(({ group, name }) => `${group} ${name}`).sort());
});

test('promtool would find an alert that does not fire', () => {
  const { status, output } = tried([{ ...firing(alerts[0]!), input_series: inputOf({ up: always(1) }) }]);
  expect(status).not.toBe(0);
  expect(output).toContain(alerts[0]!.name);
});
