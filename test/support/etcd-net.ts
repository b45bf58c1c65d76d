/** Two coordinators and two workers over etcd, each process on a machine of its own as far as the network goes. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { type ClusterDaemon, clusterCredentials } from '../../bench/support/cluster.ts';
import { networkGround } from '../../bench/support/ground.ts';
import { type Child, plainEnvironment, startChild, waitUntilReady } from '../../bench/support/process.ts';
import { MiB } from '../../src/core/units.ts';
import { answersOk } from '../../src/demo/daemon.ts';
import { spawnOrigin } from '../../src/demo/origin/spawn.ts';
import { call, type Json } from './api.ts';
import { segmentBytes } from './cluster.ts';
import { projectRoot, temporaryFolder } from './files.ts';
import { type LoadedNet, objects } from './net.ts';

export interface EtcdNet extends LoadedNet {
  readonly a: ClusterDaemon;
  readonly b: ClusterDaemon;
  /** The one that is asked; `a` at first. */
  coordinator: ClusterDaemon;
  /** Which coordinator has the claim of the only job that has not ended; undefined: none. */
  owner(): string | undefined;
  /** Of the members that are named, or of all: each has to answer. */
  etcdStatus(members?: readonly string[]): EtcdStatus[];
  /** SIGKILL; resolves when it is gone. */
  killEtcd(member: string): Promise<void>;
  /** Starts a member again with its data; resolves when it answers and has a leader. */
  startEtcd(member: string): Promise<void>;
  close(): Promise<void>;
}

export interface EtcdStatus {
  readonly member: string;
  readonly term: number;
  readonly leads: boolean;
}

/** Of a coordinator, where a test asks for no other one. */
const coordinatorLeaseMs = 5000;
const coordinators = ['a', 'b'] as const;
const workers = ['w1', 'w2'] as const;
const originName = 'origin';
const ports = { client: 2379, peer: 2380, metrics: 2381, api: 19_999, http: 28_080, s3: 29_998 } as const;
const token = 'token-of-the-network';
const startLimitMs = 60_000;

/** @param members names of those of etcd */
export async function openEtcdNet(
  members: readonly string[],
  { leaseMs = coordinatorLeaseMs }: { readonly leaseMs?: number } = {},
): Promise<EtcdNet> {
  const folder = temporaryFolder('etcd-net');
  const ground = networkGround([originName, ...members, ...coordinators, ...workers]);
  const { network } = ground;
  const at = (name: string, port: number): string => `http://${network.host(name).address}:${port}`;
  const children = new Map<string, Child>();
  const undo: (() => unknown)[] = [() => folder.remove(), () => ground.close()];
  undo.push(() => Promise.all(Array.from(children.values(), (child) => child.stop('SIGKILL'))));
  const close = async (): Promise<void> => {
    for (let step = undo.pop(); step !== undefined; step = undo.pop()) await step();
  };
  const logOf = (name: string): string => join(folder.path, `${name}.log`);
  const run = (name: string, command: readonly string[], env: Readonly<Record<string, string>> = {}): Child => {
    const child = startChild([...network.host(name).by, ...command], {
      logPath: logOf(name),
      env: plainEnvironment(env),
    });
    children.set(name, child);
    return child;
  };

  const startEtcd = async (name: string): Promise<void> => {
    const child = run(name, [
      'etcd',
      `--name=${name}`,
      `--data-dir=${join(folder.path, name)}`,
      `--listen-client-urls=${at(name, ports.client)}`,
      `--advertise-client-urls=${at(name, ports.client)}`,
      `--listen-peer-urls=${at(name, ports.peer)}`,
      `--initial-advertise-peer-urls=${at(name, ports.peer)}`,
      `--listen-metrics-urls=${at(name, ports.metrics)}`,
      `--initial-cluster=${members.map((member) => `${member}=${at(member, ports.peer)}`).join(',')}`,
    ]);
    const metrics = await ground.reach(name, ports.metrics);
    await waitUntilReady(child, () => answersOk(`${metrics}/health`), startLimitMs);
  };
  /** From where everything is reached, whatever is cut. */
  const ctl = (endpoints: readonly string[], ...words: readonly string[]): string => {
    const [program, ...by] = network.outside.by;
    const command = [...by, 'etcdctl', `--endpoints=${endpoints.join(',')}`, ...words];
    const env = { ...plainEnvironment(), ETCDCTL_API: '3' };
    return execFileSync(program!, command, { encoding: 'utf8', env, timeout: 30_000 });
  };
  const running = (): string[] => members.filter((name) => children.has(name));

  try {
    const script = `${projectRoot}/dist/demo-origin.js`;
    const { address, by } = network.host(originName);
    const origin = await spawnOrigin({ objects, credentials: [clusterCredentials], host: address }, { script, by });
    undo.push(() => origin.close());
    await Promise.all(members.map(startEtcd));
    const env = {
      AWS_ENDPOINT_URL: origin.endpoint,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: clusterCredentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: clusterCredentials.secretAccessKey,
      AWS_EC2_METADATA_DISABLED: 'true',
      PRIMED_API_TOKEN: token,
      // The S3 port asks for no token, and is to be reached from the other machines.
      PRIMED_INSECURE: 'true',
      PRIMED_CLUSTER_BACKEND: 'etcd',
      PRIMED_CLUSTER_ETCD_ENDPOINTS: members.map((name) => at(name, ports.client)).join(','),
      PRIMED_CLUSTER_ETCD_COORDINATOR_LEASE: `${leaseMs / 1000}s`,
      PRIMED_CLUSTER_LEASE: '4s',
      PRIMED_JOB_SEGMENT_SIZE: `${segmentBytes / MiB}MB`,
      PRIMED_WORKER_LANES: '1',
      PRIMED_WORKER_SOCKETS_PER_LANE: '2',
    };
    const startDaemon = async (name: string, role: 'coordinator' | 'worker'): Promise<ClusterDaemon> => {
      const host = network.host(name).address;
      const own =
        role === 'coordinator'
          ? ['--api', `${host}:${ports.api}`]
          : ['--store-size', '512MB', '--http', `${host}:${ports.http}`, '--s3', `${host}:${ports.s3}`];
      const command = [process.execPath, join(projectRoot, 'dist', 'main.js'), role];
      const child = run(name, [...command, '--data', join(folder.path, name), ...own], {
        ...env,
        ...(role === 'worker' ? { PRIMED_CLUSTER_ID: name } : {}),
      });
      const api = await ground.reach(name, role === 'worker' ? ports.http : ports.api, token);
      await waitUntilReady(child, () => answersOk(`${api}/health/ready`), startLimitMs);
      return {
        pid: child.pid,
        api,
        s3: role === 'worker' ? await ground.reach(name, ports.s3, token) : '',
        log: () => readFileSync(logOf(name), 'utf8'),
        signal: (signal) => void process.kill(child.pid, signal),
        kill: () => child.stop('SIGKILL'),
      };
    };
    const [a, b] = [await startDaemon('a', 'coordinator'), await startDaemon('b', 'coordinator')];
    const started = await Promise.all(workers.map(async (id) => [id, await startDaemon(id, 'worker')] as const));
    for (const { api } of [a, b])
      await expect.poll(() => liveWorkers(api), { timeout: 30_000, interval: 50 }).toEqual([...workers]);
    return {
      a,
      b,
      coordinator: a,
      workers: new Map(started),
      origin,
      originEndpoint: await ground.reach(originName, origin.port),
      network,
      owner() {
        const endpoints = running().map((name) => at(name, ports.client));
        const prefix = '/primed/DefaultAlluxioCluster/jobs/claim/';
        const claims = ctl(endpoints, 'get', '--prefix', '--print-value-only', prefix).trim();
        if (claims === '') return undefined;
        const { url } = JSON.parse(claims) as { url: string };
        return coordinators.find((name) => url === at(name, ports.api));
      },
      etcdStatus(of = members) {
        const endpoints = of.map((name) => at(name, ports.client));
        const rows: Json[] = JSON.parse(ctl(endpoints, 'endpoint', 'status', '-w', 'json'));
        return rows.map(({ Endpoint, Status: { header, leader, raftTerm } }) => ({
          member: members.find((name) => Endpoint === at(name, ports.client))!,
          term: raftTerm,
          leads: leader === header.member_id,
        }));
      },
      async killEtcd(member) {
        const child = children.get(member)!;
        children.delete(member);
        await child.stop('SIGKILL');
      },
      startEtcd,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function liveWorkers(api: string): Promise<string[]> {
  const rows = (await call(api, 'GET', '/api/v1/workers')).json() as { id: string; state: string }[];
  return rows
    .filter(({ state }) => state === 'LIVE')
    .map(({ id }) => id)
    .sort();
}
