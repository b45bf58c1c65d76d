/** Pages of a listing: what a server says of one, where the next begins, and what of it is a file. */
import type { UfsPath } from '../core/types.ts';
import { failureOfSdk } from './sdk-failure.ts';
import type { ListingPage } from './types.ts';

/** S3's own limit, and the largest page that any server gives. */
export const listKeysMax = 1000;

/** One key of a listing as the server sent it, already decoded. */
export interface ListedObject {
  readonly key: string;
  readonly sizeBytes: number;
  readonly etag: string;
  readonly lastModifiedMs: number;
}

export interface ListedPage {
  readonly objects: readonly ListedObject[];
  readonly truncated: boolean;
  readonly nextToken?: string;
}

export interface ListQuery {
  readonly prefix: string;
  readonly maxKeys: number;
  readonly token?: string;
  readonly startAfter?: string;
  readonly signal?: AbortSignal;
}

/** `encoding-type=url` is form encoding: a blank comes as `+`. */
export function decodeListedKey(key: string): string {
  return key.includes('%') || key.includes('+') ? decodeURIComponent(key.replaceAll('+', '%20')) : key;
}

/**
 * Where a listing goes on: the server's token, and the last key, from which it can go on too when the token is no longer
 * accepted (a cursor may be older than the server's memory of it).
 */
export function encodeCursor(token: string | undefined, lastKey: string): string {
  return JSON.stringify(token === undefined ? { k: lastKey } : { t: token, k: lastKey });
}

export function decodeCursor(cursor: string): { token?: string; startAfter: string } {
  const { t, k } = JSON.parse(cursor) as { t?: string; k: string };
  return { startAfter: k, ...(t !== undefined && { token: t }) };
}

export async function listPage(
  list: (query: ListQuery) => Promise<ListedPage>,
  options: { bucketPath: string; prefix: string; after?: string; maxKeys: number; signal?: AbortSignal },
): Promise<ListingPage> {
  const { prefix, maxKeys, signal } = options;
  const base: ListQuery = { prefix, maxKeys, ...(signal !== undefined && { signal }) };
  const page = await listFrom(list, base, options.after);
  const entries = [];
  for (const { key, etag, sizeBytes, lastModifiedMs } of page.objects) {
    if (sizeBytes === 0 && key.endsWith('/')) continue; // directory markers are no files
    entries.push({ path: (options.bucketPath + key) as UfsPath, etag, sizeBytes, lastModifiedMs });
  }
  const last = page.objects.at(-1);
  const more = page.truncated && (last !== undefined || page.nextToken !== undefined);
  const lastKey = last?.key ?? (options.after === undefined ? '' : decodeCursor(options.after).startAfter);
  return { entries, scanned: page.objects.length, ...(more && { next: encodeCursor(page.nextToken, lastKey) }) };
}

async function listFrom(
  list: (query: ListQuery) => Promise<ListedPage>,
  base: ListQuery,
  after: string | undefined,
): Promise<ListedPage> {
  if (after === undefined) return list(base);
  const { token, startAfter } = decodeCursor(after);
  if (token === undefined) return list({ ...base, startAfter });
  try {
    return await list({ ...base, token });
  } catch (error) {
    const { httpStatus } = failureOfSdk(error);
    if (httpStatus !== 400 || startAfter === '') throw error;
    return list({ ...base, startAfter });
  }
}
