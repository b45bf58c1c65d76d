/** Where a part of an object that was uploaded in parts lies, as its bucket says, through the AWS SDK. */
import { HeadObjectCommand } from '@aws-sdk/client-s3';
import type { ManifestEntry, ObjectPart } from '../core/types.ts';
import { bareEtag } from './answer.ts';
import type { Bucket } from './aws.ts';

/** Undefined: the bucket does not say, or has another version by now. */
export async function partBySdk(
  bucket: Bucket,
  of: { readonly bucket: string; readonly key: string; readonly version: ManifestEntry; readonly number: number },
  signal?: AbortSignal,
): Promise<ObjectPart | undefined> {
  const { etag, sizeBytes, versionId } = of.version;
  const command = new HeadObjectCommand({
    ...{ Bucket: of.bucket, Key: of.key, PartNumber: of.number, IfMatch: `"${etag}"` },
    ...(versionId === undefined ? {} : { VersionId: versionId }),
  });
  try {
    const output = await bucket.client.send(command, signal === undefined ? {} : { abortSignal: signal });
    const [, first, last, total] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(output.ContentRange ?? '') ?? [];
    const range = { offset: Number(first), length: Number(last) - Number(first) + 1 };
    const { PartsCount: parts, ETag } = output;
    // A server that does not know the parameter answers for the whole object.
    if (
      parts === undefined ||
      !(parts >= of.number) ||
      first === undefined ||
      Number(total) !== sizeBytes ||
      bareEtag(ETag ?? '') !== etag
    )
      return undefined;
    const isPart =
      range.length > 0 && range.offset + range.length <= sizeBytes && range.length === output.ContentLength;
    return isPart ? { range, parts } : undefined;
  } catch (error) {
    const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode;
    // Another version; none at all; no such part.
    if (status === 412 || status === 404 || status === 416) return undefined;
    throw error;
  }
}
