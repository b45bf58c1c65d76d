/**
 * Certificates of a node that are replaced while it runs. Their files are looked at every few seconds, because whoever renews them
 * tells nobody; what cannot be used is refused, and those before hold.
 */
import { stat } from 'node:fs/promises';
import type { FastifyInstance } from 'fastify';
import type { Config } from './config/config.ts';
import { PrimedError, reportOf } from './core/errors.ts';
import type { ListEnd, Revocations } from './core/revocations.ts';
import type { Log } from './core/types.ts';
import { changeTls, type Live } from './live.ts';
import type { Opened } from './node.ts';
import { readEtcdTls, readNodeTls, s3Tls } from './node-tls.ts';

const everyMs = 2_000;

export interface CertificateOptions {
  readonly config: Config;
  readonly live: Live;
  readonly opened: Opened;
  readonly log: Log;
}

export class Certificates {
  readonly #options: CertificateOptions;
  readonly #timer: NodeJS.Timeout;
  #config: Config;
  /** Of the files as they were used last, and as they were seen last. */
  #used: string | undefined;
  #seen = '';
  #refused = '';
  #looking = false;
  /** Lists whose end was logged. */
  readonly #ended = new Set<string>();

  constructor(options: CertificateOptions) {
    this.#options = options;
    this.#config = options.config;
    this.#timer = setInterval(() => void this.#look(), everyMs);
    this.#timer.unref();
    this.#noteEnded();
  }

  /** Reads them now, from where `config` says. Rejects with CONFIG_INVALID, and then those before hold. */
  async read(config: Config = this.#config): Promise<void> {
    const { live, opened } = this.#options;
    // Whether nodes show certificates at all is decided at a start.
    const asStarted = { ...config, tls: { ...config.tls, nodes: this.#options.config.tls.nodes } };
    // Before they are read: what changes meanwhile is noticed at the next look.
    const used = await stampOf(config);
    const before = JSON.stringify([live.tls, live.etcdTls]);
    changeTls(live, {
      tls: readNodeTls(asStarted),
      etcdTls: config.cluster.etcd === undefined ? {} : readEtcdTls(config.cluster.etcd),
    });
    this.#config = config;
    this.#used = used;
    if (JSON.stringify([live.tls, live.etcdTls]) === before) return;
    const { server } = live.tls;
    // Connections that are open stay as they are.
    if (server !== undefined) for (const port of [opened.api, opened.http]) renew(port, server);
    if (server !== undefined) opened.serving?.setTls(s3Tls(server));
    opened.worker?.renewPeers();
    this.#options.log.info({}, 'certificates were replaced; new connections use them');
    const lists = revocationsOf(live)?.ends;
    if (lists !== undefined)
      this.#options.log.info({ lists: lists.map(inWords) }, 'lists of revoked certificates hold');
    this.#noteEnded();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Once for each list that has ended. */
  #noteEnded(): void {
    for (const list of revocationsOf(this.#options.live)?.ends ?? []) {
      const { ca, endsMs = Infinity } = list;
      const name = `${ca} ${endsMs}`;
      if (endsMs > Date.now() || this.#ended.has(name)) continue;
      this.#ended.add(name);
      this.#options.log.error(
        inWords(list),
        'a list of revoked certificates has ended: every certificate of its CA is refused until tls.crl_file has a new one',
      );
    }
  }

  async #look(): Promise<void> {
    if (this.#looking) return;
    this.#looking = true;
    this.#noteEnded();
    try {
      const now = await stampOf(this.#config);
      // Certificate and key are replaced one after the other: they are read when nothing has changed for a while.
      const settled = now === this.#seen;
      this.#seen = now;
      if (!settled || now === this.#used || now === this.#refused) return;
      this.#refused = now;
      await this.read();
    } catch (error) {
      const reason = error instanceof PrimedError ? error.message : reportOf(error).message;
      this.#options.log.error({ reason }, 'certificates have changed and cannot be used; those before hold');
    } finally {
      this.#looking = false;
    }
  }
}

/** Of ports, else of what is dialled: they come of the same files. */
export function revocationsOf({ tls }: Pick<Live, 'tls'>): Revocations | undefined {
  return tls.server?.revocations ?? tls.client?.revocations;
}

function inWords({ ca, revoked, endsMs }: ListEnd): object {
  return { ca, revoked, ...(endsMs !== undefined && { until: new Date(endsMs).toISOString() }) };
}

function renew(port: FastifyInstance | undefined, tls: NonNullable<Live['tls']['server']>): void {
  const server = port?.server;
  if (server === undefined || !('setSecureContext' in server)) return;
  const { cert, key, clientCa } = tls;
  (server as unknown as { setSecureContext(context: object): void }).setSecureContext({
    ...{ cert, key },
    ...(clientCa === undefined ? {} : { ca: clientCa }),
  });
}

/** Of all files of certificates: another one when one of them was written or exchanged. */
async function stampOf({ tls, cluster: { etcd } }: Config): Promise<string> {
  const files = [
    tls.caFile,
    tls.clientCaFile,
    tls.crlFile,
    tls.own?.certFile,
    tls.own?.keyFile,
    etcd?.caFile,
    etcd?.certFile,
    etcd?.keyFile,
  ];
  const stamps = files.map(async (file) => {
    if (file === undefined) return '';
    const found = await stat(file).catch(() => undefined);
    return found === undefined ? 'none' : `${found.dev} ${found.ino} ${found.mtimeMs} ${found.size}`;
  });
  return (await Promise.all(stamps)).join('\n');
}
