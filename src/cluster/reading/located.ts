/**
 * Where the bytes of one path are: the one place that asks.
 *
 * Few are asked where few will do. First this worker; then the worker that the ring names for the first segment, which says
 * the version and how the file was cut; then those that the ring names for the segments that are wanted. Only where these do
 * not have all of it, because the ring has changed or a worker is gone, everybody is asked.
 *
 * Who waits for whom: a question waits until enough is known, or all who were asked have answered or failed. What a worker
 * that does not answer has is not known: then nothing is said to be missing (PEER_FAILED), unless others have it.
 */
import { PrimedError } from '../../core/errors.ts';
import { type HeldFile, type HeldVersion, type Said, uncovered, versionsOf } from '../../core/holdings.ts';
import type { Peer } from '../../core/peers.ts';
import { type ByteRange, sameVersion, type UfsPath } from '../../core/types.ts';
import type { Store } from '../../store/types.ts';
import { heldIn } from './held-row.ts';
import { type Peers, refuseIfUnknown } from './known-peers.ts';
import type { PeerClient } from './peer-client.ts';

/** What reading needs of a store: nothing that changes it. */
export type LocalFiles = Pick<Store, 'stat' | 'statLoading' | 'list' | 'open' | 'openVersion' | 'ranges'>;

/** What this worker is called among the holders of a file. */
export const here = '';

export interface LocatorOptions {
  /** Undefined: this node has no files of its own. */
  readonly store?: LocalFiles;
  readonly peers: Peers;
  readonly client: Pick<PeerClient, 'stat' | 'avoids'>;
}

/** Segments of a range that are looked up on the ring; beyond them everybody is asked at once. */
const mostLookedUp = 4096;
/** Of so many it costs little to ask all. */
const fewWorkers = 16;

export class Located {
  readonly path: UfsPath;
  readonly #options: LocatorOptions;
  #said: Said[];
  #versions: readonly HeldVersion[] | undefined;
  readonly #asked = new Set<string>();
  readonly #silent = new Map<string, PrimedError>();

  constructor(path: UfsPath, options: LocatorOptions) {
    this.path = path;
    this.#options = options;
    const { store } = options;
    const records = store === undefined ? [] : [store.stat(path), store.statLoading(path)];
    const different = records.filter((one, at) => one !== undefined && one.fileId !== records[at - 1]?.fileId);
    this.#said = different.map((record) => ({ holder: here, file: heldIn(store!, record!) }));
  }

  /** The one to be read first. */
  get versions(): readonly HeldVersion[] {
    this.#versions ??= versionsOf(this.#said);
    return this.#versions;
  }

  get silent(): ReadonlyMap<string, PrimedError> {
    return this.#silent;
  }

  /** As far as it is known by now; a version that nobody speaks of any more has no holdings. */
  versionLike(file: HeldFile): HeldVersion {
    return this.versions.find((one) => sameVersion(one.file, file)) ?? { file, shown: true, holdings: [], ranges: [] };
  }

  /** Asks until a version is known that readers may see. Rejects with PEER_FAILED when only a silent worker may know one. */
  async find(): Promise<HeldVersion | undefined> {
    const isShown = (): boolean => this.versions[0]?.shown === true;
    if (isShown()) return this.versions[0];
    const { peers, client } = this.#options;
    const owner = peers.owner(this.path, 0);
    if (owner !== undefined && !client.avoids(owner)) await this.#ask([owner], isShown);
    if (!isShown()) await this.askAll(isShown);
    if (!isShown()) this.refuseIfSilent(`whether ${this.path} is cached`);
    return this.versions[0];
  }

  /** The same for somebody who can do without: whoever does not answer of late is not asked. Undefined: it is not known. */
  async findSoon(): Promise<HeldVersion | undefined> {
    const isShown = (): boolean => this.versions[0]?.shown === true;
    const { peers } = this.#options;
    const owner = peers.owner(this.path, 0);
    if (owner !== undefined) await this.#ask(this.#answering([owner]), isShown);
    await this.#ask(this.#answering(peers.others()), isShown);
    return isShown() ? this.versions[0] : undefined;
  }

  /** Asks until every byte of the range is known to be somewhere, or all have spoken. Resolves with what nobody has. */
  async cover(file: HeldFile, range: ByteRange): Promise<readonly ByteRange[]> {
    const left = (): ByteRange[] => uncovered(range, this.versionLike(file).holdings);
    const done = (): boolean => left().length === 0;
    if (done()) return [];
    await this.#ask(this.#ownersOf(file, left()), done);
    if (!done()) await this.askAll(done);
    return left();
  }

  /**
   * The same for somebody who can do without: nobody is asked who has just failed, and only of a few workers also those that
   * own nothing of the range. Never rejects.
   */
  async coverSoon(file: HeldFile, range: ByteRange): Promise<readonly ByteRange[]> {
    const left = (): ByteRange[] => uncovered(range, this.versionLike(file).holdings);
    const done = (): boolean => left().length === 0;
    if (done()) return [];
    await this.#ask(this.#ownersOf(file, left()), done);
    const others = this.#answering(this.#options.peers.others());
    if (!done() && others.length <= fewWorkers) await this.#ask(others, done);
    return left();
  }

  /**
   * Everybody that was not asked, or was silent; those who do not answer of late after all others. Resolves early once `done`
   * says so.
   */
  async askAll(done: () => boolean = () => false): Promise<void> {
    const others = this.#options.peers.others();
    const first = this.#answering(others);
    await this.#ask(first, done);
    await this.#ask(
      others.filter((peer) => !first.includes(peer)),
      done,
    );
  }

  #answering(peers: readonly Peer[]): readonly Peer[] {
    return peers.filter((peer) => !this.#options.client.avoids(peer));
  }

  /** Throws PEER_FAILED when a worker has not answered. */
  refuseIfSilent(what: string): void {
    refuseIfUnknown(this.#options.peers, what);
    const [first] = this.#silent.values();
    if (first === undefined) return;
    const message = `It is not known ${what}: ${first.message}`;
    throw new PrimedError('PEER_FAILED', message, { path: this.path }, { cause: first });
  }

  #ownersOf({ segmentBytes, sizeBytes }: HeldFile, ranges: readonly ByteRange[]): Peer[] {
    const { peers, client } = this.#options;
    const owners = new Map<string, Peer>();
    let lookedUp = 0;
    for (const { offset, length } of ranges) {
      const end = Math.min(sizeBytes, offset + length);
      for (let index = Math.floor(offset / segmentBytes); index * segmentBytes < end; index += 1) {
        const owner = peers.owner(this.path, index);
        if (owner !== undefined && !client.avoids(owner)) owners.set(owner.id, owner);
        lookedUp += 1;
        if (lookedUp > mostLookedUp) return [];
      }
    }
    return [...owners.values()];
  }

  async #ask(peers: readonly Peer[], done: () => boolean): Promise<void> {
    const { client } = this.#options;
    const asked = peers.filter(({ id }) => !this.#asked.has(id));
    if (asked.length === 0 || done()) return;
    const enough = new AbortController();
    const answers = asked.map(async (peer) => {
      try {
        const files = await client.stat(peer, this.path, enough.signal);
        this.#asked.add(peer.id);
        this.#silent.delete(peer.id);
        this.#said.push(...files.map((file) => ({ holder: peer.id, file })));
        this.#versions = undefined;
      } catch (error) {
        if (enough.signal.aborted) return;
        if (!(error instanceof PrimedError)) throw error;
        this.#silent.set(peer.id, error);
      }
      if (done()) enough.abort();
    });
    await Promise.all(answers);
  }
}
