/**
 * The sum over what workers know below a folder: one answer of each, in the order of paths, merged as they come. Who is asked is held
 * back by TCP while others are behind; here lies what arrived with one row of each, and the figures.
 */
import { setImmediate } from 'node:timers/promises';
import { PrimedError } from '../../core/errors.ts';
import { Heap } from '../../core/heap.ts';
import { type HeldVersion, type Holder, isWhole, versionsOf } from '../../core/holdings.ts';
import type { Peer } from '../../core/peers.ts';
import { bytesByCount, bytesOf } from '../../core/ranges.ts';
import { HeldReader } from './held-stream.ts';
import type { PeerClient } from './peer-client.ts';

/** Paths between which everything else has its turn: about 10 ms. */
const pathsAtOnce = 4096;

type Note = (peer: Peer, error: PrimedError) => void;

export interface HeldStream {
  readonly peer: Peer;
  readonly reader: HeldReader;
}

/** Of those who answer; undefined: one of them knows no such answer, and none was begun. */
export async function streamsOf(
  client: Pick<PeerClient, 'held'>,
  prefix: string,
  peers: readonly Peer[],
  note: Note,
): Promise<HeldStream[] | undefined> {
  let isKnown = true;
  const asked = await Promise.all(
    peers.map(async (peer) => {
      try {
        const chunks = await client.held(peer, prefix);
        if (chunks === undefined) isKnown = false;
        else return { peer, reader: new HeldReader(chunks) };
      } catch (error) {
        if (!(error instanceof PrimedError)) throw error;
        note(peer, error);
      }
      return undefined;
    }),
  );
  const streams = asked.filter((one) => one !== undefined);
  if (isKnown) return streams;
  await Promise.all(streams.map(({ reader }) => reader.close()));
  return undefined;
}

/** What a worker said before it broke off is counted, and it is noted. */
export async function sumOfStreams(streams: readonly HeldStream[], sum: Sum, note: Note): Promise<void> {
  const heap = new Heap<HeldStream>((a, b) => a.reader.comparePath(b.reader) < 0);
  const goOn = async (stream: HeldStream): Promise<void> => {
    try {
      let next = stream.reader.next();
      while (next === undefined) {
        await stream.reader.fill();
        next = stream.reader.next();
      }
      if (next) heap.push(stream);
    } catch (error) {
      note(stream.peer, brokenOff(stream.peer, error));
    }
  };
  try {
    await Promise.all(streams.map(goOn));
    const same: HeldStream[] = [];
    for (let paths = 1; heap.size > 0; paths += 1) {
      same.length = 0;
      same.push(heap.pop()!);
      while (heap.size > 0 && heap.peek()!.reader.comparePath(same[0]!.reader) === 0) same.push(heap.pop()!);
      addPath(sum, same);
      for (const stream of same) {
        const next = nextAtOnce(stream);
        if (next === true) heap.push(stream);
        else if (next === undefined) await goOn(stream);
      }
      if (paths % pathsAtOnce === 0) await setImmediate();
    }
  } finally {
    await Promise.allSettled(streams.map(({ reader }) => reader.close()));
  }
}

/** Without waiting. Undefined: it takes more than that. */
function nextAtOnce({ reader }: HeldStream): boolean | undefined {
  try {
    return reader.next();
  } catch {
    // It is said again to who waits.
    return undefined;
  }
}

function addPath(sum: Sum, same: readonly HeldStream[]): void {
  const first = same[0]!.reader;
  const holders = same.map(({ peer }) => peer.id);
  if (first.sizeBytes !== undefined && same.every(({ reader }) => reader === first || reader.isSameWhole(first))) {
    sum.addWhole(first.sizeBytes, holders);
    return;
  }
  const said = same.flatMap(({ peer, reader }) => reader.versions.map((file) => ({ holder: peer.id, file })));
  const [version] = versionsOf(said);
  if (version !== undefined) sum.add(version);
}

function brokenOff({ id, url }: Peer, error: unknown): PrimedError {
  if (error instanceof PrimedError) return error;
  const message = `worker '${id}' at ${url}: its answer makes no sense: ${String(error)}`;
  return new PrimedError('PEER_FAILED', message, { worker: id }, { cause: error });
}

/** Bytes by the number of workers that have them. */
export class Sum {
  files = 0;
  bytes = 0;
  cachedFiles = 0;
  cachedBytes = 0;
  /** At place n: bytes that n workers have. */
  readonly #byReplicas: number[] = [];
  readonly #workers = new Map<string, { files: number; cachedBytes: number }>();

  /** One that each of the holders has whole. */
  addWhole(sizeBytes: number, holders: readonly Holder[]): void {
    this.files += 1;
    this.cachedFiles += 1;
    this.bytes += sizeBytes;
    this.cachedBytes += sizeBytes;
    this.#byReplicas[holders.length] = (this.#byReplicas[holders.length] ?? 0) + sizeBytes;
    for (const holder of holders) this.#countAt(holder, sizeBytes);
  }

  add(version: HeldVersion): void {
    const { file, ranges, holdings } = version;
    this.files += 1;
    this.bytes += file.sizeBytes;
    this.cachedBytes += bytesOf(ranges);
    if (isWhole(version)) this.cachedFiles += 1;
    bytesByCount(
      file.sizeBytes,
      holdings.map((one) => one.ranges),
    ).forEach((bytes, replicas) => {
      this.#byReplicas[replicas] = (this.#byReplicas[replicas] ?? 0) + bytes;
    });
    for (const { holder, ranges: some } of holdings) this.#countAt(holder, bytesOf(some));
  }

  #countAt(holder: Holder, cachedBytes: number): void {
    const worker = this.#workers.get(holder);
    if (worker === undefined) this.#workers.set(holder, { files: 1, cachedBytes });
    else {
      worker.files += 1;
      worker.cachedBytes += cachedBytes;
    }
  }

  get figures() {
    const { files, bytes, cachedFiles, cachedBytes } = this;
    const replicas = Array.from(this.#byReplicas, (some = 0, count) => ({ replicas: count, bytes: some }));
    const workers = Array.from(this.#workers, ([id, of]) => ({ id, ...of })).sort((a, b) => (a.id < b.id ? -1 : 1));
    return {
      ...{ files, bytes, cachedFiles, cachedBytes, missingBytes: bytes - cachedBytes },
      replicas: replicas.filter((one) => one.bytes > 0),
      workers,
    };
  }
}
