/** A real etcd for the integration tests: one member or several, on loopback, in temporary folders. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { freePort } from '../../bench/support/process.ts';
import { type Etcd, type EtcdOptions, openEtcd } from '../../src/cluster/etcd/index.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { temporaryFolder } from './files.ts';
import { memoryLog } from './store-fixture.ts';

export interface EtcdTls {
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
  /** Whether clients have to show a certificate of the same authority. */
  readonly clientCerts?: boolean;
}

export interface EtcdServerOptions {
  readonly members?: number;
  readonly tls?: EtcdTls;
  /** More arguments of each member. */
  readonly args?: readonly string[];
}

export interface EtcdMember {
  readonly endpoint: string;
  /** Resolves when it answers, and has a leader where most members run. */
  start(): Promise<void>;
  /** Resolves when the process has ended. */
  stop(): Promise<void>;
  kill(): Promise<void>;
  /** It keeps its connections and answers nobody. */
  freeze(): void;
  thaw(): void;
  /** Of a stopped one: it forgets everything. */
  wipe(): void;
}

export interface EtcdServer {
  readonly endpoints: readonly string[];
  readonly members: readonly EtcdMember[];
  /** etcdctl against all members; its standard output. */
  ctl(...args: string[]): string;
  close(): Promise<void>;
}

const startLimitMs = 30_000;

/** A machine without etcd is an error that names it: a test against nothing proves nothing. */
export async function startEtcd({ members: count = 1, tls, args = [] }: EtcdServerOptions = {}): Promise<EtcdServer> {
  const folder = temporaryFolder('etcd');
  const scheme = tls === undefined ? 'http' : 'https';
  const place = async (index: number) => ({
    name: `m${index}`,
    client: `${scheme}://127.0.0.1:${await freePort()}`,
    peer: `http://127.0.0.1:${await freePort()}`,
    metrics: `http://127.0.0.1:${await freePort()}`,
  });
  const places = await Promise.all(Array.from({ length: count }, (_, index) => place(index)));
  const cluster = places.map(({ name, peer }) => `${name}=${peer}`).join(',');
  const processes = new Map<string, ChildProcess>();
  const tlsArgs =
    tls === undefined
      ? []
      : [
          `--cert-file=${tls.certFile}`,
          `--key-file=${tls.keyFile}`,
          // With an authority of its own etcd asks every client for a certificate.
          ...(tls.clientCerts === true ? ['--client-cert-auth', `--trusted-ca-file=${tls.caFile}`] : []),
        ];

  const memberAt = ({ name, client, peer, metrics }: (typeof places)[number]): EtcdMember => {
    const dir = join(folder.path, name);
    const log = join(folder.path, `${name}.log`);
    const end = async (signal: NodeJS.Signals): Promise<void> => {
      const child = processes.get(name);
      if (child === undefined) return;
      processes.delete(name);
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, 'exit');
      child.kill(signal);
      // A frozen one does not see a signal before it goes on.
      child.kill('SIGCONT');
      await ended;
    };
    return {
      endpoint: client,
      async start() {
        const output = openSync(log, 'a');
        const child = spawn(
          'etcd',
          [
            `--name=${name}`,
            `--data-dir=${dir}`,
            `--listen-client-urls=${client}`,
            `--advertise-client-urls=${client}`,
            `--listen-peer-urls=${peer}`,
            `--initial-advertise-peer-urls=${peer}`,
            `--listen-metrics-urls=${metrics}`,
            `--initial-cluster=${cluster}`,
            ...tlsArgs,
            ...args,
          ],
          { stdio: ['ignore', output, output], env: { PATH: process.env.PATH } },
        );
        let failure: Error | undefined;
        child.once('error', (error) => {
          failure = error;
        });
        processes.set(name, child);
        const endsMs = performance.now() + startLimitMs;
        while (!(await healthy(metrics))) {
          if (failure !== undefined)
            throw new Error(
              `etcd cannot be run (Debian: apt install etcd-server); .ci/run does it: ${failure.message}`,
            );
          if (child.exitCode !== null || performance.now() > endsMs)
            throw new Error(`etcd did not start:\n${readFileSync(log, 'utf8').slice(-2000)}`);
          await wait(50);
        }
      },
      stop: () => end('SIGTERM'),
      kill: () => end('SIGKILL'),
      freeze: () => void processes.get(name)?.kill('SIGSTOP'),
      thaw: () => void processes.get(name)?.kill('SIGCONT'),
      wipe: () => rmSync(dir, { recursive: true, force: true }),
    };
  };

  const members = places.map(memberAt);
  const close = async (): Promise<void> => {
    await Promise.all(members.map((member) => member.kill()));
    folder.remove();
  };
  try {
    await Promise.all(members.map((member) => member.start()));
  } catch (error) {
    await close();
    throw error;
  }
  const endpoints = places.map(({ client }) => client);
  const ctlTls = tls === undefined ? [] : [`--cacert=${tls.caFile}`, `--cert=${tls.certFile}`, `--key=${tls.keyFile}`];
  return {
    endpoints,
    members,
    ctl: (...ctlArgs) =>
      execFileSync('etcdctl', [`--endpoints=${endpoints.join(',')}`, ...ctlTls, ...ctlArgs], {
        encoding: 'utf8',
        env: { PATH: process.env.PATH, ETCDCTL_API: '3' },
        timeout: startLimitMs,
      }),
    close,
  };
}

/** For the test that asks for it. */
export async function serverFor(options?: EtcdServerOptions): Promise<EtcdServer> {
  const server = await startEtcd(options);
  onTestFinished(() => server.close());
  return server;
}

/** A client of the test that asks for it, with a log of its own. */
export function clientOf(endpoints: readonly string[], options: Partial<EtcdOptions> = {}): Etcd {
  const defaults = { timeoutMs: 3_000, watchSilenceMs: 1_000, clock: systemClock, log: memoryLog() };
  const etcd = openEtcd({ endpoints, ...defaults, ...options });
  onTestFinished(() => etcd.close());
  return etcd;
}

async function healthy(metrics: string): Promise<boolean> {
  try {
    const answer = await fetch(`${metrics}/health`, { signal: AbortSignal.timeout(2_000) });
    const { health } = (await answer.json()) as { health?: string };
    return health === 'true';
  } catch {
    return false;
  }
}
