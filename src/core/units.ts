/** Sizes that several rooms must agree on. Bytes throughout. */

export const KiB = 1024;
export const MiB = 1024 * KiB;
export const GiB = 1024 * MiB;

/** Alignment of every address, length and file offset that O_DIRECT sees, and the grain of the allocator. */
export const alignBytes = 4096;

/** The unit of the at-rest checksum and of the page API. */
export const pageBytes = MiB;

/** One ranged GET of a large object; a multiple of the page, so that a part carries whole pages. */
export const defaultPartBytes = 8 * MiB;

/** The unit of placement; a multiple of the part. */
export const defaultSegmentBytes = 64 * MiB;
/** What the unit of placement may be set to. */
export const leastSegmentBytes = MiB;
export const mostSegmentBytes = GiB;

export function alignUp(bytes: number, grain: number = alignBytes): number {
  return Math.ceil(bytes / grain) * grain;
}

export function alignDown(bytes: number, grain: number = alignBytes): number {
  return Math.floor(bytes / grain) * grain;
}
