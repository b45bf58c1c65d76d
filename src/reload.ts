/**
 * SIGHUP: the configuration is read and checked again. What can be changed while the daemon runs is changed; what counts only from
 * the next start on is named in the log. With an error nothing changes.
 */

import { Certificates } from './certificates.ts';
import { type Changes, changesOf } from './config/changes.ts';
import type { Config } from './config/config.ts';
import { acceptConfig, type ConfigInput, readConfig } from './config/load.ts';
import { checkMachine } from './config/machine.ts';
import { PrimedError, reportOf } from './core/errors.ts';
import { changeLive, type Live } from './live.ts';
import type { Opened } from './node.ts';
import type { LevelLog } from './telemetry/log.ts';

export interface ReloadOptions {
  /** What the configuration is read from. */
  readonly input: ConfigInput;
  /** The one that the daemon has started with. */
  readonly config: Config;
  readonly live: Live;
  readonly opened: Opened;
  readonly log: LevelLog;
  /** Tells the service manager. */
  readonly tell: (state: string) => void;
}

const timeoutPaths = ['ingest.connect_timeout', 'ingest.first_byte_timeout', 'ingest.stall_timeout'];

export class Reload {
  readonly #options: ReloadOptions;
  readonly #certificates: Certificates;
  /** What holds now, by the paths of settings. */
  readonly #holds: Map<string, string | number | boolean>;
  #reading = false;
  #again = false;

  constructor(options: ReloadOptions) {
    this.#options = options;
    this.#certificates = new Certificates(options);
    this.#holds = new Map(options.config.values);
  }

  /** Never rejects. One that is asked for meanwhile comes after it. */
  async read(): Promise<void> {
    this.#again = this.#reading;
    if (this.#reading) return;
    this.#reading = true;
    const { opened, log, tell } = this.#options;
    try {
      // For Type=notify-reload, which compares it with the time of its signal.
      tell(`RELOADING=1\nMONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
      await this.#read();
      delete opened.refusedConfig;
    } catch (error) {
      const reason =
        error instanceof PrimedError ? error.message : error instanceof Error ? error.stack : String(error);
      opened.refusedConfig = 'the configuration was read again and refused: the log says why';
      log.error({ reason }, 'the configuration was read again and cannot be used; the one before holds');
    } finally {
      tell('READY=1');
      this.#reading = false;
    }
    if (this.#again) await this.read();
  }

  close(): void {
    this.#certificates.close();
  }

  async #read(): Promise<void> {
    const { input, log, opened } = this.#options;
    const draft = readConfig(input);
    await checkMachine(draft, input.role);
    const next = acceptConfig(draft, input.role);
    const changes = changesOf(this.#holds, next.values);
    await this.#certificates.read(next);
    await this.#apply(next, changes);
    for (const key of changes.live) {
      const value = next.values.get(key);
      if (value === undefined) this.#holds.delete(key);
      else this.#holds.set(key, value);
    }
    log.info({ changed: changes.live }, 'the configuration was read again');
    if (changes.restart.length === 0) delete opened.needsRestart;
    else {
      opened.needsRestart = changes.restart;
      log.warn({ settings: changes.restart }, 'what else has changed needs a restart');
    }
  }

  async #apply(next: Config, { live: changed }: Changes): Promise<void> {
    const { live, opened, log } = this.#options;
    const under = (path: string): boolean => changed.some((key) => key.startsWith(path));
    if (under('log.')) log.level = next.log.level;
    changeLive(live, next, under);
    if (under('s3.')) opened.serving?.setAccess(live.s3);
    if (under('reading.') || under('ufs[')) opened.serving?.setReading(next.reading);
    if (under('job.')) {
      const { maxActive, maxWaiting, maxEnded, retentionMs, onChange } = next.job;
      opened.jobs?.reconfigure({ maxActive, maxWaiting, maxEnded, retentionMs, onChange });
    }
    if (under('store.rule[')) await this.#setRules(next);
    if (under('ufs[')) opened.limits?.limits.configure(next.originLimits);
    if (under('ufs[') || under('ingest.')) this.#changeOrigins(next, under);
    if (under('store.')) opened.store?.setKeeping(next.store);
    if (under('api_token') || under('cluster.token')) opened.worker?.renewPeers();
  }

  #changeOrigins({ ufs, ingest }: Config, under: (path: string) => boolean): void {
    const { opened } = this.#options;
    const timeouts = timeoutPaths.some(under) ? ingest.timeouts : undefined;
    const change = { ...(under('ufs[') ? { ufs } : {}), ...(timeouts === undefined ? {} : { timeouts }) };
    const reopened = opened.reconfigureOrigins?.(change) ?? [];
    opened.worker?.renewOrigins({ timeouts, reopened });
  }

  /** What a store refuses that has failed is no fault of the configuration. */
  async #setRules({ store: { rules } }: Config): Promise<void> {
    const { opened, log } = this.#options;
    try {
      await opened.store?.setRules(rules);
    } catch (error) {
      log.error({ reason: reportOf(error).message }, 'the rules of the store hold, and could not be written down');
    }
  }
}
