/** Which coordinators live, for nodes that are none: what each has written down under its lease. */
import type { Log } from '../../core/types.ts';
import type { Etcd, EtcdEntry } from '../etcd/types.ts';
import { SharedKeys } from './keys.ts';
import { decodeShared, type SharedCoordinator } from './records.ts';

export interface KnownCoordinators {
  /** False: nobody has told of them yet. */
  readonly known: boolean;
  /** Addresses of their APIs; those that began first come first. While etcd is away they are those of before. */
  urls(): readonly string[];
  /** Returns how to end that. */
  onChange(listener: () => void): () => void;
  close(): void;
}

/** `root`: as of SharedJobs. */
export function watchCoordinators(etcd: Pick<Etcd, 'watchPrefix'>, root: string, log: Log): KnownCoordinators {
  const known = new Map<string, string>();
  const listeners = new Set<() => void>();
  const changed = (): void => {
    for (const listener of listeners) listener();
  };
  let heard = false;
  const put = ({ key, value }: EtcdEntry): void => {
    try {
      known.set(key, decodeShared<SharedCoordinator>(value).url);
    } catch (error) {
      log.warn({ key, error: String(error) }, 'what lies in etcd cannot be read');
    }
  };
  const watch = etcd.watchPrefix({
    prefix: new SharedKeys(root).coordinator(''),
    onReset(entries) {
      known.clear();
      for (const entry of [...entries].sort((a, b) => a.createRevision - b.createRevision)) put(entry);
      heard = true;
      changed();
    },
    onEvents(events) {
      for (const event of events) {
        if (event.type === 'put') put(event.entry);
        else known.delete(event.key);
      }
      changed();
    },
  });
  return {
    get known() {
      return heard;
    },
    urls: () => [...known.values()],
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    close: () => watch.close(),
  };
}
