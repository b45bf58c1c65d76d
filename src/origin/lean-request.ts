/** Requests without a body to one bucket, signed by our own signer: a fraction of what the SDK's stack costs. */
import { type Dispatcher, Pool } from 'undici';
import type { BucketEndpoint, CredentialProvider, Identity } from './aws.ts';
import { heldBack, type RequestWatch, watchedRequest } from './request-watch.ts';
import { makeSigner } from './signer.ts';
import type { OriginTimeouts } from './types.ts';

export interface LeanOptions {
  readonly endpoint: BucketEndpoint;
  readonly signed: boolean;
  readonly provider: CredentialProvider;
  readonly timeouts: OriginTimeouts;
  /** Waited for before each request. */
  readonly admit?: (signal?: AbortSignal) => Promise<void>;
  readonly watch?: RequestWatch;
}

export interface LeanRequest {
  readonly operation: 'LIST' | 'HEAD';
  /** Encoded, behind the bucket, with its leading slash. */
  readonly path: string;
  /** Encoded, in the order of the names. */
  readonly search?: string;
  /** Asks for the checksums of the object. */
  readonly checksums?: boolean;
  readonly signal?: AbortSignal;
}

export interface LeanRequests {
  /** One attempt. Rejects with whatever went wrong, the signal's reason among it. */
  send(request: LeanRequest): Promise<Dispatcher.ResponseData>;
  close(): Promise<void>;
}

/** @param connections at once; more requests wait */
export function makeLeanRequests(
  { endpoint, signed, provider, timeouts, admit, watch }: LeanOptions,
  connections: number,
): LeanRequests {
  const scheme = endpoint.tls ? 'https' : 'http';
  const host = endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host;
  const pool = new Pool(`${scheme}://${host}:${endpoint.port}`, {
    connections,
    pipelining: 1,
    headersTimeout: timeouts.firstByteMs,
    bodyTimeout: timeouts.stallMs,
    connect: { timeout: timeouts.connectMs, ...(endpoint.caPem !== undefined && { ca: endpoint.caPem }) },
  });
  const signer = makeSigner({ region: endpoint.region, hostHeader: endpoint.hostHeader });
  let signsFor: Identity | undefined;

  const headersOf = async (
    path: string,
    { operation, search = '', checksums = false }: LeanRequest,
  ): Promise<string[]> => {
    const headers = ['host', endpoint.hostHeader, 'user-agent', 'primed'];
    if (!signed) return checksums ? [...headers, 'x-amz-checksum-mode', 'ENABLED'] : headers;
    const identity = await provider();
    const names = ['accessKeyId', 'secretAccessKey', 'sessionToken'] as const;
    if (names.some((name) => identity[name] !== signsFor?.[name])) {
      signer.setCredentials(identity);
      signsFor = identity;
    }
    for (const line of signer.sign(path, search, { checksums, method: methodOf(operation) }).split('\r\n')) {
      const colon = line.indexOf(': ');
      if (colon > 0) headers.push(line.slice(0, colon), line.slice(colon + 2));
    }
    return headers;
  };

  return {
    async send(request) {
      const { operation, search, signal } = request;
      if (admit !== undefined) await heldBack(admit(signal));
      const path = endpoint.pathPrefix + request.path;
      const headers = await headersOf(path, request);
      const send = (): Promise<Dispatcher.ResponseData> =>
        pool.request({
          method: methodOf(operation),
          // Of a HEAD it would close the connection, for servers that send a body all the same: those make an answer that is malformed.
          reset: false,
          path: search === undefined ? path : `${path}?${search}`,
          headers,
          ...(signal !== undefined && { signal }),
        });
      return watchedRequest(watch, operation, {
        send,
        statusOf: ({ statusCode }) => statusCode,
        // A limit of time that has passed is the origin's doing.
        isOurs: () => signal?.aborted === true && (signal.reason as Error | undefined)?.name !== 'TimeoutError',
      });
    },
    close: () => pool.destroy(),
  };
}

function methodOf(operation: LeanRequest['operation']): 'GET' | 'HEAD' {
  return operation === 'LIST' ? 'GET' : operation;
}
