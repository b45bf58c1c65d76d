/** When a verification asks the origin for what it states of a whole object. */
import { hasChecksums } from '../core/attributes.ts';
import type { ManifestEntry } from '../core/types.ts';

/** An ETag that looks like the MD5 of the object. */
export const md5Etag = /^[0-9a-f]{32}$/;

/**
 * Whether what the origin states is yet to be asked for where the bytes were right. The answer to a request for all of an
 * object has those checksums that there are, so that nothing is asked for many small ones.
 */
export function lacksStated(
  { sizeBytes }: Pick<ManifestEntry, 'sizeBytes'>,
  attributes: string,
  slotBytes: number,
): boolean {
  return !hasChecksums(attributes) && sizeBytes > slotBytes;
}

/** HEAD requests of a worker that verifies all of a file, and finds it right. */
export function headsToVerify(entry: ManifestEntry, attributes: string, slotBytes: number): 0 | 1 {
  return !md5Etag.test(entry.etag) || lacksStated(entry, attributes, slotBytes) ? 1 : 0;
}
