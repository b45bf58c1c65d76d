/** What an answer of etcd that is no success means: to try the next endpoint, to authenticate anew, or to give up. */
import { PrimedError } from '../../core/errors.ts';

/** Status codes of gRPC, as the gateway writes them into its errors. */
const grpc = {
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

export interface EtcdFailure {
  readonly message: string;
  readonly kind:
    | 'unavailable'
    /** The token, or that there is none, is the reason. */
    | 'token'
    | 'refused'
    | 'leaseEnded'
    | 'compacted'
    /** The answer, or the request, is larger than a message of gRPC may be. */
    | 'tooLarge'
    | 'authOff';
  /** Sure not to have been done: etcd said so before it began. */
  readonly undone: boolean;
}

/** The gateway of etcd up to 3.5 writes `error` and `code`, in streams `grpc_code`; later ones `message` and `code`. */
interface ErrorJson {
  readonly error?: string | ErrorJson;
  readonly message?: string;
  readonly code?: number;
  readonly grpc_code?: number;
}

/** Of an answer whose status is not 200, or of an error in a stream. */
export function failureOf(body: unknown, httpStatus: number): EtcdFailure {
  const outer = (typeof body === 'object' && body !== null ? body : {}) as ErrorJson;
  const json = typeof outer.error === 'object' ? outer.error : outer;
  const code = json.grpc_code ?? json.code;
  const message = json.message ?? (typeof json.error === 'string' ? json.error : `HTTP status ${httpStatus}`);
  return { message, ...meaningOf(code, message) };
}

function meaningOf(code: number | undefined, message: string): Pick<EtcdFailure, 'kind' | 'undone'> {
  const said = (pattern: RegExp): boolean => pattern.test(message);
  // After any change of users or roles all tokens are stale; after a restart etcd has none of them.
  if (code === grpc.unauthenticated || said(/invalid auth token|auth store is old|user name is empty/))
    return { kind: 'token', undone: true };
  if (said(/authentication is not enabled/)) return { kind: 'authOff', undone: true };
  if (said(/requested lease not found/)) return { kind: 'leaseEnded', undone: true };
  if (said(/has been compacted/)) return { kind: 'compacted', undone: true };
  if (code === grpc.resourceExhausted && said(/larger than max/)) return { kind: 'tooLarge', undone: false };
  if (said(/no leader|not capable|too many requests|all SubConns are in TransientFailure|learner/))
    return { kind: 'unavailable', undone: true };
  switch (code) {
    case grpc.invalidArgument:
    case grpc.notFound:
    case grpc.permissionDenied:
    case grpc.failedPrecondition:
    case grpc.outOfRange:
    case grpc.unimplemented:
    // The database is full, until somebody makes room.
    case grpc.resourceExhausted:
      return { kind: 'refused', undone: true };
    default:
      return { kind: 'unavailable', undone: false };
  }
}

/** What failed at one endpoint, for `unavailable` to sum up. */
export interface Attempt {
  readonly endpoint: string;
  readonly reason: string;
}

export function unavailable(attempts: readonly Attempt[], maybeDone: boolean): PrimedError {
  const [last] = attempts.slice(-1);
  const each = attempts.map(({ endpoint, reason }) => `${endpoint}: ${reason}`).join('; ');
  const done = maybeDone ? ' Whether etcd has done what it was asked for is not known.' : '';
  return new PrimedError(
    'ETCD_UNAVAILABLE',
    `etcd cannot be reached (${each}); check cluster.etcd.endpoints, and that most members of etcd run.${done}`,
    { endpoint: last?.endpoint, reason: last?.reason, maybeDone },
  );
}

export function refusal(endpoint: string, { kind, message }: EtcdFailure): PrimedError {
  const facts = { endpoint, reason: message, ...(kind === 'tooLarge' ? { tooLarge: true } : {}) };
  switch (kind) {
    case 'leaseEnded':
      return new PrimedError(
        'ETCD_LEASE_ENDED',
        `etcd at ${endpoint} does not know the lease any more: ${message}.`,
        facts,
      );
    case 'compacted':
      return new PrimedError(
        'ETCD_COMPACTED',
        `etcd at ${endpoint} has forgotten the revision that was asked for: ${message}.`,
        facts,
      );
    case 'token':
      return new PrimedError(
        'ETCD_REFUSED',
        `etcd at ${endpoint} wants a user with a password: ${message}; set cluster.etcd.username and cluster.etcd.password.`,
        facts,
      );
    default:
      return new PrimedError(
        'ETCD_REFUSED',
        `etcd at ${endpoint} refuses: ${message}; check cluster.etcd.username and cluster.etcd.password, what that user may do below the prefix, and the limits of etcd.`,
        facts,
      );
  }
}
