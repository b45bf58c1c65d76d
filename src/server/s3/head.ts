/**
 * The head of an answer about one object: status and headers, decided from the request's headers and query and from what
 * is known of the object. Knows no server: the same for whoever writes it.
 */
import type { ByteRange, ObjectVersion } from '../../core/types.ts';
import { judge, type RequestHeaders } from './conditions.ts';
import { S3Error } from './errors.ts';

export interface ObjectHead {
  readonly status: 200 | 206 | 304;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** What the body is; undefined: the answer has none, to a GET neither. */
  readonly range: ByteRange | undefined;
}

/** Of a cached version. Throws S3Error PreconditionFailed, InvalidRange, InvalidPartNumber, NoSuchVersion. */
export function headOf(
  record: ObjectVersion,
  requestHeaders: RequestHeaders,
  query: ReadonlyMap<string, string>,
): ObjectHead {
  refuseOtherVersion(record, query);
  const partNumber = query.get('partNumber') ?? '';
  if (partNumber !== '' && partNumber !== '1') {
    throw new S3Error('InvalidPartNumber', 'The cache keeps objects whole: the only part is 1.');
  }
  const verdict = judge(requestHeaders, record);
  const headers = versionHeaders(record);
  if (verdict.kind === 'not-modified') return { status: 304, headers, range: undefined };
  if (verdict.kind === 'precondition-failed') {
    throw new S3Error('PreconditionFailed', 'At least one of the pre-conditions you specified did not hold', {
      details: { Condition: verdict.condition },
    });
  }
  if (verdict.kind === 'range-not-satisfiable') {
    throw new S3Error('InvalidRange', 'The requested range is not satisfiable', {
      details: { RangeRequested: verdict.asked, ActualObjectSize: String(record.sizeBytes) },
      headers: { 'content-range': `bytes */${record.sizeBytes}` },
    });
  }
  const range = verdict.kind === 'part' ? verdict.range : { offset: 0, length: record.sizeBytes };
  headers['content-type'] = 'application/octet-stream';
  headers['content-length'] = String(range.length);
  // An empty object has no byte range to name, so that its part 1 is plain 200.
  const partial = verdict.kind === 'part' || (partNumber !== '' && record.sizeBytes > 0);
  if (!partial) return { status: 200, headers, range };
  headers['content-range'] = `bytes ${range.offset}-${range.offset + range.length - 1}/${record.sizeBytes}`;
  return { status: 206, headers, range };
}

/** A cache keeps one version of a key. */
function refuseOtherVersion(record: ObjectVersion, query: ReadonlyMap<string, string>): void {
  const version = query.get('versionId') ?? '';
  if (version === '' || version === (record.versionId ?? 'null')) return;
  throw new S3Error('NoSuchVersion', 'The specified version is not the one in the cache.', {
    details: { VersionId: version },
  });
}

function versionHeaders(record: ObjectVersion): Record<string, string> {
  const headers: Record<string, string> = {
    etag: `"${record.etag}"`,
    'last-modified': new Date(record.lastModifiedMs).toUTCString(),
    'accept-ranges': 'bytes',
  };
  if (record.versionId !== undefined) headers['x-amz-version-id'] = record.versionId;
  return headers;
}
