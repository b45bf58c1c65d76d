/** What the page API of a worker stands on: ids of paths beside the index, the ring, and the origins of the configuration. */
import { join } from 'node:path';
import type { ClusterFiles } from './cluster/reading/files.ts';
import type { Peers } from './cluster/reading/known-peers.ts';
import { PathNames } from './cluster/reading/path-names.ts';
import type { PeerClient } from './cluster/reading/peer-client.ts';
import type { Config, UfsConfig } from './config/config.ts';
import type { Log, UfsPath } from './core/types.ts';
import { endpointOfProfile } from './origin/aws-profile.ts';
import type { Origins } from './origin/types.ts';
import type { PageApiOptions } from './server/pages/index.ts';
import { type UfsPlace, ufsInfoOf } from './server/pages/ufs-info.ts';
import { PathIds } from './store/index.ts';
import type { Store } from './store/types.ts';

/** A folder in that of the index. */
const idsName = 'ids';

export function openPathIds(config: Config, store: Store, log: Log): Promise<PathIds> {
  return PathIds.open({ dir: join(config.indexDir, idsName), store, log });
}

export interface PagesOrder {
  readonly config: Config;
  /** As it is by now. */
  readonly ufs: { readonly now: Config['ufs'] };
  readonly origins: Pick<Origins, 'resolve'>;
  readonly ids: PathIds;
  readonly files: ClusterFiles;
  readonly peers: Peers;
  readonly client: Pick<PeerClient, 'pathOf'>;
}

export function pagesOf(of: PagesOrder): Omit<PageApiOptions, 'log'> {
  const { config, ufs, origins, files, peers } = of;
  return {
    files,
    names: new PathNames(of),
    // Keys of S3 are kept as they are; paths of files without `.`, `//` and the like.
    normal: (path) => (path.startsWith('file://') ? origins.resolve(path).path : (path as UfsPath)),
    owner: (path) => {
      const peer = peers.owner(path, 0);
      if (peer === undefined) return undefined;
      const { hostname, port, protocol } = new URL(peer.url);
      const usual = protocol === 'https:' ? 443 : 80;
      return { Host: hostname.replace(/^\[(.*)\]$/, '$1'), HttpServerPort: port === '' ? usual : Number(port) };
    },
    ...(config.role === 'worker' ? { host: config.cluster.host } : {}),
    ufsInfo: async () => ufsInfoOf(files, await ufsPlaces(ufs.now)),
  };
}

/** S3 origins with the endpoints that requests really go to; undefined ones are Amazon's. */
function ufsPlaces(ufs: Config['ufs']): Promise<UfsPlace[]> {
  const s3 = ufs.filter(({ prefix }) => prefix.startsWith('s3://'));
  const all = s3.some(({ prefix }) => prefix === 's3://') ? s3 : [...s3, { prefix: 's3://' } as UfsConfig];
  return Promise.all(
    all.map(async ({ prefix, endpoint, profile }) => {
      const used = endpoint ?? (await endpointOfProfile(profile ?? process.env.AWS_PROFILE ?? 'default'));
      return used === undefined ? { prefix } : { prefix, endpoint: used };
    }),
  );
}
