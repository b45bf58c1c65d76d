/**
 * Machines on one network, in network namespaces of Linux: what real processes do when packets do not arrive.
 *
 *     switch (a namespace): br0, 10.77.0.254
 *       │ p1            │ p2             … one veth pair a host
 *     eth0 10.77.0.1  eth0 10.77.0.2     … each in the namespace of its host
 *
 * A link is shaped by a token bucket on either end, so each direction has the whole rate. What is cut is dropped where it
 * arrives, in the namespace of the receiver: nobody is told, neither by an error nor by a reset. Every cut counts what it
 * dropped, so that a test can prove that its fault fired.
 *
 * Needs root, iproute2 and nftables. Nothing outside of the namespaces is touched. They end with `close`, at the exit of
 * this process, or, where it was killed, when the next network is opened: their names carry the process that made them.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface Host {
  readonly name: string;
  readonly address: string;
  /** What a command line begins with to run here. The process keeps its id: `ip` becomes the program. */
  readonly by: readonly string[];
}

/** One direction between two hosts. */
export interface Direction {
  readonly from: string;
  readonly to: string;
}

export interface Network {
  /** Throws for a name that is none of the hosts. */
  host(name: string): Host;
  /** Where the test's own tools run: it reaches every host, whatever is cut between them. */
  readonly outside: Host;
  /** From now on nothing arrives at `to` that `from` sends. */
  cut(direction: Direction): void;
  /** Both ways. */
  partition(one: string, other: string): void;
  /** Of what arrives at a host, this share of the packets is dropped, whoever sends them: 0 to 1. */
  lose(to: string, share: number): void;
  /** Bits a second in each direction of a host's link; undefined: as fast as it goes. */
  shape(name: string, bitsPerSecond: number | undefined): void;
  /** Packets that a cut has dropped so far; 0 where there is none. */
  dropped(direction: Direction): number;
  /** Everything arrives again: cuts and losses are taken back. */
  heal(): void;
  /** Ends what still runs on the hosts, and removes everything. */
  close(): void;
}

const subnet = '10.77.0';
const outsideAddress = `${subnet}.254`;
const hostsAtMost = 200;
/** A packet of 64 KiB has to fit in whole: smaller, and every one is cut up, which costs the processor more than the wire. */
const burstBytes = 256 * 1024;
const namePrefix = 'primed-net';

/** Why there can be no network here, as a sentence; undefined: there can. */
export function whyNoNetwork(): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces are a thing of Linux';
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  for (const [program, debian] of [
    ['ip', 'iproute2'],
    ['tc', 'iproute2'],
    ['nft', 'nftables'],
  ] as const) {
    const { error } = spawnSync(program, ['-V'], { stdio: 'ignore' });
    if (error !== undefined) return `${program} is not installed (Debian: ${debian})`;
  }
  const trial = `${namePrefix}.${process.pid}.trial`;
  const { status, stderr } = spawnSync('ip', ['netns', 'add', trial], { encoding: 'utf8' });
  if (status !== 0) return `a network namespace cannot be made: ${stderr.trim()}`;
  run('ip', 'netns', 'delete', trial);
  return undefined;
}

let networks = 0;

/** Makes one host for each name. Throws where namespaces are not to be had. */
export function openNetwork(names: readonly string[], link: { readonly bitsPerSecond?: number } = {}): Network {
  if (names.length > hostsAtMost) throw new Error(`at most ${hostsAtMost} hosts, not ${names.length}`);
  removeLeftovers();
  networks += 1;
  const prefix = `${namePrefix}.${process.pid}.${startOf(process.pid)}.${networks}`;
  const made: string[] = [];
  const close = (): void => {
    process.off('exit', close);
    for (const namespace of made.splice(0).reverse()) removeNamespace(namespace);
  };
  process.on('exit', close);
  const add = (name: string): string => {
    const namespace = `${prefix}.${name}`;
    run('ip', 'netns', 'add', namespace);
    made.push(namespace);
    run('ip', '-n', namespace, 'link', 'set', 'lo', 'up');
    return namespace;
  };
  try {
    const middle = add('switch');
    run('ip', '-n', middle, 'link', 'add', 'br0', 'type', 'bridge');
    run('ip', '-n', middle, 'address', 'add', `${outsideAddress}/24`, 'dev', 'br0');
    run('ip', '-n', middle, 'link', 'set', 'br0', 'up');
    const hosts = new Map(names.map((name, index) => [name, connect({ name, index, middle, namespace: add(name) })]));
    const network = new NamespaceNetwork(hosts, middle, close);
    for (const name of names) network.shape(name, link.bitsPerSecond);
    return network;
  } catch (error) {
    close();
    throw error;
  }
}

interface Connected extends Host {
  readonly namespace: string;
  readonly port: string;
}

function connect(of: { name: string; index: number; middle: string; namespace: string }): Connected {
  const { name, index, middle, namespace } = of;
  const port = `p${index + 1}`;
  const address = `${subnet}.${index + 1}`;
  run('ip', 'link', 'add', 'eth0', 'netns', namespace, 'type', 'veth', 'peer', 'name', port, 'netns', middle);
  run('ip', '-n', middle, 'link', 'set', port, 'master', 'br0', 'up');
  run('ip', '-n', namespace, 'address', 'add', `${address}/24`, 'dev', 'eth0');
  run('ip', '-n', namespace, 'link', 'set', 'eth0', 'up');
  nft(
    namespace,
    'table inet faults {',
    'set cut { type ipv4_addr; counter; }',
    'chain losses { }',
    'chain arriving { type filter hook input priority raw; ip saddr @cut drop; jump losses; }',
    '}',
  );
  return { name, address, namespace, port, by: within(namespace) };
}

class NamespaceNetwork implements Network {
  readonly outside: Host;
  readonly close: () => void;
  readonly #hosts: ReadonlyMap<string, Connected>;
  readonly #middle: string;

  constructor(hosts: ReadonlyMap<string, Connected>, middle: string, close: () => void) {
    this.#hosts = hosts;
    this.#middle = middle;
    this.close = close;
    this.outside = { name: 'outside', address: outsideAddress, by: within(middle) };
  }

  host(name: string): Connected {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new Error(`no host is called '${name}': there are ${[...this.#hosts.keys()]}`);
    return host;
  }

  cut({ from, to }: Direction): void {
    nft(this.host(to).namespace, `add element inet faults cut { ${this.host(from).address} }`);
  }

  partition(one: string, other: string): void {
    this.cut({ from: one, to: other });
    this.cut({ from: other, to: one });
  }

  lose(to: string, share: number): void {
    // nft takes no number that every draw is below.
    const perMillion = Math.min(999_999, Math.round(share * 1e6));
    const { namespace } = this.host(to);
    nft(namespace, 'flush chain inet faults losses');
    if (perMillion > 0)
      nft(
        namespace,
        `add rule inet faults losses ip saddr != ${outsideAddress} iif eth0 numgen random mod 1000000 < ${perMillion} drop`,
      );
  }

  shape(name: string, bitsPerSecond: number | undefined): void {
    const { namespace, port } = this.host(name);
    for (const [where, device] of [
      [namespace, 'eth0'],
      [this.#middle, port],
    ] as const) {
      if (bitsPerSecond === undefined) {
        // Nothing to delete is no error: it is what was asked for.
        spawnSync('tc', ['-n', where, 'qdisc', 'delete', 'dev', device, 'root'], { stdio: 'ignore' });
      } else {
        const bucket = ['tbf', 'rate', `${bitsPerSecond}bit`, 'burst', String(burstBytes), 'latency', '50ms'];
        run('tc', '-n', where, 'qdisc', 'replace', 'dev', device, 'root', ...bucket);
      }
    }
  }

  dropped({ from, to }: Direction): number {
    const { address } = this.host(from);
    const said = run(
      'ip',
      ...within(this.host(to).namespace).slice(1),
      'nft',
      '-j',
      'list',
      'set',
      'inet',
      'faults',
      'cut',
    );
    const { nftables } = JSON.parse(said) as { nftables: { set?: { elem?: CountedElement[] } }[] };
    const elements = nftables.flatMap(({ set }) => set?.elem ?? []);
    return elements.find(({ elem }) => elem.val === address)?.elem.counter.packets ?? 0;
  }

  heal(): void {
    for (const { namespace } of this.#hosts.values())
      nft(namespace, 'flush set inet faults cut', 'flush chain inet faults losses');
  }
}

interface CountedElement {
  readonly elem: { readonly val: string; readonly counter: { readonly packets: number } };
}

const within = (namespace: string): readonly string[] => ['ip', 'netns', 'exec', namespace];

function nft(namespace: string, ...lines: readonly string[]): void {
  const [program, ...words] = within(namespace);
  execFileSync(program!, [...words, 'nft', '-f', '-'], { input: `${lines.join('\n')}\n`, encoding: 'utf8' });
}

/** Throws with what the program said. */
function run(program: string, ...words: readonly string[]): string {
  return execFileSync(program, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

/** What processes of tests left behind that did not come to their end: their daemons too. */
function removeLeftovers(): void {
  for (const line of run('ip', 'netns', 'list').split('\n')) {
    const namespace = line.split(' ')[0]!;
    const [prefix, pid, start] = namespace.split('.');
    if (prefix === namePrefix && startOf(Number(pid)) !== start) removeNamespace(namespace);
  }
}

/** Never throws: it may be half made, or somebody else may be removing it too. */
function removeNamespace(namespace: string): void {
  const { stdout } = spawnSync('ip', ['netns', 'pids', namespace], { encoding: 'utf8' });
  for (const pid of (stdout ?? '').split('\n').filter((text) => text !== '')) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It has ended meanwhile.
    }
  }
  spawnSync('ip', ['netns', 'delete', namespace], { stdio: 'ignore' });
}

/** When a process was started, in ticks since boot: together with its id it names it for ever. Undefined: there is none. */
function startOf(pid: number): string | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold spaces; field 3 follows it, and this is field 22 (proc(5)).
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}
