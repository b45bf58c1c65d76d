/** One member of a real etcd on loopback, for coordinators that share their jobs. */
import { freePort, hasProgram, plainEnvironment, startChild, waitUntilReady } from './process.ts';
import type { Workspace } from './workspace.ts';

const startLimitMs = 30_000;

/** Resolves with its endpoint when it answers; it ends with the workspace. A machine without etcd is an error that names it. */
export async function startEtcd(workspace: Workspace): Promise<string> {
  if (!hasProgram('etcd')) throw new Error('etcd is not installed (Debian: apt install etcd-server)');
  const folder = workspace.folder('etcd');
  const [client, peer] = [await freePort(), await freePort()].map((port) => `http://127.0.0.1:${port}`) as [
    string,
    string,
  ];
  const urls = [`--listen-client-urls=${client}`, `--advertise-client-urls=${client}`];
  const peers = [`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`];
  const command = ['etcd', '--name=m0', `--data-dir=${folder}`, ...urls, ...peers, `--initial-cluster=m0=${peer}`];
  const child = startChild(command, { logPath: `${folder}.log`, env: plainEnvironment({}) });
  workspace.defer(async () => void (await child.stop('SIGKILL')));
  await waitUntilReady(child, () => healthy(client), startLimitMs);
  return client;
}

async function healthy(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/health`, { signal: AbortSignal.timeout(1000) })).ok;
  } catch {
    return false;
  }
}
