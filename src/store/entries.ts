/** What a store takes of an origin's word on an object, and which loads may go on with what another one has stored of it. */
import { PrimedError } from '../core/errors.ts';
import { type LoadId, type ManifestEntry, sameVersion } from '../core/types.ts';
import { maxPathBytes } from './index-db.ts';

/** S3's limit of a version id; its ETags are far shorter. */
const maxTagBytes = 1024;

export function mayReuse(
  found: ManifestEntry,
  foundLoad: LoadId,
  { entry, load, reuse }: { entry: ManifestEntry; load: LoadId; reuse: 'any' | 'load' },
): boolean {
  return sameVersion(found, entry) && (reuse === 'any' || foundLoad === load);
}

/**
 * What an origin says of an object is checked before anything is queued: a record that cannot be encoded would end the
 * whole commit, and the store with it.
 */
export function checkEntry({ path, etag, sizeBytes, versionId }: ManifestEntry): void {
  const bytes = Buffer.byteLength(path);
  if (bytes === 0 || bytes > maxPathBytes) {
    throw new PrimedError(
      'PATH_INVALID',
      `a path of ${bytes} bytes cannot be cached: at most ${maxPathBytes} (${path.slice(0, 100)}...)`,
      { bytes, maxPathBytes },
    );
  }
  const wrong =
    Buffer.byteLength(etag) > maxTagBytes
      ? `an ETag of ${Buffer.byteLength(etag)} bytes`
      : Buffer.byteLength(versionId ?? '') > maxTagBytes
        ? `a version id of ${Buffer.byteLength(versionId ?? '')} bytes`
        : !Number.isSafeInteger(sizeBytes) || sizeBytes < 0
          ? `a size of ${sizeBytes} bytes`
          : undefined;
  if (wrong === undefined) return;
  throw new PrimedError(
    'ORIGIN_PROTOCOL',
    `${path} cannot be cached: the origin says it has ${wrong}; at most ${maxTagBytes} bytes of ETag and of version id, and a whole number of bytes as size, are accepted`,
    { path, maxTagBytes },
  );
}

/** Without what the caller's object may carry besides. */
export function plainEntry(entry: ManifestEntry): ManifestEntry {
  const { path, etag, sizeBytes, lastModifiedMs, versionId } = entry;
  // Not by a spread of what may be missing: this runs for every object that is loaded.
  if (versionId === undefined) return { path, etag, sizeBytes, lastModifiedMs };
  return { path, etag, sizeBytes, lastModifiedMs, versionId };
}
