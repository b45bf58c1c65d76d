/** How long a daemon takes until it is ready when its index holds a million blocks. */
import { join } from 'node:path';
import { GiB, MiB } from '../../src/core/units.ts';
import { type Daemon, startDaemon } from '../support/daemon.ts';
import { makeIndex, storesFor } from '../support/made-index.ts';
import { figure, verdict } from '../support/results.ts';
import type { Scenario } from '../support/scenario.ts';

export const start: Scenario = {
  summary: 'from the start of the process to ready, with 1 million blocks in the index',
  async run({ workspace, runs, quick, log }) {
    const blocks = quick ? 20_000 : 1_000_000;
    const dataDir = workspace.folder('data');
    const stores = storesFor(blocks, () => workspace.folder('store'));
    log(`making an index of ${blocks} blocks`);
    await makeIndex({ indexDir: join(dataDir, 'index'), stores, files: blocks });

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
