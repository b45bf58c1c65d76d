/** Whether the ports of a configuration can be listened on. */
import { lookup } from 'node:dns/promises';
import { createServer, isIPv4, type Server } from 'node:net';
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
  const seen: { readonly key: string; readonly address: string; readonly port: number }[] = [];
  for (const { key } of portsOf(role)) {
    const written = String(draft.values.get(key));
    const listen = parseListen(written);
    if (listen === undefined) continue;
    const { port } = listen;
    const address = await addressOf(listen.host);
    const other = seen.find((one) => port !== 0 && one.port === port && overlap(one.address, address));
    seen.push({ key, address, port });
    if (other !== undefined) {
      complain(draft, key, `${written} is the address of ${other.key} as well; each port has its own`);
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

/** What `listen` makes of a host. One that is not known is told of when it is listened on. */
async function addressOf(host: string): Promise<string> {
  try {
    return (await lookup(host)).address;
  } catch {
    return host;
  }
}

/** Whether both cannot listen on the same port: `localhost` is `127.0.0.1`, `0.0.0.0` and `::` are all there are. */
function overlap(one: string, other: string): boolean {
  const all = (address: string, of: string): boolean => address === '::' || (address === '0.0.0.0' && isIPv4(of));
  return one === other || all(one, other) || all(other, one);
}

/** Rejects as `listen` does. */
export function listenOn(listen: { host: string; port: number }): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', reject).listen(listen, () => resolve(server));
  });
}
