/** HeadObject by our own signed HEAD; whatever is not a plain 200 of the usual shape is left to the SDK. */
import { attributesOf, type Checksums } from '../core/attributes.ts';
import type { UfsPath } from '../core/types.ts';
import { bareEtag } from './answer.ts';
import { type LeanOptions, makeLeanRequests } from './lean-request.ts';
import { encodeKey } from './signer.ts';
import type { ObjectDetails } from './types.ts';

/** Readers wait for them, each for one; as many as the SDK has. */
const connectionsMax = 64;

type Headers = Readonly<Record<string, string | string[] | undefined>>;

export interface LeanHead {
  /** `absent`: 404, for whatever reason. Undefined: ask the SDK. Rejects only when `signal` is aborted. */
  head(key: string, path: UfsPath, signal?: AbortSignal): Promise<ObjectDetails | 'absent' | undefined>;
  close(): Promise<void>;
}

export function makeLeanHead(options: LeanOptions): LeanHead {
  const requests = makeLeanRequests(options, connectionsMax);
  return {
    async head(key, path, signal) {
      try {
        const { statusCode, headers, body } = await requests.send({
          ...{ operation: 'HEAD', path: `/${encodeKey(key)}`, checksums: true },
          ...(signal !== undefined && { signal }),
        });
        await body.dump();
        if (statusCode === 404) return 'absent';
        return statusCode === 200 ? detailsOf(headers, path) : undefined;
      } catch (error) {
        if (signal?.aborted === true) throw error;
        return undefined;
      }
    },
    close: () => requests.close(),
  };
}

/** Undefined: a header that matters is missing, there twice, or no such thing. */
export function detailsOf(headers: Headers, path: UfsPath): ObjectDetails | undefined {
  const matter = ['etag', 'content-length', 'last-modified', 'content-type', versionHeader, 'expires'];
  if (matter.some((name) => Array.isArray(headers[name]))) return undefined;
  const etag = textOf(headers, 'etag');
  const length = textOf(headers, 'content-length');
  if (etag === undefined || length === undefined || !/^\d{1,15}$/.test(length)) return undefined;
  const modified = textOf(headers, 'last-modified');
  const lastModifiedMs = modified === undefined ? 0 : Date.parse(modified);
  if (Number.isNaN(lastModifiedMs)) return undefined;
  const contentType = textOf(headers, 'content-type');
  const { [versionHeader]: _, ...others } = headers;
  const said = textOf(headers, versionHeader);
  const versionId = said === 'null' || said === '' ? undefined : said;
  return {
    ...{ path, etag: bareEtag(etag), sizeBytes: Number(length), lastModifiedMs },
    ...(versionId !== undefined && { versionId }),
    ...(contentType !== undefined && { contentType }),
    attributes: attributesOf(versionId === undefined ? others : headers),
    ...(isSealedByKey(headers) && { etagIsMd5: false }),
    checksums: textOf(headers, 'x-amz-checksum-type') === 'FULL_OBJECT' ? checksumsOf(headers) : {},
  };
}

const versionHeader = 'x-amz-version-id';
const checksumPrefix = 'x-amz-checksum-';

function checksumsOf(headers: Headers): Checksums {
  const kinds = ['crc64nvme', 'crc32c', 'crc32', 'sha256', 'sha1'] as const;
  const told = kinds.map((kind) => [kind, textOf(headers, checksumPrefix + kind)] as const);
  return Object.fromEntries(told.filter(([, sum]) => sum !== undefined));
}

/** With a KMS key (`aws:kms`, `aws:kms:dsse`) or one of the customer's the ETag is not the MD5 of the bytes. */
function isSealedByKey(headers: Headers): boolean {
  const encryption = 'x-amz-server-side-encryption';
  return (
    textOf(headers, encryption)?.startsWith('aws:kms') === true ||
    textOf(headers, `${encryption}-customer-algorithm`) !== undefined
  );
}

function textOf(headers: Headers, name: string): string | undefined {
  const value = headers[name];
  return typeof value === 'string' ? value : undefined;
}
