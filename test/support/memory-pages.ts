/** What the page API stands on, over files in memory, of a worker that is alone. */
import { noPeers } from '../../src/cluster/reading/known-peers.ts';
import { PathNames } from '../../src/cluster/reading/path-names.ts';
import { nobody } from '../../src/cluster/reading/peer-client.ts';
import type { UfsPath } from '../../src/core/types.ts';
import type { PageApiOptions } from '../../src/server/pages/index.ts';
import type { MemoryFiles } from './memory-files.ts';
import { MemoryIds } from './memory-ids.ts';

export function memoryPages(memory: MemoryFiles, ids = new MemoryIds()): Omit<PageApiOptions, 'log'> {
  return {
    files: memory.alone,
    names: new PathNames({ ids, peers: noPeers, client: nobody }),
    normal: (path) => path.replace(/^file:\/{3,}/, 'file:///') as UfsPath,
    owner: (path) => (path.endsWith('/elsewhere') ? { Host: 'other', HttpServerPort: 1 } : undefined),
    ufsInfo: async () => ({ 's3://b/': { alluxio_path: '/b' } }),
  };
}
