/**
 * The files of a cluster, to be read from any of its nodes: the S3 port and the file API stand on this.
 *
 * What is whole on this worker is read from its SSD, and nobody is asked; only where a page of it is bad another worker goes
 * on. Everything else is found (located.ts) and streamed through (stream.ts). Where the policy of a path says so, what nobody
 * has is read from the origin (through.ts, origin/); else the origin is never asked. Nothing that passes through is kept, but
 * by the owner of its segment.
 */
import { PrimedError } from '../../core/errors.ts';
import { type HeldFile, type HeldVersion, type Holding, isWhole, uncovered } from '../../core/holdings.ts';
import { type ListingOrder, mergePages } from '../../core/listing.ts';
import type { Peer } from '../../core/peers.ts';
import { bytesOf, runFrom } from '../../core/ranges.ts';
import {
  type ByteRange,
  type Log,
  type ObjectPart,
  type ObjectVersion,
  type Random,
  sameVersion,
  type UfsPath,
} from '../../core/types.ts';
import { defaultSegmentBytes } from '../../core/units.ts';
import type { ObjectDetails } from '../../origin/types.ts';
import type { FileRecord, OpenFile } from '../../store/types.ts';
import type { Found, FoundFile, ListedPage, OpenedFile, ReadableFiles } from './found.ts';
import { type HeldItem, heldItem, named } from './held-listing.ts';
import { type Peers, refuseIfUnknown } from './known-peers.ts';
import { pageHere } from './list-here.ts';
import { here, type LocalFiles, Located } from './located.ts';
import type { OriginReads } from './origin/reads.ts';
import type { PeerClient } from './peer-client.ts';
import { counted, inOrder, readPiece } from './pieces.ts';
import { type Repairs, readRepaired } from './repair.ts';
import { readThrough } from './stream.ts';
import { atOrigin, foundThrough, heldAtOrigin, originHolding } from './through.ts';

export type { Found, FoundFile, ListedPage, OpenedFile, ReadableFiles } from './found.ts';

export interface ClusterFilesOptions {
  /** Undefined: this node has no files of its own. */
  readonly store?: LocalFiles;
  readonly peers: Peers;
  readonly client: Pick<PeerClient, 'stat' | 'list' | 'read' | 'avoids'>;
  readonly log: Log;
  readonly random?: Random;
  /** Told the bytes that came from other workers. */
  readonly onThrough?: (bytes: number) => void;
  /** Told the bytes that came from this worker. */
  readonly onHere?: (bytes: number) => void;
  /** Undefined: the origin is never asked. */
  readonly origin?: OriginReads;
  /** Makes bad pages of this worker good. */
  readonly repairs?: Pick<Repairs, 'repair'>;
  /** Told of what is here of a file that the origin has in another version, or not any more. */
  readonly onOutdated?: (record: FileRecord) => void;
  /** Told what became of a look for a file. */
  readonly onLook?: (result: Look) => void;
}

/** `local`: whole and right here; `cluster`: others have it, or some of it; `miss`: only the origin has it; `absent`: nobody. */
export type Look = 'local' | 'cluster' | 'miss' | 'absent';

export class ClusterFiles implements ReadableFiles {
  readonly #options: ClusterFilesOptions;

  constructor(options: ClusterFilesOptions) {
    this.#options = options;
  }

  find(path: UfsPath): Found | undefined | Promise<Found | undefined> {
    const { store, origin } = this.#options;
    const record = store?.stat(path);
    const through = origin?.reads(path) === true;
    if (record?.state === 'complete' && (!through || origin.isFresh(record))) return this.#foundHere(record);
    return through ? this.#findThrough(path, origin) : this.#findElsewhere(path);
  }

  #foundHere(record: FileRecord): Found {
    const { store, onLook, origin } = this.#options;
    const { path } = record;
    onLook?.('local');
    const open = (): OpenedFile => {
      const opened = store!.open(path);
      // What was just asked about is this version: a load that ends now may show one that was there before.
      if (origin?.policyOf(path).writes === true && !sameVersion(opened.record, record)) {
        opened.close();
        throw new PrimedError('ORIGIN_CHANGED', `${path} is being replaced: try again`, { path });
      }
      // Replaced in the meantime by a version of which only a part is here.
      if (opened.record.state === 'complete') return this.#openHere(opened);
      opened.close();
      const located = this.locate(path);
      return this.#openElsewhere(located, located.versions[0]!);
    };
    return { file: record, settled: () => record, open };
  }

  /** Undefined: there is no such object, cached or at the origin. Rejects with ORIGIN_*. */
  async #findThrough(path: UfsPath, origin: OriginReads): Promise<Found | undefined> {
    const { onLook, peers } = this.#options;
    // Others may have it, or be fetching it: whoever does not know them yet would fetch it once more.
    await peers.heard();
    const located = this.locate(path);
    const found = (version: HeldVersion, confirmed: boolean): Found => {
      onLook?.(version.ranges.length > 0 ? 'cluster' : 'miss');
      const stream = (file: HeldFile, range: ByteRange) => this.#through(located, file, range, { origin });
      const elsewhere = (file: HeldFile, range: ByteRange) => this.#holderOf(located, file, range);
      const shownOf = (one: HeldVersion): FoundFile => ({ ...foundOf({ ...one, shown: true }), state: 'complete' });
      return foundThrough(version, confirmed, { located, origin, stream, elsewhere, shownOf });
    };
    if (origin.policyOf(path).maxAgeMs === undefined) {
      const version = await located.findSoon();
      if (version?.shown === true && version.file.state !== 'metadata') return found(version, false);
    }
    let object: ObjectDetails | undefined;
    try {
      object = await origin.version(path);
    } catch (error) {
      const cached = origin.mayBeStale(path, error) ? await this.#findCached(path) : undefined;
      if (cached === undefined) throw error;
      return cached;
    }
    const record = this.#options.store?.stat(path);
    if (record !== undefined && record.state !== 'loading' && (object === undefined || !sameVersion(record, object)))
      this.#options.onOutdated?.(record);
    if (object === undefined) {
      onLook?.('absent');
      return undefined;
    }
    if (record?.state === 'complete' && sameVersion(record, object)) return this.#foundHere(record);
    const file = heldAtOrigin(object, origin.segmentBytes);
    await located.coverSoon(file, { offset: 0, length: Math.min(1, file.sizeBytes) });
    return found(located.versionLike(file), true);
  }

  /** Whatever is whole, here or elsewhere, be it as old as it is. */
  async #findCached(path: UfsPath): Promise<Found | undefined> {
    const record = this.#options.store?.stat(path);
    if (record?.state === 'complete') return this.#foundHere(record);
    const found = await this.#findElsewhere(path);
    return found?.file.state === 'complete' || found?.file.state === 'partial' ? found : undefined;
  }

  /** What workers say of a path; for those who want to know more than where to read. */
  locate(path: UfsPath): Located {
    return new Located(path, this.#options);
  }

  async list(order: ListingOrder): Promise<ListedPage> {
    const { origin } = this.#options;
    if (order.maxKeys > 0 && origin?.lists(order.root + order.prefix) === true) {
      const page = await origin.list(order);
      if (page !== undefined) return page;
    }
    return this.#listCached(order);
  }

  async #listCached(order: ListingOrder): Promise<ListedPage> {
    refuseIfUnknown(this.#options.peers, 'what is cached');
    const files: { key: string; record: FoundFile }[] = [];
    const commonPrefixes: string[] = [];
    let after: string | undefined = order.after;
    while (after !== undefined && files.length + commonPrefixes.length < order.maxKeys) {
      const maxKeys: number = order.maxKeys - files.length - commonPrefixes.length;
      const { items, next } = await this.listHeld({ ...order, after, maxKeys });
      for (const item of items) {
        if ('prefix' in item) {
          commonPrefixes.push(item.prefix);
          continue;
        }
        const record = item.versions.map(foundOf).find(({ state }) => state === 'complete' || state === 'metadata');
        if (record !== undefined) files.push({ key: item.key, record });
      }
      after = next;
    }
    return { files, commonPrefixes, ...(after === undefined || order.maxKeys === 0 ? {} : { next: after }) };
  }

  /** One page of everything that is known, with all versions and who has what of them. Rejects with PEER_FAILED. */
  async listHeld(
    order: ListingOrder,
    others: readonly Peer[] = this.#options.peers.others(),
    onFailure?: (peer: Peer, error: PrimedError) => void,
  ): Promise<{ readonly items: readonly HeldItem[]; readonly next?: string }> {
    const { store, client } = this.#options;
    if (order.maxKeys === 0) return { items: [] };
    const pages = await Promise.all(
      others.map(async (peer) => {
        try {
          return named(peer.id, await client.list(peer, order));
        } catch (error) {
          if (onFailure === undefined || !(error instanceof PrimedError)) throw error;
          onFailure(peer, error);
          return named(peer.id, { files: [], commonPrefixes: [] });
        }
      }),
    );
    const own = store === undefined ? [] : [named(here, pageHere(store, order))];
    const { items, next } = mergePages([...own, ...pages], order.maxKeys);
    return { items: items.map(heldItem), ...(next === undefined ? {} : { next }) };
  }

  async part(file: FoundFile, number: number): Promise<ObjectPart | undefined> {
    return this.#options.origin?.part(file, number);
  }

  get namedBuckets(): readonly string[] {
    return this.#options.origin?.namedBuckets ?? [];
  }

  async knows(prefix: string): Promise<boolean> {
    const { store, peers, client, origin } = this.#options;
    if (origin?.lists(prefix) === true && (await origin.hasBucket(prefix))) return true;
    const order = { root: prefix, prefix: '', delimiter: '', after: '', maxKeys: 1 };
    if (store !== undefined && pageHere(store, order).files.length > 0) return true;
    const asked = peers.others().map((peer) => client.list(peer, order));
    const holders = asked.map(async (page) => {
      if ((await page).files.length === 0) throw new Error('nothing there');
    });
    // One that has something is enough, whoever does not answer.
    if (await Promise.any(holders).then(always, never)) return true;
    await Promise.all(asked);
    refuseIfUnknown(peers, `whether anything below ${prefix} is cached`);
    return false;
  }

  async #findElsewhere(path: UfsPath): Promise<Found | undefined> {
    const located = this.locate(path);
    const version = await located.find();
    if (version === undefined) return undefined;
    return {
      file: foundOf(version),
      settled: async () => {
        const { file } = version;
        if (file.state !== 'metadata' && (await located.cover(file, whole(file))).length > 0) {
          await located.askAll();
          located.refuseIfSilent(`whether all of ${file.path} is cached`);
        }
        return foundOf(located.versions[0]!);
      },
      open: () => this.#openElsewhere(located, version),
    };
  }

  #openHere(opened: OpenFile): OpenedFile {
    const { record } = opened;
    return {
      file: record,
      prepare: () => true,
      read: (range) => this.#readHere(opened, range),
      close: () => opened.close(),
    };
  }

  /** From the SSD; where that fails, from another worker, if one has this version. */
  async *#readHere(opened: OpenFile, range: ByteRange): AsyncGenerator<Uint8Array> {
    const { record } = opened;
    const { onHere, repairs, origin } = this.#options;
    let at = range.offset;
    let failure: unknown;
    try {
      for await (const bytes of readRepaired(opened, range, repairs)) {
        at += bytes.length;
        onHere?.(bytes.length);
        yield bytes;
      }
      return;
    } catch (error) {
      const isAlone = this.#options.peers.others().length === 0 && origin === undefined;
      if (!isOfDisk(error) || isAlone) throw error;
      failure = error;
    }
    this.#options.log.error(
      { path: record.path, offset: at, error: String(failure) },
      'a file cannot be read here: another worker, or the origin, is asked for the rest',
    );
    const located = this.locate(record.path);
    const left = { offset: at, length: range.offset + range.length - at };
    const file = { ...record, ranges: [] };
    try {
      await located.askAll(() => this.#elsewhere(located, file, left));
      // The disk of this worker cannot be trusted with it: what comes from the origin is only passed on.
      const passing = origin && { segmentBytes: origin.segmentBytes, read: origin.pass.bind(origin) };
      yield* this.#through(located, file, left, { without: [here], ...(passing && { origin: passing }) });
    } catch (error) {
      // What is wrong is the disk of this worker; that nobody else gives it is only why it shows.
      throw isMissing(error) || isOfOrigin(error) ? failure : error;
    }
  }

  /** Who else has a range of a version, as far as they answer. */
  async *replicas(
    version: ObjectVersion & { readonly path: UfsPath },
    range: ByteRange,
  ): AsyncGenerator<{ readonly name: string; read(): AsyncIterable<Uint8Array> }> {
    const { peers, client } = this.#options;
    if (peers.others().length === 0) return;
    const located = this.locate(version.path);
    await located.askAll();
    const { holdings } = located.versionLike(heldAtOrigin(version, defaultSegmentBytes));
    for (const { holder, ranges } of holdings) {
      const peer = peers.others().find(({ id }) => id === holder);
      if (peer === undefined || runFrom(ranges, range.offset) < range.length) continue;
      yield {
        name: `worker '${holder}'`,
        read: async function* () {
          yield* await client.read(peer, version, range);
        },
      };
    }
  }

  #elsewhere(located: Located, file: HeldFile, range: ByteRange): boolean {
    const { holdings } = located.versionLike(file);
    return (
      uncovered(
        range,
        holdings.filter(({ holder }) => holder !== here),
      ).length === 0
    );
  }

  #openElsewhere(located: Located, version: HeldVersion): OpenedFile {
    let { file } = version;
    let found = foundOf(version);
    const through = (range: ByteRange): AsyncIterable<Uint8Array> => this.#through(located, file, range);
    return {
      get file() {
        return found;
      },
      prepare: async (range) => {
        const missing = await located.cover(file, range);
        if (missing.length === 0) return true;
        const better = located.versions[0]!;
        if (better.file.etag !== file.etag && isWhole(better)) {
          file = better.file;
          found = foundOf(better);
          return false;
        }
        located.refuseIfSilent(`whether all of ${file.path} is cached`);
        throw notCached(foundOf(located.versionLike(file)), missing);
      },
      elsewhere: (range) => this.#holderOf(located, file, range),
      read: through,
      close: () => undefined,
    };
  }

  #holderOf(located: Located, file: HeldFile, range: ByteRange): Peer | undefined {
    const { peers, client } = this.#options;
    const { holdings } = located.versionLike(file);
    if (holdings.some(({ holder, ranges }) => holder === here && runFrom(ranges, range.offset) > 0)) return undefined;
    const has = ({ ranges }: Holding): boolean => runFrom(ranges, range.offset) >= range.length;
    const peerOf = ({ holder }: Holding): Peer | undefined => peers.others().find(({ id }) => id === holder);
    return holdings
      .filter(has)
      .map(peerOf)
      .find((peer) => peer !== undefined && !client.avoids(peer));
  }

  #through(
    located: Located,
    file: HeldFile,
    range: ByteRange,
    { without = [], origin }: { readonly without?: readonly string[]; readonly origin?: OriginHolder } = {},
  ): AsyncGenerator<Uint8Array> {
    const { store, client, log, peers, repairs, random = Math.random, onThrough = () => undefined } = this.#options;
    const turn = random();
    const peerOf = (holder: string): Peer | undefined => peers.others().find(({ id }) => id === holder);
    return readThrough(
      {
        holdings: () => {
          const usable = located
            .versionLike(file)
            .holdings.filter(({ holder }) => !without.includes(holder) && (holder === here || peerOf(holder)));
          const ordered = inOrder(usable, turn, (holder) => {
            const peer = peerOf(holder);
            return peer !== undefined && client.avoids(peer);
          });
          return origin === undefined ? ordered : [...ordered, originHolding(file, origin.segmentBytes, range)];
        },
        open: async (piece) => {
          if (piece.holder === atOrigin) return origin!.read(file, piece);
          const peer = piece.holder === here ? undefined : peerOf(piece.holder);
          if (piece.holder === here) return readPiece(store!, file, piece, repairs);
          if (peer === undefined) throw new PrimedError('PEER_FAILED', `worker '${piece.holder}' is not live any more`);
          return counted(await client.read(peer, file, piece), onThrough);
        },
        askMore: () => located.askAll(),
        onFailure: ({ piece, at, error }) => {
          const facts = { path: file.path, worker: piece.holder, offset: at, error: String(error) };
          if (piece.holder === atOrigin)
            log.debug(facts, 'what was read through broke off, and is asked for once more');
          else log.warn(facts, 'a worker broke off what it was read from: another goes on, where one has it');
        },
        isFinal: (error) => error instanceof PrimedError && finalCodes.has(error.code),
      },
      range,
    );
  }
}

/** What gives a reader everything of a version, last of all. */
type OriginHolder = Pick<OriginReads, 'segmentBytes' | 'read'>;

function whole({ sizeBytes }: ObjectVersion): ByteRange {
  return { offset: 0, length: sizeBytes };
}

export function foundOf(version: HeldVersion): FoundFile {
  const { file, ranges, shown } = version;
  const { path, etag, sizeBytes, lastModifiedMs, versionId, attributes } = file;
  const cachedBytes = bytesOf(ranges);
  const state = !shown ? 'loading' : isWhole(version) ? 'complete' : cachedBytes === 0 ? 'metadata' : 'partial';
  const known = { path, etag, sizeBytes, lastModifiedMs, attributes, state, cachedBytes } as const;
  return versionId === undefined ? known : { ...known, versionId };
}

function notCached({ path, sizeBytes, cachedBytes }: FoundFile, missing: readonly ByteRange[]): PrimedError {
  const gaps = missing
    .slice(0, 3)
    .map(({ offset, length }) => `${offset} to ${offset + length - 1}`)
    .join(', ');
  const message = `${path} has ${cachedBytes} of ${sizeBytes} bytes in the cache: bytes ${gaps}${missing.length > 3 ? ', …' : ''} are on no live worker; load it again.`;
  return new PrimedError('FILE_NOT_CACHED', message, { path, sizeBytes, cachedBytes });
}

function isOfDisk(error: unknown): boolean {
  return error instanceof PrimedError && (error.code === 'STORE_CORRUPT' || error.code === 'STORE_IO');
}

/** What the origin says of the object itself: it says the same to whoever asks. */
const finalCodes: ReadonlySet<string> = new Set([
  ...['ORIGIN_CHANGED', 'ORIGIN_NOT_FOUND', 'ORIGIN_DENIED', 'ORIGIN_REJECTED', 'ORIGIN_TIMEOUT'],
]);

function isOfOrigin(error: unknown): boolean {
  return error instanceof PrimedError && error.code.startsWith('ORIGIN_');
}

const always = (): boolean => true;
const never = (): boolean => false;

function isMissing(error: unknown): boolean {
  return error instanceof PrimedError && error.code === 'FILE_NOT_CACHED';
}
