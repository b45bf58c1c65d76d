/** Check units in a lane: pages are read from the store into a slot, their checksums compared, and whole files digested. */
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { crc64nvme } from '../platform/checksum.ts';
import { laneColumns } from '../telemetry/lane-columns.ts';
import type { CounterRow } from '../telemetry/shared-counters.ts';
import type { LaneChecksums } from './lane-checksums.ts';
import type { LaneDisk } from './lane-disk.ts';
import type { SlotsInUse } from './lane-limits.ts';
import type { CheckUnit, FromLane } from './protocol.ts';
import { crc32Hex } from './whole-object.ts';

export class CheckRunner implements SlotsInUse {
  readonly #disk: LaneDisk;
  readonly #checksums: LaneChecksums;
  readonly #row: CounterRow;
  readonly #post: (message: FromLane) => void;
  readonly #units = new Set<CheckUnit>();

  constructor(options: {
    disk: LaneDisk;
    checksums: LaneChecksums;
    row: CounterRow;
    post: (message: FromLane) => void;
  }) {
    this.#disk = options.disk;
    this.#checksums = options.checksums;
    this.#row = options.row;
    this.#post = options.post;
  }

  start(unit: CheckUnit, view: Uint8Array, freeSlot: () => void): void {
    this.#units.add(unit);
    this.#disk.read(view, unit.reads, (errno) => {
      this.#units.delete(unit);
      const badPages = errno === 0 ? this.#badPages(unit, view) : [];
      const digests = errno === 0 ? this.#checksums.timed(() => digestsOf(unit, view)) : [];
      freeSlot();
      const message = { type: 'checked', id: unit.id, badPages, digests } as const;
      this.#post(errno === 0 ? message : { ...message, readError: errno });
    });
  }

  eachSlot(visit: Parameters<SlotsInUse['eachSlot']>[0]): void {
    for (const { run } of this.#units) visit(run, 'reading');
  }

  #badPages(unit: CheckUnit, view: Uint8Array): number[] {
    const bad: number[] = [];
    for (let page = 0; page < unit.lengths.length; page += 1) {
      const length = unit.lengths[page] as number;
      this.#row.add(laneColumns.checksumBytes, length);
      if (this.#checksums.crc32c(view, unit.slotOffsets[page] as number, length, 0) !== unit.checksums[page])
        bad.push(page);
    }
    return bad;
  }
}

function digestsOf(unit: CheckUnit, view: Uint8Array): string[] {
  return unit.digests.map((digest) => digestOf(unit, view, digest));
}

function digestOf(unit: CheckUnit, view: Uint8Array, digest: CheckUnit['digests'][number]): string {
  const pages = Array.from({ length: digest.pages }, (_, index) => digest.firstPage + index);
  if (digest.kind === 'md5') {
    const hash = createHash('md5');
    for (const page of pages) hash.update(pageOf(unit, view, page));
    return hash.digest('hex');
  }
  if (digest.kind === 'crc32') return crc32Hex(pages.reduce((crc, page) => crc32(pageOf(unit, view, page), crc), 0));
  let crc = 0n;
  for (const page of pages) {
    crc = crc64nvme(view, unit.slotOffsets[page] as number, unit.lengths[page] as number, crc);
  }
  return crc.toString(16).padStart(16, '0');
}

function pageOf(unit: CheckUnit, view: Uint8Array, page: number): Uint8Array {
  const from = unit.slotOffsets[page] as number;
  return view.subarray(from, from + (unit.lengths[page] as number));
}
