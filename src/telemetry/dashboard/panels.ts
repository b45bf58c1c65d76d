/** What the dashboard shows, row by row. Metrics that no panel names get one each in the last row. */
import type { MetricRow } from '../metric-row.ts';
import { type MetricId, metrics } from '../metrics.ts';
import { type Query, quantiles, rate, rateOf, selected, value } from './queries.ts';

export interface Panel {
  readonly title: string;
  readonly queries: readonly Query[];
  /** One number in place of lines. */
  readonly stat?: boolean;
  readonly stacked?: boolean;
}

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
  /** Folded up until somebody wants to see it. */
  readonly collapsed?: boolean;
}

const instance = ['instance'];
const panel = (title: string, ...queries: (Query | readonly Query[])[]): Panel => ({ title, queries: queries.flat() });
const stacked = (title: string, ...queries: (Query | readonly Query[])[]): Panel => ({
  ...panel(title, ...queries),
  stacked: true,
});
const stat = (title: string, query: Query): Panel => ({ title, queries: [query], stat: true });

const overview: Row = {
  title: 'Overview',
  panels: [
    stat('Alerts firing', {
      expr: 'sum(ALERTS{alertname=~"Primed.*",alertstate="firing",cluster=~"$cluster"}) or vector(0)',
      legend: 'alerts',
      unit: 'short',
      shows: [],
    }),
    stat('Daemons ready', value('ready')),
    stat('Workers live', value('workers', { fold: 'max', where: 'state="LIVE"' })),
    stat('Jobs running', value('jobs', { fold: 'max', where: 'state=~"RUNNING|VERIFYING"' })),
    stat('Loaded', rate('originBytes')),
    stat('Served over S3', rate('s3ServedBytes')),
    stat('Cached', value('storeUsedBytes')),
    stat('Files cached', value('storeFiles')),
  ],
};

const cluster: Row = {
  title: 'Cluster',
  panels: [
    stacked('Workers by state', value('workers', { by: ['state'], fold: 'max' })),
    panel('Workers that register, and are lost', rate('workerRegistrations'), rate('workersLost')),
    panel('Lease calls by result', rate('leaseRenewals', { by: ['result'] })),
    panel('Registrations of each worker', rate('leaseRegistrations', { by: instance })),
    panel('Ready', value('ready', { by: instance })),
    panel('Configuration refused', value('configRefused', { by: instance })),
    panel('Certificates: time left', {
      expr: `min by (instance, use) (${selected('certificateExpiry')}) - time()`,
      legend: '{{instance}} {{use}}',
      unit: 's',
      shows: ['certificateExpiry'],
    }),
    panel(
      'Copied between workers',
      rate('peerBytes', { legend: 'copied' }),
      rate('peerServedBytes', { legend: 'served' }),
      rate('peerReadBytes', { legend: 'read for clients' }),
    ),
    panel('Requests between workers', rate('peerRequests'), rate('peerFailures'), rate('peerBreaks')),
    panel('Workers that do not answer others', value('peersAvoided', { by: instance })),
  ],
};

const jobs: Row = {
  title: 'Jobs',
  panels: [
    stacked('Jobs by state', value('jobs', { by: ['state'], fold: 'max' })),
    panel(
      'Jobs submitted, and ended by state',
      rate('jobsSubmitted', { legend: 'submitted' }),
      rate('jobsEnded', { by: ['state'] }),
    ),
    stacked('What limits loads, in loads', rate('loadLimited', { by: ['cause'] })),
    panel('Stillest running job', value('jobIdleSeconds', { fold: 'max', legend: 'without progress' })),
    stacked('Files by result', rate('jobFiles', { by: ['result'] })),
    stacked('Bytes by result', rate('jobBytes', { by: ['result'] })),
    panel('Bytes verified', rate('jobVerifiedBytes')),
    panel('Time of jobs', quantiles('jobSeconds', { legend: 'jobs' })),
    panel('Keys listed', rate('listedKeys')),
    panel('Time of a page of a listing', quantiles('listSeconds', { legend: 'page' })),
  ],
};

const origin: Row = {
  title: 'Origin',
  panels: [
    stacked('Received by worker', rate('originBytes', { by: instance })),
    panel('Requests', rate('originRequests'), rate('originParts'), rate('originGeneralWay')),
    stacked('Failures by cause', rate('originFailures', { by: ['cause'] })),
    stacked('Parts tried again, by cause', rate('originRetries', { by: ['cause'] })),
    panel(
      'Concurrency',
      value('originConcurrencyLimit', { legend: 'allowed now' }),
      value('originConcurrencyMax', { legend: 'without throttling' }),
      value('partsInFlight'),
    ),
    panel('Throttled, and listings that fail', rate('originSlowdowns'), rate('listFailures')),
    stacked('Requests by operation', rate('originOperations', { by: ['operation'] })),
    stacked('Requests by origin', rate('originOperations', { by: ['origin'] })),
    stacked('Answers by class of status', rate('originOperations', { by: ['code'] })),
    panel(
      'Throttled, and tried again, by operation',
      rate('originOperationsThrottled', { by: ['operation'], legend: '{{operation}} throttled' }),
      rate('originOperationsRetried', { by: ['operation'], legend: '{{operation}} again' }),
    ),
    panel('First byte by operation, on average', {
      expr: `sum by (operation) (${rateOf('originAnswerSeconds')}) / sum by (operation) (${rateOf('originAnswered')})`,
      legend: '{{operation}}',
      unit: 's',
      shows: ['originAnswerSeconds', 'originAnswered'],
    }),
    panel(
      'First byte, and body',
      quantiles('partFirstByteSeconds', { legend: 'first byte' }),
      quantiles('partBodySeconds', { legend: 'body' }),
    ),
    stacked('Received and not kept, by reason', rate('originDiscarded', { by: ['reason'] })),
    panel('Held by limits: share of the time', rate('originLimitHeld', { by: ['origin', 'limit'] })),
    panel('Limits of bandwidth, and what workers have of them', ...limitsOf('bandwidth', 'Bps')),
    panel('Limits of requests, and what workers have of them', ...limitsOf('requests', 'cps')),
  ],
};

function limitsOf(limit: 'bandwidth' | 'requests', unit: 'Bps' | 'cps'): Query[] {
  const where = `limit="${limit}"`;
  return [
    value('originLimit', { by: ['origin'], where, fold: 'max', legend: '{{origin}} limit', unit }),
    value('originLimitShare', { by: ['origin'], where, legend: '{{origin}} in use', unit }),
  ];
}

const lanes: Row = {
  title: 'Lanes and disk',
  panels: [
    panel(
      'Stages of a part, 99 of 100',
      (
        ['partQueuedSeconds', 'partFirstByteSeconds', 'partBodySeconds', 'diskWriteSeconds', 'landSeconds'] as const
      ).flatMap((id) => quantiles(id).slice(1)),
    ),
    panel(
      'Parts on their way',
      value('partsPlanned'),
      value('partsQueued'),
      value('partsInFlight'),
      value('unitsInFlight'),
      value('landQueued'),
    ),
    panel(
      'Slots',
      value('slotsInUse', { by: instance, legend: '{{instance}} in use' }),
      value('slots', { by: instance, legend: '{{instance}} all' }),
    ),
    stacked('Written by worker', rate('diskWriteBytes', { by: instance })),
    panel('Write of a slot', quantiles('diskWriteSeconds', { by: instance })),
    panel(
      'fdatasync, and commit of the index',
      quantiles('storeSyncSeconds', { legend: 'fdatasync' }),
      quantiles('storeCommitSeconds', { legend: 'commit' }),
    ),
    panel('Writes, and those refused', rate('diskWrites'), rate('diskWriteErrors')),
    panel('Reads that failed, by who read', rate('storeReadErrors', { by: ['reader'] })),
    panel('Oldest read or write under way', value('diskWaitSeconds', { by: instance, fold: 'max' })),
    panel('Disk hangs', value('diskHung', { by: instance })),
    panel('Read and checked', rate('diskReadBytes'), rate('checksumBytes')),
    panel('Threads: busy', value('loopUtilization', { by: ['instance', 'thread'], fold: 'max' })),
    panel('Threads: delay, 99 of 100', value('loopDelayP99', { by: ['instance', 'thread'], fold: 'max' })),
    panel('Threads: longest delay', value('loopDelayMax', { by: ['instance', 'thread'], fold: 'max' })),
    panel(
      'Timers of lanes and serving threads',
      rate('laneHeartbeats', { by: instance, legend: '{{instance}} lanes' }),
      rate('servingHeartbeats', { by: instance, legend: '{{instance}} serving' }),
    ),
  ],
};

const store: Row = {
  title: 'Store',
  panels: [
    panel(
      'Use of all stores',
      value('storeCapacityBytes', { legend: 'capacity' }),
      value('storeUsedBytes', { legend: 'used' }),
      value('storeReservedBytes', { legend: 'reserved' }),
      value('storeFreeBytes', { legend: 'free' }),
      value('storeEvictableBytes', { legend: 'evictable' }),
      value('storePinnedBytes', { legend: 'pinned' }),
      value('storeHeldBytes', { legend: 'held' }),
    ),
    panel('What a load can have, by worker', {
      expr: `(sum by (instance) (${selected('storeFreeBytes')}) + sum by (instance) (${selected('storeEvictableBytes')})) / sum by (instance) (${selected('storeCapacityBytes')})`,
      legend: '{{instance}}',
      unit: 'percentunit',
      shows: ['storeFreeBytes', 'storeEvictableBytes', 'storeCapacityBytes'],
    }),
    panel('Files and blocks', value('storeFiles'), value('storeBlocks')),
    stacked('Evicted files, by reason', rate('storeEvictions', { by: ['reason'] })),
    stacked('Evicted bytes, by reason', rate('storeEvictedBytes', { by: ['reason'] })),
    panel('Bad pages by who read them', rate('checksumFailures', { by: ['reader'] })),
    panel('Bad pages replaced, by source', rate('repairedPages', { by: ['source'] })),
    panel('Scrub: read', rate('scrubbedBytes', { by: instance })),
    panel('Scrub: progress', value('scrubProgress', { by: instance, fold: 'max' })),
  ],
};

const serving: Row = {
  title: 'Serving',
  panels: [
    stacked('Served over S3, by worker', rate('s3ServedBytes', { by: instance })),
    stacked('Requests by operation', rate('s3Requests', { by: ['operation'] })),
    stacked('Answers by class of status', rate('s3Requests', { by: ['code'] })),
    panel('Time of requests', quantiles('s3Seconds', { by: ['operation'] })),
    panel('First byte of files that are whole here', quantiles('s3FirstByteSeconds', { legend: 'first byte' })),
    panel('First byte on the page and file API', quantiles('pageFirstByteSeconds', { by: ['read'] })),
    panel('Connections, and bodies under way', value('s3Connections'), value('s3Bodies')),
    stacked('Looks for files, by result', rate('readLooks', { by: ['result'] })),
    stacked('Read on the main thread, by source', rate('readBytes', { by: ['source'] })),
    panel('Served from memory', {
      expr: `1 - clamp_max(sum(${rateOf('servingReadBytes')}) / sum(${rateOf('s3ServedBytes')}), 1)`,
      legend: 'share of bytes',
      unit: 'percentunit',
      shows: ['servingReadBytes', 's3ServedBytes'],
    }),
    panel('Page cache', value('pageCacheBytes', { by: instance })),
    panel('Passed on, not kept, stale', rate('s3PassedOn'), rate('readNotKept'), rate('readStale')),
    panel('Asked of the origin by readers', rate('originAsked', { by: ['result'] })),
    panel('HTTP ports: answers', rate('httpRequests', { by: ['port', 'code'] })),
    panel('HTTP ports: time', quantiles('httpSeconds', { by: ['port'] })),
    panel('Versions', {
      expr: `count by (version, role) (${selected('buildInfo')})`,
      legend: '{{version}} {{role}}',
      unit: 'short',
      shows: ['buildInfo'],
    }),
  ],
};

const chosen: readonly Row[] = [overview, cluster, jobs, origin, lanes, store, serving];

/** All rows: those that are given, and one of what they leave out. */
export function dashboardRows(rows: readonly Row[] = chosen): readonly Row[] {
  const shown = new Set(
    rows.flatMap(({ panels }) => panels.flatMap(({ queries }) => queries.flatMap(({ shows }) => shows))),
  );
  const others = (Object.keys(metrics) as MetricId[]).filter((id) => !shown.has(id));
  return others.length === 0 ? rows : [...rows, { title: 'More', collapsed: true, panels: others.map(plain) }];
}

/** A panel of one metric, by what the table says of it. */
function plain(id: MetricId): Panel {
  const { name, type, labels = {} }: MetricRow = metrics[id];
  const by = Object.keys(labels);
  const title = name
    .replace(/^primed_/, '')
    .replace(/_total$/, '')
    .replaceAll('_', ' ');
  if (type === 'histogram') return panel(title, quantiles(id, { by }));
  const selection = { by: by.length === 0 ? instance : by };
  return panel(title, type === 'counter' ? rate(id, selection) : value(id, selection));
}
