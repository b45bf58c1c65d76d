/** List, head and read of one bucket through the AWS SDK. */
import type { Readable } from 'node:stream';
import {
  GetObjectCommand,
  HeadObjectCommand,
  type HeadObjectCommandOutput,
  ListObjectsV2Command,
} from '@aws-sdk/client-s3';
import { PrimedError } from '../core/errors.ts';
import type { UfsPath } from '../core/types.ts';
import { bareEtag } from './answer.ts';
import type { Bucket } from './aws.ts';
import { errorOfFailure } from './failure.ts';
import { decodeListedKey, type ListedPage, type ListQuery } from './listed.ts';
import { attributesOfOutput } from './sdk-attributes.ts';
import { failureOfSdk } from './sdk-failure.ts';
import type { ObjectDetails } from './types.ts';

/** A PrimedError for whatever the SDK threw, about `path`; aborts pass through as they are. */
export function originError(error: unknown, path: string): Error {
  if (error instanceof PrimedError) return error;
  if (error instanceof Error && error.name === 'AbortError') return error;
  return errorOfFailure(failureOfSdk(error), path, { cause: error });
}

export async function listBySdk(bucket: Bucket, name: string, query: ListQuery): Promise<ListedPage> {
  const output = await bucket.client.send(
    new ListObjectsV2Command({
      Bucket: name,
      Prefix: query.prefix,
      MaxKeys: query.maxKeys,
      EncodingType: 'url', // XML cannot carry every key
      ...(query.token !== undefined && { ContinuationToken: query.token }),
      ...(query.startAfter !== undefined && { StartAfter: query.startAfter }),
    }),
    query.signal === undefined ? {} : { abortSignal: query.signal },
  );
  // Of a body that is no listing the SDK makes an empty one: the last page, and a load that has nothing to do.
  if (output.IsTruncated === undefined) throw notS3('list', `s3://${name}/${query.prefix}`, output.$metadata);
  const encoded = output.EncodingType === 'url';
  return {
    objects: (output.Contents ?? []).map((object) => ({
      key: encoded ? decodeListedKey(object.Key ?? '') : (object.Key ?? ''),
      sizeBytes: object.Size ?? 0,
      etag: bareEtag(object.ETag ?? ''),
      lastModifiedMs: object.LastModified?.getTime() ?? 0,
    })),
    truncated: output.IsTruncated === true,
    ...(output.NextContinuationToken !== undefined && { nextToken: output.NextContinuationToken }),
  };
}

export async function headBySdk(
  bucket: Bucket,
  name: string,
  key: string,
  path: UfsPath,
  signal?: AbortSignal,
): Promise<ObjectDetails> {
  const command = new HeadObjectCommand({ Bucket: name, Key: key, ChecksumMode: 'ENABLED' });
  const options = signal === undefined ? {} : { abortSignal: signal };
  const output = await bucket.client.send(command, options).catch(async (error: unknown) => {
    throw await refusalWithReason(error, bucket, firstByteOf(name, key));
  });
  // Without them there is no version to hold the bytes to, and no telling when they are whole.
  const { ETag, ContentLength } = output;
  if (ETag === undefined || ContentLength === undefined) throw notS3('head', path, output.$metadata);
  return {
    path,
    etag: bareEtag(ETag),
    sizeBytes: ContentLength,
    lastModifiedMs: output.LastModified?.getTime() ?? 0,
    ...(output.VersionId !== undefined && output.VersionId !== 'null' && { versionId: output.VersionId }),
    ...(output.ContentType !== undefined && { contentType: output.ContentType }),
    attributes: attributesOfOutput(output),
    ...(sealedByKey(output) && { etagIsMd5: false }),
    checksums: wholeObjectChecksums(output),
  };
}

/** Of an object that a HEAD has called absent: rejects with the reason. Resolves where it is there all the same. */
export async function whyAbsent(bucket: Bucket, name: string, key: string, signal?: AbortSignal): Promise<void> {
  const options = signal === undefined ? {} : { abortSignal: signal };
  try {
    const { Body } = await bucket.client.send(firstByteOf(name, key), options);
    (Body as Readable | undefined)?.destroy();
  } catch (error) {
    // An object without bytes has no first one.
    if (failureOfSdk(error).httpStatus !== 416) throw error;
  }
}

function firstByteOf(name: string, key: string): GetObjectCommand {
  return new GetObjectCommand({ Bucket: name, Key: key, Range: 'bytes=0-0' });
}

/** A success that no S3 server sends: a web server, a login page of a proxy. */
function notS3(asked: 'list' | 'head', path: string, answer: { httpStatusCode?: number }): PrimedError {
  const missing = asked === 'list' ? 'is no S3 listing' : 'has no ETag or no length';
  return errorOfFailure(
    {
      cause: 'protocol',
      message: `the answer ${missing}: the endpoint, or a proxy before it, is not an S3 server`,
      ...(answer.httpStatusCode !== undefined && { httpStatus: answer.httpStatusCode }),
    },
    path,
  );
}

/** A HEAD that is refused has no body: S3's code and words are in the answer to a GET of the same object. */
async function refusalWithReason(error: unknown, bucket: Bucket, get: GetObjectCommand): Promise<unknown> {
  const { httpStatus = 0, s3Code } = failureOfSdk(error);
  if (httpStatus < 400 || httpStatus >= 500 || s3Code !== undefined) return error;
  try {
    const { Body } = await bucket.client.send(get);
    (Body as Readable | undefined)?.destroy();
    return error;
  } catch (reason) {
    return failureOfSdk(reason).httpStatus === httpStatus ? reason : error;
  }
}

/** With a KMS key (`aws:kms`, `aws:kms:dsse`) or one of the customer's the ETag is not the MD5 of the bytes. */
function sealedByKey({ ServerSideEncryption, SSECustomerAlgorithm }: HeadObjectCommandOutput): boolean {
  return ServerSideEncryption?.startsWith('aws:kms') === true || SSECustomerAlgorithm !== undefined;
}

/** Checksums of checksums (COMPOSITE, `…-3`) say nothing about the bytes as a whole. */
function wholeObjectChecksums(output: HeadObjectCommandOutput): ObjectDetails['checksums'] {
  if (output.ChecksumType !== 'FULL_OBJECT') return {};
  const { ChecksumCRC64NVME, ChecksumCRC32C, ChecksumCRC32, ChecksumSHA256, ChecksumSHA1 } = output;
  return {
    ...(ChecksumCRC64NVME !== undefined && { crc64nvme: ChecksumCRC64NVME }),
    ...(ChecksumCRC32C !== undefined && { crc32c: ChecksumCRC32C }),
    ...(ChecksumCRC32 !== undefined && { crc32: ChecksumCRC32 }),
    ...(ChecksumSHA256 !== undefined && { sha256: ChecksumSHA256 }),
    ...(ChecksumSHA1 !== undefined && { sha1: ChecksumSHA1 }),
  };
}

export async function* readBySdk(
  bucket: Bucket,
  name: string,
  key: string,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  const output = await bucket.client.send(
    new GetObjectCommand({ Bucket: name, Key: key }),
    signal === undefined ? {} : { abortSignal: signal },
  );
  const body = output.Body as unknown as AsyncIterable<Uint8Array>;
  let readBytes = 0;
  for await (const chunk of body) {
    readBytes += chunk.length;
    yield chunk;
  }
  if (output.ContentLength !== undefined && readBytes !== output.ContentLength) {
    throw errorOfFailure(
      { cause: 'short', message: `the body ended after ${readBytes} of ${output.ContentLength} B` },
      `s3://${name}/${key}`,
    );
  }
}
