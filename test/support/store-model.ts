/** What a store should hold: the reference that it is compared with. Plain maps, nothing else. */
import {
  type DiscardReason,
  emptyLedger,
  type Ledger,
  type LoadId,
  ledgerDifference,
  type ManifestEntry,
  type RunId,
  sameVersion,
} from '../../src/core/types.ts';
import { alignUp, pageBytes } from '../../src/core/units.ts';

export interface ModelFile {
  readonly entry: ManifestEntry;
  readonly load: LoadId;
  readonly state: 'complete' | 'metadata';
}

export interface ModelLoading {
  readonly entry: ManifestEntry;
  readonly load: LoadId;
  /** Which run fetched each page that has landed. */
  readonly pages: Map<number, RunId>;
}

export function pageLengthOf(entry: ManifestEntry, page: number): number {
  return Math.min(pageBytes, entry.sizeBytes - page * pageBytes);
}

export function pageCountOf(entry: ManifestEntry): number {
  return Math.ceil(entry.sizeBytes / pageBytes);
}

export class StoreModel {
  readonly visible = new Map<string, ModelFile>();
  readonly loading = new Map<string, ModelLoading>();
  readonly ledgers = new Map<RunId, Ledger>();

  clone(): StoreModel {
    const copy = new StoreModel();
    for (const [path, file] of this.visible) copy.visible.set(path, file);
    for (const [path, file] of this.loading) copy.loading.set(path, { ...file, pages: new Map(file.pages) });
    for (const [run, ledger] of this.ledgers)
      copy.ledgers.set(run, { ...ledger, discardedBytes: { ...ledger.discardedBytes } });
    return copy;
  }

  ledger(run: RunId): Ledger {
    let ledger = this.ledgers.get(run);
    if (!ledger) {
      ledger = emptyLedger();
      this.ledgers.set(run, ledger);
    }
    return ledger;
  }

  begin(entry: ManifestEntry, load: LoadId, reuse: 'any' | 'load'): 'complete' | 'resumed' | 'new' {
    const mayReuse = (file: { entry: ManifestEntry; load: LoadId }): boolean =>
      sameVersion(file.entry, entry) && (reuse === 'any' || file.load === load);
    const visible = this.visible.get(entry.path);
    if (visible?.state === 'complete' && mayReuse(visible)) return 'complete';
    const current = this.loading.get(entry.path);
    if (current && mayReuse(current)) return 'resumed';
    if (current) this.abandon(entry.path, sameVersion(current.entry, entry) ? 'replaced' : 'changed');
    this.loading.set(entry.path, { entry, load, pages: new Map() });
    return 'new';
  }

  /** Pages from `first` on. Returns whether the file is complete by it, or was. */
  land(run: RunId, entry: ManifestEntry, first: number, count: number): boolean {
    const file = this.loading.get(entry.path);
    const ledger = this.ledger(run);
    for (let page = first; page < first + count; page++) {
      const bytes = pageLengthOf(entry, page);
      if (!file || file.pages.has(page)) ledger.discardedBytes.replaced += bytes;
      else {
        file.pages.set(page, run);
        ledger.cachedBytes += bytes;
      }
    }
    if (file && file.pages.size < pageCountOf(entry)) return false;
    if (file) this.complete(entry.path);
    return true;
  }

  complete(path: string): void {
    const { entry, load } = this.loading.get(path)!;
    this.loading.delete(path);
    this.visible.set(path, { entry, load, state: 'complete' });
  }

  abandon(path: string, reason: DiscardReason): void {
    const file = this.loading.get(path)!;
    for (const [page, run] of file.pages) {
      const bytes = pageLengthOf(file.entry, page);
      this.ledger(run).cachedBytes -= bytes;
      this.ledger(run).discardedBytes[reason] += bytes;
    }
    this.loading.delete(path);
  }

  putMetadata(entry: ManifestEntry, load: LoadId): void {
    const old = this.visible.get(entry.path);
    if (old?.state === 'complete' && sameVersion(old.entry, entry)) return;
    this.visible.set(entry.path, { entry, load, state: 'metadata' });
  }

  /** What another process finds: begun files of which nothing landed are gone, and what was in flight is lost. */
  restarted(): StoreModel {
    const after = this.clone();
    for (const [path, { pages }] of after.loading) if (pages.size === 0) after.loading.delete(path);
    for (const ledger of after.ledgers.values()) ledger.discardedBytes.crash += Math.max(0, ledgerDifference(ledger));
    return after;
  }

  usedBytes(): number {
    let bytes = 0;
    for (const { entry, state } of this.visible.values()) if (state === 'complete') bytes += alignUp(entry.sizeBytes);
    for (const { entry, pages } of this.loading.values())
      for (const page of pages.keys()) bytes += alignUp(pageLengthOf(entry, page));
    return bytes;
  }
}
