/**
 * What a dead daemon had made durable, found without starting it: the index is copied, and the store is opened by that
 * copy. So nothing that the daemon does at its own next start can hide what it had, or change what is asked about.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { ByteRange, LoadId, ManifestEntry, RunId, UfsPath } from '../../src/core/types.ts';
import { defaultPartBytes } from '../../src/core/units.ts';
import type { RequestRecord } from '../../src/demo/origin/records.ts';
import { openStore } from '../../src/store/index.ts';

const silent = { debug() {}, info() {}, warn() {}, error() {} };

/** By path: what need not be fetched (again), in order. */
export type Durable = ReadonlyMap<UfsPath, readonly ByteRange[]>;

/**
 * Of each entry the ranges that a load of this id need not fetch (again), in order. The process that owned the data must
 * be gone.
 */
export async function durableRanges(
  dataDir: string,
  load: LoadId,
  entries: readonly ManifestEntry[],
  storeBytes: number,
): Promise<Durable> {
  const copy = mkdtempSync(join(dirname(dataDir), 'index-copy-'));
  try {
    cpSync(join(dataDir, 'index'), copy, { recursive: true });
    const store = await openStore({
      indexDir: copy,
      stores: [{ dir: join(dataDir, 'store'), sizeBytes: storeBytes }],
      now: Date.now,
      log: silent,
      ledgerFlushMs: 500,
    });
    try {
      return new Map(
        entries.map((entry) => {
          const begun = store.beginFile({
            run: 'oracle' as RunId,
            load,
            entry,
            reuse: 'load',
            partBytes: defaultPartBytes,
          });
          return [entry.path, begun.state === 'complete' ? [whole(entry)] : complement(begun.missing, entry.sizeBytes)];
        }),
      );
    } finally {
      await store.close();
    }
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

export const bytesOf = (durable: Durable): number =>
  [...durable.values()].flat().reduce((sum, { length }) => sum + length, 0);

/** Requests at the origin for a byte that was durable already, as text. */
export function fetchedAgain(requests: readonly RequestRecord[], durable: Durable): string[] {
  const again: string[] = [];
  for (const one of requests) {
    if (one.operation !== 'GetObject') continue;
    const [, first = '0', last = 'Infinity'] = /bytes=(\d+)-(\d+)/.exec(one.range ?? '') ?? [];
    const hit = (durable.get(`s3://${one.bucket}/${one.key}` as UfsPath) ?? []).find(
      ({ offset, length }) => Number(first) < offset + length && Number(last) >= offset,
    );
    if (hit !== undefined) again.push(`${one.key} ${one.range ?? 'whole'}, durable ${hit.offset}+${hit.length}`);
  }
  return again;
}

const whole = (entry: ManifestEntry): ByteRange => ({ offset: 0, length: entry.sizeBytes });

function complement(missing: readonly ByteRange[], sizeBytes: number): ByteRange[] {
  const ranges: ByteRange[] = [];
  let at = 0;
  for (const { offset, length } of missing) {
    if (offset > at) ranges.push({ offset: at, length: offset - at });
    at = offset + length;
  }
  if (sizeBytes > at) ranges.push({ offset: at, length: sizeBytes - at });
  return ranges;
}
