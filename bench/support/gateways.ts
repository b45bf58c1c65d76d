/** The process of gateway.ts, and the ports that lead through it. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import type { Passage } from './gateway.ts';
import type { Host } from './netns.ts';
import { plainEnvironment } from './process.ts';
import { projectRoot } from './workspace.ts';

export interface Gateways {
  /** Opens a port on loopback that leads there; resolves with its `http://127.0.0.1:PORT`. */
  open(passage: Passage): Promise<string>;
  close(): void;
}

/** Lets requests in by way of `from`. The built bundle is run: `npm run setup` makes it. */
export function startGateways(from: Host): Gateways {
  const [execPath, ...execArgv] = [...from.by, process.execPath];
  const child = fork(join(projectRoot, 'dist', 'gateway.js'), [], {
    execPath: execPath!,
    execArgv,
    env: plainEnvironment(),
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  return {
    async open(passage) {
      const server = createServer();
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      // The socket stays in the namespace that it was made in, whoever accepts on it.
      await new Promise<void>((resolve, reject) => {
        child.send(passage, server, (error) => (error === null ? resolve() : reject(error)));
      });
      server.close();
      return `http://127.0.0.1:${port}`;
    },
    close: () => void child.kill('SIGKILL'),
  };
}
