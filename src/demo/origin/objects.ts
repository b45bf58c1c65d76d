/**
 * The objects that the embedded origin has: per bucket a table of keys with their versions, and the keys in S3's
 * order. Generated objects have a size and a version number only; objects that were put carry their bytes.
 */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { MiB } from '../../core/units.ts';
import { contentPieces } from './content.ts';
import { crc64nvmeBase64 } from './crc64.ts';

/** What a caller states about an object. */
export interface ObjectSpec {
  readonly key: string;
  readonly sizeBytes: number;
  /** Which content: see contentAt. Default 1. */
  readonly version?: number;
  /** Of this bucket instead of the origin's default one. */
  readonly bucket?: string;
  readonly lastModifiedMs?: number;
  readonly contentType?: string;
}

/** One version of one object. `body` is undefined for generated content. */
export interface StoredObject {
  readonly key: string;
  readonly sizeBytes: number;
  readonly version: number;
  readonly lastModifiedMs: number;
  readonly contentType: string;
  readonly body?: Buffer;
  /** What whoever uploaded it said of it, by the name of the header. */
  readonly stated?: Readonly<Record<string, string>>;
  /** Of one that came in parts; `etag` without quotes. */
  readonly uploaded?: { readonly etag: string; readonly partBytes: readonly number[] };
}

export type ChecksumName = 'crc64nvme' | 'crc32';

/**
 * Objects up to this size have their MD5 as ETag and state whole-object checksums, both computed when first asked for;
 * larger ones look like multipart uploads: `<hex>-<parts>`, and no whole-object checksum unless `checksumMaxBytes` says so
 * (S3 states FULL_OBJECT checksums of multipart uploads too).
 */
export const defaultWholeHashMaxBytes = 16 * MiB;
/** Which hashes objects have; the sizes are for generated ones only. */
export interface HashLimits {
  /** An MD5 as ETag. Default: defaultWholeHashMaxBytes. */
  readonly wholeHashMaxBytes?: number;
  /** Whole-object checksums. Default: `wholeHashMaxBytes`. */
  readonly checksumMaxBytes?: number;
  /** Said by every answer. The ETag of an object that a KMS key encrypts looks like an MD5, and is not that of its bytes. */
  readonly encryption?: 'AES256' | 'aws:kms';
}
const partBytesOfEtag = 8 * MiB;
/** Generated objects were last modified at this time plus one second a version. */
const epochMs = Date.UTC(2026, 0, 1);
/** Older versions of one key that stay readable by version id. */
const historyLimit = 16;

interface Entry {
  /** Undefined: deleted, the history may remain. */
  current: StoredObject | undefined;
  readonly history: StoredObject[];
  highestVersion: number;
}

class Bucket {
  readonly entries = new Map<string, Entry>();
  #sorted: string[] | undefined;

  sortedKeys(): readonly string[] {
    this.#sorted ??= [...this.entries]
      .filter(([, entry]) => entry.current !== undefined)
      .map(([key]) => key)
      .sort(compareUtf8);
    return this.#sorted;
  }

  keysChanged(): void {
    this.#sorted = undefined;
  }
}

export class ObjectTable {
  readonly #buckets = new Map<string, Bucket>();
  readonly #etags = new WeakMap<StoredObject, string>();
  readonly #checksums = new WeakMap<StoredObject, Map<ChecksumName, string>>();
  readonly #wholeHashMaxBytes: number;
  readonly #checksumMaxBytes: number;
  readonly encryption: HashLimits['encryption'];

  constructor(
    bucketNames: readonly string[],
    { wholeHashMaxBytes = defaultWholeHashMaxBytes, checksumMaxBytes = wholeHashMaxBytes, encryption }: HashLimits = {},
  ) {
    for (const name of bucketNames) this.#buckets.set(name, new Bucket());
    this.#wholeHashMaxBytes = wholeHashMaxBytes;
    this.#checksumMaxBytes = checksumMaxBytes;
    this.encryption = encryption;
  }

  bucketNames(): string[] {
    return [...this.#buckets.keys()].sort(compareUtf8);
  }

  hasBucket(bucket: string): boolean {
    return this.#buckets.has(bucket);
  }

  /** Adds or replaces a generated object; makes the bucket if need be. */
  add(bucketName: string, spec: ObjectSpec): StoredObject {
    const version = spec.version ?? 1;
    return this.#place(bucketName, {
      key: spec.key,
      sizeBytes: spec.sizeBytes,
      version,
      lastModifiedMs: spec.lastModifiedMs ?? epochMs + version * 1000,
      contentType: spec.contentType ?? 'application/octet-stream',
    });
  }

  /** Adds or replaces an object with bytes of its own, as a new version. */
  put(
    bucketName: string,
    object: {
      key: string;
      body: Buffer;
      contentType?: string;
      lastModifiedMs: number;
      stated?: Readonly<Record<string, string>>;
      uploaded?: StoredObject['uploaded'];
    },
  ): StoredObject {
    const previous = this.#buckets.get(bucketName)?.entries.get(object.key);
    return this.#place(bucketName, {
      key: object.key,
      sizeBytes: object.body.length,
      version: (previous?.highestVersion ?? 0) + 1,
      lastModifiedMs: object.lastModifiedMs,
      contentType: object.contentType ?? 'binary/octet-stream',
      body: object.body,
      ...(object.stated && { stated: object.stated }),
      ...(object.uploaded && { uploaded: object.uploaded }),
    });
  }

  /**
   * Replaces an object by its next version: other bytes, another ETag, a later time, and another size if one is
   * given. Returns undefined if there is no such object.
   */
  bump(bucketName: string, key: string, sizeBytes?: number): StoredObject | undefined {
    const entry = this.#buckets.get(bucketName)?.entries.get(key);
    if (entry?.current === undefined) return undefined;
    const version = entry.highestVersion + 1;
    const { key: sameKey, contentType } = entry.current;
    const next = { key: sameKey, contentType, version, lastModifiedMs: epochMs + version * 1000 };
    return this.#place(bucketName, { ...next, sizeBytes: sizeBytes ?? entry.current.sizeBytes });
  }

  /** Deletes an object; false if there is none. */
  remove(bucketName: string, key: string): boolean {
    const bucket = this.#buckets.get(bucketName);
    const entry = bucket?.entries.get(key);
    if (bucket === undefined || entry?.current === undefined) return false;
    remember(entry, entry.current);
    entry.current = undefined;
    bucket.keysChanged();
    return true;
  }

  /** The current version, or the one with this version id. */
  find(bucketName: string, key: string, versionId?: string): StoredObject | undefined {
    const entry = this.#buckets.get(bucketName)?.entries.get(key);
    if (entry === undefined) return undefined;
    if (versionId === undefined) return entry.current;
    const known = entry.current === undefined ? entry.history : [entry.current, ...entry.history];
    return known.find((object) => versionIdOf(object) === versionId);
  }

  /** Keys of the bucket in the order of their UTF-8 bytes. */
  sortedKeys(bucketName: string): readonly string[] {
    return this.#buckets.get(bucketName)?.sortedKeys() ?? [];
  }

  /** Without quotes. */
  etagOf(object: StoredObject): string {
    let etag = this.#etags.get(object);
    if (etag === undefined) {
      etag = this.#makeEtag(object);
      this.#etags.set(object, etag);
    }
    return etag;
  }

  /** Where a part lies of an object that looks like a multipart upload, numbered from 1; any other is one part. Undefined: there is none. */
  partOf(
    object: StoredObject,
    number: number,
  ): { offset: number; length: number; parts: number | undefined } | undefined {
    if (object.uploaded !== undefined) {
      const { partBytes } = object.uploaded;
      const offset = partBytes.slice(0, number - 1).reduce((sum, bytes) => sum + bytes, 0);
      const length = partBytes[number - 1];
      return length === undefined ? undefined : { offset, length, parts: partBytes.length };
    }
    const shape = /-(\d+)$/.exec(this.etagOf(object));
    if (shape === null) return number === 1 ? { offset: 0, length: object.sizeBytes, parts: undefined } : undefined;
    const parts = Number(shape[1]);
    const offset = (number - 1) * partBytesOfEtag;
    if (number < 1 || number > parts) return undefined;
    return { offset, length: Math.min(partBytesOfEtag, object.sizeBytes - offset), parts };
  }

  /** Whole-object checksum in base64; undefined for objects that are too large to have one. */
  checksumOf(object: StoredObject, name: ChecksumName): string | undefined {
    if (object.body === undefined && object.sizeBytes > this.#checksumMaxBytes) return undefined;
    const known = this.#checksums.get(object) ?? new Map<ChecksumName, string>();
    this.#checksums.set(object, known);
    let value = known.get(name);
    if (value === undefined) {
      const pieces = piecesOf(object, 0, object.sizeBytes);
      value = name === 'crc64nvme' ? crc64nvmeBase64(pieces) : crc32Base64(pieces);
      known.set(name, value);
    }
    return value;
  }

  #makeEtag(object: StoredObject): string {
    if (object.uploaded !== undefined) return object.uploaded.etag;
    const hash = createHash('md5');
    if (object.body === undefined && object.sizeBytes > this.#wholeHashMaxBytes) {
      hash.update(`${object.key}\0${object.version}\0${object.sizeBytes}`);
      return `${hash.digest('hex')}-${Math.ceil(object.sizeBytes / partBytesOfEtag)}`;
    }
    for (const piece of piecesOf(object, 0, object.sizeBytes)) hash.update(piece);
    if (this.encryption === 'aws:kms') hash.update('sealed');
    return hash.digest('hex');
  }

  #place(bucketName: string, object: StoredObject): StoredObject {
    const bucket = this.#buckets.get(bucketName) ?? new Bucket();
    this.#buckets.set(bucketName, bucket);
    const entry = bucket.entries.get(object.key);
    if (entry === undefined) {
      bucket.entries.set(object.key, { current: object, history: [], highestVersion: object.version });
      bucket.keysChanged();
      return object;
    }
    if (entry.current === undefined) bucket.keysChanged();
    else remember(entry, entry.current);
    entry.current = object;
    entry.highestVersion = Math.max(entry.highestVersion, object.version);
    return object;
  }
}

function remember(entry: Entry, object: StoredObject): void {
  entry.history.unshift(object);
  entry.history.length = Math.min(entry.history.length, historyLimit);
}

/** The version id that answers and `versionId=` carry. */
export function versionIdOf(object: StoredObject): string {
  return `v${object.version}`;
}

/** The bytes `[offset, offset + length)` of an object as views that must not be written to. */
export function piecesOf(object: StoredObject, offset: number, length: number): Iterable<Buffer> {
  if (object.body !== undefined) return [object.body.subarray(offset, offset + length)];
  return contentPieces(object.key, object.version, offset, length);
}

export function crc32Base64(pieces: Iterable<Uint8Array>): string {
  let sum = 0;
  for (const piece of pieces) sum = crc32(piece, sum);
  const out = Buffer.alloc(4);
  out.writeUInt32BE(sum >>> 0, 0);
  return out.toString('base64');
}

/**
 * Compares two strings by their UTF-8 bytes, as S3 sorts keys. JavaScript's own order is by UTF-16 code units, which
 * differs where a surrogate pair meets a character from U+E000 on.
 */
export function compareUtf8(a: string, b: string): number {
  const shared = Math.min(a.length, b.length);
  for (let at = 0; at < shared; at += 1) {
    const left = a.charCodeAt(at);
    const right = b.charCodeAt(at);
    if (left !== right) return rank(left) - rank(right);
  }
  return a.length - b.length;
}

/** Code units with the surrogates moved above everything else. */
function rank(unit: number): number {
  return unit >= 0xd800 && unit <= 0xdfff ? unit + 0x10000 : unit;
}
