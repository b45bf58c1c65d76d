/** `x-amz-copy-source`: `[/]bucket/key[?versionId=…]`, percent-encoded. */
import type { UfsPath } from '../../core/types.ts';
import { parseAddress } from './address.ts';
import { S3Error } from './errors.ts';
import { encodeKey } from './signing.ts';

export interface CopySource {
  readonly path: UfsPath;
  /** As the origin is told. */
  readonly header: string;
}

/** Throws S3Error InvalidArgument. */
export function copySourceOf(written: string): CopySource {
  const { bucket, key, query } = parseAddress(written.startsWith('/') ? written : `/${written}`);
  if (bucket === '' || key === '')
    throw new S3Error('InvalidArgument', 'x-amz-copy-source must name a bucket and a key.');
  const versionId = query.get('versionId');
  const version = versionId === undefined ? '' : `?versionId=${encodeURIComponent(versionId)}`;
  return { path: `s3://${bucket}/${key}` as UfsPath, header: `/${bucket}/${encodeKey(key)}${version}` };
}
