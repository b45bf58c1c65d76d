/** `/v1/ufsInfo`: which buckets there are, and where the S3 port has them. Never how they are paid for or opened. */
import type { ReadableFiles } from '../../cluster/reading/files.ts';
import { bucketsOf } from '../s3/bucket.ts';
import type { UfsInfo } from './index.ts';

export interface UfsPlace {
  /** As it is configured: `s3://`, `s3://bucket/`, `s3://bucket/dir`. */
  readonly prefix: string;
  readonly endpoint?: string;
}

/** Buckets that are configured, and those of which anything is cached; `file://` is not on the S3 port. Rejects with PEER_FAILED. */
export async function ufsInfoOf(
  files: ReadableFiles,
  configured: readonly UfsPlace[],
): Promise<Readonly<Record<string, UfsInfo>>> {
  const named = configured.flatMap(({ prefix }) => /^s3:\/\/([^/]+)/.exec(prefix)?.[1] ?? []);
  const buckets = [...new Set([...named, ...(await bucketsOf(files))])].sort();
  return Object.fromEntries(
    buckets.map((bucket) => {
      const endpoint = endpointOf(`s3://${bucket}/`, configured);
      return [`s3://${bucket}/`, { alluxio_path: `/${bucket}`, ...(endpoint === undefined ? {} : { endpoint }) }];
    }),
  );
}

/** Of the entry of the whole bucket, else of all buckets, else of the first that is about a part of it. */
function endpointOf(root: string, configured: readonly UfsPlace[]): string | undefined {
  const slashed = configured.map(({ prefix, endpoint }) => ({
    prefix: prefix.endsWith('/') ? prefix : `${prefix}/`,
    endpoint,
  }));
  const entry =
    slashed.find(({ prefix }) => prefix === root) ??
    slashed.find(({ prefix }) => prefix === 's3://') ??
    slashed.find(({ prefix }) => prefix.startsWith(root));
  return entry?.endpoint === undefined ? undefined : withoutCredentials(entry.endpoint);
}

function withoutCredentials(endpoint: string): string {
  const url = new URL(endpoint);
  if (url.username === '' && url.password === '') return endpoint;
  return `${url.protocol}//${url.host}${url.pathname}`;
}
