/** The process of listing-process.ts. */
import { join } from 'node:path';
import { givingWay } from '../support/cluster.ts';
import { acceptsConnections, freePort, startChild, waitUntilReady } from '../support/process.ts';
import { projectRoot, type Workspace } from '../support/workspace.ts';

export interface ListingOrigin {
  readonly endpoint: string;
  readonly port: number;
  readonly pid: number;
}

/** Ends with the workspace. On loopback. */
export async function startListingOrigin(workspace: Workspace, keys: number): Promise<ListingOrigin> {
  const port = await freePort();
  const host = '127.0.0.1';
  const script = join(projectRoot, 'dist', 'listing-origin.js');
  const child = startChild([...givingWay, process.execPath, script, host, String(port), String(keys)], {
    logPath: join(workspace.folder('listing'), 'origin.log'),
  });
  workspace.defer(() => child.stop('SIGKILL'));
  await waitUntilReady(child, () => acceptsConnections(port), 20_000);
  return { endpoint: `http://${host}:${port}`, port, pid: child.pid };
}
