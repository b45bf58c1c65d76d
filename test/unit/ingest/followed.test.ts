/** A file that others copy as it arrives has few parts outstanding; the sockets that this leaves are for other files. */
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { partsOf } from '../../../src/core/part-plan.ts';
import { ledgerDifference, type ManifestEntry, type UfsPath } from '../../../src/core/types.ts';
import { MiB } from '../../../src/core/units.ts';
import { followedParts, PartQueue } from '../../../src/ingest/part-queue.ts';
import { type FileTask, type PartTask, Run } from '../../../src/ingest/run.ts';
import type { RunSpec } from '../../../src/ingest/types.ts';
import { type Bench, openBench } from './bench.ts';

function fileOf(parts: number, followed: boolean): FileTask {
  const unplanned = partsOf([{ offset: 0, length: parts * MiB }], MiB);
  const file = { unplanned, unplannedBytes: parts * MiB, outstanding: 0, followed, held: false, generation: 0 };
  return file as unknown as FileTask;
}

describe('the queue of parts', () => {
  it('has at most four parts of a followed file outstanding, whatever order parts end in, and plans them all', () => {
    const file = fc.record({ parts: fc.integer({ min: 1, max: 20 }), followed: fc.boolean() });
    fc.assert(
      fc.property(fc.array(file, { minLength: 1, maxLength: 8 }), fc.infiniteStream(fc.nat()), (specs, choices) => {
        const run = new Run({} as RunSpec, 0);
        const queue = new PartQueue(run);
        const files = specs.map(({ parts, followed }) => fileOf(parts, followed));
        for (const one of files) {
          run.files.add(one);
          queue.planning.push(one);
        }
        const inFlight: PartTask[] = [];
        let ended = 0;
        for (;;) {
          while (queue.peek(0) !== undefined) inFlight.push(queue.parts.shift()!);
          for (const { followed, outstanding } of files)
            if (followed) expect(outstanding).toBeLessThanOrEqual(followedParts);
          // A file that is not followed is all in flight by now.
          for (const { followed, unplannedBytes } of files) if (!followed) expect(unplannedBytes).toBe(0);
          if (inFlight.length === 0) break;
          const [part] = inFlight.splice(choices.next().value! % inFlight.length, 1);
          part!.file.outstanding -= 1;
          if (part!.file.held) queue.release(part!.file);
          ended += 1;
        }
        expect(ended).toBe(specs.reduce((sum, { parts }) => sum + parts, 0));
      }),
    );
  });

  it('goes on with a held file before those that came after it', () => {
    const run = new Run({} as RunSpec, 0);
    const queue = new PartQueue(run);
    const [first, second] = [fileOf(6, true), fileOf(2, false)];
    for (const one of [first, second]) {
      run.files.add(one);
      queue.planning.push(one);
    }
    for (let i = 0; i <= followedParts; i += 1) {
      queue.peek(0);
      queue.parts.shift();
    }
    expect(first.held).toBe(true);
    first.outstanding -= 1;
    queue.release(first);
    expect(queue.peek(0)!.file).toBe(first);
  });
});

describe('a worker that others follow', () => {
  let bench: Bench;
  beforeAll(async () => {
    bench = await openBench({ objects: [] });
  });
  afterAll(async () => {
    await bench?.close();
  });

  async function placed(key: string, sizeBytes: number): Promise<ManifestEntry> {
    bench.origin.add({ key, sizeBytes });
    return await bench.head(`s3://${bench.origin.bucket}/${key}` as UfsPath);
  }

  it('asks for four parts at once, loads other files meanwhile, and all parts although some fail', async () => {
    const entry = await placed('followed', 80 * MiB + 77);
    const other = await placed('other', 16 * MiB);
    const stalled = bench.origin.setFault({ fault: { kind: 'stall' }, key: 'followed' });
    const run = bench.start();
    const load = bench.worker.load(run, entry, { followed: true });
    await vi.waitFor(() => expect(bench.origin.fired(stalled)).toBe(followedParts), { timeout: 20_000 });
    expect(await bench.worker.load(run, other)).toMatchObject({ result: 'loaded' });
    expect(bench.origin.fired(stalled)).toBe(followedParts);
    bench.origin.clearFaults();
    // Those that were asked for have lost one of their three attempts with their connection: of the others, each fails once.
    const failing = [5, 6, 7, 8].map((part) =>
      bench.origin.setFault({
        fault: { kind: 'status', status: 500 },
        key: 'followed',
        rangeFrom: { from: part * 8 * MiB, to: (part + 1) * 8 * MiB },
        times: 1,
      }),
    );
    bench.origin.dropConnections();
    expect(await load).toMatchObject({ result: 'loaded', loadedBytes: entry.sizeBytes });
    for (const one of failing) expect(bench.origin.fired(one)).toBe(1);
    expect(bench.observed.retries.length).toBeGreaterThanOrEqual(followedParts + failing.length);
    bench.origin.clearFaults();
    await bench.worker.endRun(run);
    expect(ledgerDifference(bench.store.ledger(run))).toBe(0);
  });

  it('asks for more of a file that nobody follows', async () => {
    const entry = await placed('alone', 80 * MiB);
    const stalled = bench.origin.setFault({ fault: { kind: 'stall' }, key: 'alone' });
    const run = bench.start();
    const load = bench.worker.load(run, entry);
    await vi.waitFor(() => expect(bench.origin.fired(stalled)).toBeGreaterThan(followedParts), { timeout: 20_000 });
    bench.origin.clearFaults();
    bench.origin.dropConnections();
    expect(await load).toMatchObject({ result: 'loaded' });
    await bench.worker.endRun(run);
  });
});
