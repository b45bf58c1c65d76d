/** Four workers before an origin that makes up as many keys as it is asked for, of which nothing fits: for what lists them only. */
import { startListingOrigin } from '../origins/listing.ts';
import { givingWay, openLocalCluster } from './cluster.ts';
import type { Workspace } from './workspace.ts';

export const listedPath = 's3://bench/data/';
export const listedWorkers = ['w1', 'w2', 'w3', 'w4'];

/** Closed with the workspace. */
export async function openListedCluster(workspace: Workspace, keys: number) {
  const origin = await startListingOrigin(workspace, keys);
  const order = {
    folder: workspace.folder('cluster'),
    startOrigin: async () => origin,
    workers: listedWorkers,
    storeSize: '64MB',
    env: { PRIMED_LOG_LEVEL: 'warn' },
  };
  const cluster = await openLocalCluster(order, givingWay);
  workspace.defer(() => cluster.close());
  return { origin, cluster };
}
