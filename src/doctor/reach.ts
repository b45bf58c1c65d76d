/** What lies over the network: our own ports, the coordinator, the origins and their clocks. Every look ends in `limitMs`. */
import { setTimeout as wait } from 'node:timers/promises';
import { Agent, request } from 'undici';
import { PrimedClient } from '../client/client.ts';
import { type Config, urlOf } from '../config/config.ts';
import type { Listen } from '../config/forms.ts';
import { listenOn, portsOf, reasonNotToListen } from '../config/ports.ts';
import { readTlsFiles } from '../config/tls-files.ts';
import { PrimedError } from '../core/errors.ts';
import { type Finding, ok } from '../core/finding.ts';
import type { Log } from '../core/types.ts';
import { openOrigins } from '../origin/origins.ts';
import { judgeClock, judgeOrigin, judgePort, judgeVersions } from './judge.ts';
import { failure } from './worded.ts';

const limitMs = 10_000;
const silent: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** Whether this daemon runs, told by the port that every role answers health on. */
export async function daemonRuns({ role, api, worker, tls }: Config): Promise<boolean> {
  const listen = role === 'coordinator' || role === 'standalone' ? api.listen : worker.httpListen;
  if (listen.port === 0) return false;
  return (await askHead(`${urlOf(reachable(listen), tls.own !== undefined)}/health/live`))?.live === true;
}

export async function examinePorts(config: Config, runs: boolean): Promise<Finding[]> {
  const listens = {
    'api.listen': config.api.listen,
    'worker.http_listen': config.worker.httpListen,
    'worker.s3_listen': config.worker.s3Listen,
  };
  return Promise.all(
    portsOf(config.role).map(async ({ key }) => {
      const listen = listens[key];
      const facts = { setting: key, address: `${listen.host}:${listen.port}`, daemonRuns: runs };
      if (listen.port === 0) return ok(key, 'any port that is free');
      try {
        const server = await listenOn(listen);
        await new Promise((resolve) => server.close(resolve));
        return judgePort({ ...facts, inUse: false });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return judgePort({ ...facts, inUse: true });
        return judgePort({ ...facts, inUse: false, problem: reasonNotToListen(error, listen.port) });
      }
    }),
  );
}

/** The coordinator of a worker: whether it answers and knows our token, its clock, and who else there is. */
export async function examineCoordinator({ role, cluster, apiToken, tls }: Config): Promise<Finding[]> {
  if (role !== 'worker' || cluster.backend === 'etcd') return [];
  const check = `coordinator ${cluster.coordinator}`;
  const files = readTlsFiles({ caFile: tls.caFile, ...(tls.nodes === 'mtls' ? tls.own : {}) });
  const client = new PrimedClient({
    coordinator: cluster.coordinator,
    ...{ connectTimeoutMs: limitMs, answerTimeoutMs: limitMs, tls: files.pem },
    ...(apiToken === undefined ? {} : { token: apiToken }),
  });
  try {
    const workers = await client.workers();
    const found = [ok(check, `answers, and knows ${workers.length} workers`)];
    found.push(judgeVersions(PRIMED_VERSION, new Map(workers.map(({ id, version }) => [id, version]))));
    const clock = await askHead(client.url);
    if (clock?.aheadMs !== undefined) found.push(judgeClock('the coordinator', clock.aheadMs));
    return found;
  } catch (error) {
    const denied = error instanceof PrimedError && error.code === 'UNAUTHENTICATED';
    return [
      failure(
        check,
        denied
          ? 'give this worker the api_token of the coordinator'
          : 'check cluster.coordinator, and that the coordinator runs: `systemctl status primed-coordinator`',
        error,
      ),
    ];
  } finally {
    await client.close();
  }
}

/** @param paths at origins that have no entry of their own */
export async function examineOrigins(
  config: Config,
  env: NodeJS.ProcessEnv,
  paths: readonly string[],
): Promise<Finding[]> {
  const { ufs, ingest } = config;
  const origins = openOrigins({ ufs, timeouts: ingest.timeouts, retry: { attempts: 1 }, log: silent });
  const wanted = [...new Set([...ufs.map(({ prefix }) => prefix).filter((prefix) => prefix !== 's3://'), ...paths])];
  const endpoints = new Set(
    [...ufs.map(({ endpoint }) => endpoint), env.AWS_ENDPOINT_URL].filter((url) => url !== undefined),
  );
  try {
    const listed = wanted.map(async (path) => {
      const signal = AbortSignal.timeout(limitMs);
      const late = wait(limitMs, undefined, { ref: false }).then(() => {
        throw new PrimedError('ORIGIN_TIMEOUT', `${path} gave no answer within ${limitMs / 1000} s`, { path });
      });
      // Where the answer comes first, nobody waits for it any more.
      late.catch(() => undefined);
      try {
        await Promise.race([origins.list(path as never, { maxKeys: 1, signal }), late]);
        return judgeOrigin(path, undefined);
      } catch (error) {
        return judgeOrigin(path, error);
      }
    });
    const clocks = [...endpoints].map(async (endpoint) => {
      const head = await askHead(endpoint);
      return head?.aheadMs === undefined ? [] : [judgeClock(new URL(endpoint).host, head.aheadMs)];
    });
    const found = [...(await Promise.all(listed)), ...(await Promise.all(clocks)).flat()];
    if (wanted.length === 0)
      found.push(ok('origins', 'the configuration names no bucket; primed doctor s3://bucket/ asks one'));
    return found;
  } finally {
    await origins.close();
  }
}

/**
 * The head of an answer; undefined: there was none. Nothing secret is sent, and who answers is not believed anything but
 * the time and a word, so no certificate is looked at here.
 */
async function askHead(url: string): Promise<{ aheadMs?: number; live: boolean } | undefined> {
  const dispatcher = new Agent({ connect: { rejectUnauthorized: false, timeout: limitMs } });
  try {
    const { headers, body } = await request(url, { dispatcher, signal: AbortSignal.timeout(limitMs) });
    const text = (await body.text()).slice(0, 1000);
    const date = Date.parse(String(headers.date));
    // The header has whole seconds.
    const aheadMs = Date.now() - date - 500;
    return { live: text === '{"status":"live"}', ...(Number.isNaN(date) ? {} : { aheadMs }) };
  } catch {
    return undefined;
  } finally {
    await dispatcher.close().catch(() => undefined);
  }
}

/** All addresses of a machine are asked at its own. */
function reachable({ host, port }: Listen): Listen {
  if (host === '0.0.0.0') return { host: '127.0.0.1', port };
  return { host: /^[0:]+$/.test(host) ? '::1' : host, port };
}
