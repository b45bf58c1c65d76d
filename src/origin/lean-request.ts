/** Requests without a body to one bucket, signed by our own signer: a fraction of what the SDK's stack costs. */
import { type Dispatcher, Pool } from 'undici';
import type { BucketEndpoint, CredentialProvider, Identity } from './aws.ts';
import { makeSigner } from './signer.ts';
import type { OriginTimeouts } from './types.ts';

export interface LeanOptions {
  readonly endpoint: BucketEndpoint;
  readonly signed: boolean;
  readonly provider: CredentialProvider;
  readonly timeouts: OriginTimeouts;
  /** Waited for before each request. */
  readonly admit?: (signal?: AbortSignal) => Promise<void>;
}

export interface LeanRequest {
  readonly method: 'GET' | 'HEAD';
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
  { endpoint, signed, provider, timeouts, admit }: LeanOptions,
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
    { method, search = '', checksums = false }: LeanRequest,
  ): Promise<string[]> => {
    const headers = ['host', endpoint.hostHeader, 'user-agent', 'primed'];
    if (!signed) return checksums ? [...headers, 'x-amz-checksum-mode', 'ENABLED'] : headers;
    const identity = await provider();
    const names = ['accessKeyId', 'secretAccessKey', 'sessionToken'] as const;
    if (names.some((name) => identity[name] !== signsFor?.[name])) {
      signer.setCredentials(identity);
      signsFor = identity;
    }
    for (const line of signer.sign(path, search, { checksums, method }).split('\r\n')) {
      const colon = line.indexOf(': ');
      if (colon > 0) headers.push(line.slice(0, colon), line.slice(colon + 2));
    }
    return headers;
  };

  return {
    async send(request) {
      const { method, search, signal } = request;
      await admit?.(signal);
      const path = endpoint.pathPrefix + request.path;
      return pool.request({
        method,
        // Of a HEAD it would close the connection, for servers that send a body all the same: those make an answer that is malformed.
        reset: false,
        path: search === undefined ? path : `${path}?${search}`,
        headers: await headersOf(path, request),
        ...(signal !== undefined && { signal }),
      });
    },
    close: () => pool.destroy(),
  };
}
