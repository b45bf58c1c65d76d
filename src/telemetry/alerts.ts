/**
 * What an operator is called for, as rules of Prometheus over the table of metrics: deploy/prometheus/primed.rules.yml is written from it
 * by scripts/generate-docs.mjs, and docs/OPERATIONS.md has a section for each of them.
 *
 * `critical` is for the night: data or readers suffer now. `warning` is for the day.
 */
import { type MetricId, metrics } from './metrics.ts';

export interface Alert {
  readonly name: `Primed${string}`;
  readonly group: 'daemons' | 'cluster' | 'jobs' | 'origin' | 'store' | 'serving';
  readonly severity: 'critical' | 'warning';
  /** PromQL; what it gives are the alerts. */
  readonly expr: string;
  /** How long that has to be so, as Prometheus writes times. */
  readonly for: string;
  /** Templates of Prometheus. */
  readonly summary: string;
  /** What to do first. */
  readonly description: string;
}

const name = (id: MetricId): string => metrics[id].name;
/** Growth over a while. */
const grown = (id: MetricId, over: string, where = ''): string => `increase(${name(id)}${where}[${over}])`;
const rate = (id: MetricId, where = ''): string => `rate(${name(id)}${where}[5m])`;
/** The same process, whatever other labels there are. */
const sameDaemon = '(cluster, job, instance)';
const at = '{{ $labels.instance }}';
const percent = '{{ $value | humanizePercentage }}';
const count = '{{ $value | humanize }}';

/** A second: three a minute. One of a few listings that is throttled, and answered at the next attempt, is nothing to do about. */
const throttledLeast = 0.05;

/** Failures that say that the origin, or the way to it, is not well. */
const originTrouble = '{cause=~"connect|connect-timeout|first-byte-timeout|stall|reset|short|protocol|server"}';

export const alerts: readonly Alert[] = [
  {
    name: 'PrimedDown',
    group: 'daemons',
    severity: 'critical',
    expr: 'up{job=~"primed.*"} == 0',
    for: '1m',
    summary: `${at} does not answer`,
    description: 'Prometheus cannot read its metrics. Look whether the daemon runs: systemctl status, then its log.',
  },
  {
    name: 'PrimedNotReady',
    group: 'daemons',
    severity: 'critical',
    expr: `${name('ready')} == 0`,
    for: '2m',
    summary: `${at} runs and is not ready`,
    description:
      'GET /health/ready says why, its log more: a coordinator or etcd that is not reached, or a start that takes long.',
  },
  {
    name: 'PrimedRestarting',
    group: 'daemons',
    severity: 'warning',
    expr: 'changes(process_start_time_seconds{job=~"primed.*"}[30m]) >= 3',
    for: '0m',
    summary: `${at} has started ${count} times in half an hour`,
    description:
      'The last lines before each start say why it ended: journalctl -u primed-worker, or -u primed-coordinator.',
  },
  {
    name: 'PrimedConfigRefused',
    group: 'daemons',
    severity: 'warning',
    expr: `${name('configRefused')} == 1`,
    for: '1m',
    summary: `${at} was given a configuration that cannot work`,
    description: 'The one before holds, and the next start would fail. primed config check lists what is wrong.',
  },
  {
    name: 'PrimedCertificateEndsSoon',
    group: 'daemons',
    severity: 'warning',
    expr: `${name('certificateExpiry')}{use!="crl"} - time() < 14 * 86400`,
    for: '1h',
    summary: `A certificate of ${at} ({{ $labels.use }}) ends in {{ $value | humanizeDuration }}`,
    description: 'Put a new one in place of its file; it is used within seconds, without a restart.',
  },
  {
    name: 'PrimedCertificateEnds',
    group: 'daemons',
    severity: 'critical',
    expr: `${name('certificateExpiry')}{use!="crl"} - time() < 2 * 86400`,
    for: '5m',
    summary: `A certificate of ${at} ({{ $labels.use }}) ends in {{ $value | humanizeDuration }}`,
    description:
      'When it has ended, clients and other nodes refuse connections. Put a new one in place of its file now.',
  },
  {
    name: 'PrimedRevocationListEndsSoon',
    group: 'daemons',
    severity: 'warning',
    expr: `${name('certificateExpiry')}{use="crl"} - time() < 6 * 3600`,
    for: '10m',
    summary: `A list of revoked certificates of ${at} ends in {{ $value | humanizeDuration }}`,
    description: 'Put a new one of its CA in place of tls.crl_file; it is used within seconds, without a restart.',
  },
  {
    name: 'PrimedRevocationListEnded',
    group: 'daemons',
    severity: 'critical',
    expr: `${name('certificateExpiry')}{use="crl"} - time() <= 0`,
    for: '0m',
    summary: `A list of revoked certificates of ${at} has ended`,
    description:
      'Every certificate of its CA is refused: of people, and of nodes where it signs those. Put a new list in place of tls.crl_file now.',
  },
  {
    name: 'PrimedThreadBusy',
    group: 'daemons',
    severity: 'warning',
    expr: `${name('loopUtilization')} > 0.95`,
    for: '15m',
    summary: `Thread {{ $labels.thread }} of ${at} is busy all the time`,
    description:
      'The thread is the limit. More lanes or serving threads help where cores are free, otherwise fewer loads at a time.',
  },
  {
    name: 'PrimedLanesStarved',
    group: 'daemons',
    severity: 'warning',
    expr: `rate(${name('laneHeartbeats')}[5m]) / on ${sameDaemon} group_left count by ${sameDaemon} (${name('loopUtilization')}{thread=~"lane.*"}) < 5`,
    for: '5m',
    summary: `The lanes of ${at} turn ${count} times a second, in place of 10`,
    description: 'Threads hang, or get no CPU: look at top -H, and at what else runs on the machine.',
  },

  {
    name: 'PrimedWorkerLost',
    group: 'cluster',
    severity: 'warning',
    expr: `${name('workers')}{state="LOST"} > 0`,
    for: '1m',
    summary: `Workers that are lost to ${at}: ${count}`,
    description:
      'primed worker list names them. Start them again, or, where one does not come back, primed worker remove.',
  },
  {
    name: 'PrimedNoWorkers',
    group: 'cluster',
    severity: 'critical',
    expr: `${name('workers')}{state="LIVE"} == 0 and on ${sameDaemon} sum by ${sameDaemon} (${name('workers')}) > 0`,
    for: '2m',
    summary: `No worker takes loads of ${at}`,
    description:
      'All that are known are lost or drain, so jobs wait. primed worker list says which; start or undrain them.',
  },
  {
    name: 'PrimedLeaseFlaps',
    group: 'cluster',
    severity: 'warning',
    expr: `${grown('leaseRegistrations', '30m')} > 2`,
    for: '0m',
    summary: `${at} has registered ${count} times in half an hour`,
    description:
      'Its lease ends again and again: another worker has its id, its machine stands still, or the network loses its calls. Its log has the reason each time.',
  },
  {
    name: 'PrimedLeaseNotRenewed',
    group: 'cluster',
    severity: 'warning',
    expr: `sum without (result) (${rate('leaseRenewals', '{result!="accepted"}')}) / sum without (result) (${rate('leaseRenewals')}) > 0.5`,
    for: '5m',
    summary: `${percent} of the calls by which ${at} renews its lease fail`,
    description: 'Its coordinator, or etcd, is not reached or refuses it; its log has the reason.',
  },
  {
    name: 'PrimedPeerFailures',
    group: 'cluster',
    severity: 'warning',
    expr: `${rate('peerFailures')} / ${rate('peerRequests')} > 0.05`,
    for: '10m',
    summary: `${percent} of what ${at} asks of other workers fails`,
    description: 'Look at the network between the workers, and at the others: primed worker list.',
  },

  {
    name: 'PrimedJobFailed',
    group: 'jobs',
    severity: 'warning',
    expr: `${grown('jobsEnded', '15m', '{state="FAILED"}')} > 0`,
    for: '0m',
    summary: `A job of ${at} has failed`,
    description:
      'primed job list names it, primed job load --progress --verbose PATH its files with the reasons. Submit it again with skipIfExists.',
  },
  {
    name: 'PrimedJobStandsStill',
    group: 'jobs',
    severity: 'warning',
    expr: `${name('jobIdleSeconds')} > 600`,
    for: '1m',
    summary: `A running job of ${at} has not moved for {{ $value | humanizeDuration }}`,
    description:
      'primed job load --progress PATH says what it waits for: workers, the origin, a limit of zero, or etcd.',
  },
  {
    name: 'PrimedApiErrors',
    group: 'jobs',
    severity: 'warning',
    expr: `sum without (code) (${rate('httpRequests', '{code="5xx"}')}) / sum without (code) (${rate('httpRequests')}) > 0.05`,
    for: '10m',
    summary: `${percent} of the answers on the {{ $labels.port }} port of ${at} are errors`,
    description: 'Its log has each of them with its code.',
  },

  {
    name: 'PrimedOriginThrottles',
    group: 'origin',
    severity: 'warning',
    expr: `(${rate('originOperationsThrottled')} / sum without (code) (${rate('originOperations')}) > 0.05) and ${rate('originOperationsThrottled')} > ${throttledLeast}`,
    for: '10m',
    summary: `{{ $labels.origin }} refuses ${percent} of the requests of ${at} ({{ $labels.operation }}) as too many`,
    description:
      'Loads go on, slower; where the operation is LIST, their listings. Set a limit that the origin gives (primed ufs limit), or ask its operator for more.',
  },
  {
    name: 'PrimedOriginFails',
    group: 'origin',
    severity: 'warning',
    expr: `sum without (cause) (${rate('originFailures', originTrouble)}) / ${rate('originRequests')} > 0.05`,
    for: '10m',
    summary: `${percent} of the requests of ${at} to the origin fail`,
    description:
      'They are tried again. primed_origin_failures_total by cause says whether it is the network, the origin, or silence.',
  },
  {
    name: 'PrimedOriginDenies',
    group: 'origin',
    severity: 'warning',
    expr: `sum without (cause) (${grown('originFailures', '10m', '{cause=~"denied|expired"}')}) > 0`,
    for: '0m',
    summary: `The origin refuses the credentials of ${at}`,
    description:
      'Look at the keys, profile or role of the daemon, at the policy of the bucket, and at the clock of the machine.',
  },
  {
    name: 'PrimedListingFails',
    group: 'origin',
    severity: 'warning',
    expr: `${grown('listFailures', '15m')} > 0`,
    for: '0m',
    summary: `${at} could not list the origin`,
    description: 'The job that wanted it has failed, or tries again; the reason is in the log, and in the job.',
  },
  {
    name: 'PrimedReadsStale',
    group: 'origin',
    severity: 'warning',
    expr: `${grown('readStale', '15m')} > 0`,
    for: '5m',
    summary: `${at} gives readers data older than max_age`,
    description:
      'The origin cannot be asked whether there is something newer. Readers go on with what is cached until it answers.',
  },

  {
    name: 'PrimedStoreNearlyFull',
    group: 'store',
    severity: 'warning',
    expr: `(${name('storeFreeBytes')} + ${name('storeEvictableBytes')}) / ${name('storeCapacityBytes')} < 0.1`,
    for: '15m',
    summary: `Loads can have no more than ${percent} of the store of ${at}`,
    description:
      'The rest is pinned, held by running loads, or not evicted (store.eviction). Unpin or free what is not needed, or add a store.',
  },
  {
    name: 'PrimedReadsNotKept',
    group: 'store',
    severity: 'warning',
    expr: `${grown('readNotKept', '15m')} > 0`,
    for: '5m',
    summary: `${at} reads the origin for readers and has no room to keep it`,
    description: 'Each reader costs the origin anew. Make room: primed job free, primed fs unpin, or another store.',
  },
  {
    name: 'PrimedDiskErrors',
    group: 'store',
    severity: 'critical',
    expr: `${grown('diskWriteErrors', '15m')} + sum without (reader) (${grown('storeReadErrors', '15m')}) > 0`,
    for: '0m',
    summary: `The operating system fails reads or writes of the store of ${at}`,
    description:
      'Look into the kernel log (dmesg) and at the SSD (smartctl). Drain the worker before the SSD is replaced.',
  },
  {
    name: 'PrimedDiskHangs',
    group: 'store',
    severity: 'critical',
    expr: `${name('diskHung')} == 1`,
    for: '0m',
    summary: `The SSD of ${at} does not answer`,
    description:
      'The worker has left the cluster until the SSD answers; others load and serve what it had. dmesg and smartctl say more.',
  },
  {
    name: 'PrimedDiskSlow',
    group: 'store',
    severity: 'warning',
    expr: `histogram_quantile(0.99, ${`rate(${name('storeSyncSeconds')}_bucket[10m])`}) > 5`,
    for: '10m',
    summary: `One of a hundred fdatasync on ${at} takes {{ $value | humanizeDuration }}`,
    description:
      'The SSD is overloaded, worn out or throttled by heat: iostat -x, smartctl, and what else writes to it.',
  },
  {
    name: 'PrimedChecksumFailures',
    group: 'store',
    severity: 'warning',
    expr: `sum without (reader) (${grown('checksumFailures', '1h')}) > 0`,
    for: '0m',
    summary: `Pages on the SSD of ${at} that were not what was written: ${count}`,
    description:
      'None was served, and each is replaced where it lies. Look at the SSD: more of them mean that it fails.',
  },
  {
    name: 'PrimedPageNotRepaired',
    group: 'store',
    severity: 'critical',
    expr: `${grown('repairedPages', '1h', '{source="failed"}')} > 0`,
    for: '0m',
    summary: `Bad pages of ${at} that could not be replaced: ${count}`,
    description:
      'Reads of them fail. The log names the files: load them again; nobody has their bytes at that version any more.',
  },

  {
    name: 'PrimedS3Errors',
    group: 'serving',
    severity: 'critical',
    expr: `sum without (operation, code) (${rate('s3Requests', '{code="5xx"}')}) / sum without (operation, code) (${rate('s3Requests')}) > 0.05`,
    for: '5m',
    summary: `${percent} of the answers on the S3 port of ${at} are errors`,
    description:
      'Readers suffer. 503 means too many at once, or a worker that alone has the bytes and is away; the log has the reason.',
  },
];

/** Metrics that rules use and that are not primed's own: of Prometheus itself, and of every process. */
export const foreignMetrics = ['up', 'process_start_time_seconds'];

/** The section of the handbook for an alert, as Markdown makes anchors of headings. */
export function handbookOf({ name }: Pick<Alert, 'name'>): string {
  return `OPERATIONS.md#${name.toLowerCase()}`;
}

/** Labels and annotations of one, as the rules have them. */
export function labelsOf({ severity }: Alert): Record<string, string> {
  return { severity };
}

export function annotationsOf(alert: Alert): Record<string, string> {
  const { summary, description } = alert;
  return { summary, description, handbook: handbookOf(alert) };
}

/** The rules as a file of Prometheus. Texts are written as JSON does, which YAML reads, or in single quotes where they hold double ones. */
export function rulesFile(all: readonly Alert[] = alerts): string {
  const text = (value: string): string => (/^[^'\\]*"[^'\\]*$/.test(value) ? `'${value}'` : JSON.stringify(value));
  const fields = (values: Record<string, string>, indent: string): string[] =>
    Object.entries(values).map(([key, value]) => `${indent}${key}: ${text(value)}`);
  const groups = [...new Set(all.map(({ group }) => group))];
  const lines = groups.flatMap((group) => [
    `  - name: primed-${group}`,
    '    rules:',
    ...all
      .filter((alert) => alert.group === group)
      .flatMap((alert) => [
        `      - alert: ${alert.name}`,
        `        expr: ${text(alert.expr)}`,
        `        for: ${alert.for}`,
        '        labels:',
        ...fields(labelsOf(alert), '          '),
        '        annotations:',
        ...fields(annotationsOf(alert), '          '),
      ]),
  ]);
  return `groups:\n${lines.join('\n')}\n`;
}
