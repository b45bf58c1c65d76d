/** Whether the ports of a configuration can be listened on. */
import { createServer, type Server } from 'node:net';
import type { Role } from './config.ts';
import { complain, type Draft } from './draft.ts';
import { parseListen } from './forms.ts';

/** Addresses that each role opens, and whether the port asks for `api_token`. */
export const ports = [
  { key: 'api.listen', roles: ['standalone', 'coordinator'], asksForToken: true },
  { key: 'worker.http_listen', roles: ['standalone', 'worker'], asksForToken: true },
  { key: 'worker.s3_listen', roles: ['standalone', 'worker'], asksForToken: false },
] as const;

export function portsOf(role: Role): readonly (typeof ports)[number][] {
  return ports.filter(({ roles }) => (roles as readonly string[]).includes(role));
}

/** Why an address cannot be listened on, with the remedy. */
export function reasonNotToListen(error: unknown, port: number): string {
  const { code = '', message } = error as NodeJS.ErrnoException;
  const reasons: Readonly<Record<string, string>> = {
    EADDRINUSE: `another process uses the port (EADDRINUSE); \`ss -ltnp sport = :${port}\` names it`,
    EADDRNOTAVAIL: 'no interface of this machine has the address (EADDRNOTAVAIL); `ip address` lists those there are',
    EACCES: 'the user of the daemon may not use a port this low (EACCES); take one from 1024 up',
    ENOTFOUND: 'the name of the host is not known (ENOTFOUND)',
  };
  return reasons[code] ?? message;
}

/**
 * Listens on all of them at once for a moment.
 * @param inUse whether a port that is taken is an error: not where the daemon itself may have it
 */
export async function checkPorts(draft: Draft, role: Role, inUse: 'error' | 'found'): Promise<void> {
  const opened: Server[] = [];
  const seen = new Map<string, string>();
  for (const { key } of portsOf(role)) {
    const written = String(draft.values.get(key));
    const listen = parseListen(written);
    if (listen === undefined) continue;
    const other = listen.port === 0 ? undefined : seen.get(written);
    seen.set(written, key);
    if (other !== undefined) {
      complain(draft, key, `${written} is the address of ${other} as well; each port has its own`);
      continue;
    }
    try {
      opened.push(await listenOn(listen));
      draft.found.push(`${key}: ${written} is free`);
    } catch (error) {
      if (inUse === 'found' && (error as NodeJS.ErrnoException).code === 'EADDRINUSE')
        draft.found.push(`${key}: ${written} is in use now, by the daemon if it runs`);
      else complain(draft, key, `${written} cannot be listened on: ${reasonNotToListen(error, listen.port)}`);
    }
  }
  await Promise.all(opened.map((server) => new Promise((resolve) => server.close(resolve))));
}

/** Rejects as `listen` does. */
export function listenOn(listen: { host: string; port: number }): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', reject).listen(listen, () => resolve(server));
  });
}
