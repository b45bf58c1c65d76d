/** How long a daemon takes until it is ready when its index holds a million blocks. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { LoadId, RunId, UfsPath } from '../../src/core/types.ts';
import { GiB, KiB, MiB } from '../../src/core/units.ts';
import { openStore } from '../../src/store/index.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { Filler } from '../support/filler.ts';
import { figure, verdict } from '../support/results.ts';
import type { Scenario } from '../support/scenario.ts';

const objectBytes = 4 * KiB;
const batchFiles = 5000;

export const start: Scenario = {
  summary: 'from the start of the process to ready, with 1 million blocks in the index',
  async run({ workspace, runs, quick, log }) {
    const blocks = quick ? 20_000 : 1_000_000;
    const dataDir = workspace.folder('data');
    const stores = [
      { dir: workspace.folder('store'), sizeBytes: Math.ceil((blocks * objectBytes) / MiB) * MiB + 64 * MiB },
    ];
    log(`making an index of ${blocks} blocks`);
    await makeIndex({ indexDir: join(dataDir, 'index'), stores, blocks, log });

    // Nothing is loaded: the origin is only named.
    const origin = { endpoint: 'http://127.0.0.1:9' };
    const full: Daemon[] = [];
    const empty: Daemon[] = [];
    const peaks: number[] = [];
    for (let run = 1; run <= runs; run += 1) {
      log(`run ${run} of ${runs}`);
      const loaded = await startDaemon(workspace, { origin, stores, dataDir });
      full.push(loaded);
      peaks.push(loaded.memory().peakBytes / MiB);
      await loaded.stop();
      const fresh = await startDaemon(workspace, {
        origin,
        stores: [{ dir: workspace.folder('store'), sizeBytes: GiB }],
      });
      empty.push(fresh);
      await fresh.stop();
    }
    const figuresOf = (daemons: readonly Daemon[]) => ({
      time: figure(
        's',
        daemons.map((daemon) => daemon.startSeconds),
      ),
      CPU: figure(
        's',
        daemons.map((daemon) => daemon.startCpuSeconds),
      ),
    });
    const name = `start with ${blocks.toLocaleString('en-US')} blocks`;
    return {
      title: 'Start of the daemon',
      about:
        'From the start of the process to 200 on /health/ready. The index is made through the interface of the store, one block a file, and lies in the page cache.',
      parameters: { blocks },
      rows: [
        { name, figures: { ...figuresOf(full), 'peak memory': figure('MiB', peaks) } },
        { name: 'first start with a new store of 1 GiB', figures: figuresOf(empty) },
      ],
      verdicts: [verdict(`Worker ${name}`, figuresOf(full).time.value, 's', 'at most', 5)],
      notes: [],
    };
  },
};

/** Space is allocated and recorded but not written: an index does not know the difference. */
async function makeIndex(order: {
  indexDir: string;
  stores: readonly { dir: string; sizeBytes: number }[];
  blocks: number;
  log: (message: string) => void;
}): Promise<void> {
  const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
  const { indexDir, stores } = order;
  const store = await openStore({ indexDir, stores, now: Date.now, log: quiet, ledgerFlushMs: 1000 });
  const filler = new Filler(store);
  const load = randomUUID() as LoadId;
  const run = randomUUID() as RunId;
  for (let first = 0; first < order.blocks; first += batchFiles) {
    const count = Math.min(batchFiles, order.blocks - first);
    const files = Array.from({ length: count }, (_, i) => ({ path: pathOf(first + i), sizeBytes: objectBytes }));
    await filler.fill(run, load, files, { write: false });
  }
  const { blocks } = store.usage();
  await filler.close();
  await store.close();
  if (blocks !== order.blocks) throw new Error(`the index was to have ${order.blocks} blocks and has ${blocks}`);
}

function pathOf(index: number): UfsPath {
  const folder = String(Math.floor(index / 1000)).padStart(5, '0');
  return `s3://bench-start/shard-${folder}/object-${String(index).padStart(8, '0')}.bin` as UfsPath;
}
