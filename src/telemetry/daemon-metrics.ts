/** What a coordinator measures, and what every daemon says about its process. */
import { jobStates } from '../core/job.ts';
import { workerStates } from '../core/membership.ts';
import { limitedOrigins, type MetricRow, requestSeconds, statusClasses } from './metric-row.ts';

/** What a certificate is used for. */
export const certificateUses = ['node', 'ca', 'client-ca', 'etcd', 'etcd-ca'] as const;
export const leaseResults = ['accepted', 'refused', 'unanswered'] as const;
const jobSeconds = [1, 5, 15, 60, 300, 900, 3600, 14_400, 43_200, 86_400];
/** `worker.lanes` is at most 64. */
const threads = { says: '`main`, `lane0` … one for each of `worker.lanes`', most: 65 };

export const daemonMetrics = {
  listedKeys: {
    name: 'primed_origin_listed_keys_total',
    type: 'counter',
    unit: 'count',
    role: 'coordinator',
    stability: 'stable',
    help: 'Keys read from listings of the origin.',
  },
  listSeconds: {
    name: 'primed_origin_list_seconds',
    type: 'histogram',
    unit: 'seconds',
    role: 'coordinator',
    stability: 'stable',
    buckets: requestSeconds,
    help: 'Time of one page of a listing.',
  },

  listFailures: {
    name: 'primed_origin_list_failures_total',
    type: 'counter',
    unit: 'count',
    role: 'coordinator',
    stability: 'stable',
    help: 'Pages of listings that failed, after all attempts.',
  },

  originLimit: {
    name: 'primed_origin_limit',
    type: 'gauge',
    unit: 'count',
    role: 'coordinator',
    stability: 'stable',
    labels: { origin: limitedOrigins, limit: ['bandwidth', 'requests'] },
    help: 'Limit of an origin for all workers together: bytes a second, or requests a second.',
  },

  // jobs
  jobs: {
    name: 'primed_jobs',
    type: 'gauge',
    unit: 'count',
    role: 'coordinator',
    stability: 'stable',
    labels: { state: jobStates },
    help: 'Jobs on record, by state.',
  },
  jobsSubmitted: {
    name: 'primed_jobs_submitted_total',
    type: 'counter',
    unit: 'count',
    role: 'coordinator',
    stability: 'stable',
    help: 'Submissions that started a job.',
  },
  jobsEnded: {
    name: 'primed_jobs_ended_total',
    type: 'counter',
    unit: 'count',
    role: 'coordinator',
    stability: 'stable',
    labels: { state: ['STOPPED', 'SUCCEEDED', 'FAILED'] },
    help: 'Jobs that reached an end state.',
  },
  jobFiles: {
    name: 'primed_job_files_total',
    type: 'counter',
    unit: 'count',
    role: 'coordinator',
    stability: 'stable',
    labels: { result: ['loaded', 'skipped', 'failed', 'stopped'] },
    help: 'Files that jobs have dealt with, by result.',
  },
  jobBytes: {
    name: 'primed_job_bytes_total',
    type: 'counter',
    unit: 'bytes',
    role: 'coordinator',
    stability: 'stable',
    labels: { result: ['loaded', 'skipped', 'failed'] },
    help: 'Bytes of the files that jobs have dealt with: durable now, durable before, or in files that failed.',
  },
  jobVerifiedBytes: {
    name: 'primed_job_verified_bytes_total',
    type: 'counter',
    unit: 'bytes',
    role: 'coordinator',
    stability: 'stable',
    help: 'Bytes read back from SSD and checked by `verify`.',
  },
  jobSeconds: {
    name: 'primed_job_seconds',
    type: 'histogram',
    unit: 'seconds',
    role: 'coordinator',
    stability: 'stable',
    buckets: jobSeconds,
    help: 'Time that ended jobs spent in RUNNING and VERIFYING.',
  },
  jobIdleSeconds: {
    name: 'primed_job_idle_seconds',
    type: 'gauge',
    unit: 'seconds',
    role: 'coordinator',
    stability: 'stable',
    help: 'How long the running job that has been still for longest has neither listed, received, settled nor verified anything; 0 while none runs. Counted from one scrape to the next.',
  },

  // the cluster
  workers: {
    name: 'primed_workers',
    type: 'gauge',
    unit: 'count',
    role: 'coordinator',
    stability: 'stable',
    labels: { state: workerStates },
    help: 'Workers that the coordinator knows, by state; those that are lost until they are back or removed.',
  },
  workerRegistrations: {
    name: 'primed_worker_registrations_total',
    type: 'counter',
    unit: 'count',
    role: 'coordinator',
    stability: 'stable',
    help: 'Registrations of workers that this coordinator has seen.',
  },
  workersLost: {
    name: 'primed_workers_lost_total',
    type: 'counter',
    unit: 'count',
    role: 'coordinator',
    stability: 'stable',
    help: 'Times that this coordinator has seen a worker lost: its lease had ended, or it has left.',
  },
  leaseRenewals: {
    name: 'primed_lease_renewals_total',
    type: 'counter',
    unit: 'count',
    role: 'worker',
    stability: 'stable',
    labels: { result: leaseResults },
    help: 'Calls by which this worker registered or renewed its lease: accepted, refused, or without an answer.',
  },
  leaseRegistrations: {
    name: 'primed_lease_registrations_total',
    type: 'counter',
    unit: 'count',
    role: 'worker',
    stability: 'stable',
    help: 'Registrations of this worker that were accepted; each one after the first means that a lease was lost.',
  },

  // every daemon
  ready: {
    name: 'primed_ready',
    type: 'gauge',
    unit: 'count',
    role: 'both',
    stability: 'stable',
    help: '1 while the daemon says that it is ready, otherwise 0; `GET /health/ready` has the reason.',
  },
  configRefused: {
    name: 'primed_config_refused',
    type: 'gauge',
    unit: 'count',
    role: 'both',
    stability: 'stable',
    help: '1 when the configuration that was read last is refused, so that the one before holds, otherwise 0.',
  },
  certificateExpiry: {
    name: 'primed_certificate_expiry_timestamp_seconds',
    type: 'gauge',
    unit: 'seconds',
    role: 'both',
    stability: 'stable',
    labels: {
      use: {
        says: 'those that are in use: `node`, `ca`, `client-ca`, `etcd`, `etcd-ca`',
        most: certificateUses.length,
      },
    },
    help: 'When the first certificate of a file ends, in seconds since the epoch: that of this node, of the authorities by which nodes, and people, are known, and both for etcd.',
  },
  httpRequests: {
    name: 'primed_http_requests_total',
    type: 'counter',
    unit: 'count',
    role: 'both',
    stability: 'stable',
    labels: { port: ['api', 'worker'], code: statusClasses },
    help: "Requests answered on the coordinator's and the worker's HTTP ports.",
  },
  httpSeconds: {
    name: 'primed_http_request_seconds',
    type: 'histogram',
    unit: 'seconds',
    role: 'both',
    stability: 'stable',
    labels: { port: ['api', 'worker'] },
    buckets: requestSeconds,
    help: 'Time from a request to the end of its answer.',
  },

  // the process
  loopDelayP99: {
    name: 'primed_event_loop_delay_p99_seconds',
    type: 'gauge',
    unit: 'seconds',
    role: 'both',
    stability: 'experimental',
    labels: { thread: threads },
    lane: { perThread: 'loopDelayP99Ms', scale: 0.001 },
    help: 'Delay of the event loop, 99th percentile of the last 5 s, by thread.',
  },
  loopDelayMax: {
    name: 'primed_event_loop_delay_max_seconds',
    type: 'gauge',
    unit: 'seconds',
    role: 'both',
    stability: 'experimental',
    labels: { thread: threads },
    lane: { perThread: 'loopDelayMaxMs', scale: 0.001 },
    help: 'Longest delay of the event loop in the last 5 s, by thread.',
  },
  loopUtilization: {
    name: 'primed_event_loop_utilization_ratio',
    type: 'gauge',
    unit: 'ratio',
    role: 'both',
    stability: 'experimental',
    labels: { thread: threads },
    lane: { perThread: 'loopUtilization' },
    help: 'Share of the last 5 s in which the event loop was busy, by thread; near 1 the thread is the limit.',
  },
  buildInfo: {
    name: 'primed_build_info',
    type: 'gauge',
    unit: 'info',
    role: 'both',
    stability: 'stable',
    labels: {
      version: { says: 'version of primed', most: 1 },
      node: { says: 'version of Node', most: 1 },
      role: ['standalone', 'coordinator', 'worker'],
    },
    help: 'Always 1; the labels say what runs.',
  },
} as const satisfies Record<string, MetricRow>;
