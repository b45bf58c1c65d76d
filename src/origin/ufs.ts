/** Which paths belong to which configured origin, and what they are called there. */
import { PrimedError } from '../core/errors.ts';
import type { UfsPath } from '../core/types.ts';

/** One configured UFS. The most specific prefix that a path starts with decides. */
export interface UfsEntry {
  /** `s3://bucket/`, `s3://` (every bucket) or `file:///root/`. */
  readonly prefix: string;
  readonly endpoint?: string;
  readonly region?: string;
  /** Bucket in the path (true) or in the host name; undefined: in the path unless the endpoint is Amazon's. */
  readonly pathStyle?: boolean;
  /** Requests go unsigned. */
  readonly anonymous?: boolean;
  readonly accessKeyId?: string;
  readonly secretAccessKey?: string;
  /** Of the shared AWS configuration files. */
  readonly profile?: string;
  /** PEM bundle to trust for this endpoint. */
  readonly caFile?: string;
}

export type Located =
  | {
      readonly kind: 's3';
      readonly path: UfsPath;
      readonly bucket: string;
      readonly key: string;
      readonly entry: UfsEntry;
    }
  | {
      readonly kind: 'file';
      readonly path: UfsPath;
      readonly root: string;
      readonly key: string;
      readonly entry: UfsEntry;
    };

/** S3 keys are at most 1,024 bytes; paths of Linux at most 4,096. */
const keyBytesMax = 1024;
const filePathBytesMax = 4095;
// What AWS allows, and what older buckets and other servers have besides: upper case and underscores.
const bucketName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$/;
const loneSurrogate = /\p{Surrogate}/u;

function invalid(path: string, why: string): PrimedError {
  return new PrimedError('PATH_INVALID', `${path}: ${why}`, { path });
}

/** Where a path lies. Throws PATH_INVALID when it is malformed or below no configured origin. */
export function locate(path: string, entries: readonly UfsEntry[]): Located {
  if (path.startsWith('s3://')) return locateS3(path, entries);
  if (path.startsWith('file://')) return locateFile(path, entries);
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(path)?.[1];
  throw invalid(
    path,
    scheme === undefined
      ? 'a path starts with s3:// or file://'
      : `the scheme ${scheme}:// is not served; use s3:// or file://`,
  );
}

function locateS3(path: string, entries: readonly UfsEntry[]): Located {
  const rest = path.slice('s3://'.length);
  const slash = rest.indexOf('/');
  const bucket = slash < 0 ? rest : rest.slice(0, slash);
  const key = slash < 0 ? '' : rest.slice(slash + 1);
  if (!bucketName.test(bucket)) throw invalid(path, `'${bucket}' is no bucket name`);
  if (Buffer.byteLength(key) > keyBytesMax) throw invalid(path, `the key is longer than ${keyBytesMax} bytes`);
  if (key.includes('\0')) throw invalid(path, 'the key contains a NUL');
  if (loneSurrogate.test(key)) throw invalid(path, 'the key is not valid Unicode');
  const normal = `s3://${bucket}/${key}`;
  return { kind: 's3', path: normal as UfsPath, bucket, key, entry: entryOf(normal, entries) ?? { prefix: 's3://' } };
}

function locateFile(path: string, entries: readonly UfsEntry[]): Located {
  const raw = path.slice('file://'.length);
  if (!raw.startsWith('/')) throw invalid(path, 'a file path is written file:///absolute/path, without a host');
  if (raw.includes('\0')) throw invalid(path, 'the path contains a NUL');
  if (loneSurrogate.test(raw)) throw invalid(path, 'the path is not valid Unicode');
  if (Buffer.byteLength(raw) > filePathBytesMax)
    throw invalid(path, `the path is longer than ${filePathBytesMax} bytes`);
  const segments = raw.split('/');
  if (segments.includes('..')) throw invalid(path, "'..' is not allowed in a path");
  const clean = segments.filter((segment) => segment !== '' && segment !== '.').join('/');
  const isFolder = /\/\.?$/.test(raw);
  const absolute = `/${clean}${isFolder && clean !== '' ? '/' : ''}`;
  const normal = `file://${absolute}`;
  // The root itself may be named without its trailing slash.
  const entry = entryOf(normal, entries) ?? entryOf(`${normal}/`, entries);
  if (entry === undefined) {
    const roots = entries.filter((e) => e.prefix.startsWith('file://')).map((e) => e.prefix);
    throw invalid(
      path,
      roots.length === 0
        ? 'no folder is open to loads: the configuration has no [[ufs]] with prefix = "file:///dir"'
        : `it lies below none of the configured roots (${roots.join(', ')})`,
    );
  }
  const root = withSlash(entry.prefix.slice('file://'.length));
  const key = absolute.startsWith(root) ? absolute.slice(root.length) : '';
  return { kind: 'file', path: normal as UfsPath, root: root === '/' ? '/' : root.slice(0, -1), key, entry };
}

function entryOf(path: string, entries: readonly UfsEntry[]): UfsEntry | undefined {
  let best: UfsEntry | undefined;
  for (const entry of entries) {
    const prefix = entry.prefix === 's3://' ? entry.prefix : withSlash(entry.prefix);
    if (path.startsWith(prefix) && prefix.length > (best?.prefix.length ?? -1)) best = entry;
  }
  return best;
}

function withSlash(text: string): string {
  return text.endsWith('/') ? text : `${text}/`;
}
