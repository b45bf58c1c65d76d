/** ListObjectsV2 by our own signed GET; whatever is not a plain 200 of the usual shape is left to the SDK. */
import { type LeanOptions, makeLeanRequests } from './lean-request.ts';
import { scanListing } from './list-scan.ts';
import type { ListedPage, ListQuery } from './listed.ts';
import { encodeQueryValue } from './signer.ts';

/** A page of 1,000 keys of 1,024 bytes, each byte escaped, has about 7 MiB. */
const pageBytesMax = 16 * 1024 * 1024;
/** Listings at once on one bucket; more wait. */
const connectionsMax = 16;

export interface LeanList {
  /** Undefined: ask the SDK. Rejects only when `query.signal` is aborted. */
  page(query: ListQuery): Promise<ListedPage | undefined>;
  close(): Promise<void>;
}

export function makeLeanList(options: LeanOptions): LeanList {
  const requests = makeLeanRequests(options, connectionsMax);
  return {
    async page(query) {
      try {
        const { statusCode, body } = await requests.send({
          ...{ operation: 'LIST', path: '/', search: searchOf(query) },
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
    close: () => requests.close(),
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
