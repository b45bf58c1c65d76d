/**
 * The catalogue of errors. Every failure that a user can meet has one row here; docs/ERRORS.md is generated from it,
 * and a test checks that each code is made by the product and expected by a test. Messages say what failed, on what,
 * why, and what to do.
 */

/** gRPC status names, as the REST API answers them, with the HTTP status that goes with each. */
export const httpStatusOf = {
  INVALID_ARGUMENT: 400,
  UNAUTHENTICATED: 401,
  PERMISSION_DENIED: 403,
  NOT_FOUND: 404,
  ALREADY_EXISTS: 409,
  FAILED_PRECONDITION: 409,
  OUT_OF_RANGE: 416,
  RESOURCE_EXHAUSTED: 429,
  PAYLOAD_TOO_LARGE: 413,
  UNIMPLEMENTED: 405,
  INTERNAL: 500,
  UNAVAILABLE: 503,
  DATA_LOSS: 500,
} as const;
export type StatusCode = keyof typeof httpStatusOf;

interface ErrorRow {
  readonly status: StatusCode;
  /** Whether the same call may succeed later without anyone changing anything. */
  readonly retryable: boolean;
  readonly help: string;
}

export const errorCatalogue = {
  // what the user asked for
  REQUEST_INVALID: {
    status: 'INVALID_ARGUMENT',
    retryable: false,
    help: 'A field of the request is missing, unknown or has a wrong value; the message names it.',
  },
  PATH_INVALID: {
    status: 'INVALID_ARGUMENT',
    retryable: false,
    help: 'The path is not a UFS path that this daemon serves: `s3://bucket/key`, or `file:///dir` below a configured root.',
  },
  PATH_WILDCARD: {
    status: 'INVALID_ARGUMENT',
    retryable: false,
    help: 'Load does not support wildcard paths; load the directory with a file filter (`fileFilterRegx`) or an index file.',
  },
  OPTION_UNSUPPORTED: {
    status: 'INVALID_ARGUMENT',
    retryable: false,
    help: 'The option has a value that this deployment cannot honour; the message says why.',
  },
  JOB_NOT_FOUND: {
    status: 'NOT_FOUND',
    retryable: false,
    help: 'No job of this path, alias or id is known: it was never submitted, or its record is older than `job.retention`, or not among the last `job.max_ended`.',
  },
  JOB_CONFLICT: {
    status: 'ALREADY_EXISTS',
    retryable: false,
    help: 'A job of the same path runs with other options, one of the same alias runs, or a load and a free are about the same path or one below it; stop the job that the message names, wait for its end, or submit the same options.',
  },
  STOP_PENDING: {
    status: 'UNAVAILABLE',
    retryable: true,
    help: 'The stop of a load is written down, and the coordinator that runs the load has not carried it out in time, or is not heard to have; it is done as soon as one does, and need not be asked for again.',
  },
  JOB_LIMIT: {
    status: 'RESOURCE_EXHAUSTED',
    retryable: true,
    help: 'As many jobs run as `job.max_active` allows, and as many wait as `job.max_waiting` does; try again when one has ended.',
  },
  FILE_NOT_CACHED: {
    status: 'NOT_FOUND',
    retryable: false,
    help: 'The path is not in the cache, or not completely; load it first.',
  },
  RANGE_INVALID: { status: 'OUT_OF_RANGE', retryable: false, help: 'The range lies outside the object.' },
  UNAUTHENTICATED: {
    status: 'UNAUTHENTICATED',
    retryable: false,
    help: 'The request carries no valid token; send `Authorization: Bearer <token>` with the configured `api_token` (a worker to its coordinator: `cluster.token`).',
  },
  FORBIDDEN: {
    status: 'PERMISSION_DENIED',
    retryable: false,
    help: 'The token is known, and its role does not allow this; the message names the role that does. Roles are in `[[token]]` of the configuration.',
  },
  TOO_BUSY: {
    status: 'UNAVAILABLE',
    retryable: true,
    help: 'As many reads, checks or plans are under way as this port serves at once, and none ended in time; try again, with fewer at once.',
  },
  // the origin
  ORIGIN_NOT_FOUND: { status: 'NOT_FOUND', retryable: false, help: 'The origin has no such bucket or key.' },
  ORIGIN_DENIED: {
    status: 'PERMISSION_DENIED',
    retryable: false,
    help: 'The origin refused the credentials, or they may not read this object; check the AWS environment or profile of the daemon.',
  },
  ORIGIN_UNREACHABLE: {
    status: 'UNAVAILABLE',
    retryable: true,
    help: 'No connection to the origin could be made within its time limit; check endpoint, network and DNS.',
  },
  ORIGIN_LOST: {
    status: 'UNAVAILABLE',
    retryable: true,
    help: 'The origin stopped answering during a load, and the load was ended; when the origin is back, submit it again with `skipIfExists`: what is durable is not fetched again.',
  },
  ORIGIN_TIMEOUT: {
    status: 'UNAVAILABLE',
    retryable: true,
    help: 'The origin accepted the request and then sent nothing for longer than the first-byte or stall timeout.',
  },
  ORIGIN_RESET: {
    status: 'UNAVAILABLE',
    retryable: true,
    help: 'The origin closed the connection before the answer was complete.',
  },
  ORIGIN_THROTTLED: {
    status: 'UNAVAILABLE',
    retryable: true,
    help: 'The origin answered 503 SlowDown or 429; the worker slows down and tries again within its budget.',
  },
  ORIGIN_SERVER_ERROR: { status: 'UNAVAILABLE', retryable: true, help: 'The origin answered 5xx.' },
  ORIGIN_RANGE_WRONG: {
    status: 'UNAVAILABLE',
    retryable: true,
    help: 'The origin answered another range, or another length, than was asked for.',
  },
  ORIGIN_PROTOCOL: {
    status: 'UNAVAILABLE',
    retryable: true,
    help: 'The origin answered something that is not an S3 answer.',
  },
  ORIGIN_REJECTED: {
    status: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'The origin answered 4xx; its code and request id are in the message.',
  },
  ORIGIN_CHANGED: {
    status: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'The object changed at the origin during the load more often than `job.max_restarts` allows, or the policy is to fail.',
  },
  ORIGIN_CREDENTIALS: {
    status: 'PERMISSION_DENIED',
    retryable: true,
    help: 'The credential chain of the AWS SDK found no credentials for this origin, or they could not be refreshed.',
  },
  // the store
  STORE_NO_ROOM: {
    status: 'RESOURCE_EXHAUSTED',
    retryable: false,
    help: 'The load needs more bytes than the store has free and can evict: the message says how many are pinned and how many belong to running loads. Stop other loads, unpin or free what is not needed, or configure a larger store or one more.',
  },
  STORE_QUOTA: {
    status: 'RESOURCE_EXHAUSTED',
    retryable: false,
    help: 'The quota of a prefix (`[[store.rule]]`) is full with files that running loads count on; raise it, or load less at a time.',
  },
  STORE_LOCKED: {
    status: 'FAILED_PRECONDITION',
    retryable: true,
    help: 'Another process has this store, or this data folder of a coordinator, open; each belongs to one process, and the message names the other.',
  },
  STORE_FOREIGN: {
    status: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'The file at the place of the store was not made by primed; it was not touched. Choose another folder, or remove the file.',
  },
  STORE_VERSION: {
    status: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'The store was made by another version of primed whose format this one does not read; nothing was touched.',
  },
  STORE_MISMATCH: {
    status: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'The index and the store files do not belong together (uuid or size differ); check the mounts and the configuration.',
  },
  STORE_MISSING: {
    status: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'The index knows a store that is not there: most often a mount is missing. Nothing was created in its place.',
  },
  STORE_IO: {
    status: 'INTERNAL',
    retryable: true,
    help: 'The operating system reported an error on the store; see the message and the kernel log.',
  },
  STORE_CORRUPT: {
    status: 'DATA_LOSS',
    retryable: false,
    help: 'A page read from the SSD does not have its checksum, or verification found a file without the checksum that the origin states; it is not served, load the file again. Or a database of the node is cut off or damaged, and is not opened: the message names the file, and what can be had again.',
  },
  // the workers
  WORKER_LOST: {
    status: 'UNAVAILABLE',
    retryable: true,
    help: 'The connection to a worker ended, and the worker did not come back within its lease; what it was asked for is asked of another.',
  },
  WORKERS_SHORT: {
    status: 'UNAVAILABLE',
    retryable: true,
    help: 'Fewer workers are live than the load wants replicas; submit it again when workers have joined, or with fewer `replicas`.',
  },
  WORKER_CONFLICT: {
    status: 'ALREADY_EXISTS',
    retryable: true,
    help: 'Another worker is registered under the same id, and its lease has not ended; give each worker an id of its own (`cluster.id`).',
  },
  WORKER_UNKNOWN: {
    status: 'NOT_FOUND',
    retryable: false,
    help: 'No worker of this id has registered, or it was removed; `primed worker list` shows those that are known.',
  },
  WORKER_STALE: {
    status: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'The registration that a worker spoke for has ended: its lease ran out, or a newer one took its place. Workers register anew by themselves.',
  },
  WORKER_REFUSED: {
    status: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'Coordinator and worker do not fit together: their versions are more than one apart (the message names both, and which to upgrade), or the cluster token is wrong: it is the same `cluster.token` everywhere.',
  },
  PEER_FAILED: {
    status: 'UNAVAILABLE',
    retryable: true,
    help: 'A worker was not given something by another: that one was not reached, does not have it, or broke off. A copy is made from somewhere else, or from the origin; a reader tries again, because what a silent worker has is not known.',
  },
  PEER_CORRUPT: {
    status: 'DATA_LOSS',
    retryable: true,
    help: 'A worker was to copy a file, or a segment, from another one that has a bad page of it; it is copied from somewhere else, or read from the origin, and the bad one is loaded anew.',
  },
  RUN_UNKNOWN: {
    status: 'NOT_FOUND',
    retryable: false,
    help: 'A worker was asked for something of a run that was not started there, or has ended; a defect of primed unless the run was being ended.',
  },
  RUN_SUPERSEDED: {
    status: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'A worker was asked for something of a run by a coordinator whose claim of the job is not the newest: another coordinator has taken the job over, and goes on with it.',
  },
  // etcd
  ETCD_UNAVAILABLE: {
    status: 'UNAVAILABLE',
    retryable: true,
    help: 'No endpoint of etcd answered in time, or most of its members are away; what needs etcd waits or is refused until it is back, and nothing is lost. Check `cluster.etcd.endpoints`.',
  },
  ETCD_REFUSED: {
    status: 'PERMISSION_DENIED',
    retryable: false,
    help: 'etcd refused a request: user or password are wrong, the user has no permission below `cluster.etcd.prefix`, or etcd has a limit that the message names.',
  },
  ETCD_LEASE_ENDED: {
    status: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'Something was to be written to etcd under a lease that has ended meanwhile; who held it begins anew by itself.',
  },
  ETCD_COMPACTED: {
    status: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'etcd has forgotten the revision that was asked for; what is there now has to be read.',
  },
  // the daemon
  CONFIG_INVALID: {
    status: 'INVALID_ARGUMENT',
    retryable: false,
    help: 'The configuration is wrong; the message lists every error with its place.',
  },
  NATIVE_MISSING: {
    status: 'FAILED_PRECONDITION',
    retryable: false,
    help: 'The native addon is not built. Install a C++ compiler and make (Debian: `apt install g++ make`), then run `npm run setup`.',
  },
  WATCHERS_LIMIT: {
    status: 'RESOURCE_EXHAUSTED',
    retryable: true,
    help: 'As many consoles watch this coordinator as it lets; close one of them, or ask the REST API.',
  },
  STOPPING: { status: 'UNAVAILABLE', retryable: true, help: 'The daemon is shutting down.' },
  STOPPED: { status: 'FAILED_PRECONDITION', retryable: false, help: 'The run was stopped by its user.' },
  COORDINATOR_UNREACHABLE: {
    status: 'UNAVAILABLE',
    retryable: true,
    help: 'The client could not reach the coordinator; check `--coordinator` or PRIMED_COORDINATOR, and that the daemon runs.',
  },
  ANSWER_INCOMPLETE: {
    status: 'UNAVAILABLE',
    retryable: true,
    help: 'The daemon broke off its answer after it had begun: a page did not have its checksum, or the daemon was stopped. What had arrived is not the whole.',
  },
  INTERNAL: { status: 'INTERNAL', retryable: false, help: 'A defect of primed; please report it with the log line.' },
} as const satisfies Record<string, ErrorRow>;
export type ErrorCode = keyof typeof errorCatalogue;

export type ErrorFacts = Readonly<Record<string, string | number | boolean | undefined>>;

/** The world misbehaving, as a row of the catalogue with the facts of this case. */
export class PrimedError extends Error {
  readonly code: ErrorCode;
  readonly facts: ErrorFacts;

  constructor(code: ErrorCode, message: string, facts: ErrorFacts = {}, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'PrimedError';
    this.code = code;
    this.facts = facts;
  }

  get status(): StatusCode {
    return errorCatalogue[this.code].status;
  }

  get httpStatus(): number {
    return httpStatusOf[this.status];
  }

  get retryable(): boolean {
    return errorCatalogue[this.code].retryable;
  }
}

/** What is left of an error when it crosses a thread, a wire or the job store. */
export interface ErrorReport {
  readonly code: ErrorCode;
  readonly message: string;
}

export function errorOf({ code, message }: ErrorReport): PrimedError {
  return new PrimedError(code, message);
}

export function reportOf(error: unknown): ErrorReport {
  if (error instanceof PrimedError) return { code: error.code, message: error.message };
  return { code: 'INTERNAL', message: error instanceof Error ? error.message : String(error) };
}
