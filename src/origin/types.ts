/**
 * origin: the UFS side.
 *
 * Two halves. The control plane (main thread) lists, heads, finds credentials and regions, by the AWS SDK. The data
 * plane (lane threads) is the RangeClient: it signs a GET, reads the answer straight into the memory it was given,
 * and says in one word what went wrong. It makes ONE attempt: whether and when to try again is decided by
 * core/retry on the worker's main thread, which is also where 503 and 429 slow the whole worker down.
 */
import type { Checksums } from '../core/attributes.ts';
import type { ByteRange, ManifestEntry, ObjectPart, ObjectVersion, UfsPath } from '../core/types.ts';

/** How a lane reaches the objects of one bucket or root. Plain data: it crosses to the lane once per origin. */
export type LaneOrigin =
  | {
      readonly kind: 's3';
      readonly originIndex: number;
      /** Where to connect. */
      readonly host: string;
      readonly port: number;
      readonly tls: boolean;
      /** PEM bundle to trust in place of the system's. */
      readonly caPem?: string;
      /** Lists of revoked certificates (PEM) of those that `caPem` has signed. */
      readonly revokedPem?: string;
      /** What is shown to an origin that asks for a certificate. */
      readonly certificate?: { readonly cert: string; readonly key: string };
      /** Value of the Host header, with the port where it is not the default. */
      readonly hostHeader: string;
      /** `/bucket` in path style, empty in virtual-hosted style; a base path of the endpoint comes first. */
      readonly pathPrefix: string;
      /** Of the endpoint as the SDK takes it, for the general way. */
      readonly endpoint?: string;
      readonly bucket: string;
      readonly region: string;
      readonly forcePathStyle: boolean;
      /** False: requests go unsigned (no credentials found and anonymous access configured). */
      readonly signed: boolean;
      /** Another worker, which speaks like S3: no limit on reads from the UFS holds it back, and nothing goes the general way. */
      readonly peer?: { readonly bearerToken?: string };
    }
  | { readonly kind: 'file'; readonly originIndex: number; readonly root: string };

export interface LaneCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

export interface OriginTimeouts {
  readonly connectMs: number;
  /** From the request written to the first byte of the answer. */
  readonly firstByteMs: number;
  /** Longest silence inside a body. */
  readonly stallMs: number;
}

export interface RangeRequest {
  readonly originIndex: number;
  /** S3 key, not encoded; for file:// the path below the root. */
  readonly key: string;
  readonly offset: number;
  readonly length: number;
  /** The pinned version: sent as If-Match (and versionId), and checked on the answer. */
  readonly version: ObjectVersion;
  /** Turned true by the caller when the run is stopped; checked between reads. See RangeClient.cancel. */
  readonly run: number;
  /** True: given up after a fraction of the first-byte and stall timeouts (core/silence). */
  readonly hasty?: boolean;
}

export type FailureCause =
  | 'connect'
  | 'connect-timeout'
  | 'first-byte-timeout'
  | 'stall'
  | 'reset'
  | 'short'
  | 'protocol'
  | 'range'
  | 'changed'
  | 'missing'
  | 'denied'
  | 'expired'
  | 'throttled'
  | 'server'
  | 'client'
  | 'cancelled';

/** Plain data, crosses threads. */
export interface OriginFailure {
  readonly cause: FailureCause;
  readonly message: string;
  readonly httpStatus?: number;
  readonly s3Code?: string;
  readonly requestId?: string;
  /** From a Retry-After header. */
  readonly retryAfterMs?: number;
}

export interface RangeResult {
  /** Undefined when every byte arrived and the version was right. */
  readonly failure?: OriginFailure;
  /** Body bytes received for this request, of which `receivedBytes` on success equals the length. */
  readonly receivedBytes: number;
  readonly queuedMs: number;
  readonly firstByteMs: number;
  readonly totalMs: number;
  /** What the answer says of the object: core/attributes. Empty on failure. */
  readonly attributes: string;
  /** Of the answer, where it was right; a failure says its own. */
  readonly httpStatus: number | undefined;
  readonly requestId: string | undefined;
  /** The hot path could not read the answer; the AWS SDK fetched the range (its attempt is part of this result). */
  readonly general?: true;
}

export type Grant = (request: RangeRequest, wantedBytes: number) => number;
export type Admit = (request: RangeRequest) => boolean;

export interface RangeClientOptions {
  /** Sockets at most, over all origins; requests beyond wait in order. */
  readonly maxSockets: number;
  readonly timeouts: OriginTimeouts;
  /** Idle sockets are closed after this. */
  readonly idleMs: number;
  /**
   * Asked before bytes of a request are read: how many may be received now (0: pause; ask again after `resume`
   * or `paceRetryMs`). Undefined: no limit. Called per read, so it must be cheap.
   */
  readonly grant?: Grant;
  /** Asked before each request that goes out, a repeated one too; false: ask again after `paceRetryMs`. Copies are not asked about. */
  readonly admit?: Admit;
  readonly paceRetryMs?: number;
  /** Of a run, where several want sockets; without it all have the same. */
  readonly weightOf?: (run: number) => number;
}

/**
 * The data plane of one lane: keep-alive sockets, requests in flight, answers into given memory.
 * `destination` is `length` bytes of (shared) memory; nothing outside of it is written.
 */
/** What a request waits for at one moment. `throttled`: for its turn, while the origin wants fewer requests at a time. */
export type RequestWait =
  | 'first-byte'
  | 'transfer'
  | 'connecting'
  /** The same three of a request to another worker. */
  | 'copying'
  | 'bandwidth'
  | 'requests'
  | 'throttled';

export interface RangeClient {
  /** Or changes one: what is on a socket of before ends there. */
  addOrigin(origin: LaneOrigin): void;
  /** Closes its idle sockets. Nothing may be queued for it or under way. */
  removeOrigin(originIndex: number): void;
  setCredentials(originIndex: number, credentials: LaneCredentials | undefined): void;
  /** From now on, for what is under way too. */
  setTimeouts(timeouts: OriginTimeouts): void;
  /**
   * `onBytes(at, count)` runs when `count` bytes have landed at `destination[at]`, in order and without gaps (this is
   * where the caller computes its checksum while they are warm in the cache); `onDone` runs exactly once.
   */
  get(
    request: RangeRequest,
    destination: Uint8Array,
    onBytes: (at: number, count: number) => void,
    onDone: (result: RangeResult) => void,
  ): void;
  /** How many requests may be on sockets at once from now on (adaptive; at most maxSockets). */
  setConcurrency(limit: number): void;
  /** Drops everything of a run: queued requests at once, sockets destroyed; each onDone gets cause `cancelled`. */
  cancel(run: number): void;
  /** What requests wait for now; those that wait for a socket only where `setConcurrency` keeps them from one. */
  eachWait(visit: (run: number, wait: RequestWait, count: number) => void): void;
  /** Requests that wait for their turn. */
  readonly queued: number;
  /** Requests under way: on a socket, reading a file, or going the general way. */
  readonly active: number;
  /** Open sockets, idle ones included. */
  readonly sockets: number;
  /** Closes everything; pending requests end as `cancelled`. */
  close(): Promise<void>;
}

/** Counts the requests of the control plane, and the bytes that it moves, and holds them back. */
export interface RequestGate {
  /** An origin is met for the first time: `s3://bucket/` or `file:///root/`. */
  know(originIndex: number, origin: string): void;
  /** Resolves when one request may be sent; rejects when the signal fires before. */
  admit(originIndex: number, signal?: AbortSignal): Promise<void>;
  /** Somebody moves bytes of the origin, until `leave`. */
  enter(originIndex: number): void;
  leave(originIndex: number): void;
  /**
   * Counts bytes that are moved; resolves when more may be. Rejects with TOO_BUSY where nothing may be for long, and with the
   * signal's reason, after which they do not count.
   */
  spend(originIndex: number, bytes: number, signal?: AbortSignal): Promise<void>;
}

/** What HEAD says beyond the version. */
export interface ObjectDetails extends ManifestEntry {
  readonly contentType?: string;
  /** What else belongs to it: core/attributes. */
  readonly attributes?: string;
  /** False where the origin encrypts with a KMS or customer key: then a plain-looking ETag is not the MD5 of the object. */
  readonly etagIsMd5?: boolean;
  /** Whole-object checksums that the origin stores (checksum type FULL_OBJECT), base64 as S3 sends them. */
  readonly checksums: Checksums;
}

/** One listing page, in key order. `scanned` counts the keys read, directory markers included. */
export interface ListingPage {
  readonly entries: readonly ManifestEntry[];
  readonly scanned: number;
  /** Resume with this; undefined on the last page. */
  readonly next?: string;
}

/**
 * The control plane over all configured UFSes. Rejections are PrimedError with an ORIGIN_* code (or PATH_INVALID),
 * after the bounded retries of the SDK; messages name path, HTTP status, S3 code and request id.
 */
export interface Origins {
  /** Checks that the path lies in a UFS that is served, and normalises it. Throws PATH_INVALID. */
  resolve(path: string): { path: UfsPath; originIndex: number; key: string };
  /** Data for the lanes; resolved (region, endpoint) on first use of a bucket. */
  laneOrigin(path: UfsPath): Promise<LaneOrigin>;
  /** Fresh credentials for the lanes, and when they must be asked for again; undefined for unsigned and file://. */
  credentials(originIndex: number): Promise<{ credentials: LaneCredentials; expiresAtMs?: number } | undefined>;
  head(path: UfsPath, signal?: AbortSignal): Promise<ObjectDetails>;
  /** One page of files below a prefix; keys that end in `/` with size 0 (directory markers) are left out of entries. */
  list(prefix: UfsPath, options: { after?: string; signal?: AbortSignal; maxKeys?: number }): Promise<ListingPage>;
  /** A small object (index file) as a stream of chunks. */
  read(path: UfsPath, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/** One level of a listing as S3 gives it, for those who show the origin's keys to others. */
export interface OriginLevel {
  readonly entries: readonly ManifestEntry[];
  /** Behind the bucket, as S3 writes them. */
  readonly prefixes: readonly string[];
  /** There is more. */
  readonly truncated: boolean;
}

/** What readers of what is not cached need besides. */
export interface ReadableOrigins extends Origins {
  /** Where a part of this version lies, numbered from 1. Undefined where the origin does not say, or has another version. */
  part(version: ManifestEntry, number: number, signal?: AbortSignal): Promise<ObjectPart | undefined>;
  /**
   * A range of one version, exactly, on the main thread: for what is not kept. Rejects with ORIGIN_CHANGED where the origin has
   * another version.
   */
  readRange(version: ManifestEntry, range: ByteRange, signal?: AbortSignal): AsyncIterable<Uint8Array>;
  /**
   * Keys of a bucket in the order of S3, directory markers too. Undefined where the path is not of S3.
   * @param order.after the last key, or the last prefix with its delimiter, of the page before
   */
  level(
    bucketPath: string,
    order: { readonly prefix: string; readonly delimiter: string; readonly after: string; readonly maxKeys: number },
  ): Promise<OriginLevel | undefined>;
}
