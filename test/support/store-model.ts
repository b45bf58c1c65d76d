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
import type { Fetched, RunOfLoad } from '../../src/store/types.ts';

export interface ModelFile {
  readonly entry: ManifestEntry;
  readonly load: LoadId;
  readonly state: 'complete' | 'partial' | 'metadata';
  /** Which run fetched each page. */
  readonly pages: ReadonlyMap<number, RunId>;
  /** Of a file without bytes. */
  readonly madeBy?: RunId;
}

export interface ModelLoading {
  readonly entry: ManifestEntry;
  readonly load: LoadId;
  /** Which run fetched each page that has landed. */
  readonly pages: Map<number, RunId>;
  /** It adds to a version that is visible in part. */
  reopened: boolean;
  /** Something has landed that is not visible yet. */
  added: boolean;
}

/** All of it is visible already: it is not seen as a loading file. */
export function isShown({ reopened, added }: ModelLoading): boolean {
  return reopened && !added;
}

export function bytesOfPages(entry: ManifestEntry, pages: Iterable<number>): number {
  let bytes = 0;
  for (const page of pages) bytes += pageLengthOf(entry, page);
  return bytes;
}

const noPages: ReadonlyMap<number, RunId> = new Map();
const nothing = { own: false, ownBytes: 0 };

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
    if (current) this.drop(entry.path, sameVersion(current.entry, entry) ? 'replaced' : 'changed');
    if (visible?.state === 'partial' && mayReuse(visible)) {
      this.loading.set(entry.path, { ...visible, pages: new Map(visible.pages), reopened: true, added: false });
      return 'resumed';
    }
    this.loading.set(entry.path, { entry, load, pages: new Map(), reopened: false, added: false });
    return 'new';
  }

  /** What is there of these pages of a version: of what this load has put there, or else of what is visible. */
  cached(
    { run, load }: RunOfLoad,
    entry: ManifestEntry,
    wanted: readonly number[],
  ): Fetched & { bytes: number; ours: boolean; visible: boolean } {
    const visible = this.visible.get(entry.path);
    const loading = this.loading.get(entry.path);
    const found: (Fetched & { bytes: number; ours: boolean; visible: boolean })[] = [];
    const note = (file: ModelFile | ModelLoading, pages: ReadonlyMap<number, RunId>, isVisible: boolean): void => {
      const here = wanted.filter((page) => pages.has(page));
      const bytes = bytesOfPages(entry, here);
      const fetched = fetchedBy(run, { ...file, pages }, wanted);
      found.push({ bytes, ours: file.load === load, visible: isVisible, ...fetched });
    };
    if (visible && visible.state !== 'metadata' && sameVersion(visible.entry, entry)) {
      note(visible, loading?.reopened ? loading.pages : visible.pages, true);
    }
    if (loading && !isShown(loading) && sameVersion(loading.entry, entry)) note(loading, loading.pages, false);
    return found.find(({ ours }) => ours) ?? found[0] ?? { bytes: 0, ours: false, visible: false, ...nothing };
  }

  /** What has landed becomes visible; the file goes on loading. */
  show(path: string): void {
    const file = this.loading.get(path);
    if (!file || file.pages.size === 0 || isShown(file)) return;
    const { entry, load, pages } = file;
    this.visible.set(path, { entry, load, state: 'partial', pages: new Map(pages) });
    file.reopened = true;
    file.added = false;
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
        file.added = true;
        ledger.cachedBytes += bytes;
      }
    }
    if (file && file.pages.size < pageCountOf(entry)) return false;
    if (file) this.complete(entry.path);
    return true;
  }

  /** `madeBy`: of a file without bytes. */
  complete(path: string, madeBy?: RunId): void {
    const { entry, load, pages } = this.loading.get(path)!;
    this.loading.delete(path);
    const made = madeBy === undefined ? {} : { madeBy };
    this.visible.set(path, { entry, load, state: 'complete', pages: new Map(pages), ...made });
  }

  /** What was added to a visible version belongs to it, and is not given up. */
  abandon(path: string, reason: DiscardReason): void {
    if (this.loading.get(path)!.reopened) this.show(path);
    else this.drop(path, reason);
  }

  /** Another version, or another load, takes its place. */
  drop(path: string, reason: DiscardReason): void {
    const file = this.loading.get(path)!;
    if (file.reopened) {
      this.show(path);
      this.loading.delete(path);
      return;
    }
    for (const [page, run] of file.pages) {
      const bytes = pageLengthOf(file.entry, page);
      this.ledger(run).cachedBytes -= bytes;
      this.ledger(run).discardedBytes[reason] += bytes;
    }
    this.loading.delete(path);
  }

  putMetadata(entry: ManifestEntry, load: LoadId): void {
    const old = this.visible.get(entry.path);
    if (old && old.state !== 'metadata' && sameVersion(old.entry, entry)) return;
    this.withdraw(entry.path);
    this.visible.set(entry.path, { entry, load, state: 'metadata', pages: noPages });
  }

  /** A visible version goes, and with it what is being added to it. */
  withdraw(path: string): void {
    this.visible.delete(path);
    if (this.loading.get(path)?.reopened) this.loading.delete(path);
  }

  /** What another process finds: begun files of which nothing landed are gone, and what was in flight is lost. */
  restarted(): StoreModel {
    const after = this.clone();
    for (const [path, file] of after.loading) if (file.pages.size === 0 || isShown(file)) after.loading.delete(path);
    for (const ledger of after.ledgers.values()) ledger.discardedBytes.crash += Math.max(0, ledgerDifference(ledger));
    return after;
  }

  usedBytes(): number {
    let bytes = 0;
    for (const path of new Set([...this.visible.keys(), ...this.loading.keys()])) {
      const visible = this.visible.get(path);
      const file = this.loading.get(path);
      if (visible?.state === 'complete') bytes += alignUp(visible.entry.sizeBytes);
      // What is added to a visible version has its pages too.
      if (visible?.state === 'partial' && !file?.reopened) bytes += pagesOnDisk(visible.entry, visible.pages.keys());
      if (file) bytes += pagesOnDisk(file.entry, file.pages.keys());
    }
    return bytes;
  }
}

/** What a run has fetched of these pages; of a file without bytes, whether it made it. */
export function fetchedBy(
  run: RunId,
  file: { entry: ManifestEntry; pages: ReadonlyMap<number, RunId>; madeBy?: RunId },
  wanted: Iterable<number>,
): Fetched {
  const own = [...wanted].filter((page) => file.pages.get(page) === run);
  return { own: file.madeBy === run || own.length > 0, ownBytes: bytesOfPages(file.entry, own) };
}

function pagesOnDisk(entry: ManifestEntry, pages: Iterable<number>): number {
  let bytes = 0;
  for (const page of pages) bytes += alignUp(pageLengthOf(entry, page));
  return bytes;
}
