/** Upgrades a data folder, and ends by SIGKILL where it is told to: `<data folder> <index | jobs> <point, or nothing>`. */
import { writeSync } from 'node:fs';
import { join } from 'node:path';
import { upgradeJobStore } from '../../src/cluster/upgrade-job-store.ts';
import type { UpgradeWatch } from '../../src/store/upgrade.ts';
import { upgradeIndex } from '../../src/store/upgrade-index.ts';

const [dir, which, point] = process.argv.slice(2);
const say = (_facts: object, message: string) => void writeSync(1, `${message}\n`);
const watch: UpgradeWatch = {
  log: { debug: say, info: say, warn: say, error: say },
  at: (reached) => {
    if (reached === point) process.kill(process.pid, 'SIGKILL');
  },
};
await (which === 'index' ? upgradeIndex(join(dir!, 'index'), watch) : upgradeJobStore(join(dir!, 'jobs'), watch));
