/** The embedded origin, which counts what it sends and can be slowed down, in a process of its own. */
import { join } from 'node:path';
import type { SpawnedOrigin } from '../../src/demo/origin/api.ts';
import type { ObjectSpec } from '../../src/demo/origin/objects.ts';
import { spawnOrigin } from '../../src/demo/origin/spawn.ts';
import { clusterCredentials } from '../support/cluster.ts';
import { projectRoot, type Workspace } from '../support/workspace.ts';

/** Ends with the workspace. On loopback; it knows the ETags of its objects already. */
export async function startDemoOrigin(workspace: Workspace, objects: readonly ObjectSpec[]): Promise<SpawnedOrigin> {
  const script = join(projectRoot, 'dist', 'demo-origin.js');
  const origin = await spawnOrigin({ objects, credentials: [clusterCredentials] }, { script });
  workspace.defer(() => origin.close());
  await origin.prepareEtags();
  return origin;
}
