/**
 * One chunk of a manifest: the files of one listing page.
 *
 * As stored: msgpack of the array below, deflated. Columns and deflate make about 25 bytes a file of a directory with
 * numbered names: ten million files are 250 MB of the LMDB map, which the resident set of the coordinator counts.
 *   [ format version, common start of all paths, ends of paths[], sizes[], last-modified ms[],
 *     ETags: 16 bytes each where all are MD5s, else strings[],
 *     version ids[] or nil, refused [path, code, message][] ]
 */
import assert from 'node:assert/strict';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { commonStart } from '../core/common-start.ts';
import type { ErrorCode } from '../core/errors.ts';
import type { FileFailure } from '../core/job.ts';
import type { ManifestEntry, UfsPath } from '../core/types.ts';
import { msgpack } from './msgpack.ts';

const formatVersion = 2;
const md5Bytes = 16;
const md5Etag = /^[0-9a-f]{32}$/;
/** 1,000 keys, ETags and version ids of 1,024 bytes each are 3 MiB: what inflates to more than this is not ours. */
const maxChunkBytes = 16 * 1024 * 1024;

export interface ManifestChunk {
  readonly entries: readonly ManifestEntry[];
  /** Files that were named (by an index) and that the origin does not give. */
  readonly refused: readonly FileFailure[];
}

type Stored = [
  version: number,
  start: string,
  ends: string[],
  sizes: number[],
  modified: number[],
  etags: Uint8Array | string[],
  versionIds: (string | null)[] | null,
  refused: [string, string, string][],
];

export function encodeChunk(chunk: ManifestChunk): Buffer {
  const { entries } = chunk;
  const start = commonStart(entries);
  const stored: Stored = [
    formatVersion,
    start,
    entries.map((entry) => entry.path.slice(start.length)),
    entries.map((entry) => entry.sizeBytes),
    entries.map((entry) => entry.lastModifiedMs),
    packEtags(entries),
    entries.some((entry) => entry.versionId !== undefined) ? entries.map((entry) => entry.versionId ?? null) : null,
    chunk.refused.map(({ path, code, message }) => [path, code, message]),
  ];
  return deflateRawSync(msgpack.pack(stored), { level: 1 });
}

export function decodeChunk(bytes: Uint8Array): ManifestChunk {
  const stored = msgpack.unpack(inflateRawSync(bytes, { maxOutputLength: maxChunkBytes })) as Stored;
  assert.equal(stored[0], formatVersion, 'a manifest chunk of this version');
  const [, start, ends, sizes, modified, packedEtags, versionIds, refused] = stored;
  const etags = unpackEtags(packedEtags);
  assert(sizes.length === ends.length && etags.length === ends.length && modified.length === ends.length);
  const entries = ends.map((end, index): ManifestEntry => {
    const path = (start + end) as UfsPath;
    const etag = etags[index]!;
    const sizeBytes = sizes[index]!;
    const lastModifiedMs = modified[index]!;
    const versionId = versionIds?.[index] ?? undefined;
    // Not by a spread of what may be missing, which for very many entries is the larger part of it.
    if (versionId === undefined) return { path, etag, sizeBytes, lastModifiedMs };
    return { path, etag, sizeBytes, lastModifiedMs, versionId };
  });
  return {
    entries,
    refused: refused.map(([path, code, message]) => ({ path, code: code as ErrorCode, message })),
  };
}

function packEtags(entries: readonly ManifestEntry[]): Uint8Array | string[] {
  const etags = entries.map(({ etag }) => etag);
  return etags.every((etag) => md5Etag.test(etag)) ? Buffer.from(etags.join(''), 'hex') : etags;
}

function unpackEtags(packed: Uint8Array | string[]): readonly string[] {
  if (Array.isArray(packed)) return packed;
  const hex = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength).toString('hex');
  return Array.from({ length: packed.byteLength / md5Bytes }, (_, at) =>
    hex.slice(at * 2 * md5Bytes, (at + 1) * 2 * md5Bytes),
  );
}
