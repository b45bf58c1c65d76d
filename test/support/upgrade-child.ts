/** Upgrades a data folder, and ends by SIGKILL where it is told to: `<data folder> <index | jobs> <point, or nothing>`. */
import { join } from 'node:path';
import { upgradeJobStore } from '../../src/cluster/upgrade-job-store.ts';
import type { UpgradeWatch } from '../../src/store/upgrade.ts';
import { upgradeIndex } from '../../src/store/upgrade-index.ts';

const [dir, which, point] = process.argv.slice(2);
const quiet = () => undefined;
const watch: UpgradeWatch = {
  log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
  at: (reached) => {
    if (reached === point) process.kill(process.pid, 'SIGKILL');
  },
};
await (which === 'index' ? upgradeIndex(join(dir!, 'index'), watch) : upgradeJobStore(join(dir!, 'jobs'), watch));
