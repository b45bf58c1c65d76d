/** A fleet of one: the worker of this process. */
import type { Log } from '../core/types.ts';
import type { Worker } from '../ingest/types.ts';
import type { Origins } from '../origin/types.ts';
import { Fleet } from './fleet.ts';
import { LocalLink } from './local-link.ts';
import { fixedMembers, type Member } from './members.ts';
import type { WorkerId } from './worker-link.ts';

export function soloFleet(worker: Worker, origins: Pick<Origins, 'head'>, log: Log): Fleet {
  const id = 'local' as WorkerId;
  const member: Member = { id, url: '', takes: true, link: new LocalLink(id, worker) };
  const owners = [member];
  return new Fleet({
    members: fixedMembers(owners),
    placement: {
      owners: (_path, _index, _replicas, without) => (without?.has(id) ? [] : owners),
      around: () => owners,
    },
    origins,
    maxRestarts: 0,
    log,
  });
}
