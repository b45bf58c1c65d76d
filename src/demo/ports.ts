/** Ports of loopback for daemons that are told where to listen before they run. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';

const lowest = 10_000;
/** What the daemons take unless they are told otherwise. */
const defaults = [19_999, 28_080, 29_998];

/**
 * Gives ports of loopback that are free, each once: at random, and none of those that the system gives to whoever names none,
 * connections too. So it stays free until it is used, for a restart too, as far as it goes by the system.
 *
 * @param part of the ports, each `of`th from the `from`th on: what several processes that look at the same time divide them by
 */
export function makePortFinder({ from, of } = { from: 0, of: 1 }): () => Promise<number> {
  const systemsOwn = firstOfSystem();
  /** Below those of the system, where there is room. */
  const highest = systemsOwn > 2 * lowest ? systemsOwn : 60_000;
  const given = new Set(defaults);
  return async () => {
    for (;;) {
      if (given.size > (highest - lowest) / of / 2)
        throw new Error(`${given.size} ports were given: no more than half of all are`);
      const port = lowest + of * Math.floor((Math.random() * (highest - lowest)) / of) + from;
      if (given.has(port)) continue;
      given.add(port);
      if (await canListen(port)) return port;
    }
  };
}

/** Where the system begins to take ports for whoever does not name one. */
function firstOfSystem(): number {
  try {
    return Number(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8').split('\t')[0]);
  } catch {
    // A system that does not tell takes what Linux takes.
    return 32_768;
  }
}

async function canListen(port: number): Promise<boolean> {
  const server = createServer();
  const listens = await new Promise<boolean>((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => resolve(true));
  });
  if (listens) await new Promise((resolve) => server.close(resolve));
  return listens;
}
