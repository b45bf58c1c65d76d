/**
 * Versions of many files of an index by listing their directories, where that costs the origin and us less than one HEAD
 * a file: a listing page of 1,000 keys takes about the CPU of 30 HEADs. An index that is sorted is merged with the
 * listing, each page of which is read once; what the listing does not show is for the caller to ask for one by one.
 */
import type { ManifestEntry, UfsPath } from '../core/types.ts';
import type { ListingPage } from '../origin/types.ts';

/** Fewer files of one directory than this, in one call, do not start a listing. */
export const fewestToList = 64;
/** A page costs as many finds; a listing that does not earn them is given up. */
const pageCost = 32;
/** Two pages may find nothing at the start, or between runs of files: ten at most. */
const creditAtFirst = 2 * pageCost;
const creditAtMost = 10 * pageCost;
/** Directories whose listing is kept open; the longest unused one goes. */
const directoriesKept = 32;

export type ListDirectory = (directory: UfsPath, after: string | undefined) => Promise<ListingPage>;

interface OpenListing {
  readonly directory: UfsPath;
  /** The page read last: files of it may be asked for by the next call. */
  page: ReadonlyMap<string, ManifestEntry>;
  lastPath: string;
  next: string | undefined;
  begun: boolean;
  credit: number;
}

export class IndexLookup {
  readonly #list: ListDirectory;
  readonly #listings = new Map<string, OpenListing>();
  #turn: Promise<unknown> = Promise.resolve();

  constructor(list: ListDirectory) {
    this.#list = list;
  }

  /** Those of `paths` that listings show. Calls run one after the other, in their order. Never rejects. */
  find(paths: readonly UfsPath[]): Promise<ReadonlyMap<string, ManifestEntry>> {
    const found = this.#turn.then(() => this.#find(paths));
    this.#turn = found;
    return found;
  }

  async #find(paths: readonly UfsPath[]): Promise<ReadonlyMap<string, ManifestEntry>> {
    const found = new Map<string, ManifestEntry>();
    for (const [directory, wanted] of byDirectory(paths)) {
      const listing = this.#listingOf(directory, wanted.length);
      if (listing === undefined) continue;
      try {
        await this.#merge(listing, wanted, found);
      } catch {
        // The HEAD of each file says what is wrong, and with which.
        listing.credit = -1;
      }
    }
    return found;
  }

  #listingOf(directory: UfsPath, files: number): OpenListing | undefined {
    const open = this.#listings.get(directory);
    this.#listings.delete(directory);
    if (open === undefined && files < fewestToList) return undefined;
    const listing = open ?? {
      directory,
      page: new Map(),
      lastPath: '',
      next: undefined,
      begun: false,
      credit: creditAtFirst,
    };
    this.#listings.set(directory, listing);
    if (this.#listings.size > directoriesKept) this.#listings.delete(this.#listings.keys().next().value!);
    return listing;
  }

  async #merge(listing: OpenListing, wanted: readonly UfsPath[], found: Map<string, ManifestEntry>): Promise<void> {
    let ahead = takeFrom(listing, wanted, found);
    while (ahead.length > 0 && listing.credit >= 0 && (!listing.begun || listing.next !== undefined)) {
      const { entries, next } = await this.#list(listing.directory, listing.next);
      listing.begun = true;
      listing.page = new Map(entries.map((entry) => [entry.path, entry]));
      listing.lastPath = entries.at(-1)?.path ?? listing.lastPath;
      listing.next = next;
      listing.credit -= pageCost;
      ahead = takeFrom(listing, ahead, found);
    }
  }
}

/** Takes what the page has; returns what a later page may have. */
function takeFrom(
  listing: OpenListing,
  wanted: readonly UfsPath[],
  found: Map<string, ManifestEntry>,
): readonly UfsPath[] {
  return wanted.filter((path) => {
    const entry = listing.page.get(path);
    if (entry === undefined) return path > listing.lastPath;
    found.set(path, entry);
    listing.credit = Math.min(creditAtMost, listing.credit + 1);
    return false;
  });
}

function byDirectory(paths: readonly UfsPath[]): ReadonlyMap<UfsPath, readonly UfsPath[]> {
  const directories = new Map<UfsPath, UfsPath[]>();
  for (const path of paths) {
    const directory = path.slice(0, path.lastIndexOf('/') + 1) as UfsPath;
    const members = directories.get(directory);
    if (members === undefined) directories.set(directory, [path]);
    else members.push(path);
  }
  return directories;
}
