/**
 * A store whose process and machine can die at any point: only what was synced survives.
 *
 *   data    every write is recorded with the bytes that were there before; a sync of the store file, the real one that
 *           the store calls, forgets those that came before it. At a crash each write that is left is kept, lost, or
 *           torn: some of its 4 KiB grains kept and some lost.
 *   index   the file of the LMDB environment is copied after every commit; at a crash the last copy takes its place.
 */
import { closeSync, copyFileSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { vi } from 'vitest';
import type { Extent, RunId } from '../../src/core/types.ts';
import { alignBytes, alignUp } from '../../src/core/units.ts';
import type { Store } from '../../src/store/types.ts';
import { Volume } from '../../src/store/volume.ts';
import type { Fixture } from './store-fixture.ts';
import { expectSound } from './walked.ts';

export type CrashPoint = 'before sync' | 'before commit' | 'in commit' | 'after commit';

interface Unsynced {
  readonly extent: Extent;
  readonly before: Buffer;
}

export class CrashingStore {
  store!: Store;
  /** How often a crash fired, by its point; a test proves by it that its faults happened. */
  readonly crashes = new Map<string, number>();
  /** Grains that were rolled back. */
  grainsLost = 0;
  readonly #fixture: Fixture;
  readonly #random: () => number;
  #unsynced: Unsynced[] = [];
  #armed: CrashPoint | undefined;

  constructor(fixture: Fixture, random: () => number) {
    this.#fixture = fixture;
    this.#random = random;
    const crashing = this;
    const sync = Volume.prototype.sync;
    vi.spyOn(Volume.prototype, 'sync').mockImplementation(async function (this: Volume) {
      const covered = new Set(crashing.#unsynced.filter(({ extent }) => extent.store === this.index));
      await sync.call(this);
      crashing.#unsynced = crashing.#unsynced.filter((write) => !covered.has(write));
    });
  }

  async open(): Promise<void> {
    this.store = await this.#fixture.open({
      beforeSync: async () => this.#die('before sync'),
      beforeCommit: async () => this.#die('before commit'),
      inCommit: async () => {
        // Somebody takes whatever is free at this moment, and the machine dies before the commit does.
        if (this.#armed === 'in commit') this.overwriteFreeSpace();
        this.#die('in commit');
      },
      afterCommit: async () => {
        copyFileSync(this.#index('data.mdb'), this.#index('durable.copy'));
        this.#die('after commit');
      },
    });
  }

  /** The next commit does not get past this point. */
  arm(point: CrashPoint): void {
    this.#armed = point;
  }

  write(extents: readonly Extent[], bytes: Uint8Array): void {
    const padded = Buffer.alloc(alignUp(bytes.length));
    padded.set(bytes);
    let at = 0;
    for (const extent of extents) {
      this.#at(extent, (fd) => {
        const before = Buffer.alloc(extent.length);
        readSync(fd, before, 0, extent.length, extent.offset);
        this.#unsynced.push({ extent, before });
        writeSync(fd, padded, at, extent.length, extent.offset);
      });
      at += extent.length;
    }
  }

  /** Writes other bytes into all that is free, as lanes would in time. */
  overwriteFreeSpace(): void {
    const nobody = 'nobody' as RunId;
    const { freeBytes } = this.store.usage();
    if (freeBytes === 0) return;
    const extents = this.store.allocate(nobody, freeBytes);
    this.write(extents, Buffer.alloc(freeBytes, 0xdd));
    this.store.giveBack(nobody, extents);
  }

  /** Everything that was not synced is kept, lost or torn, and the store is opened again. */
  async crash(): Promise<void> {
    this.#armed = undefined;
    await this.store.close();
    for (const { extent, before } of this.#unsynced.reverse()) {
      const fate = this.#random();
      if (fate < 0.25) continue;
      this.#at(extent, (fd) => {
        for (let at = 0; at < extent.length; at += alignBytes) {
          if (fate < 0.6 && this.#random() < 0.5) continue;
          writeSync(fd, before, at, alignBytes, extent.offset + at);
          this.grainsLost++;
        }
      });
    }
    this.#unsynced = [];
    copyFileSync(this.#index('durable.copy'), this.#index('data.mdb'));
    rmSync(this.#index('lock.mdb'));
    await expectSound(this.#index(''));
    await this.open();
  }

  async reopen(): Promise<void> {
    await this.store.close();
    await expectSound(this.#index(''));
    await this.open();
  }

  #die(point: CrashPoint): void {
    if (this.#armed !== point) return;
    this.#armed = undefined;
    this.crashes.set(point, (this.crashes.get(point) ?? 0) + 1);
    throw new Error(`crash ${point}`);
  }

  #index(name: string): string {
    return join(this.#fixture.options.indexDir, name);
  }

  #at(extent: Extent, action: (fd: number) => void): void {
    const fd = openSync(join(this.#fixture.options.stores[extent.store]!.dir, 'store.dat'), 'r+');
    try {
      action(fd);
    } finally {
      closeSync(fd);
    }
  }
}
