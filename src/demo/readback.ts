/** Reads every object back through the S3 port and compares its SHA-256 with that of what the origin was to hold. */
import { createHash } from 'node:crypto';
import { Pool } from 'undici';
import { PrimedError } from '../core/errors.ts';
import { encodeKey } from '../server/s3/signing.ts';
import { hashContent } from './origin/content.ts';
import type { ObjectSpec } from './origin/objects.ts';

const readersInFlight = 8;
const silenceLimitMs = 30_000;
/** Wrong objects named in the error. */
const namedLimit = 5;

export interface ReadbackOptions {
  readonly s3Url: string;
  readonly bucket: string;
  readonly objects: readonly ObjectSpec[];
  readonly onBytes: (bytes: number) => void;
  readonly signal: AbortSignal;
}

/** Resolves with the number of objects, all of them right. Rejects with STORE_CORRUPT, naming the first that are not. */
export async function readBack({ s3Url, bucket, objects, onBytes, signal }: ReadbackOptions): Promise<number> {
  const pool = new Pool(s3Url, {
    connections: readersInFlight,
    headersTimeout: silenceLimitMs,
    bodyTimeout: silenceLimitMs,
  });
  const queue = objects.values();
  const wrong: string[] = [];
  const reader = async () => {
    for (const object of queue) {
      const { statusCode, body } = await pool.request({
        method: 'GET',
        path: `/${bucket}/${encodeKey(object.key)}`,
        signal,
      });
      const served = createHash('sha256');
      let bytes = 0;
      for await (const piece of body as AsyncIterable<Buffer>) {
        served.update(piece);
        bytes += piece.length;
        onBytes(piece.length);
      }
      if (statusCode !== 200) wrong.push(`${object.key}: HTTP ${statusCode}`);
      else if (bytes !== object.sizeBytes) wrong.push(`${object.key}: ${bytes} bytes of ${object.sizeBytes}`);
      else if (served.digest('hex') !== expectedSha256(object)) wrong.push(`${object.key}: other bytes`);
    }
  };
  try {
    await Promise.all(Array.from({ length: readersInFlight }, reader));
  } finally {
    await pool.destroy();
  }
  if (wrong.length === 0) return objects.length;
  const named = wrong.slice(0, namedLimit).join('; ');
  throw new PrimedError('STORE_CORRUPT', `${wrong.length} objects came back wrong through the S3 port: ${named}.`);
}

function expectedSha256({ key, version = 1, sizeBytes }: ObjectSpec): string {
  return hashContent(createHash('sha256'), key, version, sizeBytes).digest('hex');
}
