/** The embedded origin for tests: a small dataset, environment for clients, and the comparison of what was served. */
import { type _Object, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { expect } from 'vitest';
import type { ManifestEntry, UfsPath } from '../../src/core/types.ts';
import { KiB, MiB } from '../../src/core/units.ts';
import type { EmbeddedOrigin, OriginOptions } from '../../src/demo/origin/api.ts';
import { firstDifference } from '../../src/demo/origin/content.ts';
import type { ObjectSpec } from '../../src/demo/origin/objects.ts';
import { startOrigin } from '../../src/demo/origin/server.ts';

/** Sizes around every border that the path of a byte has: nothing, one byte, alignment, page, part, segment. */
export const smallDataset: readonly ObjectSpec[] = [
  { key: 'data/empty.bin', sizeBytes: 0 },
  { key: 'data/one.bin', sizeBytes: 1 },
  { key: 'data/below-align.bin', sizeBytes: 4095 },
  { key: 'data/align.bin', sizeBytes: 4096 },
  { key: 'data/small.bin', sizeBytes: 16 * KiB },
  { key: 'data/page.bin', sizeBytes: MiB },
  { key: 'data/above-page.bin', sizeBytes: MiB + 1 },
  { key: 'data/part.bin', sizeBytes: 8 * MiB },
  { key: 'data/odd.bin', sizeBytes: 9 * MiB + 4097 },
  { key: 'data/large.bin', sizeBytes: 80 * MiB + 12_345 },
  { key: 'data/sub/plus+and space.bin', sizeBytes: 5000 },
  { key: 'data/sub/percent%41 größe 数据 🚀.bin', sizeBytes: 70_000 },
];

export const testCredentials = { accessKeyId: 'AKIDTEST', secretAccessKey: 'a/secret+of=the tests' } as const;

/** An origin in this process with `smallDataset` (or what `options` say), and the credentials above. */
export function startTestOrigin(options: OriginOptions = {}): Promise<EmbeddedOrigin> {
  return startOrigin({ objects: smallDataset, credentials: [testCredentials], ...options });
}

/** Environment with which the AWS SDK and CLI find the origin. */
export function originEnvironment(origin: { endpoint: string }): Record<string, string> {
  return {
    AWS_ENDPOINT_URL: origin.endpoint,
    AWS_REGION: 'us-east-1',
    AWS_DEFAULT_REGION: 'us-east-1',
    AWS_ACCESS_KEY_ID: testCredentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: testCredentials.secretAccessKey,
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  };
}

/** What the origin lists below a prefix of its bucket, on one page: for a test, the truth about sizes and versions. */
export async function listedBy(
  { endpoint, bucket }: { readonly endpoint: string; readonly bucket: string },
  prefix: string,
  credentials: { readonly accessKeyId: string; readonly secretAccessKey: string } = testCredentials,
): Promise<ManifestEntry[]> {
  const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials });
  const { Contents = [] } = await client.send(new ListObjectsV2Command({ Bucket: bucket, Prefix: prefix }));
  client.destroy();
  return Contents.map((one) => manifestEntry(bucket, one));
}

/** A row of an S3 listing as the manifest has it. */
export function manifestEntry(bucket: string, { Key, ETag, Size, LastModified }: _Object): ManifestEntry {
  return {
    path: `s3://${bucket}/${Key}` as UfsPath,
    etag: ETag!.replaceAll('"', ''),
    sizeBytes: Size!,
    lastModifiedMs: LastModified!.getTime(),
  };
}

/** Fails, naming the first wrong byte, unless `bytes` are the content of the object from `offset` on. */
export function expectContent(
  bytes: Uint8Array,
  object: ObjectSpec,
  offset = 0,
  length = object.sizeBytes - offset,
): void {
  expect(bytes.length, `length served of ${object.key} from ${offset}`).toBe(length);
  const at = firstDifference(object.key, object.version ?? 1, offset, bytes);
  expect(at, `first wrong byte of ${object.key}`).toBeUndefined();
}
