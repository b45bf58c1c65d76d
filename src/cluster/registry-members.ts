/** The workers of a registry as members: a link for each registration, ended when that holds no more. */
import type { PrimedError } from '../core/errors.ts';
import { isMember, type WorkerRow } from '../core/membership.ts';
import type { WorkerId } from '../core/types.ts';
import type { Member, Members } from './members.ts';
import type { Registry } from './registry.ts';
import type { WorkerLink } from './worker-link.ts';

/** A link that can be told that its worker is lost: pending calls reject with WORKER_LOST, and so do all later ones. */
export interface EndableLink extends WorkerLink {
  lost(): void;
}

export interface RegistryMembersOptions {
  readonly registry: Pick<Registry, 'workers' | 'onChange'>;
  /** `onRefused` hears whether the worker lets this coordinator in: with why not, and with undefined that it does again. */
  readonly connect: (worker: WorkerRow, onRefused: (refusal: PrimedError | undefined) => void) => EndableLink;
}

export interface RegistryMembers extends Members {
  /** Why a live worker takes no orders of this coordinator; undefined: it does. */
  refusalOf(id: WorkerId): PrimedError | undefined;
  /** Ends all links. */
  close(): void;
}

interface Linked {
  readonly epoch: number;
  readonly link: EndableLink;
  refusal: PrimedError | undefined;
}

export function registryMembers({ registry, connect }: RegistryMembersOptions): RegistryMembers {
  const linked = new Map<WorkerId, Linked>();
  const listeners = new Set<() => void>();
  let live: readonly Member[] = [];

  const refresh = (): void => {
    const rows = new Map(
      registry
        .workers()
        .filter(isMember)
        .map((row) => [row.id, row]),
    );
    for (const [id, { epoch, link }] of linked) {
      if (rows.get(id)?.epoch === epoch) continue;
      linked.delete(id);
      link.lost();
    }
    live = Array.from(rows.values(), (row) => {
      const { id, drains, zone } = row;
      const known = linked.get(id) ?? connected(row);
      linked.set(id, known);
      // Who is given nothing has no segments to be looked for either, and does not count for replicas.
      const takes = !drains && known.refusal === undefined;
      const member = { id, url: urlOf(row), s3Port: row.s3Port, takes, link: known.link };
      return zone === undefined ? member : { ...member, zone };
    });
    for (const listener of listeners) listener();
  };

  const connected = (row: WorkerRow): Linked => {
    const link = connect(row, (refusal) => {
      const known = linked.get(row.id);
      if (known?.link !== link) return;
      known.refusal = refusal;
      refresh();
    });
    return { epoch: row.epoch, link, refusal: undefined };
  };

  const unsubscribe = registry.onChange(refresh);
  refresh();
  return {
    live: () => live,
    refusalOf: (id) => linked.get(id)?.refusal,
    absent: () =>
      registry
        .workers()
        // Who has registered and is not linked yet cannot be asked, and is not lost either.
        .filter((row) => !isMember(row) || linked.get(row.id)?.epoch !== row.epoch)
        .map(({ id }) => id),
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close() {
      unsubscribe();
      for (const { link } of linked.values()) link.lost();
      linked.clear();
    },
  };
}

const settleTicks = 10;

/**
 * Resolves when every worker that was known is there, or when it is late: after a start of the coordinator they come back one
 * by one, and what they have is not missing because they have not yet said that they are there. Time in which this process
 * stood still does not count: of a tick that is missed for long there is one.
 */
export function membersSettled(registry: RegistryMembersOptions['registry'], limitMs: number): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      unsubscribe();
      clearInterval(timer);
      resolve();
    };
    const look = (): void => {
      if (registry.workers().every(isMember)) end();
    };
    let ticks = 0;
    const timer = setInterval(() => {
      ticks += 1;
      if (ticks === settleTicks) end();
    }, limitMs / settleTicks);
    timer.unref();
    const unsubscribe = registry.onChange(look);
    look();
  });
}

/** Of its HTTP port. */
export function urlOf({ host, httpPort: port, tls = false }: Pick<WorkerRow, 'host' | 'httpPort' | 'tls'>): string {
  return `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${port}`;
}
