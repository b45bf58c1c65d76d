import { describe, expect, it } from 'vitest';
import { alignBytes, KiB, MiB } from '../../../src/core/units.ts';
import { addressOf } from '../../../src/platform/address.ts';
import { makeAligned, makeSlots } from '../../../src/platform/index.ts';

describe('makeSlots', () => {
  it.each([
    { slotBytes: 4 * KiB, slotCount: 3, prefault: true },
    { slotBytes: MiB, slotCount: 2, prefault: false },
    { slotBytes: 8 * MiB, slotCount: 4, prefault: true },
  ])('makes %o at page-aligned addresses, apart from each other', (options) => {
    const slots = makeSlots(options);
    expect(slots.buffer).toBeInstanceOf(SharedArrayBuffer);
    for (let i = 0; i < options.slotCount; i++) {
      const view = slots.view(i);
      expect(view.byteLength).toBe(options.slotBytes);
      expect(addressOf(view) % alignBytes).toBe(0);
      expect(view[0]).toBe(0);
      expect(slots.view(i)).toBe(view);
      view[0] = i + 1;
      view[view.length - 1] = i + 1;
    }
    for (let i = 0; i < options.slotCount; i++) {
      expect([slots.view(i)[0], slots.view(i)[options.slotBytes - 1]]).toEqual([i + 1, i + 1]);
    }
  });

  it('refuses sizes that are not whole pages, and slots that are not there', () => {
    expect(() => makeSlots({ slotBytes: 1000, slotCount: 1 })).toThrow(/whole pages/);
    expect(() => makeSlots({ slotBytes: 4096, slotCount: 0 })).toThrow(/number of slots/);
    expect(() => makeSlots({ slotBytes: 4096, slotCount: 1 }).view(1)).toThrow(/does not exist/);
  });
});

describe('makeAligned', () => {
  it('gives zeroed, page-aligned shared memory of the size asked for', () => {
    for (const bytes of [1, 4096, 100_000, 20 * MiB]) {
      const view = makeAligned(bytes);
      expect(view.byteLength).toBe(bytes);
      expect(view.buffer).toBeInstanceOf(SharedArrayBuffer);
      expect(addressOf(view) % alignBytes).toBe(0);
      expect(view[0]! | view[bytes - 1]!).toBe(0);
    }
  });
});

describe('addressOf', () => {
  it('is the same for views of one shared buffer, and follows their offsets', () => {
    const buffer = new SharedArrayBuffer(1000);
    const base = addressOf(new Uint8Array(buffer, 100));
    expect(addressOf(new Uint8Array(buffer, 0)) + 100).toBe(base);
    expect(addressOf(new Uint32Array(buffer, 200)) - 100).toBe(base);
  });

  it('of an ArrayBuffer is asked again after its memory was taken away', () => {
    const before = new Uint8Array(8192);
    const address = addressOf(before);
    const moved = structuredClone(before, { transfer: [before.buffer] });
    expect(addressOf(moved)).toBe(address);
    expect(addressOf(before)).not.toBe(address);
  });
});
