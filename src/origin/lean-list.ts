/** ListObjectsV2 by our own signed GET; whatever is not a plain 200 of the usual shape is left to the SDK. */
import { Pool } from 'undici';
import type { BucketEndpoint, CredentialProvider, Identity } from './aws.ts';
import { scanListing } from './list-scan.ts';
import type { ListedPage, ListQuery } from './listed.ts';
import { encodeQueryValue, makeSigner } from './signer.ts';
import type { OriginTimeouts } from './types.ts';

/** A page of 1,000 keys of 1,024 bytes, each byte escaped, has about 7 MiB. */
const pageBytesMax = 16 * 1024 * 1024;
/** Listings at once on one bucket; more wait. */
const connectionsMax = 16;

export interface LeanList {
  /** Undefined: ask the SDK. Rejects only when `query.signal` is aborted. */
  page(query: ListQuery): Promise<ListedPage | undefined>;
  close(): Promise<void>;
}

export function makeLeanList(options: {
  endpoint: BucketEndpoint;
  signed: boolean;
  provider: CredentialProvider;
  timeouts: OriginTimeouts;
  /** Waited for before each request. */
  admit?: (signal?: AbortSignal) => Promise<void>;
}): LeanList {
  const { endpoint, signed, provider, timeouts, admit } = options;
  const scheme = endpoint.tls ? 'https' : 'http';
  const host = endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host;
  const pool = new Pool(`${scheme}://${host}:${endpoint.port}`, {
    connections: connectionsMax,
    pipelining: 1,
    headersTimeout: timeouts.firstByteMs,
    bodyTimeout: timeouts.stallMs,
    connect: { timeout: timeouts.connectMs, ...(endpoint.caPem !== undefined && { ca: endpoint.caPem }) },
  });
  const signer = makeSigner({ region: endpoint.region, hostHeader: endpoint.hostHeader });
  let signsFor: Identity | undefined;
  const path = `${endpoint.pathPrefix}/`;

  const headersOf = async (query: string): Promise<string[]> => {
    const headers = ['host', endpoint.hostHeader, 'user-agent', 'primed'];
    if (!signed) return headers;
    const identity = await provider();
    if (identity.accessKeyId !== signsFor?.accessKeyId || identity.sessionToken !== signsFor?.sessionToken) {
      signer.setCredentials(identity);
      signsFor = identity;
    }
    for (const line of signer.sign(path, query).split('\r\n')) {
      const colon = line.indexOf(': ');
      if (colon > 0) headers.push(line.slice(0, colon), line.slice(colon + 2));
    }
    return headers;
  };

  return {
    async page(query) {
      const search = searchOf(query);
      try {
        await admit?.(query.signal);
        const { statusCode, body } = await pool.request({
          method: 'GET',
          path: `${path}?${search}`,
          headers: await headersOf(search),
          ...(query.signal !== undefined && { signal: query.signal }),
        });
        if (statusCode !== 200) {
          await body.dump(); // the SDK asks again, and makes an error of it
          return undefined;
        }
        const chunks: Uint8Array[] = [];
        let bytes = 0;
        for await (const chunk of body) {
          bytes += (chunk as Uint8Array).length;
          if (bytes > pageBytesMax) return undefined; // leaving the loop destroys the body
          chunks.push(chunk as Uint8Array);
        }
        return scanListing(Buffer.concat(chunks).toString('utf8'));
      } catch (error) {
        if (query.signal?.aborted === true) throw error;
        return undefined;
      }
    },
    close: () => pool.destroy(),
  };
}

/** In the order that the signature wants: by name. */
function searchOf({ token, maxKeys, prefix, startAfter }: ListQuery): string {
  return (
    (token === undefined ? '' : `continuation-token=${encodeQueryValue(token)}&`) +
    `encoding-type=url&list-type=2&max-keys=${maxKeys}&prefix=${encodeQueryValue(prefix)}` +
    (startAfter === undefined ? '' : `&start-after=${encodeQueryValue(startAfter)}`)
  );
}
