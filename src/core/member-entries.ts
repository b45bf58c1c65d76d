/**
 * Workers as entries of a store of keys that all nodes share, with leases that end by themselves (etcd). Pure: what a worker
 * writes, what a coordinator reads of it, and who may take whose place. Below a prefix:
 *
 *   known/<id>         registration (JSON)   stays: so that a lost worker is still known
 *   drains/<id>        empty                 stays: what the operator said
 *   members/<id>       registration (JSON)   goes with the lease of the worker: it is a member while this is there
 *   figures/<id>       WorkerFigures (JSON)  goes with the lease
 *   addresses/<host:port>  id                goes with the lease: an address belongs to one worker
 *
 * `known` and `members` are written in one step, and the revision of that is the epoch: the store gives each of them once.
 */
import { PrimedError } from './errors.ts';
import {
  addressOf,
  hostPattern,
  mostLostKept,
  protocolsOf,
  sameAddress,
  type WorkerFigures,
  type WorkerProtocols,
  type WorkerReport,
  type WorkerRow,
  workerIdPattern,
} from './membership.ts';
import { originsText, parseOrigins } from './origin-use.ts';
import { clusterProtocol, commonProtocol } from './protocol.ts';
import { workerIdentity } from './ring.ts';
import type { WorkerId } from './types.ts';
import { parseUse, useText } from './worker-use.ts';

/** What a worker says of itself once for each registration. */
export interface Registered extends Omit<WorkerReport, keyof WorkerFigures> {
  readonly instance: string;
  /** By the clock of the worker. */
  readonly registeredAtMs: number;
  readonly leaseMs: number;
}

export const memberKeys = {
  known: (id: WorkerId) => `known/${id}`,
  drains: (id: WorkerId) => `drains/${id}`,
  members: (id: WorkerId) => `members/${id}`,
  figures: (id: WorkerId) => `figures/${id}`,
  addresses: (at: { host: string; httpPort: number }) => `addresses/${addressOf(at)}`,
} as const;

/** Where clients of Alluxio look for the workers of a cluster. */
export function discoveryKey(cluster: string, id: WorkerId): string {
  return `/ServiceDiscovery/${cluster}/${id}`;
}

/** What they read there, field by field; the ports that primed does not have are Alluxio's defaults. */
export function discoveryEntry(id: WorkerId, { host, httpPort }: { host: string; httpPort: number }): string {
  const { version, identifier } = workerIdentity(id);
  return JSON.stringify({
    Identity: { version, identifier: Buffer.from(identifier).toString('hex') },
    WorkerNetAddress: {
      Host: host,
      ContainerHost: '',
      RpcPort: 29_999,
      DataPort: 29_997,
      SecureRpcPort: 0,
      NettyDataPort: 29_997,
      WebPort: 30_000,
      DomainSocketPath: '',
      HttpServerPort: httpPort,
    },
  });
}

/** An entry as it was found. */
export interface Found<T> {
  readonly value: T;
  readonly revision: number;
}

/**
 * Whose place a worker takes by its registration: that of another one at the same address, where an address is bound by one
 * process, so that the other has ended. Throws WORKER_CONFLICT while the same id is held at another address.
 */
export function placeTaken(
  id: WorkerId,
  at: { host: string; httpPort: number },
  { member, holder }: { member: Found<Registered> | undefined; holder: WorkerId | undefined },
): WorkerId | undefined {
  if (member !== undefined && !sameAddress(member.value, at)) {
    throw new PrimedError(
      'WORKER_CONFLICT',
      `Worker '${id}' at ${addressOf(at)} is refused: ${addressOf(member.value)} is registered under the same id, and its lease of ${Math.round(member.value.leaseMs / 1000)} s has not ended. Give each worker an id of its own (cluster.id, or --host).`,
      { id, holder: addressOf(member.value) },
    );
  }
  return holder === id ? undefined : holder;
}

const noFigures: WorkerFigures = { capacityBytes: 0, freeBytes: 0, files: 0 };

/** Everything that is below the prefix, as a coordinator hears of it. */
export class MemberEntries {
  readonly #known = new Map<WorkerId, Found<Registered>>();
  readonly #members = new Map<WorkerId, Found<Registered>>();
  readonly #figures = new Map<WorkerId, WorkerFigures>();
  readonly #drains = new Set<WorkerId>();
  /** When a worker was heard last, of those that were heard here. */
  readonly #heardMs = new Map<WorkerId, number>();

  clear(): void {
    this.#known.clear();
    this.#members.clear();
    this.#figures.clear();
    this.#drains.clear();
  }

  /** `key` is relative to the prefix. False for an entry that is none of these, or does not make sense. */
  put(key: string, value: string, revision: number, nowMs: number): boolean {
    const { kind, id } = partsOf(key);
    if (id === undefined) return kind === 'addresses';
    switch (kind) {
      case 'known':
      case 'members': {
        const registered = parseRegistered(value);
        if (registered === undefined) return false;
        (kind === 'known' ? this.#known : this.#members).set(id, { value: registered, revision });
        if (kind === 'members') this.#heardMs.set(id, nowMs);
        return true;
      }
      case 'figures': {
        const figures = parseFigures(value);
        if (figures === undefined) return false;
        this.#figures.set(id, figures);
        this.#heardMs.set(id, nowMs);
        return true;
      }
      case 'drains':
        this.#drains.add(id);
        return true;
      default:
        return kind === 'addresses';
    }
  }

  delete(key: string, nowMs: number): void {
    const { kind, id } = partsOf(key);
    if (id === undefined) return;
    if (kind === 'known') {
      this.#known.delete(id);
      this.#heardMs.delete(id);
    } else if (kind === 'members') {
      if (this.#members.delete(id)) this.#heardMs.set(id, nowMs);
    } else if (kind === 'drains') this.#drains.delete(id);
    // Figures stay: so a lost worker is listed with what it had.
  }

  /** All workers, by id. `vouchedMs`: when the store was heard last, which vouches for the leases of all members. */
  rows(vouchedMs: number): readonly WorkerRow[] {
    return [...this.#known.keys()].sort((a, b) => (a < b ? -1 : 1)).map((id) => this.row(id, vouchedMs)!);
  }

  row(id: WorkerId, vouchedMs: number): WorkerRow | undefined {
    const known = this.#known.get(id);
    if (known === undefined) return undefined;
    const { leaseMs, ...registered } = known.value;
    const member = this.#isMember(id, known);
    const drains = this.#drains.has(id);
    const heardMs = this.#heardMs.get(id) ?? registered.registeredAtMs;
    return {
      ...registered,
      ...(this.#figures.get(id) ?? noFigures),
      id,
      epoch: known.revision,
      drains,
      state: member ? (drains ? 'DRAINING' : 'LIVE') : 'LOST',
      lastSeenMs: member ? vouchedMs : heardMs,
      leaseEndsMs: member ? vouchedMs + leaseMs : heardMs,
    };
  }

  /** Workers of a version of the protocol that is not understood here, which are no members whatever they hold. */
  strangers(): readonly WorkerId[] {
    return [...this.#members.keys()].filter((id) => !isUnderstood(this.#members.get(id)!.value));
  }

  /** Of lost workers those beyond what is kept, the oldest registrations first, drained ones last. */
  beyondKept(): readonly { readonly id: WorkerId; readonly epoch: number }[] {
    const lost = [...this.#known]
      .filter(([id, known]) => !this.#isMember(id, known))
      .map(([id, { revision }]) => ({ id, epoch: revision, drains: this.#drains.has(id) }));
    if (lost.length <= mostLostKept) return [];
    lost.sort((a, b) => Number(a.drains) - Number(b.drains) || a.epoch - b.epoch);
    return lost.slice(0, lost.length - mostLostKept);
  }

  #isMember(id: WorkerId, { revision }: Found<Registered>): boolean {
    const member = this.#members.get(id);
    return member?.revision === revision && isUnderstood(member.value);
  }
}

function partsOf(key: string): { kind: string; id: WorkerId | undefined } {
  const slash = key.indexOf('/');
  const name = key.slice(slash + 1);
  return {
    kind: key.slice(0, Math.max(0, slash)),
    id: new RegExp(workerIdPattern).test(name) ? (name as WorkerId) : undefined,
  };
}

function isUnderstood(worker: WorkerProtocols): boolean {
  return commonProtocol(protocolsOf(worker), clusterProtocol) !== undefined;
}

/** Undefined for what no worker would have written. */
export function parseRegistered(text: string): Registered | undefined {
  const entry = parsed(text);
  const { instance, host, httpPort, s3Port, zone, tls, version, registeredAtMs, leaseMs } = entry;
  const { protocol, newestProtocol } = entry;
  const right =
    isText(instance, /^[0-9a-f-]{36}$/) &&
    isText(host, new RegExp(hostPattern)) &&
    isPort(httpPort) &&
    isPort(s3Port) &&
    (zone === undefined || isText(zone, new RegExp(workerIdPattern))) &&
    (tls === undefined || typeof tls === 'boolean') &&
    isText(version, /^[!-~]{1,64}$/) &&
    isCount(protocol) &&
    (newestProtocol === undefined || (isCount(newestProtocol) && newestProtocol >= protocol)) &&
    isCount(registeredAtMs) &&
    isCount(leaseMs);
  if (!right) return undefined;
  const known = { instance, host, httpPort, s3Port, zone, tls, version, registeredAtMs, leaseMs };
  return JSON.parse(JSON.stringify({ ...known, protocol, newestProtocol })) as Registered;
}

export function parseFigures(text: string): WorkerFigures | undefined {
  const { capacityBytes, freeBytes, files, use: said, origins: asked } = parsed(text);
  if (!isCount(capacityBytes) || !isCount(freeBytes) || !isCount(files)) return undefined;
  const use = typeof said === 'string' ? parseUse(said) : undefined;
  const origins = use && (typeof asked === 'string' ? parseOrigins(asked) : []);
  return { capacityBytes, freeBytes, files, ...(use && { use }), ...(origins && { origins }) };
}

/** As `parseFigures` reads them. */
export function figuresText({ use, origins = [], ...figures }: WorkerFigures): string {
  const asked = origins.length === 0 ? {} : { origins: originsText(origins) };
  return JSON.stringify({ ...figures, ...(use && { use: useText(use) }), ...asked });
}

function parsed(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function isText(value: unknown, pattern: RegExp): value is string {
  return typeof value === 'string' && pattern.test(value);
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isPort(value: unknown): boolean {
  return isCount(value) && value >= 1 && value <= 65_535;
}
