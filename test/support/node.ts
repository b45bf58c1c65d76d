/** A daemon with a configuration file of its own, where the plain one of a scene does not do. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Daemon, type DaemonOrder, spawnDaemon, startDaemon } from './daemon.ts';
import { temporaryFolder } from './files.ts';
import { rawRequest } from './raw-http.ts';

export interface Place {
  /** A folder of the test: configuration, data, and whatever the test puts there. */
  readonly path: string;
  start(toml: string, more?: Partial<DaemonOrder>): Promise<Daemon>;
  /** Does not wait until it is ready: for one that must refuse. */
  spawn(toml: string, more?: Partial<DaemonOrder>): Promise<Daemon>;
  /** Kills what still runs, and removes everything. */
  close(): Promise<void>;
}

export function openPlace(name: string): Place {
  const folder = temporaryFolder(name);
  const daemons: Daemon[] = [];
  let files = 0;
  const order = (toml: string, more: Partial<DaemonOrder> = {}): DaemonOrder => {
    const file = join(folder.path, `config-${files++}.toml`);
    writeFileSync(file, toml);
    return { storeSize: '256MB', ...more, dataDir: join(folder.path, 'data'), args: ['--config', file] };
  };
  return {
    path: folder.path,
    start: async (toml, more) => {
      const daemon = await startDaemon(order(toml, more));
      daemons.push(daemon);
      return daemon;
    },
    spawn: async (toml, more) => {
      const daemon = await spawnDaemon(order(toml, more));
      daemons.push(daemon);
      return daemon;
    },
    close: async () => {
      for (const daemon of daemons) await daemon.kill();
      folder.remove();
    },
  };
}

/** What `primed fs cat` would give: for paths that the S3 port does not have. */
export async function cat(daemon: Daemon, path: string): Promise<Buffer> {
  const answer = await rawRequest(daemon.ports.api, `/api/v1/fs/cat?path=${encodeURIComponent(path)}`);
  if (answer.status !== 200) throw new Error(`cat of ${path}: ${answer.status} ${answer.body.toString()}`);
  return answer.body;
}
