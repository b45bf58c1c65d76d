/** What belongs to an object, of an answer that the AWS SDK has taken apart. */
import type { GetObjectCommandOutput, HeadObjectCommandOutput } from '@aws-sdk/client-s3';
import { attributesOf } from '../core/attributes.ts';

export function attributesOfOutput(output: GetObjectCommandOutput | HeadObjectCommandOutput): string {
  // With a part of an object the checksum is that of the part, if anything.
  const isWhole = output.ContentRange === undefined;
  const { VersionId, MissingMeta, Metadata = {} } = output;
  return attributesOf({
    'content-type': output.ContentType,
    'content-encoding': output.ContentEncoding,
    'content-language': output.ContentLanguage,
    'content-disposition': output.ContentDisposition,
    'cache-control': output.CacheControl,
    expires: output.ExpiresString,
    'x-amz-version-id': VersionId === 'null' ? undefined : VersionId,
    'x-amz-missing-meta': MissingMeta === undefined ? undefined : String(MissingMeta),
    ...(isWhole && {
      'x-amz-checksum-crc64nvme': output.ChecksumCRC64NVME,
      'x-amz-checksum-crc32c': output.ChecksumCRC32C,
      'x-amz-checksum-crc32': output.ChecksumCRC32,
      'x-amz-checksum-sha1': output.ChecksumSHA1,
      'x-amz-checksum-sha256': output.ChecksumSHA256,
    }),
    ...Object.fromEntries(Object.entries(Metadata).map(([name, value]) => [`x-amz-meta-${name}`, value])),
  });
}
