/** What a request says about its body, and whether it is so: SHA-256 of the signature, Content-MD5, checksums of S3. */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { S3Error } from './errors.ts';

interface Check {
  update(bytes: Buffer): void;
  /** As it is said in a header. */
  digest(): string;
}

/** CRCs that Node does not have: of all of `bytes` from `offset` on, going on from `seed`. */
export interface CrcSums {
  crc32c(bytes: Uint8Array, offset: number, length: number, seed: number): number;
  crc64nvme(bytes: Uint8Array, offset: number, length: number, seed: bigint): bigint;
}

const checksumPrefix = 'x-amz-checksum-';

/** By the name of S3. */
const makers: Readonly<Record<string, (sums: CrcSums) => Check>> = {
  crc32: () => summed<number>(0, (bytes, sum) => crc32(bytes, sum), bigEndian),
  crc32c: ({ crc32c }) => summed<number>(0, (bytes, sum) => crc32c(bytes, 0, bytes.length, sum), bigEndian),
  crc64nvme: ({ crc64nvme }) => summed<bigint>(0n, (bytes, sum) => crc64nvme(bytes, 0, bytes.length, sum), bigEndian64),
  sha1: () => hashed('sha1', 'base64'),
  sha256: () => hashed('sha256', 'base64'),
};

/** The algorithm of a header `x-amz-checksum-…`; undefined for every other header. Throws S3Error for one that is not known. */
export function checksumOf(header: string): string | undefined {
  if (!header.startsWith(checksumPrefix)) return undefined;
  const name = header.slice(checksumPrefix.length);
  if (name === 'algorithm' || name === 'type' || name === 'mode') return undefined;
  if (!Object.hasOwn(makers, name)) throw new S3Error('NotImplemented', `The checksum ${name} is not known here.`);
  return name;
}

export class BodyChecks {
  readonly #sums: CrcSums;
  readonly #checks: { readonly check: Check; wanted: () => string | undefined; readonly wrong: () => S3Error }[] = [];

  constructor(sums: CrcSums) {
    this.#sums = sums;
  }

  /** @param hex of x-amz-content-sha256 */
  sha256(hex: string): void {
    const message = "The provided 'x-amz-content-sha256' header does not match what was computed.";
    this.#add(
      hashed('sha256', 'hex'),
      () => hex,
      () => new S3Error('XAmzContentSHA256Mismatch', message),
    );
  }

  md5(base64: string): void {
    if (Buffer.from(base64, 'base64').length !== 16)
      throw new S3Error('InvalidDigest', 'The Content-MD5 you specified is not valid.');
    const message = 'The Content-MD5 you specified did not match what we received.';
    this.#add(
      hashed('md5', 'base64'),
      () => base64,
      () => new S3Error('BadDigest', message),
    );
  }

  /** @param wanted asked when the body has ended: a trailer comes behind it */
  checksum(algorithm: string, wanted: () => string | undefined): void {
    const message = `The ${algorithm} you specified did not match what we received.`;
    this.#add(makers[algorithm]!(this.#sums), wanted, () => new S3Error('BadDigest', message));
  }

  update(bytes: Buffer): void {
    for (const { check } of this.#checks) check.update(bytes);
  }

  /** Throws S3Error where something is not as it was said. */
  finish(): void {
    for (const { check, wanted, wrong } of this.#checks) if (check.digest() !== wanted()) throw wrong();
  }

  #add(check: Check, wanted: () => string | undefined, wrong: () => S3Error): void {
    this.#checks.push({ check, wanted, wrong });
  }
}

function hashed(algorithm: string, encoding: 'hex' | 'base64'): Check {
  const hash = createHash(algorithm);
  return { update: (bytes) => void hash.update(bytes), digest: () => hash.digest(encoding) };
}

function summed<T>(start: T, add: (bytes: Buffer, sum: T) => T, write: (sum: T) => string): Check {
  let sum = start;
  return {
    update: (bytes) => {
      sum = add(bytes, sum);
    },
    digest: () => write(sum),
  };
}

function bigEndian64(sum: bigint): string {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(sum);
  return bytes.toString('base64');
}

function bigEndian(sum: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(sum);
  return bytes.toString('base64');
}
