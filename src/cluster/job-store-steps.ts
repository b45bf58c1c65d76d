/**
 * From format to format of the job store. Pure: what becomes of one row. Before a format changes: raise `jobStoreFormat`, and
 * write its step here.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import type { Step } from '../store/upgrade.ts';
import { msgpack } from './msgpack.ts';

/** `jobStoreSteps[N]` leads from N to N + 1. */
export const jobStoreSteps: Readonly<Record<number, Step>> = { 1: fromOneToTwo, 2: fromTwoToThree };

const maxChunkBytes = 16 * 1024 * 1024;

/**
 * Chunks of a manifest do not say any more what was cached when they were listed: their last two columns go. Formats 1 and 2
 * are not told apart by anything else, so what is of 2 already stays.
 */
function fromOneToTwo(table: string, _key: unknown, value: unknown): unknown {
  if (table !== 'chunks') return value;
  const bytes = value as Uint8Array;
  const chunk = msgpack.unpack(inflateRawSync(bytes, { maxOutputLength: maxChunkBytes })) as unknown[];
  if (chunk[0] === 2) return bytes;
  if (chunk[0] !== 1) throw new Error(`a chunk of version ${String(chunk[0])} in a job store of format 1`);
  return deflateRawSync(msgpack.pack([2, ...chunk.slice(1, 8)]), { level: 1 });
}

/** The format is said once, in `meta`; records say it for releases that look there. */
function fromTwoToThree(table: string, _key: unknown, value: unknown): unknown {
  return table === 'jobs' ? { ...(value as object), version: 3 } : value;
}
