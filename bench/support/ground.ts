/** What the machines of a cluster stand on: network namespaces, or plain loopback, where nothing can be cut or shaped. */
import { startGateways } from './gateways.ts';
import { type Network, openNetwork } from './netns.ts';
import { freePort } from './process.ts';

export interface Machine {
  readonly address: string;
  /** What a command line begins with to run here. */
  readonly by: readonly string[];
}

export interface Ground {
  machine(name: string): Machine;
  /** A port of a machine, the same one whenever it is asked for. */
  port(name: string, use: keyof typeof usualPorts): Promise<number>;
  /** `http://HOST:PORT` by which this process reaches a port of a machine; `token` goes with each request. */
  reach(name: string, port: number, token?: string): Promise<string>;
  close(): void;
}

const usualPorts = { api: 19_999, http: 28_080, s3: 29_998 } as const;

/** One machine for each name, in namespaces that end with the ground. */
export function networkGround(names: readonly string[]): Ground & { readonly network: Network } {
  const network = openNetwork(names);
  const gateways = startGateways(network.outside);
  return {
    network,
    machine: (name) => network.host(name),
    port: async (_, use) => usualPorts[use],
    reach: (name, port, token) =>
      gateways.open({ host: network.host(name).address, port, ...(token === undefined ? {} : { token }) }),
    close: () => {
      gateways.close();
      network.close();
    },
  };
}

/** All machines are this one. @param by what every command line begins with */
export function loopbackGround(by: (name: string) => readonly string[] = () => []): Ground {
  const ports = new Map<string, Promise<number>>();
  const address = '127.0.0.1';
  return {
    machine: (name) => ({ address, by: by(name) }),
    port(name, use) {
      const key = `${name} ${use}`;
      const port = ports.get(key) ?? freePort();
      ports.set(key, port);
      return port;
    },
    reach: async (_, port) => `http://${address}:${port}`,
    close() {},
  };
}
