/** What readers of what is not cached ask of one bucket, through the AWS SDK: a range of a version, and a level of keys. */
import { GetObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { PrimedError } from '../core/errors.ts';
import type { ByteRange, ManifestEntry, UfsPath } from '../core/types.ts';
import { bareEtag } from './answer.ts';
import type { Bucket } from './aws.ts';
import { errorOfFailure } from './failure.ts';
import { decodeListedKey } from './listed.ts';
import type { OriginLevel } from './types.ts';

export interface RangeOfObject {
  readonly bucket: string;
  readonly key: string;
  readonly version: ManifestEntry;
  readonly range: ByteRange;
}

/** Exactly the bytes of the range, of exactly that version. */
export async function* rangeBySdk(
  bucket: Bucket,
  { bucket: name, key, version, range }: RangeOfObject,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const { path, etag, versionId } = version;
  const { offset, length } = range;
  const output = await bucket.client
    .send(
      new GetObjectCommand({
        ...{ Bucket: name, Key: key, IfMatch: `"${etag}"` },
        Range: `bytes=${offset}-${offset + length - 1}`,
        ...(versionId === undefined ? {} : { VersionId: versionId }),
      }),
      signal === undefined ? {} : { abortSignal: signal },
    )
    .catch((error: unknown) => {
      if ((error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode !== 412) throw error;
      throw new PrimedError('ORIGIN_CHANGED', `${path}: the origin has another version than ${etag}`, { path });
    });
  const body = output.Body as unknown as AsyncIterable<Uint8Array> & { destroy?(): void };
  const answered = `${output.ContentRange} of ${output.ETag}`;
  if (output.ContentLength !== length || bareEtag(output.ETag ?? '') !== etag || !isRange(output.ContentRange, range)) {
    body.destroy?.();
    throw errorOfFailure({ cause: 'range', message: `the answer is ${answered}, not what was asked for` }, path);
  }
  let receivedBytes = 0;
  for await (const chunk of body) {
    receivedBytes += chunk.length;
    yield chunk;
  }
  if (receivedBytes !== length) {
    const message = `the body ended after ${receivedBytes} of ${length} B`;
    throw errorOfFailure({ cause: 'short', message }, path);
  }
}

function isRange(header: string | undefined, { offset, length }: ByteRange): boolean {
  // A server that ignores ranges is right where the range is the whole object.
  if (header === undefined) return offset === 0;
  return header.startsWith(`bytes ${offset}-${offset + length - 1}/`);
}

/** The greatest character: behind a prefix, it stands after all keys that begin with it. */
const lastCharacter = '\u{10ffff}';

export async function levelBySdk(
  bucket: Bucket,
  name: string,
  order: { readonly prefix: string; readonly delimiter: string; readonly after: string; readonly maxKeys: number },
): Promise<OriginLevel> {
  const { prefix, delimiter, after, maxKeys } = order;
  // To S3 a prefix that was given already stands before its own keys, and would be given again.
  const isGiven = delimiter !== '' && after.endsWith(delimiter) && after.length > prefix.length;
  const output = await bucket.client.send(
    new ListObjectsV2Command({
      ...{ Bucket: name, Prefix: prefix, MaxKeys: maxKeys, EncodingType: 'url' },
      ...(delimiter === '' ? {} : { Delimiter: delimiter }),
      ...(after === '' ? {} : { StartAfter: isGiven ? after + lastCharacter : after }),
    }),
  );
  if (output.IsTruncated === undefined) {
    const message = 'the answer is no S3 listing: the endpoint, or a proxy before it, is not an S3 server';
    throw errorOfFailure({ cause: 'protocol', message }, `s3://${name}/${prefix}`);
  }
  const plain = (written: string): string => (output.EncodingType === 'url' ? decodeListedKey(written) : written);
  return {
    entries: (output.Contents ?? []).map((object) => ({
      path: `s3://${name}/${plain(object.Key ?? '')}` as UfsPath,
      etag: bareEtag(object.ETag ?? ''),
      sizeBytes: object.Size ?? 0,
      lastModifiedMs: object.LastModified?.getTime() ?? 0,
    })),
    prefixes: (output.CommonPrefixes ?? []).map((one) => plain(one.Prefix ?? '')),
    truncated: output.IsTruncated,
  };
}
