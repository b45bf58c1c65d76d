/** A real Prometheus for the integration tests, on loopback, with its data in a temporary folder. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, startChild, waitUntilReady } from '../../bench/support/process.ts';
import { temporaryFolder } from './files.ts';

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface FiredRule {
  readonly name: string;
  readonly health: string;
  readonly lastError?: string;
  readonly state: 'inactive' | 'pending' | 'firing';
  readonly alerts: readonly { readonly labels: Record<string, string>; readonly annotations: Record<string, string> }[];
}

export interface Prometheus {
  /** What an instant query gives. Rejects with what Prometheus says of one that is wrong. */
  query(expr: string): Promise<Sample[]>;
  /** The alerting rules, as they were evaluated last. */
  rules(): Promise<FiredRule[]>;
  close(): Promise<void>;
}

const startLimitMs = 30_000;

/** @param config its configuration, which may be JSON: that is YAML too */
export async function startPrometheus(config: object): Promise<Prometheus> {
  const folder = temporaryFolder('prometheus');
  const file = join(folder.path, 'prometheus.yml');
  writeFileSync(file, JSON.stringify(config));
  const at = `127.0.0.1:${await freePort()}`;
  const child = startChild(
    [
      'prometheus',
      `--config.file=${file}`,
      `--storage.tsdb.path=${join(folder.path, 'data')}`,
      `--web.listen-address=${at}`,
      '--log.level=warn',
    ],
    { logPath: join(folder.path, 'log') },
  );
  const ask = async (target: string): Promise<{ data: never }> => {
    const answer = await fetch(`http://${at}${target}`, { signal: AbortSignal.timeout(10_000) });
    const body = (await answer.json()) as { status: string; error?: string; data: never };
    if (body.status !== 'success') throw new Error(`${target}: ${body.error}`);
    return body;
  };
  const close = async (): Promise<void> => {
    await child.stop('SIGKILL');
    folder.remove();
  };
  try {
    await waitUntilReady(child, () => isReady(at), startLimitMs);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    async query(expr) {
      const { data } = (await ask(`/api/v1/query?query=${encodeURIComponent(expr)}`)) as {
        data: { result: { metric: Record<string, string>; value: [number, string] }[] };
      };
      return data.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
    },
    async rules() {
      const { data } = (await ask('/api/v1/rules?type=alert')) as { data: { groups: { rules: FiredRule[] }[] } };
      return data.groups.flatMap(({ rules }) => rules);
    },
    close,
  };
}

async function isReady(at: string): Promise<boolean> {
  try {
    return (await fetch(`http://${at}/-/ready`, { signal: AbortSignal.timeout(2_000) })).status === 200;
  } catch {
    return false;
  }
}
