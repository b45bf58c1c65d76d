/** What an examination asks of etcd, by the client and with the certificates that a daemon would use: members of the cluster. */
import { openEtcd } from './cluster/etcd/index.ts';
import type { EtcdConfig } from './config/etcd.ts';
import { memberKeys, parseRegistered } from './core/member-entries.ts';
import type { WorkerId } from './core/types.ts';
import type { EtcdSeen } from './doctor/doctor.ts';
import { readEtcdTls } from './node-tls.ts';
import { systemClock } from './platform/index.ts';

/** Reads only. Rejects with ETCD_UNAVAILABLE, ETCD_REFUSED, CONFIG_INVALID. */
export async function lookAtEtcd(settings: EtcdConfig): Promise<EtcdSeen> {
  const { endpoints, username, password, timeoutMs, prefix } = settings;
  const etcd = openEtcd({
    ...{ endpoints, timeoutMs, tls: readEtcdTls(settings), clock: systemClock },
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    log: { debug() {}, info() {}, warn() {}, error() {} },
  });
  const startedMs = performance.now();
  try {
    const root = `${prefix}workers/${memberKeys.members('' as WorkerId)}`;
    const { entries } = await etcd.range(root);
    const members = entries.map(({ key, value }) => {
      const version = parseRegistered(value.toString('utf8'))?.version ?? 'an entry that cannot be read';
      return [key.slice(root.length), version] as const;
    });
    return { members: new Map(members), tookMs: performance.now() - startedMs };
  } finally {
    await etcd.close();
  }
}
