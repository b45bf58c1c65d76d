/** cluster/etcd: a client of etcd. See types.ts. */
export { openEtcd } from './client.ts';
export type * from './types.ts';
