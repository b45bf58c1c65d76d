/**
 * Write units in a lane: parts arrive into a slot in any order, are checksummed piece by piece while they are warm in
 * the cache, and leave in one write when the last one has arrived (or failed).
 *
 * A part is waiting -> arrived -> written, or waiting -> failed. Where some parts are late, those that have arrived are
 * written and reported without them; each part is written once and reported once.
 */
import { sliceExtents } from '../core/part-plan.ts';
import type { Extent, StoreIndex } from '../core/types.ts';
import { alignUp, pageBytes } from '../core/units.ts';
import type { RangeClient, RangeResult } from '../origin/types.ts';
import { laneColumns, laneFailureColumns, laneHistograms } from '../telemetry/lane-columns.ts';
import type { CounterRow } from '../telemetry/shared-counters.ts';
import type { LaneChecksums } from './lane-checksums.ts';
import type { LaneDisk } from './lane-disk.ts';
import type { SlotsInUse } from './lane-limits.ts';
import type { FailedPart, FromLane, PartAnswer, Transfer, WriteDone, WriteUnit } from './protocol.ts';
import { bookBytes, bookSlotBytes, enterSlot, leaveSlot, type RunBoard } from './run-board.ts';

/** Parts that are this much later than the last arrival of their unit no longer hold it back. */
const lateMs = 250;

const PartState = {
  waiting: 0,
  arrived: 1,
  settled: 2,
} as const;

interface Landing {
  readonly unit: WriteUnit;
  readonly view: Uint8Array;
  /** Where the run board has its slot. */
  readonly onBoard: number;
  readonly freeSlot: () => void;
  readonly states: Uint8Array;
  readonly checksums: (Uint32Array | undefined)[];
  /** Body bytes that came for each part, over all answers. */
  readonly received: Float64Array;
  readonly failed: FailedPart[];
  /** What each answer said of its object. */
  readonly attributes: string[];
  /** How each was answered; none where nobody asks. */
  readonly answers: PartAnswer[] | undefined;
  /** Of the parts that arrived and are not yet reported. */
  firstByteMs: number;
  waiting: number;
  arrived: number;
  /** Pieces being written now. */
  writing: number;
  lastArrivalMs: number;
}

export class UnitRunner implements SlotsInUse {
  readonly #client: RangeClient;
  readonly #disk: LaneDisk;
  readonly #checksums: LaneChecksums;
  readonly #board: RunBoard;
  readonly #laneIndex: number;
  readonly #row: CounterRow;
  readonly #post: (message: FromLane, transfer?: ArrayBuffer[]) => void;
  readonly #landings = new Set<Landing>();

  constructor(options: {
    client: RangeClient;
    disk: LaneDisk;
    checksums: LaneChecksums;
    board: RunBoard;
    laneIndex: number;
    row: CounterRow;
    post: (message: FromLane, transfer?: ArrayBuffer[]) => void;
  }) {
    this.#client = options.client;
    this.#disk = options.disk;
    this.#checksums = options.checksums;
    this.#board = options.board;
    this.#laneIndex = options.laneIndex;
    this.#row = options.row;
    this.#post = options.post;
  }

  /** Receives the parts of `unit` into `view` of the slot; calls `freeSlot` once, when nothing touches it any more. */
  start(unit: WriteUnit, { slot, view }: { slot: number; view: Uint8Array }, freeSlot: () => void): void {
    const count = unit.keys.length;
    const { run, id, copied } = unit;
    const bytes = unit.lengths.reduce((sum, length) => sum + length, 0);
    const landing: Landing = {
      unit,
      view,
      onBoard: enterSlot(this.#board, this.#laneIndex, slot, { run, id, bytes, requests: count, copied }),
      freeSlot,
      states: new Uint8Array(count),
      checksums: new Array(count),
      received: new Float64Array(count),
      failed: [],
      attributes: new Array(count).fill(''),
      answers: unit.retried ? new Array(count) : undefined,
      firstByteMs: 0,
      waiting: count,
      arrived: 0,
      writing: 0,
      lastArrivalMs: 0,
    };
    this.#landings.add(landing);
    for (let part = 0; part < count; part += 1) this.#receive(landing, part);
  }

  /** Lets the parts that have arrived go ahead of late ones, and says how full the lane is. */
  sweep(nowMs: number): void {
    this.#row.set(laneColumns.queuedParts, this.#client.queued);
    this.#row.set(laneColumns.partsInFlight, this.#client.active);
    this.#row.set(laneColumns.socketsOpen, this.#client.sockets);
    for (const landing of this.#landings) {
      if (
        landing.waiting > 0 &&
        (landing.arrived > 0 || landing.failed.length > 0) &&
        nowMs - landing.lastArrivalMs > lateMs
      ) {
        this.#write(landing);
      }
    }
  }

  eachSlot(visit: Parameters<SlotsInUse['eachSlot']>[0]): void {
    for (const { unit, writing, waiting } of this.#landings)
      visit(unit.run, writing > 0 && waiting === 0 ? 'writing' : 'receiving');
  }

  #receive(landing: Landing, part: number): void {
    const { unit } = landing;
    const length = unit.lengths[part] as number;
    const from = unit.slotOffsets[part] as number;
    const destination = landing.view.subarray(from, from + length);
    const pages = new Uint32Array(Math.ceil(length / pageBytes));
    landing.checksums[part] = pages;
    let crc = 0;
    const booked = unit.copied ? this.#board.copied : this.#board.received;
    const onBytes = (at: number, count: number): void => {
      bookBytes(this.#board, booked, unit.run, this.#laneIndex, count);
      landing.received[part] = (landing.received[part] as number) + count;
      bookSlotBytes(this.#board, landing.onBoard, count);
      if (unit.copied) this.#row.add(laneColumns.peerBytes, count);
      else this.#row.add(laneColumns.originBytes, count);
      this.#row.add(laneColumns.checksumBytes, count);
      let position = at;
      let left = count;
      while (left > 0) {
        const inPage = position % pageBytes;
        if (inPage === 0) crc = 0;
        const piece = Math.min(left, pageBytes - inPage);
        crc = this.#checksums.crc32c(destination, position, piece, crc);
        position += piece;
        left -= piece;
        if (position % pageBytes === 0 || position === length) pages[Math.ceil(position / pageBytes) - 1] = crc;
      }
    };
    const versionId = unit.versionIds[part];
    if (unit.copied) this.#row.add(laneColumns.peerRequests, 1);
    else this.#row.add(laneColumns.originRequests, 1);
    this.#client.get(
      {
        originIndex: unit.originIndex,
        key: unit.keys[part] as string,
        offset: unit.offsets[part] as number,
        length,
        run: unit.run,
        hasty: unit.hasty,
        version: {
          etag: unit.etags[part] as string,
          sizeBytes: unit.objectBytes[part] as number,
          lastModifiedMs: unit.lastModifiedMs[part] as number,
          ...(versionId === undefined ? {} : { versionId }),
        },
      },
      destination,
      onBytes,
      (result) => this.#settle(landing, part, result),
    );
  }

  #settle(landing: Landing, part: number, result: RangeResult): void {
    landing.waiting -= 1;
    if (result.general === true) this.#row.add(laneColumns.generalWay, 1);
    if (result.failure === undefined) {
      landing.states[part] = PartState.arrived;
      landing.arrived += 1;
      landing.attributes[part] = result.attributes;
      if (landing.answers !== undefined) landing.answers[part] = answerOf(result);
      landing.lastArrivalMs = performance.now();
      landing.firstByteMs += result.firstByteMs;
      if (!landing.unit.copied) this.#observe(result);
    } else {
      landing.states[part] = PartState.settled;
      const { failure, totalMs } = result;
      const receivedBytes = landing.received[part] as number;
      landing.failed.push({ part, failure, receivedBytes, durationMs: Math.round(totalMs) });
      if (landing.unit.copied) this.#row.add(laneColumns.peerFailures, 1);
      else this.#row.add(laneFailureColumns[result.failure.cause], 1);
    }
    if (landing.waiting === 0) this.#write(landing);
  }

  #observe(result: RangeResult): void {
    this.#row.add(laneColumns.originParts, 1);
    this.#row.observe(laneHistograms.partQueuedMs, result.queuedMs);
    this.#row.observe(laneHistograms.partFirstByteMs, result.firstByteMs);
    this.#row.observe(laneHistograms.partBodyMs, result.totalMs - result.firstByteMs);
  }

  /** Writes and reports what has arrived and is not yet reported. */
  #write(landing: Landing): void {
    const { unit } = landing;
    const arrived: number[] = [];
    for (let part = 0; part < landing.states.length; part += 1) {
      if (landing.states[part] !== PartState.arrived) continue;
      landing.states[part] = PartState.settled;
      arrived.push(part);
    }
    landing.arrived = 0;
    const failed = landing.failed.splice(0);
    const { firstByteMs } = landing;
    landing.firstByteMs = 0;
    if (arrived.length === 0) {
      this.#report(landing, { arrived, failed, firstByteMs }, 0);
      return;
    }
    const transfers = arrived.length === landing.states.length ? unit.writes : transfersOf(unit, arrived);
    landing.writing += 1;
    this.#disk.write(landing.view, transfers, (errno) => {
      landing.writing -= 1;
      this.#report(landing, { arrived, failed, firstByteMs }, errno);
    });
  }

  #report(landing: Landing, settled: Pick<WriteDone, 'arrived' | 'failed' | 'firstByteMs'>, errno: number): void {
    const { arrived } = settled;
    const final =
      landing.waiting === 0 && landing.writing === 0 && landing.arrived === 0 && landing.failed.length === 0;
    if (final) {
      this.#landings.delete(landing);
      leaveSlot(this.#board, landing.onBoard);
      landing.freeSlot();
    }
    const checksums = joined(arrived.map((part) => landing.checksums[part] as Uint32Array));
    const surplusBytes = arrived.reduce(
      (sum, part) => sum + (landing.received[part] as number) - (landing.unit.lengths[part] as number),
      0,
    );
    const attributes = oneOrAll(arrived.map((part) => landing.attributes[part]!));
    const { id } = landing.unit;
    const answers = landing.answers && { answers: arrived.map((part) => landing.answers![part]!) };
    const message = {
      ...({ type: 'written', id, final, checksums, attributes, surplusBytes } as const),
      ...settled,
      ...answers,
    };
    this.#post(errno === 0 ? message : { ...message, writeError: errno }, [checksums.buffer]);
  }
}

function answerOf({ httpStatus, requestId, totalMs }: RangeResult): PartAnswer {
  return { httpStatus, requestId, durationMs: Math.round(totalMs) };
}

/** The pieces of the slot that hold the given parts, neighbours joined, with their places in the store. */
function transfersOf(unit: WriteUnit, parts: readonly number[]): Transfer[] {
  const extents: Extent[] = unit.writes.map((w) => ({
    store: w.store as StoreIndex,
    offset: w.fileOffset,
    length: w.length,
  }));
  const transfers: Transfer[] = [];
  let from = -1;
  let to = -1;
  const push = (): void => {
    let slotOffset = from;
    for (const piece of sliceExtents(extents, from, to - from)) {
      transfers.push({ store: piece.store, fileOffset: piece.offset, slotOffset, length: piece.length });
      slotOffset += piece.length;
    }
  };
  for (const part of parts) {
    const start = unit.slotOffsets[part] as number;
    if (start !== to) {
      if (to > from) push();
      from = start;
    }
    to = start + alignUp(unit.lengths[part] as number);
  }
  if (to > from) push();
  return transfers;
}

/** Nearly always all objects of a unit are described alike: then one text crosses to the main thread. */
function oneOrAll(texts: readonly string[]): string | readonly string[] {
  const [first = ''] = texts;
  return texts.every((text) => text === first) ? first : texts;
}

function joined(pieces: readonly Uint32Array[]): Uint32Array<ArrayBuffer> {
  const all = new Uint32Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
